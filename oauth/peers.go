package oauth

import (
	"slices"

	"github.com/imidentity/issuer/clients"
)

// Peers are the issuers of other domains that the server trusts.
type Peers interface {
	// Resource reports whether a resource is that of a peer which is not suspended: a URI of its domain, or the URL of its issuer.
	Resource(resource string) bool
}

type noPeers struct{}

func (noPeers) Resource(string) bool { return false }

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
