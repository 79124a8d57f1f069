package server

import (
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/oauth"
)

// token serves POST /token (RFC 6749 §3.2, RFC 9449 §5).
func (s *Server) token(c echo.Context) error {
	params, err := s.tokenParams(c)
	if err != nil {
		return err
	}
	trailOf(c).grant = params.Get("grant_type")
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
	return serveDocument(c, "application/jwk-set+json", body, etag, "300")
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
