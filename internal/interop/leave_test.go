package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
)

// leave ends a session of a person, takes their data, and leaves with an app. Nobody else uses this person.
func leave(t *testing.T, ctx context.Context, issuer string) {
	meta, err := client.Discover(ctx, http.DefaultClient, issuer)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	app := &client.Client{Server: meta, ID: "im-app", HTTP: &http.Client{
		Timeout: 30 * time.Second, Transport: &dpop.Transport{Signer: signer},
	}}
	login := func() client.Tokens {
		t.Helper()
		flow := app.Begin(redirect, url.Values{"scope": {"im:handle im:device account"}, "max_age": {"300"}})
		back, err := browser.New(nil).Login(ctx, flow.URL, browser.To(redirect), map[string]string{"login": "frank", "password": "frank"})
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := app.Finish(ctx, flow, back)
		if err != nil {
			t.Fatal(err)
		}
		return tokens
	}
	former, tokens := login(), login()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(former.AccessToken, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var session struct{ SID string }
	if err := json.Unmarshal(payload, &session); err != nil {
		t.Fatal(err)
	}
	own, err := app.Token(ctx, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken}, "scope": {"account"}, "resource": {issuer},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		method, path string
		want         int
	}{
		{http.MethodDelete, "/me/sessions/" + session.SID, http.StatusNoContent},
		{http.MethodGet, "/me/export", http.StatusOK},
		{http.MethodDelete, "/me", http.StatusNoContent},
		{http.MethodDelete, "/me", http.StatusUnauthorized},
	} {
		req, err := http.NewRequestWithContext(ctx, step.method, issuer+step.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "DPoP "+own.AccessToken)
		resp, err := app.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != step.want {
			t.Errorf("%s %s = %d, %v, want %d", step.method, step.path, resp.StatusCode, err, step.want)
		}
	}
}
