package introspect_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
)

// The claims of a signed answer are those of RFC 9701 §5. Why a token is not active is beside the answer, which is then bare.
func TestSignedClaims(t *testing.T) {
	s := newIssuing(t, 0)
	token := s.issue(t, jose.TypeAccessToken, alice())
	expired := s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.IssuedAt, set.Expires = start.Add(-time.Minute), start }))
	one := introspect.Envelope{Issuer: issuer, Audience: introspect.Audience{"peer"}, IssuedAt: start.Add(time.Second / 2)}
	two := one
	two.Audience = introspect.Audience{"peer", school}
	const begin = `{"iss":"https://id.example.com","aud":"peer","iat":1777863721,"token_introspection":`
	for name, test := range map[string]struct {
		envelope introspect.Envelope
		caller   introspect.Caller
		token    string
		want     string
	}{
		"active":           {one, peer, token, begin + s.ask(t, peer, token) + `}`},
		"two audiences":    {two, peer, token, strings.Replace(begin, `"peer"`, `["peer","https://id.school.example"]`, 1) + s.ask(t, peer, token) + `}`},
		"inactive":         {one, peer, expired, begin + `{"active":false}}`},
		"with a reason":    {one, auditor, expired, begin + `{"active":false},"im_detail":{"reason":"expired"}}`},
		"a path":           {one, auditor, "", begin + `{"active":false},"im_detail":{"reason":"revoked","path":"tokens[0]"}}`},
		"not for a caller": {one, introspect.Caller{Scopes: []string{"introspect"}}, token, begin + `{"active":false}}`},
	} {
		t.Run(name, func(t *testing.T) {
			answer := introspect.Answer{Reason: "revoked", Path: "tokens[0]"}
			if test.token != "" {
				verdict, err := s.Introspect(t.Context(), test.caller, introspect.Question{Token: test.token})
				if err != nil {
					t.Fatal(err)
				}
				answer = verdict.Answer()
			}
			got := test.envelope.AppendClaims([]byte(nil), &answer)
			if string(got) != test.want || !json.Valid(got) {
				t.Errorf("AppendClaims =\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}
