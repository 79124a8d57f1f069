package server_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// fast lets the issuer sweep, and note the time, many times while a test waits.
var fast = map[string]string{"background": "fast"}

// meanwhile waits for as long as the issuer takes to sweep and to note the time a few times.
func meanwhile() { time.Sleep(300 * time.Millisecond) }

// said reports whether the log has a text.
func (w *witness) said(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(w.log.String(), text)
}

// timeless wants an issuer that does not know the time to say so wherever time matters, and to go on elsewhere. It
// returns how many requests were answered 503.
func (s *site) timeless(t *testing.T, d *device, held tokens) (refused int) {
	t.Helper()
	answers := []answer{
		s.get(t, "/readyz"),
		s.token(t, app, d, refreshForm(held.refresh)),
		s.token(t, peer, d, url.Values{"grant_type": {"client_credentials"}}),
		s.introspect(t, peer, held.access),
		s.introspect(t, peer, "garbage"),
		s.revoke(t, app, held.access),
		s.push(t, d, nil),
	}
	for _, a := range answers {
		wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
	}
	wantPage(t, s.get(t, "/authorize?"+authorization(nil).Encode()), http.StatusServiceUnavailable)
	for _, path := range []string{"/healthz", "/jwks", "/.well-known/oauth-authorization-server"} {
		wantStatus(t, s.get(t, path), http.StatusOK)
	}
	return len(answers) + 1
}

// TestClockIsSet sets the clock of a running issuer far ahead and far back: it says that it does not know the time, and
// decides nothing by the wrong one. When the clock is right again all is as it was.
func TestClockIsSet(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for name, test := range map[string]struct {
		by   time.Duration
		says string
	}{
		"a year ahead":         {year, "the clock was set ahead by 8760h"},
		"six minutes ahead":    {6 * time.Minute, "the clock was set ahead by 6m0s while the issuer runs: set it right, or if it is right now, restart the issuer"},
		"six minutes back":     {-6 * time.Minute, "the clock was set back by 6m0s while the issuer runs: set it right, or if it is right now, restart with --accept-clock"},
		"a year back":          {-year, "the clock was set back by 8760h"},
		"to the year 1970":     {-56 * year, "the clock was set back by "},
		"beyond the year 2150": {130 * year, "the clock was set ahead by "},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, fast)
			d, ended := newDevice(t), newDevice(t)
			held, gone := s.login(t, d, "alice"), s.login(t, ended, "alice")
			s.remove(t, gone.set.Device)
			code, v := s.code(t, "alice", nil), s.visit(t, "bob", nil)
			nonce := s.nonce(t)
			proof := s.proof(t, d, nonce)
			spend := func() answer {
				return s.post(t, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {held.refresh}, "client_id": {app.id}}, http.Header{"Dpop": {proof}})
			}
			held = wantTokens(t, spend())
			rows := s.rows(t)

			s.clock.setBy(test.by)
			s.timeless(t, d, held)
			s.remove(t, gone.set.Device) // an operator may act, and changes nothing here
			meanwhile()
			if changes := sqlitetest.Changes(rows, s.rows(t)); len(changes) > 0 {
				t.Errorf("rows changed while the time was not known:\n%s", strings.Join(changes, "\n"))
			}
			if !s.witness.said(test.says) {
				t.Errorf("the log does not say %q", test.says)
			}
			if s.nonce(t) != nonce && time.Now().Second() > 2 {
				t.Error("the nonce is another one, want time to go on as before")
			}

			s.clock.setBy(-test.by)
			s.waitReady(t)
			wantError(t, spend(), http.StatusBadRequest, "invalid_dpop_proof")
			s.wantEnded(t, ended, gone)
			wantTokens(t, s.token(t, app, newDevice(t), codeForm(code, nil)))
			s.wantCode(t, s.open(t, v.browser, v.callback))
			s.wantAlive(t, d, held)
			t.Logf("set by %v: nothing swept, nobody logged out, nothing spent twice", test.by)
		})
	}
}

// TestClockIsCorrected sets the clock by as much as happens when it is corrected: nobody is logged out and nothing can
// be spent twice.
func TestClockIsCorrected(t *testing.T) {
	for _, replay := range []string{"memory", "storage"} {
		t.Run(replay, func(t *testing.T) {
			s := start(t, map[string]string{"background": "fast", "replay": replay})
			d, ended := newDevice(t), newDevice(t)
			held, gone := s.login(t, d, "alice"), s.login(t, ended, "alice")
			s.remove(t, gone.set.Device)
			const step = 4 * time.Minute
			// refresh sends a second request where clients do: if the memory had to forget proofs, it has a new epoch, and
			// nonces from before are not valid any more.
			refresh := func() (proof string) {
				t.Helper()
				form := refreshForm(held.refresh)
				form.Set("client_id", app.id)
				var a answer
				for range 2 {
					proof = s.proof(t, d, "")
					if a = s.post(t, "/token", form, http.Header{"Dpop": {proof}}); a.text("error") != "use_dpop_nonce" {
						break
					}
				}
				held = wantTokens(t, a)
				return proof
			}
			var spent []string
			for _, by := range []time.Duration{-step, step, step, -step, step, -step} {
				spent = append(spent, refresh())
				s.clock.setBy(by)
				s.waitReady(t)
				meanwhile()
				for _, proof := range spent {
					form := refreshForm(held.refresh)
					form.Set("client_id", app.id)
					a := s.post(t, "/token", form, http.Header{"Dpop": {proof}})
					if code := a.text("error"); a.status != http.StatusBadRequest || code != "use_dpop_nonce" && code != "invalid_dpop_proof" {
						t.Errorf("a spent proof after the clock was set by %v = %v, want a refusal", by, a)
					}
				}
				s.wantEnded(t, ended, gone)
			}
			s.wantActive(t, held.access)
			refresh()
			t.Logf("set %d times by %v: %d spent proofs refused each time since", len(spent), step, len(spent))
		})
	}
}

// TestClockBehindAtStart starts the issuer with a clock that is behind what the database has seen: it does not know the
// time, makes no key, and ends no session, until the clock is set right or said to be.
func TestClockBehindAtStart(t *testing.T) {
	s := start(t, fast)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	meanwhile()
	rows := s.rows(t)

	s.clock.setBy(-time.Hour)
	s.restartUnready(t, nil)
	refused := s.timeless(t, d, held)
	meanwhile()
	if changes := sqlitetest.Changes(rows, s.rows(t)); len(changes) > 0 {
		t.Errorf("rows changed while the time was not known:\n%s", strings.Join(changes, "\n"))
	}
	if says := "behind the newest record of the database"; !s.witness.said(says) || !s.witness.said("or if it is right, start with --accept-clock") {
		t.Errorf("the log does not say %q and what to do", says)
	}
	s.clock.setBy(time.Hour) // it is set right
	s.waitReady(t)
	held = s.wantAlive(t, d, held)
	s.clock.setBy(-time.Hour) // and is watched as ever
	refused += s.timeless(t, d, held)

	s.accept = true
	s.restart(t, nil) // the time before was the wrong one
	s.accept = false
	next := s.refreshed(t, d, held.refresh)
	s.wantActive(t, next.access)
	s.wantInactive(t, held.access) // made in the future
	meanwhile()
	s.restart(t, nil) // and that is the time from now on
	s.wantAlive(t, d, next)
	t.Logf("started an hour behind, set right, and set back again: %d requests answered 503 and %d rows as they were, the session alive once "+
		"it was set right; accepted: alive again, and its token from the future inactive", refused, len(rows))
}

// TestClockBehindAnother holds that a clock which is behind what another node has noted is not believed.
func TestClockBehindAnother(t *testing.T) {
	s := start(t, fast)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	note := func(at time.Time) {
		t.Helper()
		err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.SetNewest(ctx, at) })
		if err != nil {
			t.Fatal(err)
		}
	}
	const ahead = 10 * time.Minute
	note(time.Now().Add(ahead))
	meanwhile()
	refused := s.timeless(t, d, held)
	note(time.Now())
	s.waitReady(t)
	s.wantAlive(t, d, held)
	t.Logf("another node noted a time %v ahead: %d requests answered 503; when it was corrected, the session was alive", ahead, refused)
}
