package server

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/oauth"
)

// A tokenCaller is an authenticated caller of an endpoint that tells about tokens.
type tokenCaller struct {
	introspect.Caller
	// assertion is the client assertion that the caller authenticated with, nil if there was none. It is spent before the answer is
	// sent.
	assertion *clients.Assertion
	// id and issuer name the caller in the aud of signed answers: the id of a client or the URI of a user, and the issuer of a client of
	// a peer.
	id, issuer string
	// signedAlg is the algorithm of signed answers that the client is registered for, empty for none.
	signedAlg string
}

// audience is the aud of answers that are signed for the caller. A client of a peer is named together with its issuer, since a client
// here may have the same id.
func (by *tokenCaller) audience() introspect.Audience {
	if by.issuer != "" {
		return introspect.Audience{by.id, by.issuer}
	}
	return introspect.Audience{by.id}
}

// caller authenticates the caller of an endpoint that tells about tokens, and reads the parameters of the request. A caller is one of
// these, and shows it in one way:
//
//   - a client of this issuer, by its secret or a client assertion, with the scopes that it is registered for,
//   - a client or a user of this issuer, by an access token of theirs, with the scopes of that token and a proof by its key,
//   - a client or a user of a trusted peer issuer, likewise.
//
// The caller needs the scope. An error may have been answered already, as one of [Server.bound].
func (s *Server) caller(
	c echo.Context, scope string, read func(echo.Context) (url.Values, error),
) (by tokenCaller, params url.Values, err error) {
	if !showsToken(c.Request()) {
		if params, err = read(c); err != nil {
			return by, nil, err
		}
		client, assertion, err := s.Registry.Authenticate(c.Request().Context(), c.Request().Header, params)
		if err != nil {
			return by, nil, err
		}
		by.assertion, by.id, by.signedAlg = assertion, client.ID, client.SignedResponseAlg
		by.Caller, err = callerOf(client)
		if err == nil && !slices.Contains(by.Scopes, scope) {
			err = &unregisteredError{scope}
		}
		return by, params, err
	}
	holder, err := s.admit(c, s.asked, scope)
	if err != nil {
		return by, nil, err
	}
	if params, err = read(c); err != nil {
		return by, nil, err
	}
	if params.Has("client_secret") || params.Has("client_assertion") || params.Has("client_assertion_type") {
		return by, nil, invalid("The caller authenticates twice: use either an access token or the credentials of a client.")
	}
	by.id = holder.Subject
	if holder.Issuer == s.Issuer {
		err = s.callerWith(holder, &by)
		return by, params, err
	}
	if holder.Service() {
		by.issuer = holder.Issuer
	}
	by.Caller, err = s.callerFrom(c.Request().Context(), holder)
	return by, params, err
}

// Peers are the issuers of other domains that this issuer trusts.
type Peers interface {
	// Domains returns the domains that an issuer was found to speak for. The error says that there are none. [Peers.Speaks] tells
	// whether it still does.
	Domains(issuer string) ([]string, error)
	// Speaks returns nil if an issuer may speak for a domain. The error wraps [claims.ErrIssuer] or [claims.ErrDomain] if it may not.
	// Any other error means that this cannot be known now.
	Speaks(ctx context.Context, issuer, domain string) error
	// Release returns what callers from an issuer that speaks for a domain are told; nil is everything. It returns false if the issuer
	// is not listed for the domain.
	Release(issuer, domain string) (*introspect.Release, bool)
}

// newAsked makes the issuer a resource for callers that ask about tokens: it also lets in who holds a token of a trusted peer for this
// issuer alone.
func (s *Server) newAsked() (*dpop.Resource, error) {
	return dpop.NewResource(dpop.ResourceConfig{
		Verifier:  s.Proofs,
		PublicURL: s.Issuer,
		Realm:     "issuer",
		Token: func(ctx context.Context, token string) (dpop.Confirmation, error) {
			own, err := s.ownToken(ctx, token)
			if s.Peers == nil || !errors.Is(err, dpop.ErrInvalidToken) {
				return own, err
			}
			set, good, err := s.Introspector.Peer(ctx, token)
			if err != nil {
				return dpop.Confirmation{}, err
			}
			if !good {
				return dpop.Confirmation{}, dpop.ErrInvalidToken
			}
			return dpop.Confirmation{JKT: set.JKT, Claims: &set}, nil
		},
	})
}

// An unregisteredError refuses a client that is not registered for a scope, however it asks.
type unregisteredError struct{ scope string }

func (e *unregisteredError) Error() string {
	return "server: the client is not registered for scope " + e.scope
}

// callerOf returns what a client may see. A public client cannot authenticate, so it may see nothing.
func callerOf(client *clients.Client) (introspect.Caller, error) {
	if client.Public() {
		return introspect.Caller{}, &oauth.Error{
			Code: oauth.CodeInvalidClient, Description: "A public client cannot introspect: authenticate as a client with a secret or a " +
				"key.",
		}
	}
	// Only callers that prove a key with each request may learn why a token is not active.
	scopes := client.Scopes
	if slices.Contains(scopes, oauth.ScopeIntrospectReason) {
		scopes = slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == oauth.ScopeIntrospectReason })
	}
	return introspect.Caller{
		Name: client.ID, ClientID: client.ID, Resources: client.Resources, Domains: client.Domains, Scopes: scopes,
		Release: client.Release,
	}, nil
}

// callerWith sets what the holder of an access token may see, with the scopes of that token. The token of a service sees what its
// client may see. The token of a user sees what is for the domain of the user.
func (s *Server) callerWith(holder claims.Set, by *tokenCaller) error {
	client, ok := s.OAuth.Client(holder.ClientID)
	if !ok { // it was removed a moment ago
		return clients.ErrRemoved
	}
	by.Caller = introspect.Caller{
		Name: holder.Subject, ClientID: client.ID, Resources: client.Resources, Domains: client.Domains,
		Scopes: strings.Fields(holder.Scope), Release: client.Release, JTI: holder.JTI,
	}
	if holder.Service() {
		by.signedAlg = client.SignedResponseAlg
		return nil
	}
	id, err := holder.Identity()
	if err != nil {
		return err
	}
	by.ClientID, by.Resources, by.Domains = "", nil, []string{id.User.Domain()}
	return nil
}

// callerFrom returns what the holder of an access token of a peer may see: tokens for the domain of the user, or for a service those
// for the domains of its issuer. Nothing that is registered here is theirs, whatever their client is called.
func (s *Server) callerFrom(ctx context.Context, holder claims.Set) (introspect.Caller, error) {
	caller := introspect.Caller{
		Name: holder.Issuer + " " + holder.Subject, Owner: holder.Issuer, // which can make any number of users
		Scopes: strings.Fields(holder.Scope),
	}
	if holder.Service() {
		var err error
		if caller.Domains, err = s.domainsOf(ctx, holder.Issuer); err != nil {
			return introspect.Caller{}, err
		}
	} else {
		id, err := holder.Identity()
		if err != nil {
			return introspect.Caller{}, err
		}
		caller.Domains = []string{id.User.Domain()}
	}
	releases := make([]*introspect.Release, len(caller.Domains))
	for i, domain := range caller.Domains {
		var listed bool
		if releases[i], listed = s.Peers.Release(holder.Issuer, domain); !listed {
			return introspect.Caller{}, clients.ErrRemoved
		}
	}
	caller.Release = introspect.Narrowest(releases...)
	return caller, nil
}

// domainsOf returns the domains of a peer. Each is asked about: its token is good while it speaks for one of them, and another may have
// been withdrawn.
func (s *Server) domainsOf(ctx context.Context, issuer string) ([]string, error) {
	found, err := s.Peers.Domains(issuer)
	if err != nil { // it lost them a moment ago
		return nil, clients.ErrRemoved
	}
	var domains []string
	for _, domain := range found {
		switch err := s.Peers.Speaks(ctx, issuer, domain); {
		case err == nil:
			domains = append(domains, domain)
		case !errors.Is(err, claims.ErrIssuer) && !errors.Is(err, claims.ErrDomain):
			return nil, err
		}
	}
	if domains == nil {
		return nil, clients.ErrRemoved
	}
	return domains, nil
}
