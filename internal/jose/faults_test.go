package jose_test

import (
	"context"
	"crypto"
	"encoding/json"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/imidentity/issuer/internal/jose"
)

// TestFaultsOfJWX holds what docs/divergences.md says about jwx v2: each input is accepted by jwx and refused here. If jwx no
// longer accepts one, the document has to be changed.
func TestFaultsOfJWX(t *testing.T) {
	key := keys()["P-256"]
	private, err := jwk.FromRaw(key)
	if err != nil {
		t.Fatal(err)
	}
	privateText, err := json.Marshal(private)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(header string) string {
		token, err := jose.Sign(key, jose.ES256, []byte(header), []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	plain := sign(`{"alg":"ES256"}`)
	parts := strings.Split(plain, ".")
	for name, token := range map[string]string{
		"crit with an unknown extension": sign(`{"alg":"ES256","crit":["x"],"x":1}`),
		"crit without its extension":     sign(`{"alg":"ES256","crit":["x"]}`),
		"JSON serialization":             `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"padded base64":                  parts[0] + "." + parts[1] + "." + parts[2] + "==",
		"plain base64":                   parts[0] + "." + parts[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(parts[2]) + "==",
		"line breaks":                    parts[0] + "." + parts[1] + ".\n" + parts[2] + "\r\n",
		"alg twice":                      sign(`{"alg":"none","alg":"ES256"}`),
		"a parameter twice":              sign(`{"alg":"ES256","kid":"a","kid":"b"}`),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := jws.Verify([]byte(token), jws.WithKey(jwa.ES256, key.Public())); err != nil {
				t.Errorf("jwx refuses it by now: %v", err)
			}
			if _, err := jose.ParseCompact(token, jose.Limits{}); err == nil {
				t.Error("ParseCompact accepts it")
			}
		})
	}

	t.Run("private key in jwk", func(t *testing.T) {
		token := sign(`{"alg":"ES256","jwk":` + string(privateText) + `}`)
		byHeader := jws.KeyProviderFunc(func(_ context.Context, sink jws.KeySink, sig *jws.Signature, _ *jws.Message) error {
			sink.Key(sig.ProtectedHeaders().Algorithm(), sig.ProtectedHeaders().JWK())
			return nil
		})
		if _, err := jws.Verify([]byte(token), jws.WithKeyProvider(byHeader)); err != nil {
			t.Errorf("jwx refuses it by now: %v", err)
		}
		parsed, err := jose.ParseCompact(token, jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jose.ParseJWK(parsed.Header.JWK); err == nil {
			t.Error("ParseJWK accepts it")
		}
	})

	t.Run("symmetric key in jwk", func(t *testing.T) {
		header := `{"alg":"HS256","jwk":{"kty":"oct","k":"c2VjcmV0"}}`
		headers := jws.NewHeaders()
		if err := json.Unmarshal([]byte(header), headers); err != nil {
			t.Fatal(err)
		}
		token, err := jws.Sign([]byte(`{}`), jws.WithKey(jwa.HS256, []byte("secret"), jws.WithProtectedHeaders(headers)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jws.Verify(token, jws.WithKey(headers.Algorithm(), headers.JWK())); err != nil {
			t.Errorf("jwx refuses it by now: %v", err)
		}
		parsed, err := jose.ParseCompact(string(token), jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if key, err := jose.ParseJWK(parsed.Header.JWK); err == nil || parsed.Verify(jwa.HS256.String(), key.Public) == nil {
			t.Error("ParseJWK and Verify accept it")
		}
	})

	// GHSA-4cf7-xm37-g63h: the name of a claim is written as it is, and can add claims.
	t.Run("names are not escaped", func(t *testing.T) {
		token := jwt.New()
		if err := token.Set(`x":0,"admin`, true); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(token)
		if err != nil || string(text) != `{"x":0,"admin":true}` {
			t.Errorf("jwx writes %s, %v by now", text, err)
		}
	})

	t.Run("public set with a symmetric key", func(t *testing.T) {
		set := jwk.NewSet()
		secret, err := jwk.FromRaw([]byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		if err := set.AddKey(secret); err != nil {
			t.Fatal(err)
		}
		public, err := jwk.PublicSetOf(set)
		if err != nil {
			t.Fatalf("jwx refuses it by now: %v", err)
		}
		text, err := json.Marshal(public)
		if err != nil || !strings.Contains(string(text), encode("secret")) {
			t.Errorf("jwx leaves the secret out by now: %s, %v", text, err)
		}
		if jwk, err := jose.MarshalJWK(crypto.PublicKey([]byte("secret"))); err == nil {
			t.Errorf("MarshalJWK = %s, want an error", jwk)
		}
	})

	t.Run("b64 without crit", func(t *testing.T) {
		token := sign(`{"alg":"ES256","b64":false}`)
		payload, err := jws.Verify([]byte(token), jws.WithKey(jwa.ES256, key.Public()))
		if err != nil || string(payload) != encode(`{}`) {
			t.Errorf("jwx decodes the payload by now: %q, %v", payload, err)
		}
		parsed, err := jose.ParseCompact(token, jose.Limits{})
		if err != nil || string(parsed.Payload) != `{}` || parsed.Verify(jose.ES256, key.Public()) != nil {
			t.Errorf("ParseCompact and Verify = %v, want b64 ignored", err)
		}
	})
}
