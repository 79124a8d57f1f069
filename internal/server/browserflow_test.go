package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
)

// browsing is a login of a browser for the pages of the issuer itself, a look at a page, and the end of the session.
func browsing(t *testing.T, s *site) []step {
	b := s.browser()
	s.onTime(t, nil)
	var (
		state, token string
		callback     *url.URL
		cookie       *http.Cookie
	)
	begin := func() answer { return s.look(t, b, "/account") }
	choice := func(a answer) {
		if m := regexp.MustCompile(`name="state" value="([\w-]{43})"`).FindStringSubmatch(a.body); a.status == http.StatusOK && m != nil {
			state = m[1]
		} else {
			t.Errorf("answer = %v, want the choice of a domain", a)
		}
	}
	pick := func() answer { return s.pick(t, b, state, url.Values{"domain": {"example.com"}}) }
	atProvider := func(a answer) {
		to, err := a.to()
		if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), s.provider.url) {
			t.Fatalf("answer = %v, want a redirect to the provider", a)
		}
		s.faults.quietly(func() {
			callback, err = b.Login(t.Context(), to.String(), func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) },
				map[string]string{"text": "alice", "password": "alice"})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	arrive := func() answer { return s.arrive(t, b, callback) }
	see := func(b *browser.Browser) answer { return s.look(t, b, "/account") }
	leave := func() answer { return s.fillIn(t, b, "/account/sign-out", url.Values{"csrf": {token}}, nil) }
	return []step{
		{name: "account", page: true, ask: begin, good: choice},
		{name: "domain", page: true, ask: pick, good: atProvider},
		{
			name: "callback", page: true, ask: arrive,
			again: func(bool) answer {
				s.faults.quietly(func() {
					choice(begin())
					atProvider(pick())
				})
				return arrive()
			},
			good: func(a answer) { s.wantGone(t, a, "/account") },
		},
		{
			name: "page", page: true, ready: func() { s.clock.advance(2 * time.Minute) }, ask: func() answer { return see(b) },
			good: func(a answer) {
				wantSignedIn(t, a, "alice")
				token, cookie = csrfOf(t, a), s.sessionOf(b)
			},
		},
		{
			name: "sign-out", page: true, ask: leave,
			good: func(a answer) {
				s.wantGone(t, a, "/account/signed-out")
				s.faults.quietly(func() { wantSignIn(t, see(s.bearing(t, cookie))) })
			},
		},
	}
}
