package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/oauth"
)

// managed serves OpenID providers that manage their users. An address pays for requests that do not authenticate, and the client for all
// others: what a provider asks for in vain, as for a user who is gone, locks no one out. Without a client with the scope scim there is
// nothing here.
func (s *Server) managed(serve func(echo.Context, manager) error) echo.HandlerFunc {
	return s.timely(func(c echo.Context) error {
		if !s.Registry.Managers() {
			return echo.ErrNotFound
		}
		from := s.source(c)
		if err := s.Limits.failing(from); err != nil {
			return err
		}
		client, err := s.manager(c)
		switch {
		case errors.Is(err, dpop.ErrUseNonce):
			s.Limits.stale(from)
		case isFailure(c, err):
			s.Limits.failed(from)
		}
		if err != nil {
			return err
		}
		if err := s.Limits.Client(client, from); err != nil {
			return err
		}
		r := c.Request()
		origin := audit.Origin{Actor: audit.ActorClient, Address: from, Client: client.ID}
		c.SetRequest(r.WithContext(audit.WithOrigin(r.Context(), origin)))
		return serve(c, managerOf(client))
	})
}

// manager authenticates a provider: by a bearer token of a client with the scope scim, or by an access token of the client with that
// scope and a proof.
func (s *Server) manager(c echo.Context) (*clients.Client, error) {
	client, err := s.managerByToken(c)
	if err != nil {
		return nil, err
	}
	trailOf(c).client = client.ID
	if client.SCIM == nil {
		return nil, &unregisteredError{oauth.ScopeSCIM}
	}
	return client, client.Check(c.Request().Context(), s.Store)
}

func (s *Server) managerByToken(c echo.Context) (*clients.Client, error) {
	auth := c.Request().Header.Values("Authorization")
	if len(auth) == 1 {
		if scheme, token, _ := strings.Cut(auth[0], " "); strings.EqualFold(scheme, "Bearer") {
			if client, ok := s.Registry.Manager(strings.TrimLeft(token, " ")); ok {
				return client, nil
			}
			return nil, &managerRefusal{failure: failure{status: http.StatusUnauthorized, code: "invalid_token",
				description: "The bearer token is not valid.", challenge: `Bearer realm="issuer", error="invalid_token"`}}
		}
	}
	access, err := s.managing.Check(c.Request(), s.source(c))
	if err != nil {
		refused := &refusalRecorder{header: c.Response().Header()}
		s.managing.Refuse(refused, c.Request(), err)
		if refused.status == http.StatusUnauthorized {
			refused.header.Add("WWW-Authenticate", `Bearer realm="issuer"`)
		}
		return nil, refused.refusal(err)
	}
	holder := access.Claims.(*claims.Set)
	trailOf(c).holder(holder)
	alone := holder.Service() && holder.Actor == nil && len(holder.Tokens) == 0
	if !alone || !slices.Contains(strings.Fields(holder.Scope), oauth.ScopeSCIM) {
		return nil, &scopeError{oauth.ScopeSCIM}
	}
	client, ok := s.OAuth.Client(holder.ClientID)
	if !ok { // it was removed a moment ago
		return nil, clients.ErrRemoved
	}
	return client, nil
}

// A managerRefusal refuses a request that does not authenticate.
type managerRefusal struct {
	failure
	err error // may be nil
}

func (e *managerRefusal) Error() string {
	if e.err != nil {
		return e.err.Error()
	}
	return "server: " + e.description
}

func (e *managerRefusal) Unwrap() error { return e.err }

// A refusalRecorder takes the answer that [dpop.Resource.Refuse] writes, whose body is not one of SCIM. The headers are those of the
// real answer.
type refusalRecorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *refusalRecorder) Header() http.Header    { return r.header }
func (r *refusalRecorder) WriteHeader(status int) { r.status = status }
func (r *refusalRecorder) Write(b []byte) (int, error) {
	r.body = append(r.body, b...)
	return len(b), nil
}

// refusal returns the error whose answer was taken.
func (r *refusalRecorder) refusal(err error) error {
	f := failure{status: r.status, description: "Authenticate with a bearer token, or with an access token and a DPoP proof."}
	var said struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(r.body, &said) == nil {
		f.code, f.description = said.Error, said.Description
	}
	return &managerRefusal{f, err}
}
