package assertion_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/internal/jose"
)

const issuer = "https://issuer.example"

var (
	now      = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ecKey    = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	otherKey = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384Key  = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	rsaKey   = must(rsa.GenerateKey(rand.Reader, 2048))
	edKey    = ed25519.NewKeyFromSeed([]byte("a seed of just 32 octets, no less"[:32]))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// jwk is a public key with members more.
func jwk(pub crypto.PublicKey, more string) string {
	text := string(must(jose.MarshalJWK(pub)))
	return strings.TrimSuffix(text, "}") + more + "}"
}

func set(keys ...string) []byte { return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`) }

// token is a good assertion of the client "service" but for changes to its header and claims; what is nil is left out.
func token(key crypto.Signer, alg string, header, claims map[string]any) string {
	h := map[string]any{"alg": alg, "typ": "JWT"}
	c := map[string]any{
		"iss": "service", "sub": "service", "aud": issuer, "jti": "one", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	for _, m := range []struct{ to, from map[string]any }{{h, header}, {c, claims}} {
		maps.Copy(m.to, m.from)
		maps.DeleteFunc(m.to, func(_ string, v any) bool { return v == nil })
	}
	return must(jose.Sign(key, alg, must(json.Marshal(h)), must(json.Marshal(c))))
}

type object = map[string]any

func TestAccepted(t *testing.T) {
	keys := must(assertion.ParseKeys(set(
		jwk(ecKey.Public(), `,"kid":"ec","use":"sig","alg":"ES256"`), jwk(rsaKey.Public(), `,"kid":"rsa"`), jwk(edKey.Public(), `,"kid":"ed"`),
	)))
	for name, v := range map[string]struct {
		key            crypto.Signer
		alg            string
		header, claims object
	}{
		"ES256":                       {ecKey, "ES256", object{"kid": "ec"}, nil},
		"RS256":                       {rsaKey, "RS256", object{"kid": "rsa"}, nil},
		"EdDSA":                       {edKey, "EdDSA", object{"kid": "ed"}, nil},
		"Ed25519":                     {edKey, "Ed25519", object{"kid": "ed"}, nil},
		"no kid, one key of its kind": {ecKey, "ES256", nil, nil},
		"no typ":                      {ecKey, "ES256", object{"typ": nil}, nil},
		"typ of its own":              {ecKey, "ES256", object{"typ": "client-authentication+jwt"}, nil},
		"typ written out":             {ecKey, "ES256", object{"typ": "application/Client-Authentication+JWT"}, nil},
		"typ in lower case":           {ecKey, "ES256", object{"typ": "jwt"}, nil},
		"aud in an array":             {ecKey, "ES256", nil, object{"aud": []string{issuer}}},
		"no iat":                      {ecKey, "ES256", nil, object{"iat": nil}},
		"nbf":                         {ecKey, "ES256", nil, object{"nbf": now.Unix()}},
		"as long as may be":           {ecKey, "ES256", nil, object{"exp": now.Add(5 * time.Minute).Unix()}},
		"clock ahead": {ecKey, "ES256", nil,
			object{"iat": now.Add(time.Minute).Unix(), "nbf": now.Add(time.Minute).Unix(), "exp": now.Add(6 * time.Minute).Unix()}},
		"clock behind": {ecKey, "ES256", nil,
			object{"iat": now.Add(-90 * time.Second).Unix(), "exp": now.Add(-59 * time.Second).Unix()}},
		"fractions":                  {ecKey, "ES256", nil, object{"exp": float64(now.Unix()) + 30.5}},
		"longest jti":                {ecKey, "ES256", nil, object{"jti": strings.Repeat("j", 255)}},
		"more claims and parameters": {ecKey, "ES256", object{"x5t": "x", "jwk": object{}}, object{"htm": "POST", "azp": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := assertion.Parse(token(v.key, v.alg, v.header, v.claims))
			if err != nil {
				t.Fatalf("Parse = %v", err)
			}
			if err := a.Check(issuer, now); err != nil {
				t.Errorf("Check = %v, want nil", err)
			}
			key, ok := a.Choose(keys)
			if !ok || !a.Verify(key) {
				t.Errorf("Choose = %v, %v, want the key that verifies it", key.Kid, ok)
			}
			if a.Client != "service" || a.JTI == "" || !a.SpentUntil().After(now) {
				t.Errorf("assertion = %+v, want one of service that is not over", a)
			}
		})
	}
}

// TestRefused checks that Parse or Check refuses a faulty assertion, with any signature. The error names the part and repeats nothing.
func TestRefused(t *testing.T) {
	good := token(ecKey, "ES256", nil, nil)
	claims := func(text string) string {
		return must(jose.Sign(ecKey, "ES256", []byte(`{"alg":"ES256"}`), []byte(text)))
	}
	type test struct{ token, part string }
	tests := map[string]test{
		"empty":           {"", "form"},
		"no JWS":          {"echoed", "form"},
		"unsigned":        {strings.Join(strings.Split(good, ".")[:2], ".") + ".", "signature or key"},
		"too long":        {good + strings.Repeat("A", 8<<10), "size"},
		"padded":          {good + "=", "signature"},
		"JSON":            {`{"payload":"","protected":"","signature":""}`, "form"},
		"payload no JSON": {claims("echoed"), "payload"},
		"payload a list":  {claims("[]"), "payload"},
		"claim twice":     {claims(`{"iss":"service","sub":"service","sub":"other"}`), "payload"},
		"another case":    {claims(`{"ISS":"service"}`), "payload"},
	}
	for name, v := range map[string]struct {
		header, claims object
		part           string
	}{
		"access token":          {object{"typ": "at+jwt"}, nil, "typ"},
		"proof":                 {object{"typ": "dpop+jwt"}, nil, "typ"},
		"introspection answer":  {object{"typ": "token-introspection+jwt"}, nil, "typ"},
		"presentation":          {object{"typ": "im-presentation+jwt"}, nil, "typ"},
		"statement":             {object{"typ": "im-actor+jwt"}, nil, "typ"},
		"typ of a media type":   {object{"typ": "application/at+jwt"}, nil, "typ"},
		"typ no string":         {object{"typ": 1}, nil, "typ"},
		"crit":                  {object{"crit": []string{"exp"}}, nil, "crit"},
		"alg none":              {object{"alg": "none"}, nil, "alg"},
		"HMAC":                  {object{"alg": "HS256"}, nil, "alg"},
		"ES384":                 {object{"alg": "ES384"}, nil, "alg"},
		"PS256":                 {object{"alg": "PS256"}, nil, "alg"},
		"iss missing":           {nil, object{"iss": nil}, "iss"},
		"iss another":           {nil, object{"iss": "echoed"}, "iss"},
		"iss no string":         {nil, object{"iss": 1}, "iss"},
		"sub missing":           {nil, object{"sub": nil}, "sub"},
		"sub empty":             {nil, object{"sub": "", "iss": ""}, "sub"},
		"aud missing":           {nil, object{"aud": nil}, "aud"},
		"aud empty":             {nil, object{"aud": []string{}}, "aud"},
		"aud another":           {nil, object{"aud": "https://echoed.example"}, "aud"},
		"aud token endpoint":    {nil, object{"aud": issuer + "/token"}, "aud"},
		"aud with a slash":      {nil, object{"aud": issuer + "/"}, "aud"},
		"aud among others":      {nil, object{"aud": []string{issuer, "https://echoed.example"}}, "aud"},
		"aud twice":             {nil, object{"aud": []string{issuer, issuer}}, "aud"},
		"aud no string":         {nil, object{"aud": 1}, "aud"},
		"exp missing":           {nil, object{"exp": nil}, "exp"},
		"exp no number":         {nil, object{"exp": "soon"}, "exp"},
		"exp past":              {nil, object{"exp": now.Add(-time.Minute).Unix()}, "exp"},
		"exp long past":         {nil, object{"exp": 0, "iat": nil}, "exp"},
		"exp too far":           {nil, object{"exp": now.Add(6*time.Minute + time.Second).Unix(), "iat": nil}, "exp"},
		"exp in milliseconds":   {nil, object{"exp": now.UnixMilli()}, "exp"},
		"exp too long from iat": {nil, object{"exp": now.Add(5*time.Minute + time.Second).Unix()}, "exp"},
		"made long ago":         {nil, object{"iat": now.Add(-time.Hour).Unix()}, "exp"},
		"nbf future":            {nil, object{"nbf": now.Add(61 * time.Second).Unix()}, "nbf"},
		"iat future":            {nil, object{"iat": now.Add(61 * time.Second).Unix(), "exp": now.Add(2 * time.Minute).Unix()}, "iat"},
		"iat no number":         {nil, object{"iat": "now"}, "iat"},
		"jti missing":           {nil, object{"jti": nil}, "jti"},
		"jti empty":             {nil, object{"jti": ""}, "jti"},
		"jti no string":         {nil, object{"jti": 7}, "jti"},
		"jti too long":          {nil, object{"jti": strings.Repeat("j", 256)}, "jti"},
	} {
		tests[name] = test{token(ecKey, "ES256", v.header, v.claims), v.part}
	}
	keys := must(assertion.ParseKeys(set(jwk(ecKey.Public(), ""))))
	for name, v := range tests {
		t.Run(name, func(t *testing.T) {
			a, err := assertion.Parse(v.token)
			if err == nil {
				err = a.Check(issuer, now)
			}
			if v.part == "signature or key" {
				if key, ok := a.Choose(keys); err != nil || ok && a.Verify(key) {
					t.Errorf("Parse, Check = %v, want only Verify to refuse", err)
				}
				return
			}
			var e *assertion.Error
			if !errors.As(err, &e) || e.Part != v.part || strings.Contains(err.Error(), "echoed") {
				t.Errorf("Parse, Check = %v, want a refusal of %s", err, v.part)
			}
		})
	}
}

// TestNotTheirs checks that an assertion verifies only with the registered key that it names.
func TestNotTheirs(t *testing.T) {
	ec, other, ed := jwk(ecKey.Public(), `,"kid":"a"`), jwk(otherKey.Public(), `,"kid":"b"`), jwk(edKey.Public(), `,"kid":"c"`)
	for name, v := range map[string]struct {
		keys  []byte
		token string
	}{
		"by another key":               {set(jwk(otherKey.Public(), "")), token(ecKey, "ES256", nil, nil)},
		"by another key, kid of ours":  {set(ec), token(otherKey, "ES256", object{"kid": "a"}, nil)},
		"by one of ours, kid of other": {set(ec, other), token(ecKey, "ES256", object{"kid": "b"}, nil)},
		"no kid, several keys":         {set(ec, other), token(ecKey, "ES256", nil, nil)},
		"unknown kid":                  {set(ec, other), token(ecKey, "ES256", object{"kid": "z"}, nil)},
		"unknown kid, one key":         {set(ec), token(ecKey, "ES256", object{"kid": "z"}, nil)},
		"alg of another key":           {set(ec, ed), token(ecKey, "ES256", object{"kid": "c"}, nil)},
		"alg that the key is not for":  {set(ed), token(ecKey, "ES256", nil, nil)},
		"another curve":                {set(ec), token(p384Key, "ES384", object{"alg": "ES256", "kid": "a"}, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := assertion.Parse(v.token)
			if err != nil {
				t.Fatal(err)
			}
			if key, ok := a.Choose(must(assertion.ParseKeys(v.keys))); ok && a.Verify(key) {
				t.Errorf("verified by %q, want it refused", key.Kid)
			}
			a.VerifyNone()
		})
	}
	t.Run("signature cut", func(t *testing.T) {
		whole := token(ecKey, "ES256", nil, nil)
		a, err := assertion.Parse(whole[:len(whole)-6])
		if err != nil {
			t.Fatal(err)
		}
		if key, ok := a.Choose(must(assertion.ParseKeys(set(ec)))); !ok || a.Verify(key) {
			t.Error("verified without its end")
		}
	})
}

func TestParseKeys(t *testing.T) {
	ec, rs := jwk(ecKey.Public(), ""), jwk(rsaKey.Public(), "")
	for name, v := range map[string]struct{ set, want string }{
		"one":               {string(set(ec)), ""},
		"two":               {string(set(jwk(ecKey.Public(), `,"kid":"a"`), jwk(rsaKey.Public(), `,"kid":"b"`))), ""},
		"not JSON":          {"keys", "not"},
		"a key alone":       {ec, "not a JWK Set"},
		"none":              {`{"keys":[]}`, "no key"},
		"private":           {string(set(jwk(ecKey.Public(), `,"d":"AA"`))), "keys[0]: private or symmetric key"},
		"symmetric":         {`{"keys":[{"kty":"oct","k":"AAAA"}]}`, "keys[0]: private or symmetric key"},
		"for encryption":    {string(set(jwk(ecKey.Public(), `,"use":"enc"`))), "keys[0]: use must be sig"},
		"another curve":     {string(set(jwk(p384Key.Public(), ""))), "keys[0]: not a key for"},
		"another algorithm": {string(set(jwk(rsaKey.Public(), `,"alg":"PS256"`))), "keys[0]: not a key for"},
		"small RSA":         {`{"keys":[{"kty":"RSA","e":"AQAB","n":"` + strings.Repeat("o", 171) + `"}]}`, "keys[0]: n has 1024 bits"},
		"second is bad":     {string(set(jwk(ecKey.Public(), `,"kid":"a"`), `{"kty":"XX","kid":"b"}`)), "keys[1]: kty"},
		"no kid":            {string(set(jwk(ecKey.Public(), `,"kid":"a"`), rs)), "keys[1]: kid is missing"},
		"kid twice":         {string(set(jwk(ecKey.Public(), `,"kid":"a"`), jwk(rsaKey.Public(), `,"kid":"a"`))), "keys[1]: another key"},
	} {
		keys, err := assertion.ParseKeys([]byte(v.set))
		if got := fmt.Sprint(err); v.want == "" && (err != nil || len(keys) == 0) || v.want != "" && !strings.HasPrefix(got, v.want) {
			t.Errorf("%s: ParseKeys = %d keys, %v, want %q", name, len(keys), err, v.want)
		}
	}
}

// TestReadKeys checks that keys for other purposes in a client's set do no harm.
func TestReadKeys(t *testing.T) {
	a, b := jwk(ecKey.Public(), `,"kid":"a"`), jwk(rsaKey.Public(), `,"kid":"b"`)
	for name, v := range map[string]struct {
		set  []byte
		kids string
		ok   bool
	}{
		"two":            {set(a, b), "a b", true},
		"others beside":  {set(`{"kty":"oct","k":"AAAA"}`, `{"kty":"new"}`, `7`, jwk(p384Key.Public(), `,"kid":"c"`), a), "a", true},
		"kid twice":      {set(a, jwk(rsaKey.Public(), `,"kid":"a"`), b), "b", true},
		"nothing usable": {set(`{"kty":"oct","k":"AAAA"}`), "", true},
		"empty":          {set(), "", true},
		"not a set":      {[]byte("[]"), "", false},
	} {
		keys, err := assertion.ReadKeys(v.set)
		var kids []string
		for _, k := range keys {
			kids = append(kids, k.Kid)
		}
		if got := strings.Join(kids, " "); got != v.kids || (err == nil) != v.ok {
			t.Errorf("%s: ReadKeys = %q, %v, want %q", name, got, err, v.kids)
		}
	}
}

func TestSign(t *testing.T) {
	seen := make(map[string]bool)
	for _, key := range []crypto.Signer{ecKey, rsaKey, edKey} {
		for _, kid := range []string{"", `a"b`} {
			text, err := assertion.Sign(key, kid, "service", issuer, now)
			if err != nil {
				t.Fatal(err)
			}
			a := must(assertion.Parse(text))
			public := jwk(key.Public(), fmt.Sprintf(`,"kid":%q`, "a\"b"))
			chosen, ok := a.Choose(must(assertion.ParseKeys(set(public))))
			if err := a.Check(issuer, now); err != nil || !ok || !a.Verify(chosen) || a.Client != "service" || seen[a.JTI] {
				t.Errorf("Sign(%T, %q) = %s, want a good assertion with a jti of its own", key, kid, text)
			}
			seen[a.JTI] = true
		}
	}
	if _, err := assertion.Sign(p384Key, "", "service", issuer, now); err == nil {
		t.Error("Sign with P-384 = nil, want an error")
	}
}

// FuzzParse checks that an accepted assertion has the parts that Check and the caller rely on, and that no input causes a panic.
func FuzzParse(f *testing.F) {
	f.Add(token(ecKey, "ES256", nil, nil))
	f.Add("a.b.c")
	keys := must(assertion.ParseKeys(set(jwk(ecKey.Public(), `,"kid":"a"`))))
	f.Fuzz(func(t *testing.T, text string) {
		a, err := assertion.Parse(text)
		if err != nil {
			if e := (*assertion.Error)(nil); !errors.As(err, &e) {
				t.Errorf("Parse = %T, want *Error", err)
			}
			return
		}
		if a.Client == "" || a.JTI == "" || len(a.JTI) > 255 || a.Expires.IsZero() {
			t.Errorf("Parse = %+v", a)
		}
		_ = a.Check(issuer, now)
		if key, ok := a.Choose(keys); ok {
			a.Verify(key)
		}
		a.VerifyNone()
	})
}

func BenchmarkVerifyNone(b *testing.B) {
	for _, v := range []struct {
		key crypto.Signer
		alg string
	}{{ecKey, "ES256"}, {rsaKey, "RS256"}, {edKey, "EdDSA"}} {
		a := must(assertion.Parse(token(v.key, v.alg, nil, nil)))
		key, _ := a.Choose(must(assertion.ParseKeys(set(jwk(v.key.Public(), "")))))
		b.Run(v.alg+"/key", func(b *testing.B) {
			for b.Loop() {
				a.Verify(key)
			}
		})
		b.Run(v.alg+"/none", func(b *testing.B) {
			for b.Loop() {
				a.VerifyNone()
			}
		})
	}
}
