package oauth

import (
	"context"
	"crypto"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/nested"
)

// Peers are the issuers of other domains that the server trusts.
//
// An error that wraps [claims.ErrIssuer] or [claims.ErrDomain] is a refusal. Any other error means that the answer cannot be known now.
type Peers interface {
	// Resource reports whether a resource is that of a peer which is not suspended: a URI of its domain, or the URL of its issuer.
	Resource(resource string) bool
	// Give returns the issuer that target names, by its URL or by a URI of a domain that it speaks for, and the id under which that
	// issuer knows a client. The error wraps [claims.ErrIssuer] if the client may not get authorization grants for it.
	Give(ctx context.Context, target, client string) (issuer, as string, err error)
	// Take returns the longest life of the access tokens that a client gets by authorization grants of an issuer for users of a domain.
	// The error wraps [claims.ErrIssuer] if it may get none. Whether the issuer speaks for the domain is asked by Speaks.
	Take(issuer, domain, client string) (life time.Duration, err error)
	// KeySource finds the keys of the issuers of such grants.
	nested.KeySource
}

type noPeers struct{}

func (noPeers) Resource(string) bool { return false }

func (noPeers) Give(context.Context, string, string) (issuer, as string, err error) {
	return "", "", claims.ErrIssuer
}

func (noPeers) Take(string, string, string) (time.Duration, error) { return 0, claims.ErrIssuer }

func (noPeers) Key(context.Context, string, string) (key crypto.PublicKey, alg string, err error) {
	return nil, "", claims.ErrIssuer
}

func (noPeers) Speaks(context.Context, string, string) error { return claims.ErrIssuer }

// withoutLostPeers returns the audience of a session without the resources of peers that were suspended or removed since, so that
// the session can be refreshed. An audience of which nothing would be left is returned as it is.
func (p *Provider) withoutLostPeers(c *clients.Client, audience []string) []string {
	if !c.PeerResources {
		return audience
	}
	kept := slices.DeleteFunc(slices.Clone(audience), func(r string) bool { return !p.mayRequest(c, r) })
	if len(kept) == 0 {
		return audience
	}
	return kept
}

// mayRequest reports whether a client may request tokens for a resource (RFC 8707 §2): one of its own, the URI of one of its domains,
// this server or, if the registration of the client says so, the resource of a peer.
func (p *Provider) mayRequest(c *clients.Client, resource string) bool {
	return resource != "" && (resource == p.issuer || slices.Contains(c.Resources, resource) ||
		slices.ContainsFunc(c.Domains, func(name string) bool { return p.domains[name].uri == resource }) ||
		c.PeerResources && p.peers.Resource(resource))
}
