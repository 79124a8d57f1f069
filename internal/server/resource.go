package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
)

// newSelf makes the issuer a resource of its own (RFC 9449 §7): it lets in whoever holds a token for the issuer alone.
func (s *Server) newSelf() (*dpop.Resource, error) {
	return dpop.NewResource(dpop.ResourceConfig{
		Verifier:  s.Proofs,
		PublicURL: s.Issuer, // with its path, which handlers do not see
		Realm:     "issuer",
		Token:     s.ownToken,
	})
}

// ownToken returns what a token of the issuer, for the issuer alone, is bound to.
func (s *Server) ownToken(ctx context.Context, token string) (dpop.Confirmation, error) {
	set, active, err := s.Introspector.Own(ctx, token)
	if err != nil {
		return dpop.Confirmation{}, err
	}
	// A token that others are shown, too, is not for this: it has the issuer as its one audience.
	if !active || !slices.Equal(set.Audience, []string{s.Issuer}) {
		return dpop.Confirmation{}, dpop.ErrInvalidToken
	}
	return dpop.Confirmation{JKT: set.JKT, Claims: &set}, nil
}

// bound serves a route to clients that have a token with a scope and prove that they hold its key. The handler gets the
// claims of the token. If the error is not that of the handler or of the scope, it has been answered already.
func (s *Server) bound(scope string, handler func(c echo.Context, holder claims.Set) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		holder, err := s.admit(c, s.self, scope)
		if err != nil {
			return err
		}
		return handler(c, holder)
	}
}

// admit returns the claims of the token with which a request comes, if the resource lets it in and the token has one of the scopes. The
// refusal of other tokens names the first scope. An error of the resource has been answered already.
func (s *Server) admit(c echo.Context, resource *dpop.Resource, scopes ...string) (claims.Set, error) {
	_, holder, err := s.letIn(c, resource)
	if err != nil {
		return claims.Set{}, err
	}
	granted := strings.Fields(holder.Scope)
	if !slices.ContainsFunc(scopes, func(scope string) bool { return slices.Contains(granted, scope) }) {
		return claims.Set{}, &scopeError{scopes[0]}
	}
	if r := c.Request(); r.Method != http.MethodGet { // a request that changes something
		c.SetRequest(r.WithContext(audit.WithOrigin(r.Context(), audit.Origin{
			Actor: audit.ActorUser, Address: s.source(c), Client: holder.ClientID, Session: holder.SID,
		})))
	}
	return *holder, nil
}

// letIn is admit for a token with any scope. The claims are shared: do not change them.
func (s *Server) letIn(c echo.Context, resource *dpop.Resource) (*dpop.Access, *claims.Set, error) {
	access, err := resource.Check(c.Request(), s.source(c))
	if err != nil {
		s.metrics.refused(err)
		resource.Refuse(c.Response(), c.Request(), err)
		return nil, nil, err
	}
	holder := access.Claims.(*claims.Set)
	trailOf(c).holder(holder)
	return access, holder, nil
}

// showsToken reports whether a request comes with a token of its own, and not with the credentials of a client.
func showsToken(r *http.Request) bool {
	for _, value := range r.Header.Values("Authorization") {
		scheme, _, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, "DPoP") || strings.EqualFold(scheme, "Bearer") {
			return true
		}
	}
	return false
}

// A scopeError refuses a token that is good and has another scope (RFC 6750 §3.1).
type scopeError struct{ scope string }

func (e *scopeError) Error() string { return "server: the token lacks scope " + e.scope }

// errService refuses the token of a service where a person is meant.
var errService = errors.New("server: the token is a service's")
