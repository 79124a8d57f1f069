package interop_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imidentity/issuer/claims"
)

// wire gets a token for step-ca as a client of Wire does, with a proof that golang-jwt makes: dated back by an hour. What step-ca makes of
// the token is in the module stepca.
func wire(t *testing.T, ctx context.Context, issuer string) {
	app, _ := newClient(t, ctx, issuer, "wire-app", "")
	tokens := logIn(t, ctx, app, url.Values{"scope": {"im:handle im:device im:credential"}, "resource": {issuer}}, "login", "carol")
	var named struct{ Handle, Device string }
	payload(t, tokens.AccessToken, &named)
	uri := func(text string) string {
		id, err := claims.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return id.WireApp()
	}
	resp, err := app.HTTP.Get(issuer + "/wire/nonce")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	proof := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"jti": "6a1d1a6e-7a6a-4a0e-9f3a-0c5f7a3e9b11", "htm": "POST", "htu": issuer + "/wire/access-token", "iat": now.Add(-time.Hour).Unix(),
		"nbf": now.Add(-time.Hour).Unix(), "exp": now.Add(5 * time.Minute).Unix(), "nonce": resp.Header.Get("Replay-Nonce"),
		"sub": uri(named.Device), "aud": "https://ca.example.com/acme/wire/challenge/a/b", "chal": "2FpTOmNQvNfWDktNWt1oIJnjLE3MkyFb",
		"handle": uri(named.Handle), "name": "carol", "team": nil,
	})
	proof.Header["typ"] = "dpop+jwt"
	proof.Header["jwk"] = map[string]string{
		"kty": "EC", "crv": "P-256", "x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}
	text, err := proof.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"proof": text})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/wire/access-token", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+tokens.AccessToken)
	req.Header.Set("Content-Type", "application/json")
	if resp, err = app.HTTP.Do(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Token, Type string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK || answer.Type != "DPoP" {
		t.Fatalf("POST /wire/access-token = %d %+v, %v, want 200", resp.StatusCode, answer, err)
	}
	var token struct{ Sub, Proof string }
	if payload(t, answer.Token, &token); token.Proof != text || token.Sub != uri(named.Device) {
		t.Errorf("token = %+v, want the device with its proof", token)
	}
}
