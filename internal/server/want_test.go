package server_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
)

// wantError holds an answer to RFC 6749 §5.2: status, code, and a description in the characters that are allowed.
func wantError(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.text("error") != code {
		t.Errorf("answer = %v, want %d %s", a, status, code)
		return
	}
	description := a.text("error_description")
	bad := func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }
	if description == "" || strings.ContainsFunc(description, bad) {
		t.Errorf("error_description = %q, want printable ASCII without quotation marks", description)
	}
	wantNotStored(t, a)
	switch status {
	case http.StatusUnauthorized:
		if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("WWW-Authenticate = %q, want Basic", a.header.Get("WWW-Authenticate"))
		}
	case http.StatusServiceUnavailable:
		if a.header.Get("Retry-After") == "" {
			t.Error("503 without Retry-After")
		}
	}
}

// wantRefused is wantError of an endpoint that is a resource (RFC 9449 §7.1).
func wantRefused(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.text("error") != code || a.text("error_description") == "" {
		t.Errorf("answer = %v, want %d %s", a, status, code)
		return
	}
	wantNotStored(t, a)
	if status == http.StatusUnauthorized && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "DPoP ") {
		t.Errorf("WWW-Authenticate = %q, want DPoP", a.header.Get("WWW-Authenticate"))
	}
}

// wantNotStored holds an answer that is not to be cached to what it carries.
func wantNotStored(t *testing.T, a answer) {
	t.Helper()
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Request-Id") == "" {
		t.Errorf("answer with Cache-Control %q and X-Request-Id %q, want no-store and one",
			a.header.Get("Cache-Control"), a.header.Get("X-Request-Id"))
	}
}

// wantPage wants a page for a person, which names the request and leads nowhere.
func wantPage(t *testing.T, a answer, status int) {
	t.Helper()
	if a.status != status || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || a.header.Get("Location") != "" {
		t.Errorf("answer = %v with Location %q, want a page with %d", a, a.header.Get("Location"), status)
		return
	}
	wantNotStored(t, a)
	if csp := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy = %q, want default-src 'none'", csp)
	}
	if !strings.Contains(a.body, a.header.Get("X-Request-Id")) {
		t.Error("the page does not name the request")
	}
	if status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

// wantTokens wants a successful answer of the token endpoint for a login of app.
func wantTokens(t *testing.T, a answer) tokens {
	t.Helper()
	if a.status != http.StatusOK || a.text("token_type") != "DPoP" || a.text("access_token") == "" || a.text("refresh_token") == "" {
		t.Fatalf("answer = %v, want DPoP tokens", a)
	}
	wantNotStored(t, a)
	return tokens{a.text("access_token"), a.text("refresh_token"), claimsOf(t, a.text("access_token"))}
}

// claimsOf reads an access token without checking it.
func claimsOf(t *testing.T, token string) claims.Set {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("the access token has %d parts, want 3", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	set, err := claims.ParseSet(payload)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// wantActive wants introspection by peer to call a token active.
func (s *site) wantActive(t *testing.T, token string) {
	t.Helper()
	if a := s.introspect(t, peer, token); a.status != http.StatusOK || a.json["active"] != true {
		t.Errorf("introspection = %v, want active", a)
	}
}

// wantInactive wants introspection by peer to say {"active":false} and nothing else.
func (s *site) wantInactive(t *testing.T, token string) {
	t.Helper()
	if a := s.introspect(t, peer, token); a.status != http.StatusOK || strings.TrimSpace(a.body) != `{"active":false}` {
		t.Errorf("introspection = %v, want 200 {\"active\":false}", a)
	}
}

// wantEnded wants a session to be over: neither refresh nor access token is good.
func (s *site) wantEnded(t *testing.T, d *device, held tokens) {
	t.Helper()
	wantError(t, s.token(t, app, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
	s.wantInactive(t, held.access)
}

// wantAlive wants a session to live, and returns the tokens of its refresh.
func (s *site) wantAlive(t *testing.T, d *device, held tokens) tokens {
	t.Helper()
	s.wantActive(t, held.access)
	return s.refreshed(t, d, held.refresh)
}

// wantRedirect wants the browser to be sent back to the app with an error, its state and the issuer (RFC 9207 §2).
func (s *site) wantRedirect(t *testing.T, a answer, to, state, code string) {
	t.Helper()
	at, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther {
		t.Errorf("answer = %v, want a redirect", a)
		return
	}
	q := at.Query()
	at.RawQuery = ""
	if at.String() != to || q.Get("error") != code || q.Get("state") != state || q.Get("iss") != s.issuer || q.Has("code") {
		t.Errorf("redirect to %s with error %q, state %q, iss %q, code %t; want %s, %q, %q, %q, false",
			at, q.Get("error"), q.Get("state"), q.Get("iss"), q.Has("code"), to, code, state, s.issuer)
	}
	wantNotStored(t, a)
}
