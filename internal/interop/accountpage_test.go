package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
)

// accountPages runs accountpage.mjs: a real browser on the pages of the account of a person with two devices and a bot.
func accountPages(t *testing.T, ctx context.Context, issuer string) {
	const person = "dora"
	meta, err := client.Discover(ctx, http.DefaultClient, issuer)
	if err != nil {
		t.Fatal(err)
	}
	var app *client.Client
	var own client.Tokens
	for _, name := range []string{"Kitchen tablet", "Phone"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := dpop.NewSigner(key, "")
		if err != nil {
			t.Fatal(err)
		}
		app = &client.Client{Server: meta, ID: "im-app", HTTP: &http.Client{Timeout: 30 * time.Second, Transport: &dpop.Transport{Signer: signer}}}
		flow := app.Begin(redirect, url.Values{"scope": {"im:handle im:device account"}, "im_device_name": {name}})
		back, err := browser.New(nil).Login(ctx, flow.URL, browser.To(redirect), map[string]string{"login": person, "password": person})
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := app.Finish(ctx, flow, back)
		if err != nil {
			t.Fatal(err)
		}
		own, err = app.Token(ctx, url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken}, "scope": {"account"}, "resource": {issuer},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	body, err := json.Marshal(map[string]any{"actor": "bot", "actor_iss": issuer, "scope": "im:handle", "expires_in": 3600})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/me/actors", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "DPoP "+own.AccessToken)
	resp, err := app.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("POST /me/actors = %d, %v, want 201", resp.StatusCode, err)
	}

	cmd := node(t, ctx, "accountpage.mjs", map[string]string{
		"ISSUER": issuer, "PERSON": person, "DOMAIN": "example.com", "SHOTS": os.Getenv("SHOTS"),
	})
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("accountpage.mjs: %v", err)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	want := []string{
		"domain: Where is your account?",
		"account: Your account",
		"device: Device",
		"name refused: Device",
		"focus: Name of the device",
		"renamed: Your account, The name of the device is saved.",
		"sign in again: at the provider",
		"remove: Remove this device?",
		"removed: Your account, The device is removed and signed out.",
		"withdraw: End this?",
		"withdrawn: Your account, It has ended.",
		"privacy: Who can find you",
		"findable: Your account, Others can find you by your exact name now.",
		"out: You are signed out",
		"domain again: Where is your account?",
		"axe en ltr: all pages, 0 violations",
		"axe de ltr: all pages, 0 violations",
		"axe ar rtl: all pages, 0 violations",
	}
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || got[i] != want[i] {
			t.Fatalf("page %d:\n got %q\nwant %q", i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
}
