package server

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/wire"
	"github.com/imidentity/issuer/oauth"
)

// headerReplayNonce has the nonce for Wire proofs, as at an ACME server (RFC 8555 §6.5.1) and in the protocol of Wire.
const headerReplayNonce = "Replay-Nonce"

// wireRoutes is the table of the endpoints for devices of Wire.
func (s *Server) wireRoutes() []route {
	return []route{
		{http.MethodGet, wire.NoncePath, s.wireNonce, anyOrigin, notCounted},
		{http.MethodPost, wire.TokenPath, s.bound(wire.Scope, s.issueWireToken), anyOrigin, eachRequest},
	}
}

// wireNonce serves GET /wire/nonce. It needs no token.
func (s *Server) wireNonce(c echo.Context) error {
	nonce, err := s.Wire.Nonce(c.Request().Context())
	if err != nil {
		return err
	}
	c.Response().Header().Set(headerReplayNonce, nonce)
	return c.NoContent(http.StatusNoContent)
}

// issueWireToken serves POST /wire/access-token: a token for the challenge wire-dpop-01 of step-ca.
func (s *Server) issueWireToken(c echo.Context, holder claims.Set) error {
	body, err := wireRequest(c)
	if err != nil {
		return err
	}
	token, err := s.Wire.Issue(c.Request().Context(), holder, body, s.source(c))
	if err != nil {
		return s.notHeld(c, err)
	}
	s.metrics.wireTokens.Inc()
	return encodeJSON(c, struct {
		Token   string `json:"token"`
		Type    string `json:"type"`
		Expires int    `json:"expires_in"`
	}{token.Text, "DPoP", int(token.Life.Seconds())})
}

// wireRequest reads the body of a request, which is JSON.
func wireRequest(c echo.Context) ([]byte, error) {
	if c.Request().URL.RawQuery != "" {
		return nil, &wire.Error{Code: wire.InvalidRequest, Description: "The URL of the request has no query."}
	}
	if !httpapi.IsJSON(c.Request()) {
		return nil, &wire.Error{Code: wire.InvalidRequest, Description: "The body must be of type application/json."}
	}
	return httpapi.ReadAll(c, wire.MaxBody)
}

// ofWire returns err as the answer to a request of a device of Wire that was refused, and false if it is another error.
func ofWire(err error) (failure, bool) {
	var refused *wire.Error
	if !errors.As(err, &refused) {
		return failure{}, false
	}
	f := failure{status: http.StatusBadRequest, code: refused.Code, description: errtext.Clean(refused.Description)}
	if refused.Code == wire.Denied {
		f.status, f.code = http.StatusForbidden, oauth.CodeAccessDenied
	}
	return f, true
}
