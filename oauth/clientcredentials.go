package oauth

import (
	"context"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

// errPublicService is about a client without credentials; the configuration admits none with this grant.
var errPublicService = refuse(CodeInvalidGrant, "The grant is not valid for this client.")

// severalDomains refuses a request for a token of a service that does not say in which domain.
func severalDomains(c *clients.Client) error {
	return refuse(CodeInvalidRequest, "The client has several domains: name one with im_domain. They are: "+listed(c.Domains)+".")
}

// A clientCredentialsGrant makes a token of a service, which acts for itself in one domain (RFC 6749 §4.4).
type clientCredentialsGrant struct {
	*Provider
	r *tokenRequest
}

func (g *clientCredentialsGrant) check(context.Context, Reader) (*token, error) {
	client := g.r.client
	if client.Public() {
		return nil, errPublicService
	}
	if g.r.proof == nil && !client.Bearer {
		return nil, dpop.ErrNoProof
	}
	domain, err := g.domainFor(client, g.r.Form)
	if err != nil {
		return nil, err
	}
	if resources := g.r.Form["resource"]; domain == "" && len(resources) == 1 && resources[0] == g.issuer {
		domain = client.Domains[0] // any: a token for the server alone belongs to no domain
	}
	if domain == "" {
		return nil, severalDomains(client)
	}
	granted := storage.Grant{Domain: domain, Scopes: make([]string, 0, len(client.Scopes))}
	for _, s := range client.Scopes {
		if s != ScopeHandle && s != ScopeDevice { // a service has neither
			granted.Scopes = append(granted.Scopes, s)
		}
	}
	if granted.Audience, err = g.audience(client, domain, g.r.Form["resource"]); err != nil {
		return nil, err
	}
	set, err := g.grantClaims(g.r, granted)
	return &token{claims: set}, err
}

// commit has nothing to write: the token is not stored.
func (*clientCredentialsGrant) commit(context.Context, storage.Tx) error { return nil }
