package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/chaining"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

// Refusals of authorization grants of other issuers (RFC 7523 §3.1).
var (
	errGrantPeer = refuse(CodeInvalidGrant, "The client may not use authorization grants of this issuer for users of this domain: "+
		"the issuer is not a peer, is suspended, or does not list the client (peers[].chaining.take).")
	errGrantDomain = refuse(CodeInvalidGrant, "The assertion is about a user of a domain that its issuer does not speak for.")
	errGrantUsed   = refuse(CodeInvalidGrant, "The assertion was used before: get a new authorization grant from the home issuer.")
)

// spentGrant is the kind of the single-use ids of authorization grants.
const spentGrant = "authz_grant"

// A chainedGrant makes a token for a user of another domain from an authorization grant of the user's home issuer (RFC 7523 §2.1,
// draft-ietf-oauth-identity-chaining-17 §2.4). There is no refresh token (§5.4): the home issuer decides each time.
type chainedGrant struct {
	*Provider
	r *tokenRequest

	assertion *chaining.Grant
}

func (g *chainedGrant) check(ctx context.Context, _ Reader) (*token, error) {
	r := g.r
	if r.proof == nil {
		return nil, dpop.ErrNoProof
	}
	text := r.Form.Get("assertion")
	if text == "" {
		return nil, refuse(CodeInvalidRequest, "The parameter assertion is missing: the authorization grant of the user's home issuer.")
	}
	life, err := g.open(ctx, text)
	if err != nil {
		return nil, err
	}
	set, err := g.claimsFor(life)
	if err != nil {
		return nil, err
	}
	id, err := set.Identity()
	if err != nil {
		return nil, err
	}
	// The user has no row here, but a limit like the issuer's own users.
	if err := g.limiter.User(storage.User{Domain: id.User.Domain(), ID: id.User.Local()}, r.client.ID); err != nil {
		return nil, err
	}
	r.event = &audit.Event{
		Kind: audit.ChainingRedeemed, Actor: audit.ActorClient, Domain: id.User.Domain(), User: id.User.Local(),
		Device: id.Device.Device(), Client: r.client.ID, Peer: set.HomeIss, Address: r.Source,
	}
	return &token{claims: set, writes: true}, nil
}

// open reads and verifies the assertion, and returns the longest life of the token. Everything that costs no request is checked before
// the keys of the issuer are looked up.
func (g *chainedGrant) open(ctx context.Context, text string) (life time.Duration, err error) {
	if g.assertion, err = chaining.Parse(text); err == nil {
		err = g.assertion.Check(chaining.Options{
			Issuer: g.issuer, ClientID: g.r.client.ID, JKT: g.r.proof.JKT, Now: g.r.at, Development: g.development,
		})
	}
	if err != nil {
		return 0, refusedGrant(err)
	}
	domain := g.assertion.Domain()
	if _, own := g.domains[domain]; own {
		return 0, errGrantDomain
	}
	if life, err = g.peers.Take(g.assertion.Issuer, domain, g.r.client.ID); err == nil {
		err = g.peers.Speaks(ctx, g.assertion.Issuer, domain)
	}
	switch {
	case errors.Is(err, claims.ErrDomain):
		return 0, errGrantDomain
	case errors.Is(err, claims.ErrIssuer):
		return 0, errGrantPeer
	case err != nil:
		return 0, err
	}
	return life, refusedGrant(g.assertion.Verify(ctx, g.peers))
}

// refusedGrant turns a refusal of package chaining into the answer to the client.
func refusedGrant(err error) error {
	var refused *chaining.Error
	if !errors.As(err, &refused) {
		return err
	}
	words := strings.TrimPrefix(plain(err), "chaining: ")
	return &Error{Code: CodeInvalidGrant, Description: "The assertion is not valid: " + words + ".", Cause: err}
}

// claimsFor returns the claims of the token: those of the assertion, for resources of this issuer, with at most the scopes of the
// assertion and of the client. The session and the generation of the user are known to the home issuer alone.
func (g *chainedGrant) claimsFor(life time.Duration) (set claims.Set, err error) {
	a, r := g.assertion, g.r
	set = claims.Set{
		Issuer: g.issuer, Subject: a.Subject, Handle: a.Handle, Device: a.Device, ClientID: r.client.ID,
		IssuedAt: r.at.Truncate(time.Second),
		Expires:  r.at.Add(min(life, g.lifetimes.Access)).Truncate(time.Second),
		AuthTime: a.AuthTime, ACR: a.ACR, AMR: a.AMR, JKT: a.JKT, HomeIss: a.Issuer,
	}
	granted := scopeList(common(common(a.Scope, chainedScopes), strings.Join(r.client.Scopes, " ")))
	asked := scopeList(r.Form.Get("scope"))
	for _, s := range asked {
		if !slices.Contains(granted, s) {
			return set, refuse(CodeInvalidScope, "The scope "+named(s)+" cannot be granted to a user of another domain, "+
				"is not in the assertion, or the client is not registered for it. These can: "+listed(granted)+".")
		}
	}
	if len(asked) > 0 {
		granted = asked
	}
	set.Scope = strings.Join(granted, " ")
	describeScope(&set)
	if set.Audience, err = g.ownResources(); err != nil {
		return set, err
	}
	set.JTI, err = g.newGrantID()
	return set, err
}

// ownResources returns the resources that the request names, which must be the issuer's own (RFC 8707 §2): the URIs of its domains that
// the client serves, and the URLs of services among the client's resources. None means the URI of the client's domain.
func (g *chainedGrant) ownResources() ([]string, error) {
	domain, err := g.domainFor(g.r.client, g.r.Form)
	if err != nil {
		return nil, err
	}
	resources := g.r.Form["resource"]
	if domain == "" && len(resources) == 0 {
		return nil, severalDomains(g.r.client)
	}
	for _, r := range resources {
		if !g.own(r) {
			return nil, refuse(CodeInvalidTarget, "The resource "+named(r)+" is not one of this issuer's for users of other domains: "+
				"name the URI of a domain or the URL of a service that the client is registered for.")
		}
	}
	return g.audience(g.r.client, domain, resources)
}

// own reports whether a resource is one of the issuer's, and not the issuer itself or that of a peer.
func (g *chainedGrant) own(resource string) bool {
	if name, ofDomain := claims.DomainOf(resource); ofDomain {
		return slices.Contains(g.r.client.Domains, name) && g.domains[name].uri == resource
	}
	return resource != g.issuer && slices.Contains(g.r.client.Resources, resource) && !g.peers.Resource(resource)
}

// commit spends the assertion, once.
func (g *chainedGrant) commit(ctx context.Context, tx storage.Tx) error {
	err := tx.SpendID(ctx, spentGrant, g.assertion.ID(), g.assertion.SpentUntil())
	if errors.Is(err, storage.ErrConflict) {
		return errGrantUsed
	}
	return err
}
