package server

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/oauth"
)

// newOperating makes the endpoints for operators over the network a resource (RFC 9449 §7): it lets in whoever holds a token of this
// issuer, for the issuer alone. It returns nil if there are none.
func (s *Server) newOperating() (*dpop.Resource, error) {
	if s.OperatorsURL == "" {
		return nil, nil
	}
	scopes := []string{oauth.ScopeAdmin}
	if s.SCIMForOperators {
		scopes = append(scopes, oauth.ScopeSCIM)
	}
	return dpop.NewResource(dpop.ResourceConfig{
		Verifier: s.Proofs, PublicURL: s.OperatorsURL, Realm: "issuer operators", Token: s.ownToken,
		Metadata: &dpop.ResourceMetadata{
			AuthorizationServers: []string{s.Issuer}, ScopesSupported: scopes, Name: "Administration of " + s.Issuer,
		},
	})
}

// operatingMetadata serves GET /.well-known/oauth-protected-resource (RFC 9728 §3): it names the issuer to get tokens from.
func (s *Server) operatingMetadata(c echo.Context) error {
	_, metadata := s.operating.Metadata()
	metadata.ServeHTTP(c.Response(), c.Request())
	return nil
}

// atSocket serves a request from the admin socket: only the operator of the machine can open it.
func (s *Server) atSocket(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		return asOperator(c, httpapi.Operator{Domains: s.Domains, All: true}, next)
	}
}

func asOperator(c echo.Context, by httpapi.Operator, next echo.HandlerFunc) error {
	r := c.Request()
	c.SetRequest(r.WithContext(httpapi.WithOperator(r.Context(), by)))
	return next(c)
}

// operator serves a request over the network to a service with the scope admin, which proves its key. Failures to show that count for
// the address, and its requests for the client.
func (s *Server) operator(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		from := s.source(c)
		if err := s.Limits.failing(from); err != nil {
			return err
		}
		by, err := s.admitOperator(c, from)
		switch {
		case err == nil:
			return asOperator(c, by, next)
		case errors.Is(err, dpop.ErrUseNonce):
			s.Limits.stale(from)
		case isFailure(c, err):
			s.Limits.failed(from)
		}
		return err
	}
}

// admitOperator returns the operator whose token and proof a request shows. The scope and the domains are those that the client is
// registered for now: a token that is older than a change of them has no more.
func (s *Server) admitOperator(c echo.Context, from netip.Addr) (by httpapi.Operator, err error) {
	holder, err := s.admit(c, s.operating, oauth.ScopeAdmin)
	if err != nil {
		return by, err
	}
	if !holder.Service() || holder.Actor != nil || len(holder.Tokens) > 0 {
		return by, errNotOperator
	}
	client, ok := s.OAuth.Client(holder.ClientID)
	if !ok { // it was removed a moment ago
		return by, clients.ErrRemoved
	}
	if !client.HasScope(oauth.ScopeAdmin) {
		return by, &scopeError{oauth.ScopeAdmin}
	}
	if err := s.Limits.Client(client, from); err != nil {
		return by, err
	}
	foreign := func(domain string) bool { return !slices.Contains(client.Domains, domain) }
	return httpapi.Operator{
		Client: client.ID, Domains: client.Domains, All: !slices.ContainsFunc(s.Domains, foreign), Address: from,
	}, nil
}

// errNotOperator refuses a token that was not issued to a service for itself.
var errNotOperator = &httpapi.RefusedError{
	Status: http.StatusForbidden, Code: oauth.CodeAccessDenied,
	Description: "Only services administer the issuer, by a token of their own.",
}

// fromProxy answers only requests from a trusted proxy where the listener expects one to end TLS in front of it.
func (s *Server) fromProxy(next echo.HandlerFunc) echo.HandlerFunc {
	if !s.OperatorsBehindProxy {
		return next
	}
	return func(c echo.Context) error {
		peer, err := netip.ParseAddrPort(c.Request().RemoteAddr)
		address := peer.Addr().Unmap().WithZone("")
		if err != nil || !slices.ContainsFunc(s.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(address) }) {
			return errNoProxy
		}
		return next(c)
	}
}

var errNoProxy = &httpapi.RefusedError{
	Status: http.StatusForbidden, Code: oauth.CodeInvalidRequest,
	Description: "This listener answers only the proxies of the setting trusted_proxies, which end TLS in front of it.",
}
