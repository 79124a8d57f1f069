package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// atLimit lets a person sign in who has as many devices as allowed, and returns the page that says so.
func (s *site) atLimit(t *testing.T, person string, change url.Values) (b *browser.Browser, page answer, state string) {
	t.Helper()
	v := s.visit(t, person, change)
	to, err := s.arrive(t, v.browser, v.callback).to()
	if err != nil || to.Query().Has("code") {
		t.Fatalf("the browser is sent to %v, %v, want a page of the issuer", to, err)
	}
	page = s.send(t, v.browser.Client(), s.request(t, http.MethodGet, to.String(), ""))
	m := regexp.MustCompile(`name="state" value="([\w-]{43})"`).FindStringSubmatch(page.body)
	if page.status != http.StatusOK || len(m) != 2 || !strings.Contains(words(page), "Device limit reached") {
		t.Fatalf("answer = %v, want a page that says that the device limit is reached", page)
	}
	return v.browser, page, m[1]
}

// TestReviewD1DeviceLimitIsSaidBeforeConsent holds that a person with as many devices as allowed is told so in words, with a
// way out, before consent and before a code exists; that a device in use can still log in; and that one that was signed out
// leaves its place.
func TestReviewD1DeviceLimitIsSaidBeforeConsent(t *testing.T) {
	s := start(t, map[string]string{"devices": "2"})
	first, second := newDevice(t), newDevice(t)
	held := s.login(t, first, "alice")
	s.login(t, second, "alice")
	before := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM codes")
	const guest = "https://guest.example.net/callback"
	own := url.Values{"client_id": {webApp.id}, "redirect_uri": {"https://web.example.com/callback"}} // not asked for consent
	for name, test := range map[string]struct {
		change    url.Values
		to        string
		continues bool
	}{
		"key not named":   {nil, redirectURI, true},
		"key named":       {url.Values{"dpop_jkt": {newDevice(t).JKT()}}, redirectURI, false},
		"own app":         {own, own.Get("redirect_uri"), true},
		"app of somebody": {url.Values{"client_id": {guestApp.id}, "redirect_uri": {guest}}, guest, true},
	} {
		t.Run(name, func(t *testing.T) {
			b, page, state := s.atLimit(t, "alice", test.change)
			text := words(page)
			for _, want := range []string{"You are signed in as @alice@example.com", "Sign out on one of them", "Go back to", "Use another account"} {
				if !strings.Contains(text, want) {
					t.Errorf("the page says %q, want %q in it", text, want)
				}
			}
			if strings.Contains(text, "continue") != test.continues {
				t.Errorf("the page says %q, want a way to continue: %t", text, test.continues)
			}
			if !test.continues {
				s.wantRedirect(t, s.decide(t, b, state, "allow"), test.to, appState, "access_denied")
				return
			}
			s.wantRedirect(t, s.decide(t, b, state, "deny"), test.to, appState, "access_denied")
		})
	}
	if after := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM codes"); after != before {
		t.Errorf("%d codes were made, want none", after-before)
	}
	code := s.code(t, "alice", url.Values{"dpop_jkt": {second.JKT()}})
	wantTokens(t, s.token(t, app, second, codeForm(code, nil)))
	wantStatus(t, s.revoke(t, app, held.refresh), http.StatusOK)
	s.login(t, newDevice(t), "alice")
}

// TestReviewD1SilentRequests holds that no page is shown where the app wants none: with a new key it is told that there are
// too many devices.
func TestReviewD1SilentRequests(t *testing.T) {
	s := start(t, map[string]string{"devices": "1"})
	d := newDevice(t)
	s.login(t, d, "alice")
	s.provider.tamper(t, tampering{answer: patient})
	change := url.Values{"prompt": {"none"}, "dpop_jkt": {newDevice(t).JKT()}, "client_id": {webApp.id}, "redirect_uri": {"https://web.example.com/callback"}}
	v := s.visit(t, "alice", change)
	s.wantRedirect(t, s.arrive(t, v.browser, v.callback), "https://web.example.com/callback", appState, "access_denied")
}
