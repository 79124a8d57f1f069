package server_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// decideTwice wants one answer to equal decisions that are sent at once and one after the other. It returns where they lead.
func decideTwice(t *testing.T, decide func() answer) *url.URL {
	t.Helper()
	list := parallel(4, decide)
	list = append(list, decide())
	for _, a := range list {
		if a.status != http.StatusSeeOther || a.header.Get("Location") != list[0].header.Get("Location") {
			t.Fatalf("answers = %v and %v to %q and %q, want one redirect", list[0], a, list[0].header.Get("Location"), a.header.Get("Location"))
		}
	}
	to, err := list[0].to()
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestReviewE2AllowTwice holds that who allows twice gets the same code twice, in the same browser and while the code lives.
func TestReviewE2AllowTwice(t *testing.T) {
	s := start(t, nil)
	b, _, state := s.consented(t, "alice", nil)
	allow := func() answer { return s.decide(t, b, state, "allow") }
	to := decideTwice(t, allow)
	code := to.Query().Get("code")
	if code == "" || to.Query().Get("state") != appState {
		t.Errorf("the browser is sent to %v, want a code", to)
	}
	wantPage(t, s.decide(t, b, state, "deny"), http.StatusBadRequest)
	wantPage(t, s.decide(t, s.browser(), state, "allow"), http.StatusForbidden)
	if n := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM codes"); n != 1 {
		t.Errorf("there are %d codes, want 1", n)
	}
	for _, row := range s.rows(t) {
		if strings.Contains(row, code) {
			t.Errorf("the database holds the code: %s", row)
		}
	}
	d := newDevice(t)
	held := wantTokens(t, s.token(t, app, d, codeForm(code, nil)))
	s.wantAlive(t, d, held)
	if again := allow(); again.header.Get("Location") != to.String() {
		t.Errorf("answer = %v, want the same redirect", again)
	}
	s.advance(t, 61*time.Second)
	wantPage(t, allow(), http.StatusBadRequest)
}

// TestReviewE2DenyTwice holds the same of who does not allow.
func TestReviewE2DenyTwice(t *testing.T) {
	s := start(t, nil)
	b, _, state := s.consented(t, "alice", nil)
	to := decideTwice(t, func() answer { return s.decide(t, b, state, "deny") })
	if to.Query().Get("error") != "access_denied" || to.Query().Has("code") {
		t.Errorf("the browser is sent to %v, want access_denied", to)
	}
	wantPage(t, s.decide(t, b, state, "allow"), http.StatusBadRequest)
	wantPage(t, s.decide(t, s.browser(), state, "deny"), http.StatusForbidden)
}

// TestReviewE2TakeNameTwice holds the same of who takes a name: both answers lead to one page that asks for consent, or to
// one code, and the cookie of that page comes with each answer.
func TestReviewE2TakeNameTwice(t *testing.T) {
	s := start(t, choosing)
	s.login(t, newDevice(t), "alice")
	s.namesake(t, "dev-10099", "alice")
	for name, change := range map[string]url.Values{
		"with consent":    nil,
		"without consent": {"client_id": {deskApp.id}},
	} {
		t.Run(name, func(t *testing.T) {
			s.namesake(t, "person "+t.Name(), "alice")
			taken := "taken" + map[bool]string{true: "one", false: "two"}[change == nil]
			v := s.visit(t, "alice", change)
			state := handleForm(t, s.open(t, v.browser, v.callback), http.StatusConflict, "alice")
			cookies := make(chan []string, 16)
			to := decideTwice(t, func() answer {
				a := s.call(t, v.browser, state, taken)
				cookies <- a.header["Set-Cookie"]
				return a
			})
			wantPage(t, s.call(t, v.browser, state, "other"), http.StatusBadRequest)
			wantPage(t, s.call(t, s.browser(), state, taken), http.StatusForbidden)
			if change != nil {
				if to.Query().Get("code") == "" {
					t.Errorf("the browser is sent to %v, want a code", to)
				}
				return
			}
			// The answer that the browser drops may be any of them: each alone gives access to the next page.
			for range len(cookies) {
				jar, err := cookiejar.New(nil)
				if err != nil {
					t.Fatal(err)
				}
				set := (&http.Response{Header: http.Header{"Set-Cookie": <-cookies}}).Cookies()
				jar.SetCookies(to, slices.DeleteFunc(set, func(c *http.Cookie) bool { return c.MaxAge < 0 }))
				bare := &http.Client{Transport: s.http.Transport, CheckRedirect: s.http.CheckRedirect, Jar: jar}
				wantStatus(t, s.send(t, bare, s.request(t, http.MethodGet, to.String(), "")), http.StatusOK)
			}
			s.wantCode(t, s.decide(t, v.browser, to.Query().Get("state"), "allow"))
		})
	}
}

// TestReviewE2CancelTwice holds the same of who goes back to the app.
func TestReviewE2CancelTwice(t *testing.T) {
	s := start(t, choosing)
	s.login(t, newDevice(t), "alice")
	s.namesake(t, "dev-10099", "alice")
	v := s.visit(t, "alice", nil)
	state := handleForm(t, s.open(t, v.browser, v.callback), http.StatusConflict, "alice")
	to := decideTwice(t, func() answer {
		req := s.request(t, http.MethodPost, "/login/cancel", url.Values{"state": {state}}.Encode())
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return s.send(t, v.browser.Client(), req)
	})
	if to.Query().Get("error") != "access_denied" {
		t.Errorf("the browser is sent to %v, want access_denied", to)
	}
	wantPage(t, s.call(t, v.browser, state, "alice2"), http.StatusBadRequest)
	s.wantNobody(t, "dev-10099")
}
