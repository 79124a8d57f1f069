package server

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/oauth"
)

// maxBatchBody is how many bytes a question about several tokens may have: enough for 100 tokens of the issuer, signed with RSA.
const maxBatchBody = 256 << 10

// shortForm is how many bytes the other parameters of most such questions have.
const shortForm = 1 << 10

// introspectBatch serves POST /introspect/batch: one caller asks about up to 100 tokens.
func (s *Server) introspectBatch(c echo.Context) error {
	by, params, err := s.caller(c, oauth.ScopeIntrospect, batchForm)
	if err != nil {
		return err
	}
	tokens, err := batchTokens(params)
	if err != nil {
		return err
	}
	signed, err := s.signs(c, &by, introspect.MediaTypeSignedBatch)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	outcomes, err := s.Introspector.IntrospectBatch(ctx, by.Caller, tokens)
	if err != nil {
		return err
	}
	var jwt string
	if signed {
		claims := s.envelope(&by).AppendBatchClaims(make([]byte, 0, 1024*len(tokens)), outcomes)
		if jwt, err = s.Keys.Sign(jose.TypeIntrospectionBatch, claims); err != nil {
			return err
		}
	}
	if err := s.Registry.Spend(ctx, by.assertion); err != nil {
		return err
	}
	for i := range outcomes {
		if !outcomes[i].Unknown {
			s.metrics.introspected(outcomes[i].Answer.Active)
		}
	}
	if signed {
		return writeSigned(c, introspect.MediaTypeSignedBatch, jwt)
	}
	return writeJSON(c, append(introspect.AppendBatch(make([]byte, 0, 1024*len(tokens)), outcomes), '\n'))
}

// batchForm reads the parameters of a question about several tokens. The parameter tokens may be longer than those of other requests.
func batchForm(c echo.Context) (url.Values, error) {
	text, err := formText(c, maxBatchBody)
	if err != nil {
		return nil, err
	}
	var tokens []string
	rest := make([]byte, 0, shortForm)
	for pair := range strings.SplitSeq(text, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name, err := unescape(name); err != nil || name != "tokens" {
			if rest = append(append(rest, pair...), '&'); len(rest) > httpapi.MaxBody {
				return nil, httpapi.ErrTooLarge
			}
			continue
		}
		list, err := unescape(value)
		if err != nil {
			return nil, invalid("The parameters are not well-formed: check their percent-encoding.")
		}
		tokens = append(tokens, list)
	}
	params, err := parameters(string(rest))
	if err != nil {
		return nil, err
	}
	noteRequest(c, params)
	if len(tokens) > 1 {
		return nil, invalid("A parameter is repeated.")
	}
	if tokens != nil {
		params["tokens"] = tokens
	}
	return params, nil
}

// batchTokens reads the tokens that are asked about.
func batchTokens(params url.Values) ([]string, error) {
	for _, name := range []string{"token", "im_along", "proof", "presentation"} {
		if params.Has(name) {
			return nil, invalid("The parameter " + name + " is for questions about one token: see /introspect.")
		}
	}
	tokens, err := jose.Strings([]byte(params.Get("tokens")))
	switch {
	case err != nil || len(tokens) == 0:
		return nil, invalid("The parameter tokens must be a JSON array of tokens, with at least one.")
	case len(tokens) > introspect.MaxBatch:
		return nil, invalid(fmt.Sprintf("There are %d tokens, and a request may be about %d.", len(tokens), introspect.MaxBatch))
	}
	for i, token := range tokens {
		if token == "" {
			return nil, invalid(fmt.Sprintf("Token %d is empty.", i+1))
		}
	}
	return tokens, nil
}
