package server

import (
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/oauth"
)

// successor serves POST /successor: whether one access token is a valid successor of another (RFC 9420 §5.3.1). Callers are those of
// /introspect. That it is not is an answer, not an error.
func (s *Server) successor(c echo.Context) error {
	by, params, err := s.caller(c, oauth.ScopeIntrospect, form)
	if err != nil {
		return err
	}
	q, err := succession(params)
	if err != nil {
		return err
	}
	signed, err := s.signs(c, &by, introspect.MediaTypeSuccessor)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	answer, err := s.Introspector.Successor(ctx, by.Caller, q)
	if err != nil {
		return err
	}
	var jwt string
	if signed {
		claims := s.envelope(&by).AppendSuccessorClaims(make([]byte, 0, 512), dpop.ATH(q.Token), dpop.ATH(q.Successor), &answer)
		if jwt, err = s.Keys.Sign(jose.TypeSuccessor, claims); err != nil {
			return err
		}
	}
	// As at /introspect: after the answer is computed and before it is sent.
	if err := s.Registry.Spend(ctx, by.assertion); err != nil {
		return err
	}
	if signed {
		return writeSigned(c, introspect.MediaTypeSuccessor, jwt)
	}
	return writeJSON(c, append(answer.AppendJSON(make([]byte, 0, 128)), '\n'))
}

// succession reads the two tokens that are asked about.
func succession(params url.Values) (introspect.Succession, error) {
	q := introspect.Succession{Token: params.Get("token"), Successor: params.Get("successor_token")}
	for _, p := range [...]struct{ name, value string }{{"token", q.Token}, {"successor_token", q.Successor}} {
		if p.value == "" {
			return q, invalid("The parameter " + p.name + " is missing: send the old token as token, and the new one as successor_token.")
		}
	}
	for _, name := range []string{"tokens", "proof", "presentation"} {
		if params.Has(name) {
			return q, invalid("The parameter " + name + " is not for this endpoint: see /introspect.")
		}
	}
	var err error
	q.Along, err = along(params)
	return q, err
}
