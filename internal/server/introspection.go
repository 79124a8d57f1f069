package server

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/oauth"
)

// introspect serves POST /introspect (RFC 7662 §2). An inactive token is an answer, not an error.
func (s *Server) introspect(c echo.Context) error {
	by, params, err := s.caller(c, oauth.ScopeIntrospect, form)
	if err != nil {
		return err
	}
	q, err := question(params)
	if err != nil {
		return err
	}
	signed, err := s.signs(c, &by, introspect.MediaTypeSigned)
	if err != nil {
		return err
	}
	verdict, err := s.Introspector.Introspect(c.Request().Context(), by.Caller, q)
	if err != nil {
		return err
	}
	answer := verdict.Answer()
	var jwt string
	if signed {
		if jwt, err = s.signAnswer(&by, &answer); err != nil {
			return err
		}
	}
	// The caller's client assertion is spent after the answer is computed and before it is sent.
	if err := s.Registry.Spend(c.Request().Context(), by.assertion); err != nil {
		return err
	}
	s.metrics.introspected(verdict.Active)
	if signed {
		return writeSigned(c, introspect.MediaTypeSigned, jwt)
	}
	return writeJSON(c, append(answer.AppendJSON(make([]byte, 0, 1024)), '\n'))
}

// question reads the token that is asked about.
func question(params url.Values) (introspect.Question, error) {
	q := introspect.Question{Token: params.Get("token")}
	if q.Token == "" {
		return q, invalid("The parameter token is missing.")
	}
	if text := params.Get("im_along"); text != "" {
		if err := json.Unmarshal([]byte(text), &q.Along); err != nil {
			return q, invalid("The parameter im_along must be a JSON array of tokens.")
		}
	}
	return q, nil
}

// writeJSON answers 200 with a JSON text.
func writeJSON(c echo.Context, text []byte) error {
	c.Response().Header()[echo.HeaderContentType] = typeJSON
	c.Response().WriteHeader(http.StatusOK)
	_, err := c.Response().Write(text)
	return err
}
