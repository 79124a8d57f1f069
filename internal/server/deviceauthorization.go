package server

import (
	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/oauth"
)

// authorizeDevice serves POST /device_authorization (RFC 8628 §3.1).
func (s *Server) authorizeDevice(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	answer, err := s.OAuth.AuthorizeDevice(c.Request().Context(), oauth.TokenRequest{
		Header: c.Request().Header, Form: params, Source: s.source(c),
	}, s.quota.AdmitPushed(s.source(c)))
	if err != nil {
		return quotaLimit(err)
	}
	return encodeJSON(c, answer)
}
