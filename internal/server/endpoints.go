package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/oauth"
)

// token serves POST /token (RFC 6749 §3.2, RFC 9449 §5).
func (s *Server) token(c echo.Context) error {
	params, err := s.tokenParams(c)
	if err != nil {
		return err
	}
	answer, err := s.OAuth.Token(c.Request().Context(), oauth.TokenRequest{
		Header: c.Request().Header, Form: params, Source: s.source(c),
	})
	if err != nil {
		return err
	}
	s.metrics.issued(params.Get("grant_type"), answer)
	return c.JSON(http.StatusOK, answer)
}

// push serves POST /par (RFC 9126 §2).
func (s *Server) push(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	answer, err := s.OAuth.Push(c.Request().Context(), oauth.TokenRequest{
		Header: c.Request().Header, Form: params, Source: s.source(c),
	}, s.quota.AdmitPushed(s.source(c)))
	if err != nil {
		return quotaLimit(err)
	}
	return c.JSON(http.StatusCreated, answer)
}

// introspect serves POST /introspect (RFC 7662 §2). An inactive token is an answer, not an error.
func (s *Server) introspect(c echo.Context) error {
	if showsToken(c.Request()) {
		return s.bound(oauth.ScopeIntrospect, s.introspectFor)(c)
	}
	params, err := form(c)
	if err != nil {
		return err
	}
	client, assertion, err := s.Registry.Authenticate(c.Request().Context(), c.Request().Header, params)
	if err != nil {
		return err
	}
	caller, err := callerOf(client)
	if err != nil {
		return err
	}
	return s.answerQuestion(c, caller, params, func(ctx context.Context) error { return s.Registry.Spend(ctx, assertion) })
}

// introspectFor serves callers with an access token of their own that has the scope introspect: services, and apps of users.
func (s *Server) introspectFor(c echo.Context, holder claims.Set) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	caller, err := s.callerWith(holder)
	if err != nil {
		return err
	}
	return s.answerQuestion(c, caller, params, func(context.Context) error { return nil })
}

// answerQuestion introspects a token. The caller's client assertion is consumed by spend, after the answer is computed and
// before it is sent.
func (s *Server) answerQuestion(c echo.Context, caller introspect.Caller, params url.Values, spend func(context.Context) error) error {
	q := introspect.Question{Token: params.Get("token")}
	if q.Token == "" {
		return invalid("The parameter token is missing.")
	}
	if text := params.Get("im_along"); text != "" {
		var along []string
		if err := json.Unmarshal([]byte(text), &along); err != nil {
			return invalid("The parameter im_along must be a JSON array of tokens.")
		}
		q.Along = along
	}
	verdict, err := s.Introspector.Introspect(c.Request().Context(), caller, q)
	if err != nil {
		return err
	}
	if err := spend(c.Request().Context()); err != nil {
		return err
	}
	s.metrics.introspected(verdict.Active)
	answer := verdict.Answer()
	return writeJSON(c, append(answer.AppendJSON(make([]byte, 0, 1024)), '\n'))
}

// writeJSON answers 200 with a JSON text.
func writeJSON(c echo.Context, text []byte) error {
	c.Response().Header()[echo.HeaderContentType] = typeJSON
	c.Response().WriteHeader(http.StatusOK)
	_, err := c.Response().Write(text)
	return err
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
		ClientID: client.ID, Resources: client.Resources, Domains: client.Domains, Scopes: scopes,
	}, nil
}

// callerWith returns what the holder of an access token may see, with the scopes of that token. The token of a service sees
// what its client may see. The token of a user sees what is for the domain of the user.
func (s *Server) callerWith(holder claims.Set) (introspect.Caller, error) {
	client, ok := s.OAuth.Client(holder.ClientID)
	if !ok {
		return introspect.Caller{}, introspect.ErrForbidden
	}
	caller := introspect.Caller{
		ClientID: client.ID, Resources: client.Resources, Domains: client.Domains, Scopes: strings.Fields(holder.Scope),
	}
	if holder.Service() {
		return caller, nil
	}
	id, err := holder.Identity()
	if err != nil {
		return introspect.Caller{}, err
	}
	caller.ClientID, caller.Resources, caller.Domains = "", nil, []string{id.User.Domain()}
	return caller, nil
}

// revoke serves POST /revoke (RFC 7009 §2). Only an access token of a public client needs a proof.
func (s *Server) revoke(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	err = s.OAuth.Revoke(c.Request().Context(), oauth.TokenRequest{
		Header: c.Request().Header, Form: params, Source: s.source(c),
	})
	if err != nil {
		return err
	}
	return c.NoContent(http.StatusOK)
}

// nonce serves GET /nonce. The nonce is in the header, as in every answer.
func (s *Server) nonce(c echo.Context) error {
	if c.Response().Header().Get("DPoP-Nonce") == "" {
		return echo.ErrNotFound
	}
	return c.NoContent(http.StatusNoContent)
}

// jwks serves GET /jwks (RFC 7517 §5).
func (s *Server) jwks(c echo.Context) error {
	body, etag := s.Keys.JWKS()
	cacheable(c, "300")
	h := c.Response().Header()
	h.Set("ETag", etag)
	h.Set("Content-Type", "application/jwk-set+json")
	r := c.Request().Clone(c.Request().Context())
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-Unmodified-Since"} {
		r.Header.Del(name) // the set is served as a whole
	}
	http.ServeContent(c.Response(), r, "", time.Time{}, bytes.NewReader(body)) // knows If-None-Match
	return nil
}

// healthz serves GET /healthz: the process is alive.
func (s *Server) healthz(c echo.Context) error {
	return c.JSON(http.StatusOK, map[string]string{"status": "ok"})
}

// readyz serves GET /readyz: the server can do its work now. If it cannot, the reason is in the log only.
func (s *Server) readyz(c echo.Context) error {
	if err := s.Ready(c.Request().Context()); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, map[string]string{"status": "ready"})
}
