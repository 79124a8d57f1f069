package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

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
	return encodeJSON(c, answer)
}

// encodeJSON answers 200 with v as JSON. Unlike the method JSON of c, it does not parse the query for a parameter pretty.
func encodeJSON(c echo.Context, v any) error {
	c.Response().Header()[echo.HeaderContentType] = typeJSON
	return json.NewEncoder(c.Response()).Encode(v) // writes nothing if it fails
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
