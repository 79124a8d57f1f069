package sasl_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/demo"
	"github.com/imidentity/issuer/internal/sasl"
	"github.com/imidentity/issuer/introspect"
)

// TestIssuer asks a real issuer: about the token of a user who is signed in, then after it was revoked, with wrong credentials, and
// when the issuer does not run.
func TestIssuer(t *testing.T) {
	dev, err := demo.Start(t.Context(), demo.Options{
		Data: t.TempDir(), Listen: "127.0.0.1:0", ProviderListen: "127.0.0.1:0",
		Overlay: []byte("domains: [{name: example.com, system: xmpp}]"),
		Log:     func(config.Log) *slog.Logger { return slog.New(slog.DiscardHandler) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	signer := newSigner(t)
	meta, err := client.Discover(t.Context(), http.DefaultClient, dev.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	app := &client.Client{Server: meta, ID: demo.AppID, HTTP: &http.Client{Transport: &dpop.Transport{Signer: signer}, Timeout: time.Minute}}
	const redirect = "http://127.0.0.1/callback"
	flow := app.Begin(redirect, url.Values{"scope": {"im:handle im:device account"}})
	back, err := browser.New(nil).Login(t.Context(), flow.URL, browser.To(redirect), map[string]string{"text": "alice", "password": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := app.Finish(t.Context(), flow, back)
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := app.Token(t.Context(), url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken}, "scope": {"account"}, "resource": {dev.Issuer},
	})
	if err != nil {
		t.Fatal(err)
	}

	checker := func(secret string) *sasl.Checker {
		t.Helper()
		asker, err := introspect.NewClient(introspect.ClientConfig{
			Issuer: dev.Issuer, AllowLoopback: true, ClientID: demo.PeerID, Secret: secret,
			AllowUnproven: true, MaxAge: -1, RefusalAge: -1, Timeout: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := sasl.NewChecker(sasl.Config{Issuer: asker, Domains: []string{demo.Domain}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	signIn := func(c *sasl.Checker, token string) (*sasl.Identity, error) {
		t.Helper()
		challenge, err := c.Challenge("")
		if err != nil {
			t.Fatal(err)
		}
		text, err := signer.Presentation(dpop.PresentationParams{Audience: challenge.Audience, Nonce: challenge.Nonce, AccessToken: token})
		if err != nil {
			t.Fatal(err)
		}
		return c.Check(t.Context(), challenge.Nonce, sasl.Message{Scheme: "dpop", Token: token, Presentation: text}, "alice@example.com")
	}
	unknown := func(err error) {
		t.Helper()
		if no := (*sasl.Refusal)(nil); err == nil || errors.As(err, &no) {
			t.Errorf("Check = %v, want an error that refuses nothing", err)
		}
	}
	good := checker(dev.PeerSecret)
	if id, err := signIn(good, tokens.AccessToken); err != nil || id.Account != "alice@example.com" || id.ExpiresIn <= 0 {
		t.Errorf("Check = %+v, %v, want alice@example.com", id, err)
	}
	_, err = signIn(good, narrow.AccessToken) // for the issuer alone
	refused(t, err, sasl.NotAuthorized, "invalid_token", "another audience")
	_, err = signIn(good, "made-up")
	refused(t, err, sasl.NotAuthorized, "invalid_token", "not valid, or is not for this server")
	_, err = signIn(checker("wrong"), tokens.AccessToken)
	unknown(err)
	if err := app.Revoke(t.Context(), tokens.AccessToken); err != nil {
		t.Fatal(err)
	}
	_, err = signIn(good, tokens.AccessToken)
	refused(t, err, sasl.NotAuthorized, "invalid_token", "not valid, or is not for this server")
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = signIn(good, tokens.AccessToken)
	unknown(err)
	_, err = signIn(checker(dev.PeerSecret), tokens.AccessToken)
	unknown(err)
}
