package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/trust"
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
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer.URL, "jwks_uri": issuer.URL + "/jwks"})
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, r *http.Request) {
		fetches++
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"},
			{Key: other.Public(), KeyID: "2", Algorithm: "ES384", Use: "sig"},
		}})
	})
	now := time.Unix(1767323045, 0)
	v, err := newVerifier(issuer.URL, "example.com", "https://api.example.com", func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	device, err := dpop.NewSigner(newKey(t), "")
	if err != nil {
		t.Fatal(err)
	}
	const url = "https://api.example.com/hello"
	verify := func(token string) gateway.Decision {
		t.Helper()
		nonce := v.Decide(t.Context(), gateway.Request{Method: "GET", URL: url}, nil).Nonce
		proof, err := device.Proof(dpop.ProofParams{Method: "GET", URL: url, Nonce: nonce, AccessToken: token, IssuedAt: now})
		if err != nil {
			t.Fatal(err)
		}
		return v.Decide(t.Context(), gateway.Request{
			Method: "GET", URL: url, Authorization: []string{"DPoP " + token}, DPoP: []string{proof},
		}, nil)
	}
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
			"iss": issuer.URL, "sub": "im:alice@example.com;id-type=user", "aud": []string{"https://api.example.com", "im:example.com"},
			"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "cnf": map[string]string{"jkt": device.JKT()},
			"client_id": "app", "jti": "1",
		}
		edit(c)
		return maps.Clone(c)
	}
	same := func(map[string]any) {}
	with := func(name string, value any) string {
		return sign("ES256", key, "1", "at+jwt", claims(func(c map[string]any) { c[name] = value }))
	}
	good := with("handle", "im:%40alice@example.com")
	if d := verify(good); d.Outcome != gateway.Allowed || d.Identity.JKT != device.JKT() || d.Identity.Handle != "im:%40alice@example.com" {
		t.Fatalf("Decide = %+v", d)
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
		"not yet valid":       with("nbf", now.Add(5*time.Minute).Unix()),
		"bound to no key":     with("cnf", nil),
		"without a subject":   with("sub", nil),
		"no token":            "token",
		"no signature":        good[:len(good)-86],
		"unsecured":           "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.e30.",
		"two dots at its end": good + "..",
	} {
		if name == "another key" || name == "unknown key" || name == "no signature" {
			now = now.Add(time.Minute) // made-up keys cause one fetch a minute, and 503 in between
		}
		if d := verify(token); d.Status() != http.StatusUnauthorized {
			t.Errorf("%s: Decide = %d %s, want 401", name, d.Status(), d.Reason)
		}
	}
	if fetches > 4 {
		t.Errorf("%d fetches of the keys, want at most 4: made-up keys cause one a minute", fetches)
	}
	now = now.Add(trust.DefaultStale + time.Second)
	down = true
	good = with("handle", "im:%40alice@example.com")
	if d := verify(good); d.Status() != http.StatusServiceUnavailable {
		t.Errorf("Decide during an outage = %d %s, want 503", d.Status(), d.Reason)
	}
	down = false
	now = now.Add(10 * time.Second)
	if d := verify(good); d.Outcome != gateway.Allowed {
		t.Errorf("Decide after the outage = %d %s", d.Status(), d.Reason)
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
