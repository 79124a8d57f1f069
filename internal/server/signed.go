package server

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/oauth"
)

// signs reports whether the answer to a caller is signed: the client is registered for that, or the request accepts the media type of
// signed answers (RFC 9701 §4, §6). The error refuses a client that is registered for another algorithm than the issuer signs with.
func (s *Server) signs(c echo.Context, by *tokenCaller, mediaType string) (bool, error) {
	if by.signedAlg == "" {
		return accepts(c.Request().Header["Accept"], mediaType), nil
	}
	if _, alg, _ := s.Keys.Signer(); alg != by.signedAlg {
		return false, &httpapi.RefusedError{Status: http.StatusNotAcceptable, Code: oauth.CodeInvalidRequest,
			Description: "The client is registered for answers signed with " + by.signedAlg + ", and the issuer signs with " + alg +
				": ask its operator to change introspection_signed_response_alg."}
	}
	return true, nil
}

// writeSigned answers 200 with a JWT.
func writeSigned(c echo.Context, mediaType, jwt string) error {
	c.Response().Header()[echo.HeaderContentType] = []string{mediaType}
	c.Response().WriteHeader(http.StatusOK)
	_, err := c.Response().Write([]byte(jwt))
	return err
}

// envelope returns the claims of a signed answer to a caller that are not about a token.
func (s *Server) envelope(by *tokenCaller) introspect.Envelope {
	return introspect.Envelope{Issuer: s.Issuer, Audience: by.audience(), IssuedAt: s.Now()}
}

// signAnswer signs an answer about one token (RFC 9701 §5).
func (s *Server) signAnswer(by *tokenCaller, a *introspect.Answer) (string, error) {
	return s.Keys.Sign(jose.TypeIntrospection, s.envelope(by).AppendClaims(make([]byte, 0, 1024), a))
}

// accepts reports whether the values of an Accept header name a media type, and do not prefer JSON (RFC 9110 §12.5.1). A wildcard
// does not name it: every program that takes JSON sends one.
func accepts(values []string, mediaType string) bool {
	var wanted, json float64
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			name, parameters, _ := strings.Cut(part, ";")
			switch name = strings.TrimSpace(name); {
			case strings.EqualFold(name, mediaType):
				wanted = quality(parameters)
			case strings.EqualFold(name, echo.MIMEApplicationJSON):
				json = quality(parameters)
			}
		}
	}
	return wanted > 0 && wanted >= json
}

// quality returns the weight among the parameters of a media range, 1 if there is none, and 0 for one that is malformed.
func quality(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
