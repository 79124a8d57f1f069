package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
)

// A signedIn is a person with a device, and the browser in which they signed in at the provider.
type signedIn struct {
	app     *client.Client
	browser *browser.Browser
	tokens  client.Tokens
	login   string // where the provider showed its form
}

// signInAtProvider signs a person in with a new device and a new browser.
func signInAtProvider(t *testing.T, ctx context.Context, meta client.Metadata, person string) signedIn {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	p := signedIn{browser: browser.New(nil), app: &client.Client{Server: meta, ID: "im-app", HTTP: &http.Client{
		Timeout: 30 * time.Second, Transport: &dpop.Transport{Signer: signer},
	}}}
	flow := p.app.Begin(redirect, url.Values{"scope": {"im:handle im:device"}})
	back, err := p.browser.Login(ctx, flow.URL, func(u *url.URL) bool {
		if u.Path == "/auth" {
			p.login = u.Scheme + "://" + u.Host
		}
		return browser.To(redirect)(u)
	}, map[string]string{"login": person, "password": person})
	if err != nil {
		t.Fatal(err)
	}
	if p.tokens, err = p.app.Finish(ctx, flow, back); err != nil {
		t.Fatal(err)
	}
	return p
}

// logOutAtProvider ends the session at the provider, as the person does there.
func (p signedIn) logOutAtProvider(t *testing.T, ctx context.Context) {
	t.Helper()
	send := func(method, path string, form url.Values) string {
		req, err := http.NewRequestWithContext(ctx, method, p.login+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		resp, err := p.browser.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 400 {
			t.Fatalf("%s %s = %d %s, %v", method, path, resp.StatusCode, body, err)
		}
		return string(body)
	}
	secret := regexp.MustCompile(`name="xsrf" value="([^"]+)"`).FindStringSubmatch(send(http.MethodGet, "/session/end", nil))
	if secret == nil {
		t.Fatal("the provider does not ask whether to log out")
	}
	send(http.MethodPost, "/session/end/confirm", url.Values{"xsrf": {secret[1]}, "logout": {"yes"}})
}

// logout lets a provider that is not ours tell the issuer that it has logged a person out in one of two browsers.
func logout(t *testing.T, ctx context.Context, issuer string) {
	meta, err := client.Discover(ctx, http.DefaultClient, issuer)
	if err != nil {
		t.Fatal(err)
	}
	phone, laptop, bob := signInAtProvider(t, ctx, meta, "alice"), signInAtProvider(t, ctx, meta, "alice"), signInAtProvider(t, ctx, meta, "bob")
	phone.logOutAtProvider(t, ctx) // answers once the issuer has answered
	for name, test := range map[string]struct {
		signedIn
		alive bool
	}{"phone": {phone, false}, "laptop": {laptop, true}, "bob": {bob, true}} {
		resp, err := http.PostForm(issuer+"/introspect",
			url.Values{"token": {test.tokens.AccessToken}, "client_id": {"peer"}, "client_secret": {peerSecret}})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || strings.Contains(string(answer), `"active":true`) != test.alive {
			t.Errorf("%s: introspection = %d %s, %v, want active: %v", name, resp.StatusCode, answer, err, test.alive)
		}
		_, err = test.app.Token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {test.tokens.RefreshToken}})
		if test.alive && err != nil || !test.alive && (err == nil || !strings.Contains(err.Error(), "invalid_grant")) {
			t.Errorf("%s: refresh = %v, want it to work: %v", name, err, test.alive)
		}
	}
}
