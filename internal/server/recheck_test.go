package server_test

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// TestRecheck holds that the provider is asked once a day whether a login stands, that a login that it refuses ends, and no other one.
func TestRecheck(t *testing.T) {
	s := start(t, rechecked(""))
	u := s.givesTokens(t)
	phone, laptop, bobs := newDevice(t), newDevice(t), newDevice(t)
	onPhone := s.login(t, phone, "alice")
	first := u.newest
	onLaptop, bob := s.login(t, laptop, "alice"), s.login(t, bobs, "bob")
	onPhone = s.refreshed(t, phone, onPhone.refresh)
	u.wantAsked(t, 0)

	for range 2 { // the second time by the token that replaced the first
		s.advance(t, day)
		onPhone = s.refreshed(t, phone, onPhone.refresh)
		onPhone = s.refreshed(t, phone, onPhone.refresh)
		u.wantAsked(t, 1)
	}
	if u.subject[first] != "" {
		t.Error("the provider did not replace the token")
	}
	s.restart(t, nil)
	s.advance(t, day)
	onPhone = s.wantRefreshed(t, phone, onPhone)
	u.wantAsked(t, 1)

	// Nobody has the provider asked but a device that would get tokens otherwise.
	s.advance(t, day)
	wantError(t, s.token(t, app, newDevice(t), refreshForm(onPhone.refresh)), http.StatusBadRequest, "invalid_grant")
	wantError(t, s.token(t, otherApp, phone, refreshForm(onPhone.refresh)), http.StatusBadRequest, "invalid_grant")
	wider := refreshForm(onPhone.refresh)
	wider.Set("scope", "im:handle introspect")
	wantError(t, s.token(t, app, phone, wider), http.StatusBadRequest, "invalid_scope")
	u.wantAsked(t, 0)

	// The provider ends one login of Alice.
	u.with(func() { delete(u.subject, u.newest) })
	var a answer
	events := s.audited(func() { a = s.token(t, app, phone, refreshForm(onPhone.refresh)) })
	wantError(t, a, http.StatusBadRequest, "invalid_grant")
	if len(events) != 1 || !strings.Contains(events[0], "event=user.logged_out actor=provider") || !strings.Contains(events[0], "reason=recheck_refused") {
		t.Errorf("audit events = %q, want one of the refusal", events)
	}
	s.wantEnded(t, phone, onPhone)
	u.wantAsked(t, 1)
	onLaptop, bob = s.refreshed(t, laptop, onLaptop.refresh), s.refreshed(t, bobs, bob.refresh)
	u.wantAsked(t, 2)
	if n := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM grants WHERE ended_reason = 'recheck_refused'"); n != 1 {
		t.Errorf("%d sessions ended because the provider refused, want 1", n)
	}
	if n := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM upstream_tokens"); n != 2 {
		t.Errorf("%d upstream tokens are stored, want those of 2 sessions", n)
	}

	// It disables her: the day after, nothing of hers is left.
	u.with(func() { u.refuse[aliceSubject] = true })
	s.advance(t, day)
	wantError(t, s.token(t, app, laptop, refreshForm(onLaptop.refresh)), http.StatusBadRequest, "invalid_grant")
	s.wantEnded(t, laptop, onLaptop)
	s.refreshed(t, bobs, bob.refresh)

	// What the provider gave is found in no file of the database. The log is searched by the witness.
	files, err := filepath.Glob(s.database() + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("files of the database = %q, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("upstream-")) {
			t.Errorf("%s contains a token of the provider", file)
		}
	}
	user := deviceOf(t, bob).Local()
	export := s.operate(t, http.MethodGet, "/admin/users/"+user+"/export", url.Values{"domain": {"example.com"}})
	if wantStatus(t, export, http.StatusOK); strings.Contains(export.body, "sealed") {
		t.Errorf("export = %v, want it without sealed tokens", export)
	}
}

// wantRefreshed refreshes a session whose access token may have expired.
func (s *site) wantRefreshed(t *testing.T, d *device, held tokens) tokens {
	t.Helper()
	return s.refreshed(t, d, held.refresh)
}

// TestRecheckOutage holds that an outage of the provider ends no session: refreshes go on for the grace, are answered 503 then, and go
// on when the provider is back. Whatever answer is not valid is an outage.
func TestRecheckOutage(t *testing.T) {
	s := start(t, rechecked(", recheck_grace: 2h"))
	u := s.givesTokens(t)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	status := func(code int, body string) func(w http.ResponseWriter, _ *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	set := func(name string, value any) func(answer, claims object) {
		return func(_, claims object) { claims[name] = value }
	}
	outages := []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		change func(answer, claims object)
		sign   func(header, claims object) string
		result string
	}{
		{name: "hangs up", answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, result: "unavailable"},
		{name: "500", answer: status(500, `{"error":"invalid_grant"}`), result: "unavailable"},
		{name: "429", answer: status(429, ``), result: "unavailable"},
		{name: "invalid_client", answer: status(401, `{"error":"invalid_client"}`), result: "invalid"},
		{name: "temporarily_unavailable", answer: status(400, `{"error":"temporarily_unavailable"}`), result: "invalid"},
		{name: "refusal with 200", answer: status(200, `{"error":"invalid_grant"}`), result: "invalid"},
		{name: "no JSON", answer: status(200, `<p>Sign in</p>`), result: "invalid"},
		{name: "nothing", answer: status(200, `{}`), result: "invalid"},
		{name: "other sub", change: set("sub", bobSubject), result: "invalid"},
		{name: "no sub", change: set("sub", ""), result: "invalid"},
		{name: "other iss", change: set("iss", "https://idp.example.net"), result: "invalid"},
		{name: "other aud", change: set("aud", "somebody-else"), result: "invalid"},
		{name: "two aud", change: set("aud", []string{"issuer", "somebody-else"}), result: "invalid"},
		{name: "other azp", change: set("azp", "somebody-else"), result: "invalid"},
		{name: "other nonce", change: set("nonce", "AAAAAAAAAAAAAAAAAAAAAA"), result: "invalid"},
		{name: "expired", change: func(_, claims object) { claims["exp"] = claims["iat"].(int64) - 300 }, result: "invalid"},
		{name: "from the future", change: func(_, claims object) { claims["iat"] = claims["iat"].(int64) + 300 }, result: "invalid"},
		{name: "other signature", change: func(object, object) {},
			sign: func(header, claims object) string { return sign(newKey(t), header, claims) }, result: "invalid"},
		{name: "an ID token that is none", change: func(answer, _ object) { answer["id_token"] = object{} }, result: "invalid"},
		{name: "other at_hash", change: set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), result: "invalid"},
	}
	s.advance(t, day)
	for i, test := range outages {
		if i <= 3 { // the provider is not asked at once after it could not be reached
			s.advance(t, time.Minute)
		} else {
			sqlitetest.Exec(t, s.database(), "UPDATE upstream_tokens SET retry_at = 0")
		}
		u.with(func() { u.answer, u.change, u.sign = test.answer, test.change, test.sign })
		s.wantCounted(t, func() { held = s.refreshed(t, d, held.refresh) },
			map[string]float64{`issuer_rechecks_total{provider="dev",result="` + test.result + `"}`: 1})
		u.wantAsked(t, 1)
		if t.Failed() {
			t.Fatalf("the outage is: %s", test.name)
		}
	}
	held = s.refreshed(t, d, held.refresh)
	u.wantAsked(t, 0)

	s.advance(t, 2*time.Hour)
	for _, test := range outages[:2] {
		s.advance(t, time.Minute)
		u.with(func() { u.answer, u.change, u.sign = test.answer, test.change, test.sign })
		for range 2 {
			a := s.token(t, app, d, refreshForm(held.refresh))
			if wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable"); a.header.Get("Retry-After") != "30" {
				t.Errorf("Retry-After = %q, want 30", a.header.Get("Retry-After"))
			}
		}
		u.wantAsked(t, 1)
	}
	s.restart(t, nil)
	u.with(func() { u.answer = nil })
	s.advance(t, time.Minute)
	held = s.refreshed(t, d, held.refresh)
	u.wantAsked(t, 1)
	if !s.witness.said("sub is another user than that of the login") {
		t.Error("the log does not say what was wrong with an answer")
	}

	// An answer without an ID token is one (OpenID Connect Core §12.2), and the token need not be replaced.
	u.with(func() { u.change = func(answer, _ object) { answer["id_token"] = "" } })
	s.advance(t, day)
	held = s.refreshed(t, d, held.refresh)
	u.with(func() { u.change = nil })
	s.advance(t, day)
	s.refreshed(t, d, held.refresh)
	u.wantAsked(t, 2)
}

// TestRecheckWithoutGrace holds that with a grace of zero no token is issued before the provider has answered.
func TestRecheckWithoutGrace(t *testing.T) {
	s := start(t, rechecked(", recheck_grace: 0s"))
	u := s.givesTokens(t)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	s.provider.set(tampering{token: u.login, answer: down})
	s.advance(t, day)
	wantError(t, s.token(t, app, d, refreshForm(held.refresh)), http.StatusServiceUnavailable, "temporarily_unavailable")
	s.provider.set(tampering{token: u.login, answer: u.refresh})
	s.advance(t, time.Minute)
	s.refreshed(t, d, held.refresh)
	u.wantAsked(t, 1)
}

// TestRecheckRaced lets refreshes of one session race, while the provider replaces the token at each use and refuses a replaced one.
func TestRecheckRaced(t *testing.T) {
	s := start(t, rechecked(""))
	u := s.givesTokens(t)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	for range 3 {
		s.advance(t, day)
		var (
			mu   sync.Mutex
			next []string
			all  sync.WaitGroup
		)
		for range 16 {
			all.Go(func() {
				a := s.token(t, app, d, refreshForm(held.refresh))
				mu.Lock()
				defer mu.Unlock()
				next = append(next, a.text("refresh_token"))
			})
		}
		all.Wait()
		for _, token := range next {
			if token == "" || token != next[0] {
				t.Fatalf("successors = %q, want the same for all", next)
			}
		}
		u.wantAsked(t, 1)
		held.refresh = next[0]
	}
}

// TestRecheckInterrupted holds that an honest user is not logged out at once if the token that replaced theirs was lost: the session goes
// on for the grace.
func TestRecheckInterrupted(t *testing.T) {
	s := start(t, rechecked(", recheck_grace: 2h"))
	u := s.givesTokens(t)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	s.advance(t, day)
	u.with(func() { u.wait = func() { s.faults.set("Update") } }) // the answer cannot be written
	wantError(t, s.token(t, app, d, refreshForm(held.refresh)), http.StatusServiceUnavailable, "temporarily_unavailable")
	s.faults.set("")
	u.with(func() { u.wait = nil })
	u.wantAsked(t, 1)
	s.restart(t, nil)
	s.advance(t, time.Minute)
	for range 2 {
		held = s.refreshed(t, d, held.refresh) // the provider knows only the lost token
	}
	u.wantAsked(t, 1)
	s.advance(t, 2*time.Hour)
	var a answer
	events := s.audited(func() { a = s.token(t, app, d, refreshForm(held.refresh)) })
	wantError(t, a, http.StatusBadRequest, "invalid_grant")
	if len(events) != 1 || !strings.Contains(events[0], "event=session.ended actor=issuer") || !strings.Contains(events[0], "reason=recheck_lost") {
		t.Errorf("audit events = %q, want one of the end of the session", events)
	}
	s.wantEnded(t, d, held)
	u.wantAsked(t, 0)
}

// TestRecheckWithoutToken holds that sessions for which the provider gave no refresh token go on, unless the settings say otherwise.
func TestRecheckWithoutToken(t *testing.T) {
	s := start(t, rechecked(""))
	u := s.givesTokens(t)
	u.with(func() { u.none = true })
	d := newDevice(t)
	var held tokens
	s.wantCounted(t, func() { held = s.login(t, d, "alice") }, map[string]float64{`issuer_rechecks_total{provider="dev",result="no_token"}`: 1})
	s.advance(t, day)
	held = s.refreshed(t, d, held.refresh)
	s.restart(t, rechecked(", recheck_required: true"))
	wantError(t, s.token(t, app, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
	s.wantEnded(t, d, held)
	if n := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM grants WHERE ended_reason = 'recheck_no_token'"); n != 1 {
		t.Errorf("%d sessions ended because there is no token, want 1", n)
	}
}

// TestRecheckLinkedDevice holds that a device that was allowed by another one, or in a browser, belongs to the same login.
func TestRecheckLinkedDevice(t *testing.T) {
	s := start(t, rechecked(", recheck_required: true"))
	u := s.givesTokens(t)
	phone, screen := newDevice(t), newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	code, shown := s.askedDevice(t, screen)
	wantStatus(t, s.decideDevice(t, phone, own, shown, "allow"), http.StatusNoContent)
	onScreen := wantTokens(t, s.token(t, tv, screen, pollForm(code)))
	b, wall := s.browser(), newDevice(t)
	code, shown = s.askedDevice(t, wall)
	page := s.look(t, b, s.comeHere(t, b, "/device?user_code="+url.QueryEscape(shown), "alice"))
	s.wantGone(t, s.fillIn(t, b, "/device/decide", url.Values{"csrf": {csrfOf(t, page)}, "user_code": {shown}, "decision": {"allow"}}, nil),
		"/device/done?decision=allow")
	onWall := wantTokens(t, s.token(t, tv, wall, pollForm(code)))
	u.wantAsked(t, 0)
	s.advance(t, day)
	onScreen = s.refreshedAs(t, tv, screen, onScreen.refresh)
	held = s.refreshedAs(t, accounts, phone, held.refresh)
	u.wantAsked(t, 1)
	onWall = s.refreshedAs(t, tv, wall, onWall.refresh)
	u.wantAsked(t, 1)

	u.with(func() { u.refuse[aliceSubject] = true })
	s.advance(t, day)
	wantError(t, s.token(t, tv, screen, refreshForm(onScreen.refresh)), http.StatusBadRequest, "invalid_grant")
	wantError(t, s.token(t, accounts, phone, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
	s.wantInactive(t, onScreen.access)
	u.wantAsked(t, 1)
	wantError(t, s.token(t, tv, wall, refreshForm(onWall.refresh)), http.StatusBadRequest, "invalid_grant")
	u.wantAsked(t, 1)
}

// recheckedLogin is the flow of a login that the provider is asked about, and that it refuses in the end.
func recheckedLogin(t *testing.T, s *site) []step {
	u := s.givesTokens(t)
	u.with(func() { u.change = func(object, object) {} }) // the token is not replaced
	d := newDevice(t)
	var (
		v    visit
		code string
		held tokens
	)
	provider := func() { v = s.visitBy(t, authorization(nil)) }
	enter := func() answer { return s.arrive(t, v.browser, v.callback) }
	due := func() { sqlitetest.Exec(t, s.database(), "UPDATE upstream_tokens SET checked_at = 1000, retry_at = 0") }
	refresh := s.refreshStep(t, d, &held)
	refresh.ready = due
	refresh.again = func(bool) answer {
		due() // else the provider is not asked again at once
		return refresh.ask()
	}
	return []step{
		{
			name: "callback", page: true, ready: provider, ask: enter, good: func(a answer) { v.callback = s.consentIn(t, a) },
			again: func(bool) answer {
				s.faults.quietly(provider)
				return enter()
			},
		},
		{
			name: "decision", page: true,
			ask:  func() answer { return s.decide(t, v.browser, v.callback.Query().Get("state"), "allow") },
			good: func(a answer) { code = codeIn(t, a) },
		},
		s.codeStep(t, d, &code, &held),
		refresh,
		{
			name: "refusal",
			ready: func() {
				due()
				u.with(func() { u.refuse[aliceSubject] = true })
			},
			ask: func() answer { return s.token(t, app, d, refreshForm(held.refresh)) },
			good: func(a answer) {
				wantError(t, a, http.StatusBadRequest, "invalid_grant")
				s.soonEnded(t, d, held)
			},
			again: func(bool) answer {
				// As if the question had not begun: otherwise it is not known what was refused, see TestRecheckInterrupted.
				sqlitetest.Exec(t, s.database(), "UPDATE upstream_tokens SET state = 0, retry_at = 0")
				return s.token(t, app, d, refreshForm(held.refresh))
			},
		},
	}
}
