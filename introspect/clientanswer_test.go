package introspect_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/imidentity/issuer/introspect"
)

// unusable are answers that say nothing, whatever they look like.
var unusable = map[string]string{
	"nothing":                ``,
	"no JSON":                `active`,
	"an array":               `[]`,
	"no active":              `{"sub":"a"}`,
	"active is a text":       `{"active":"true"}`,
	"active is null":         `{"active":null}`,
	"active is a number":     `{"active":1}`,
	"active twice":           `{"active":false,"active":true}`,
	"active in capitals":     `{"Active":true}`,
	"two spellings":          `{"active":false,"ACTIVE":true}`,
	"active alone":           `{"active":true}`,
	"cut short":              activeAnswer[:len(activeAnswer)-1],
	"something behind":       activeAnswer + activeAnswer,
	"no key":                 strings.Replace(activeAnswer, `"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},`, ``, 1),
	"an empty key":           strings.Replace(activeAnswer, `0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I`, ``, 1),
	"a short key":            strings.Replace(activeAnswer, `0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I`, `0ZcOCORZ`, 1),
	"a key in capitals":      strings.Replace(activeAnswer, `"jkt"`, `"JKT"`, 1),
	"cnf is null":            strings.Replace(activeAnswer, `{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}`, `null`, 1),
	"a bearer with a key":    strings.Replace(activeAnswer, `"DPoP"`, `"Bearer"`, 1),
	"another kind of token":  strings.Replace(activeAnswer, `"DPoP"`, `"mac"`, 1),
	"no token_type":          strings.Replace(activeAnswer, `"token_type":"DPoP",`, ``, 1),
	"no max_age":             strings.Replace(activeAnswer, `"max_age":5,`, ``, 1),
	"no expires_in":          strings.Replace(activeAnswer, `"expires_in":60,`, ``, 1),
	"no holder":              strings.Replace(activeAnswer, `,"holder":"unverified"`, ``, 1),
	"another holder":         strings.Replace(activeAnswer, `unverified`, `somebody`, 1),
	"another issuer":         strings.Replace(activeAnswer, `{`, `{"iss":"https://id.example.org",`, 1),
	"max_age is negative":    strings.Replace(activeAnswer, `"max_age":5`, `"max_age":-5`, 1),
	"max_age is huge":        strings.Replace(activeAnswer, `"max_age":5`, `"max_age":9000000000000000000`, 1),
	"max_age is a text":      strings.Replace(activeAnswer, `"max_age":5`, `"max_age":"5"`, 1),
	"expires_in is negative": strings.Replace(activeAnswer, `"expires_in":60`, `"expires_in":-1`, 1),
	"expires_in is a float":  strings.Replace(activeAnswer, `"expires_in":60`, `"expires_in":1e400`, 1),
	"a subject of numbers":   strings.Replace(activeAnswer, `"sub":"im:alice@example.com;id-type=user"`, `"sub":7`, 1),
	"an audience of numbers": strings.Replace(activeAnswer, `{`, `{"aud":[7],`, 1),
	"a reason of numbers":    `{"active":false,"reason":7}`,
	"a long reason":          `{"active":false,"reason":"` + strings.Repeat("a", 200) + `"}`,
	"too deep":               strings.Replace(activeAnswer, `{`, `{"act":`+strings.Repeat(`{"act":`, 40)+`{}`+strings.Repeat(`}`, 40)+`,`, 1),
	"too large":              strings.Replace(activeAnswer, `{`, `{"scope":"`+strings.Repeat("a", 64<<10)+`",`, 1),
}

// TestClientUnusable holds that such answers are neither a "yes" nor a "no", and are not kept.
func TestClientUnusable(t *testing.T) {
	for name, text := range unusable {
		t.Run(name, func(t *testing.T) {
			f := newFaultyIssuer(t, nil)
			f.answer = says(text)
			c, _ := f.client(t)
			for range 2 {
				if r, err := c.Introspect(t.Context(), about("the-token")); !errors.Is(err, introspect.ErrUnknown) || r.Answer.Active || strings.Contains(err.Error(), "the-token") {
					t.Errorf("Introspect = %+v, %v, want ErrUnknown", r, err)
				}
			}
			f.wantAsked(t, 2, "such an answer is not kept")
		})
	}
}

// TestClientContentType holds which types of answers are read.
func TestClientContentType(t *testing.T) {
	for kind, good := range map[string]bool{
		"application/json": true, "application/json; charset=utf-8": true, "text/html": false, "": false, "application/jwt": false,
		"application/token-introspection+jwt": false, // it is none
		"application/json, text/html":         false,
	} {
		f := newFaultyIssuer(t, nil)
		f.answer = func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header()["Content-Type"] = []string{kind}
			if _, err := w.Write([]byte(activeAnswer)); err != nil {
				t.Error(err)
			}
		}
		c, _ := f.client(t)
		if r, err := c.Introspect(t.Context(), about("token")); good != (err == nil && r.Answer.Active) || !good && !errors.Is(err, introspect.ErrUnknown) {
			t.Errorf("%q: Introspect = %+v, %v, want it to be read: %t", kind, r, err, good)
		}
	}
}

// TestClientBearer holds that the token of a service without a key is not one whose holder is known.
func TestClientBearer(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	bearer := `{"active":true,"sub":"bot","aud":"im:example.com","token_type":"Bearer","expires_in":60,"max_age":5,"holder":"unverified"}`
	f.answer = says(bearer)
	c, _ := f.client(t)
	if a := wantActive(t, c, "token").Answer; a.Confirmation != nil || len(a.Audience) != 1 || a.Audience[0] != "im:example.com" {
		t.Errorf("answer = %+v, want no key and one audience", a)
	}
	f.change(func() { f.answer = says(strings.Replace(bearer, "unverified", "verified", 1)) })
	q := introspect.Question{Token: "token", Shown: introspect.Shown{Presentation: "p", Audience: "im:example.com", Nonce: "n"}}
	if r, err := c.Introspect(t.Context(), q); !errors.Is(err, introspect.ErrUnknown) {
		t.Errorf("Introspect = %+v, %v, want ErrUnknown: a token without a key has no holder", r, err)
	}
}

// FuzzClientAnswer holds that every answer is a usable "yes", a bare "no", or an ErrUnknown.
func FuzzClientAnswer(f *testing.F) {
	for _, text := range unusable {
		f.Add(text)
	}
	f.Add(activeAnswer)
	f.Add(inactive)
	issuer := newFaultyIssuer(f, nil)
	c, _ := issuer.client(f, func(c *introspect.ClientConfig) { c.MaxAge, c.RefusalAge = -1, -1 })
	f.Fuzz(func(t *testing.T, text string) {
		issuer.change(func() { issuer.answer = says(text) })
		r, err := c.Introspect(t.Context(), about("token"))
		a := r.Answer
		switch {
		case err != nil:
			if !errors.Is(err, introspect.ErrUnknown) || a.Active {
				t.Errorf("Introspect(%q) = %+v, %v, want ErrUnknown", text, r, err)
			}
		case a.Active:
			bound := a.TokenType == "DPoP" && a.Confirmation != nil && len(a.Confirmation.JKT) == 43
			bearer := a.TokenType == "Bearer" && a.Confirmation == nil
			var plain struct{ Active bool }
			if !bound && !bearer || a.Holder != introspect.Unverified || a.ExpiresIn < 0 || a.MaxAge < 0 ||
				json.Unmarshal([]byte(text), &plain) != nil || !plain.Active {
				t.Errorf("Introspect(%q) = %+v, which cannot be used", text, r)
			}
		case a.Subject != "" || a.Confirmation != nil:
			t.Errorf("Introspect(%q) = %+v, want a bare refusal", text, r)
		}
	})
}
