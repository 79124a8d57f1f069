package server_test

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"
)

// TestRefreshRefused holds that what does not fit a refresh token is refused, and that its session lives on.
func TestRefreshRefused(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	flipped := func(bit int) string {
		raw, err := base64.RawURLEncoding.DecodeString(held.refresh)
		if err != nil {
			t.Fatal(err)
		}
		raw[bit/8] ^= 1 << (bit % 8)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	for _, test := range []struct {
		name   string
		client caller
		by     *device
		change url.Values
		code   string
	}{
		{"other key", app, newDevice(t), nil, "invalid_grant"},
		{"other client", otherApp, d, nil, "invalid_grant"},
		{"confidential client", webApp, d, nil, "invalid_grant"},
		{"client without the grant", strictApp, d, nil, "unauthorized_client"},
		{"no token", app, d, url.Values{"refresh_token": nil}, "invalid_request"},
		{"garbage", app, d, url.Values{"refresh_token": {"garbage"}}, "invalid_grant"},
		{"an access token", app, d, url.Values{"refresh_token": {held.access}}, "invalid_grant"},
		{"cut short", app, d, url.Values{"refresh_token": {held.refresh[:len(held.refresh)-4]}}, "invalid_grant"},
		{"longer", app, d, url.Values{"refresh_token": {held.refresh + "AAAA"}}, "invalid_grant"},
		{"padded", app, d, url.Values{"refresh_token": {held.refresh + "="}}, "invalid_grant"},
		{"other version", app, d, url.Values{"refresh_token": {flipped(0)}}, "invalid_grant"},
		{"other session", app, d, url.Values{"refresh_token": {flipped(8 * 5)}}, "invalid_grant"},
		{"other generation", app, d, url.Values{"refresh_token": {flipped(8 * 24)}}, "invalid_grant"},
		{"other MAC", app, d, url.Values{"refresh_token": {flipped(8 * 40)}}, "invalid_grant"},
		{"wider scope", app, d, url.Values{"scope": {"im:handle im:device introspect"}}, "invalid_scope"},
		{"other resource", app, d, url.Values{"resource": {"https://rooms.example.com"}}, "invalid_target"},
	} {
		t.Run(test.name, func(t *testing.T) {
			form := refreshForm(held.refresh)
			maps.Copy(form, test.change)
			wantError(t, s.token(t, test.client, test.by, form), http.StatusBadRequest, test.code)
		})
	}
	s.wantAlive(t, d, held)
}

// TestRefreshRepeated holds that a refresh whose answer was lost can be repeated, with the same successor, until that
// has been used.
func TestRefreshRepeated(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	first := s.login(t, d, "alice")
	second := s.refreshed(t, d, first.refresh)
	if second.refresh == first.refresh || second.set.SID != first.set.SID || second.set.Device != first.set.Device {
		t.Errorf("refresh = session %s of %s, want %s of %s and a new token", second.set.SID, second.set.Device, first.set.SID, first.set.Device)
	}
	for range 3 {
		if again := s.refreshed(t, d, first.refresh); again.refresh != second.refresh {
			t.Error("a repeated refresh gave another refresh token, want the same successor")
		}
	}
	third := s.refreshed(t, d, second.refresh)
	wantError(t, s.token(t, app, d, refreshForm(first.refresh)), http.StatusBadRequest, "invalid_grant")
	if again := s.refreshed(t, d, second.refresh); again.refresh != third.refresh {
		t.Error("a repeated refresh gave another refresh token, want the same successor")
	}
	s.wantAlive(t, d, third)
}

// TestRefreshInParallel holds that twenty refreshes at once end with one valid refresh token and nobody logged out.
func TestRefreshInParallel(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	var successors []string
	for _, a := range parallel(20, func() answer { return s.token(t, app, d, refreshForm(held.refresh)) }) {
		successors = append(successors, wantTokens(t, a).refresh)
	}
	if slices.Sort(successors); len(slices.Compact(successors)) != 1 {
		t.Fatal("twenty refreshes gave different refresh tokens, want one and the same")
	}
	next := s.refreshed(t, d, successors[0])
	wantError(t, s.token(t, app, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
	s.wantAlive(t, d, next)
}

// TestRefreshReplaced holds what a refresh token does that was replaced for good: with a proof made before that it is
// an old request that arrives late; with one made after it, it is a copy, and the session ends.
func TestRefreshReplaced(t *testing.T) {
	s := start(t, nil)
	s.freeze(t)
	d := newDevice(t)
	first := s.login(t, d, "alice")
	late := s.proof(t, d, "")
	third := s.refreshed(t, d, s.refreshed(t, d, first.refresh).refresh)
	form := refreshForm(first.refresh)
	form.Set("client_id", app.id)

	wantError(t, s.post(t, "/token", form, http.Header{"Dpop": {late}}), http.StatusBadRequest, "invalid_grant")
	fourth := s.wantAlive(t, d, third)

	s.advance(t, time.Minute)
	t.Run("by another key", func(t *testing.T) {
		wantError(t, s.token(t, app, newDevice(t), refreshForm(first.refresh)), http.StatusBadRequest, "invalid_grant")
		fourth = s.wantAlive(t, d, fourth)
	})
	t.Run("by another client", func(t *testing.T) {
		wantError(t, s.token(t, otherApp, d, refreshForm(first.refresh)), http.StatusBadRequest, "invalid_grant")
		fourth = s.wantAlive(t, d, fourth)
	})
	s.advance(t, time.Minute)
	t.Run("with an older nonce", func(t *testing.T) {
		old := s.nonce(t)
		s.advance(t, time.Minute)
		fourth = s.refreshed(t, d, fourth.refresh)
		wantError(t, s.post(t, "/token", form, http.Header{"Dpop": {s.proof(t, d, old)}}), http.StatusBadRequest, "invalid_grant")
		fourth = s.wantAlive(t, d, fourth)
	})
	t.Run("with a newer nonce", func(t *testing.T) {
		s.advance(t, time.Minute)
		wantError(t, s.token(t, app, d, refreshForm(first.refresh)), http.StatusBadRequest, "invalid_grant")
		s.wantEnded(t, d, fourth)
	})
}

// TestRefreshOfAnEndedSession holds what ends a session, for its refresh tokens and for its access tokens.
func TestRefreshOfAnEndedSession(t *testing.T) {
	s := start(t, nil)
	for name, end := range map[string]func(t *testing.T, held tokens){
		"refresh token revoked": func(t *testing.T, held tokens) {
			if a := s.revoke(t, app, held.refresh); a.status != http.StatusOK {
				t.Errorf("revocation = %v, want 200", a)
			}
		},
		"device removed": func(t *testing.T, held tokens) { s.remove(t, held.set.Device) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			held := s.login(t, d, "alice")
			other := s.login(t, newDevice(t), "alice")
			end(t, held)
			s.wantEnded(t, d, held)
			s.wantActive(t, other.access)
		})
	}
}

// TestSessionExpires holds the two ends of a session's life: not used for 14 days, and 20 days old.
func TestSessionExpires(t *testing.T) {
	const day = 24 * time.Hour
	s := start(t, nil)
	idle, used := newDevice(t), newDevice(t)
	left, kept := s.login(t, idle, "alice"), s.login(t, used, "alice")
	next := s.refreshed(t, idle, left.refresh)
	s.advance(t, 13*day)
	kept = s.refreshed(t, used, kept.refresh)
	s.advance(t, 2*day)
	for _, token := range []string{next.refresh, left.refresh} { // the newest, and a repeat
		wantError(t, s.token(t, app, idle, refreshForm(token)), http.StatusBadRequest, "invalid_grant")
	}
	s.wantInactive(t, next.access)
	kept = s.refreshed(t, used, kept.refresh)
	s.wantActive(t, kept.access)

	s.advance(t, 5*day-5*time.Minute)
	kept = s.refreshed(t, used, kept.refresh)
	if left := kept.set.Expires.Sub(s.clock.now()); left > 5*time.Minute {
		t.Errorf("the access token outlives its session: %v left, want at most 5m", left)
	}
	last := s.refreshed(t, used, kept.refresh)
	s.advance(t, 5*time.Minute)
	wantError(t, s.token(t, app, used, refreshForm(last.refresh)), http.StatusBadRequest, "invalid_grant")
	wantError(t, s.token(t, app, used, refreshForm(kept.refresh)), http.StatusBadRequest, "invalid_grant") // a repeat
	s.wantInactive(t, kept.access)
}

// TestNarrowing holds that a refresh may ask for less than was granted, for this one token (RFC 6749 §6, RFC 8707 §2.2).
func TestNarrowing(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	code := s.code(t, "alice", url.Values{"resource": {"https://rooms.example.com", "https://files.example.com"}})
	held := wantTokens(t, s.token(t, app, d, codeForm(code, nil)))
	for _, test := range []struct {
		name     string
		change   url.Values
		scope    string
		audience []string
	}{
		{"as granted", nil, "im:handle im:device", []string{"https://rooms.example.com", "https://files.example.com"}},
		{"one scope", url.Values{"scope": {"im:handle"}}, "im:handle", []string{"https://rooms.example.com", "https://files.example.com"}},
		{"openid is ignored", url.Values{"scope": {"openid im:device"}}, "im:device", []string{"https://rooms.example.com", "https://files.example.com"}},
		{"one resource", url.Values{"resource": {"https://files.example.com"}}, "im:handle im:device", []string{"https://files.example.com"}},
		{"all of it again", nil, "im:handle im:device", []string{"https://rooms.example.com", "https://files.example.com"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			form := refreshForm(held.refresh)
			maps.Copy(form, test.change)
			a := s.token(t, app, d, form)
			held = wantTokens(t, a)
			if held.set.Scope != test.scope || a.text("scope") != test.scope || !slices.Equal(held.set.Audience, test.audience) {
				t.Errorf("token with scope %q (answer %q) and audience %q, want %q and %q",
					held.set.Scope, a.text("scope"), held.set.Audience, test.scope, test.audience)
			}
			if (held.set.Handle != "") != slices.Contains([]string{"im:handle im:device", "im:handle"}, test.scope) {
				t.Errorf("handle = %q with scope %q", held.set.Handle, test.scope)
			}
		})
	}
}
