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
	var err error
	if q.Along, err = along(params); err != nil {
		return q, err
	}
	return q, shown(params, &q.Shown)
}

// along reads the tokens that were sent along with one that names them by their digests.
func along(params url.Values) (list []string, err error) {
	if text := params.Get("im_along"); text != "" {
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return nil, invalid("The parameter im_along must be a JSON array of tokens.")
		}
	}
	return list, nil
}

// shown reads what the holder of the token showed to the caller.
func shown(params url.Values, s *introspect.Shown) error {
	if len(params) == 1 { // the token, and nothing that goes with it
		return nil
	}
	s.Proof, s.Presentation = params.Get("proof"), params.Get("presentation")
	for _, p := range [...]struct{ name, with, given string }{
		{"proof_htm", "proof", s.Proof}, {"proof_htu", "proof", s.Proof}, {"proof_nonce", "proof", s.Proof},
		{"presentation_nonce", "presentation", s.Presentation}, {"presentation_aud", "presentation", s.Presentation},
	} {
		if p.given == "" && params.Has(p.name) {
			return invalid("The parameter " + p.name + " goes with " + p.with + ", which is missing.")
		}
	}
	switch {
	case s.Proof != "" && s.Presentation != "":
		return invalid("There are a proof and a presentation: send the one that the holder showed.")
	case s.Proof != "":
		s.Method, s.URL, s.Nonce = params.Get("proof_htm"), params.Get("proof_htu"), params.Get("proof_nonce")
		if s.Method == "" || s.URL == "" {
			return invalid("A proof goes with proof_htm and proof_htu, the method and the URL of the request that it came with.")
		}
	case s.Presentation != "":
		s.Audience, s.Nonce = params.Get("presentation_aud"), params.Get("presentation_nonce")
		if s.Audience == "" || s.Nonce == "" {
			return invalid("A presentation goes with presentation_aud and presentation_nonce, your name and the nonce that you gave.")
		}
	}
	return nil
}

// writeJSON answers 200 with a JSON text.
func writeJSON(c echo.Context, text []byte) error {
	c.Response().Header()[echo.HeaderContentType] = typeJSON
	c.Response().WriteHeader(http.StatusOK)
	_, err := c.Response().Write(text)
	return err
}
