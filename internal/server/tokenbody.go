package server

import (
	"bytes"
	"encoding/json"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/oauth"
)

// jsonParameters are the text parameters of the grant for embedded tokens.
var jsonParameters = []string{
	"client_id", "client_secret", "client_assertion", "client_assertion_type", "requested_token_type", "scope",
	"subject_token", "subject_token_type", "im_domain",
}

// tokenParams reads the parameters of a request to the token endpoint, from a form. Those of the grant for embedded tokens may
// be a JSON object too, as in draft-yusef-oauth-nested-jwt.
func (s *Server) tokenParams(c echo.Context) (url.Values, error) {
	if !httpapi.IsJSON(c.Request()) {
		return form(c)
	}
	if c.Request().URL.RawQuery != "" {
		return nil, invalid("Send parameters in the body, not in the URL, which logs keep.")
	}
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return nil, err
	}
	if b.String("grant_type") != oauth.GrantEmbed {
		return nil, invalid("JSON is for the grant " + oauth.GrantEmbed +
			": all others are sent as application/x-www-form-urlencoded.")
	}
	params := url.Values{"grant_type": {oauth.GrantEmbed}}
	for _, name := range []string{"resource", "audience"} {
		if list := b.Strings(name); len(list) > 0 {
			params[name] = list
		}
	}
	for _, name := range []string{"tokens", "im_along"} {
		if raw := b.Raw(name); raw != nil {
			var text bytes.Buffer
			if err := json.Compact(&text, raw); err != nil || raw[0] != '[' {
				return nil, invalid("The member " + name + " must be an array.")
			}
			params.Set(name, text.String())
		}
	}
	for _, name := range jsonParameters { // others are ignored (RFC 6749 §3.2)
		if value := b.String(name); value != "" {
			params.Set(name, value)
		}
	}
	if err := b.Err(); err != nil {
		return nil, err
	}
	// The same rules hold for both forms.
	return parameters(params.Encode())
}
