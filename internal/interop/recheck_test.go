package interop_test

import (
	"crypto/rand"
	"errors"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/login"
)

// TestRecheckAtProvider asks a provider that is not ours whether logins stand. It replaces each refresh token at its use, and ends the
// login if it sees a replaced one again.
func TestRecheckAtProvider(t *testing.T) {
	const secret, callback = "a-secret-of-the-test-0123456789abcdef", "http://127.0.0.1:7777/login/callback/corp"
	cmd := node(t, t.Context(), "provider.mjs", map[string]string{
		"CLIENT_ID": "issuer", "CLIENT_SECRET": secret, "REDIRECT_URI": callback, "REFRESH": "yes",
	})
	provider, err := login.New(login.Config{
		ID: "corp", Domain: "example.com", Issuer: ready(t, cmd, "issuer"), ClientID: "issuer", ClientSecret: secret, RedirectURL: callback,
		Refresh: true,
	}, &http.Client{Timeout: 30 * time.Second}, nil)
	if err != nil {
		t.Fatal(err)
	}
	signIn := func(person string) login.RefreshToken {
		t.Helper()
		start, err := provider.Begin(t.Context(), login.BeginParams{})
		if err != nil {
			t.Fatal(err)
		}
		back, err := browser.New(nil).Login(t.Context(), start.URL, browser.To(callback), map[string]string{"login": person, "password": rand.Text()})
		if err != nil {
			t.Fatal(err)
		}
		id, err := provider.Finish(t.Context(), start.Pending, back.Query())
		if err != nil || id.Refresh.Token == "" || id.Refresh.Subject != person {
			t.Fatalf("Finish of %s = %+v, %v, want a refresh token", person, id.Refresh.Subject, err)
		}
		return id.Refresh
	}
	refresh := func(token login.RefreshToken, want error) login.RefreshToken {
		t.Helper()
		next, err := provider.Refresh(t.Context(), token)
		if !errors.Is(err, want) || err == nil && next == token {
			t.Fatalf("Refresh = the same token: %v, %v, want another one, %v", next == token, err, want)
		}
		return next
	}
	alice, bob := signIn("alice"), signIn("bob")
	first := alice
	for range 3 {
		alice = refresh(alice, nil)
	}
	bob = refresh(bob, nil)
	refresh(first, login.ErrEnded)
	refresh(alice, login.ErrEnded) // with the replaced one, the login has ended
	bob = refresh(bob, nil)
	if err := cmd.Process.Signal(syscall.SIGUSR2); err != nil { // bob is removed at the provider
		t.Fatal(err)
	}
	for range 100 { // until the provider has seen the signal
		next, err := provider.Refresh(t.Context(), bob)
		if errors.Is(err, login.ErrEnded) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		bob = next
	}
	t.Error("bob is removed, and the provider still gives tokens")
}
