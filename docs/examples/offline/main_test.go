package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/imidentity/issuer/dpop"
)

// TestReviewD3OfflineVerification: a token that is signed by the issuer is accepted only if it is an access token of that
// issuer, for this service, valid now, and bound to a key.
func TestReviewD3OfflineVerification(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var fetches int
	var down bool
	mux := http.NewServeMux()
	issuer := httptest.NewServer(mux)
	defer issuer.Close()
	mux.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, r *http.Request) {
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer.URL, "jwks_uri": issuer.URL + "/jwks"})
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, r *http.Request) {
		fetches++
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"},
			{Key: other.Public(), KeyID: "2", Algorithm: "ES384", Use: "sig"},
		}})
	})
	now := time.Unix(1767323045, 0)
	v := &verifier{issuer: issuer.URL, audience: "https://api.example.com", now: func() time.Time { return now }}
	sign := func(alg jose.SignatureAlgorithm, key any, kid, typ string, claims map[string]any) string {
		t.Helper()
		options := &jose.SignerOptions{}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
			options.WithType(jose.ContentType(typ)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(text)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	claims := func(edit func(c map[string]any)) map[string]any {
		c := map[string]any{
			"iss": issuer.URL, "sub": "im:alice@example.com", "aud": []string{"https://api.example.com", "im:example.com"},
			"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "cnf": map[string]string{"jkt": "thumbprint"},
		}
		edit(c)
		return maps.Clone(c)
	}
	same := func(map[string]any) {}
	with := func(name string, value any) string {
		return sign("ES256", key, "1", "at+jwt", claims(func(c map[string]any) { c[name] = value }))
	}
	good := with("handle", "im:%40alice@example.com")
	if c, err := v.verify(t.Context(), good); err != nil || c.JKT != "thumbprint" || c.Claims != "im:%40alice@example.com" {
		t.Fatalf("verify = %+v, %v", c, err)
	}
	for name, token := range map[string]string{
		"ID token":            sign("ES256", key, "1", "JWT", claims(same)),
		"statement":           sign("ES256", key, "1", "im-actor+jwt", claims(same)),
		"HMAC with the JWK":   sign("HS256", []byte(issuer.URL+"01234567890123456789"), "1", "at+jwt", claims(same)),
		"another algorithm":   sign("ES384", other, "2", "at+jwt", claims(same)),
		"another key":         sign("ES256", newKey(t), "1", "at+jwt", claims(same)),
		"unknown key":         sign("ES256", key, "3", "at+jwt", claims(same)),
		"no kid":              sign("ES256", key, "", "at+jwt", claims(same)),
		"another issuer":      with("iss", "https://other.example"),
		"no issuer":           with("iss", nil),
		"another audience":    with("aud", "https://other.example"),
		"no audience":         with("aud", nil),
		"expired":             with("exp", now.Add(-time.Minute).Unix()),
		"without end":         with("exp", nil),
		"not yet valid":       with("nbf", now.Add(time.Minute).Unix()),
		"bound to no key":     with("cnf", nil),
		"without a subject":   with("sub", nil),
		"no token":            "token",
		"no signature":        good[:len(good)-86],
		"unsecured":           "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.e30.",
		"two dots at its end": good + "..",
	} {
		if c, err := v.verify(t.Context(), token); !errors.Is(err, dpop.ErrInvalidToken) {
			t.Errorf("%s: verify = %+v, %v, want %v", name, c, err, dpop.ErrInvalidToken)
		}
	}
	if fetches != 1 {
		t.Errorf("%d fetches of the keys, want 1: made-up key IDs cause none", fetches)
	}
	now = now.Add(keysLive + time.Second)
	down = true
	if _, err := v.verify(t.Context(), good); err == nil || errors.Is(err, dpop.ErrInvalidToken) {
		t.Errorf("verify during an outage = %v, want an error that is not a verdict", err)
	}
	down = false
	if _, err := v.verify(t.Context(), good); err != nil {
		t.Errorf("verify after the outage = %v", err)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
