package introspect_test

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
)

// jwks is a key set of one key.
func jwks(t *testing.T, key *ecdsa.PrivateKey, kid string) string {
	t.Helper()
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"keys":[%s,"kid":%q}]}`, jwk[:len(jwk)-1], kid)
}

// signs answers with a JWT.
func signs(t *testing.T, key *ecdsa.PrivateKey, header, claims string) func(http.ResponseWriter, *http.Request, string) {
	t.Helper()
	text, err := jose.Sign(key, jose.ES256, []byte(header), []byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", introspect.MediaTypeSigned)
		fmt.Fprint(w, text)
	}
}

const signedHeader = `{"typ":"token-introspection+jwt","alg":"ES256","kid":"k1"}`

// TestClientSigned holds what a signed answer must be.
func TestClientSigned(t *testing.T) {
	key, other := newHolderKey(t), newHolderKey(t)
	for name, test := range map[string]struct {
		header, claims func(string) string
		key            *ecdsa.PrivateKey
		good           bool
	}{
		"good":                   {good: true},
		"by another key":         {key: other},
		"of another type":        {header: replacing("token-introspection+jwt", "at+jwt")},
		"of no type":             {header: replacing(`"typ":"token-introspection+jwt",`, ``)},
		"of a batch":             {header: replacing("token-introspection+jwt", "im-introspection-batch+jwt")},
		"with another algorithm": {header: replacing("ES256", "EdDSA")},
		"without a kid":          {header: replacing(`,"kid":"k1"`, ``)},
		"with an unknown kid":    {header: replacing(`k1`, `k2`)},
		"of another issuer":      {claims: replacing(`"iss":"`, `"iss":"https://id.example.org/`)},
		"for another caller":     {claims: replacing(`"rooms"`, `"files"`)},
		"for others, too":        {claims: replacing(`"rooms"`, `["rooms","files"]`)},
		"no audience":            {claims: replacing(`"aud":"rooms",`, ``)},
		"old":                    {claims: replacing(fmt.Sprint(start.Unix()), fmt.Sprint(start.Unix()-61))},
		"of the future":          {claims: replacing(fmt.Sprint(start.Unix()), fmt.Sprint(start.Unix()+61))},
		"without a time":         {claims: replacing(fmt.Sprintf(`"iat":%d,`, start.Unix()), ``)},
		"with an answer outside": {claims: replacing(`"token_introspection":`+activeAnswer, strings.Trim(activeAnswer, "{}"))},
		"with an answer twice":   {claims: replacing(`"token_introspection":`, `"token_introspection":{"active":false},"token_introspection":`)},
		"of no use":              {claims: replacing(activeAnswer, `{"active":true}`)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaultyIssuer(t, nil)
			f.keys = jwks(t, key, "k1")
			header, signer := signedHeader, key
			claims := fmt.Sprintf(`{"iss":%q,"aud":"rooms","iat":%d,"token_introspection":%s}`, f.URL, start.Unix(), activeAnswer)
			if test.header != nil {
				header = test.header(header)
			}
			if test.claims != nil {
				claims = test.claims(claims)
			}
			if test.key != nil {
				signer = test.key
			}
			f.answer = signs(t, signer, header, claims)
			c, _ := f.client(t, func(c *introspect.ClientConfig) { c.Signed = true })
			r, err := c.Introspect(t.Context(), about("token"))
			if test.good != (err == nil && r.Answer.Active) || !test.good && (!errors.Is(err, introspect.ErrUnknown) || r.Answer.Active) {
				t.Errorf("Introspect = %+v, %v, want good: %t", r, err, test.good)
			}
		})
	}
}

func replacing(old, by string) func(string) string {
	return func(text string) string { return strings.Replace(text, old, by, 1) }
}

// TestClientSignedDemanded holds that a plain answer does not pass where a signed one is demanded, that the reason is in im_detail, and
// that a signed answer is verified also where it was not asked for.
func TestClientSignedDemanded(t *testing.T) {
	f, key := newFaultyIssuer(t, nil), newHolderKey(t)
	f.keys = jwks(t, key, "k1")
	c, _ := f.client(t, func(c *introspect.ClientConfig) { c.Signed = true })
	if r, err := c.Introspect(t.Context(), about("token")); !errors.Is(err, introspect.ErrUnknown) || r.Answer.Active {
		t.Errorf("Introspect = %+v, %v, want ErrUnknown for a plain answer", r, err)
	}
	all, err := c.IntrospectAll(t.Context(), []string{"one", "two"})
	if err != nil || !errors.Is(all[0].Err, introspect.ErrUnknown) || !errors.Is(all[1].Err, introspect.ErrUnknown) {
		t.Errorf("IntrospectAll = %+v, %v, want ErrUnknown", all, err)
	}
	refusal := fmt.Sprintf(`{"iss":%q,"aud":"rooms","iat":%d,"token_introspection":{"active":false},"im_detail":{"reason":"expired"}}`, f.URL, start.Unix())
	f.change(func() { f.answer = signs(t, key, signedHeader, refusal) })
	for _, changes := range [][]func(*introspect.ClientConfig){{func(c *introspect.ClientConfig) { c.Signed = true }}, nil} {
		c, _ = f.client(t, changes...)
		if r, err := c.Introspect(t.Context(), about("token")); err != nil || r.Answer.Active || r.Answer.Reason != introspect.Expired {
			t.Errorf("Introspect = %+v, %v, want inactive with the reason", r, err)
		}
	}
	f.change(func() { f.answer = signs(t, newHolderKey(t), signedHeader, refusal) })
	c, _ = f.client(t)
	if r, err := c.Introspect(t.Context(), about("token")); !errors.Is(err, introspect.ErrUnknown) {
		t.Errorf("Introspect = %+v, %v, want ErrUnknown", r, err)
	}
}

// TestClientKeys holds that keys are fetched again for an unknown kid, and at most once a minute.
func TestClientKeys(t *testing.T) {
	f, old, next := newFaultyIssuer(t, nil), newHolderKey(t), newHolderKey(t)
	f.keys = jwks(t, old, "k1")
	c, clock := f.client(t, func(c *introspect.ClientConfig) { c.Signed, c.MaxAge = true, -1 })
	answer := func(key *ecdsa.PrivateKey, kid string) {
		claims := fmt.Sprintf(`{"iss":%q,"aud":"rooms","iat":%d,"token_introspection":%s}`, f.URL, clock.now().Unix(), activeAnswer)
		f.change(func() { f.answer = signs(t, key, strings.Replace(signedHeader, "k1", kid, 1), claims) })
	}
	fetched := func(want int) {
		t.Helper()
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.fetched != want {
			t.Errorf("the keys were fetched %d times, want %d", f.fetched, want)
		}
	}
	answer(old, "k1")
	wantActive(t, c, "token")
	wantActive(t, c, "token")
	fetched(1)
	f.change(func() { f.keys = jwks(t, next, "k2") })
	answer(next, "k2")
	wantActive(t, c, "token")
	fetched(2)
	answer(next, "k3")
	for range 5 {
		if r, err := c.Introspect(t.Context(), about("token")); !errors.Is(err, introspect.ErrUnknown) {
			t.Errorf("Introspect = %+v, %v, want ErrUnknown", r, err)
		}
	}
	fetched(2)
	clock.advance(time.Minute)
	answer(next, "k3")
	if r, err := c.Introspect(t.Context(), about("token")); !errors.Is(err, introspect.ErrUnknown) {
		t.Errorf("Introspect = %+v, %v, want ErrUnknown", r, err)
	}
	fetched(3)
}
