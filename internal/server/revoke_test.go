package server_test

import (
	"net/http"
	"net/url"
	"testing"
)

// TestRevoke holds what a revocation ends (RFC 7009 §2.1), and that it says no more than that it was done (§2.2).
func TestRevoke(t *testing.T) {
	s := start(t, nil)
	done := func(t *testing.T, a answer) {
		t.Helper()
		if a.status != http.StatusOK || a.body != "" {
			t.Errorf("revocation = %v, want 200 and no more", a)
		}
		wantNotStored(t, a)
	}
	t.Run("refresh token", func(t *testing.T) {
		d := newDevice(t)
		first := s.login(t, d, "alice")
		second := s.refreshed(t, d, first.refresh)
		other := s.login(t, d, "alice") // another session of the device
		done(t, s.revoke(t, app, second.refresh))
		s.wantEnded(t, d, second)
		s.wantInactive(t, first.access)
		s.wantAlive(t, d, other)
		done(t, s.revoke(t, app, second.refresh))
	})
	t.Run("replaced refresh token", func(t *testing.T) {
		d := newDevice(t)
		first := s.login(t, d, "alice")
		second := s.refreshed(t, d, first.refresh)
		done(t, s.revoke(t, app, first.refresh))
		s.wantEnded(t, d, second)
	})
	t.Run("access token", func(t *testing.T) {
		d := newDevice(t)
		first := s.login(t, d, "alice")
		second := s.refreshed(t, d, first.refresh)
		done(t, s.revokeBy(t, app, d, first.access))
		s.wantInactive(t, first.access)
		s.wantAlive(t, d, second)
		done(t, s.revokeBy(t, app, d, first.access))
	})
	t.Run("service token", func(t *testing.T) {
		token := s.token(t, mute, nil, url.Values{"grant_type": {"client_credentials"}}).text("access_token")
		done(t, s.revoke(t, peer, token))
		s.wantActive(t, token)
		done(t, s.revoke(t, mute, token))
		s.wantInactive(t, token)
	})
	t.Run("of another client", func(t *testing.T) {
		d := newDevice(t)
		held := s.login(t, d, "alice")
		for _, by := range []caller{otherApp, webApp, peer} {
			done(t, s.revoke(t, by, held.access))
			done(t, s.revoke(t, by, held.refresh))
		}
		s.wantAlive(t, d, held)
	})
	t.Run("unknown", func(t *testing.T) {
		d := newDevice(t)
		held := s.login(t, d, "alice")
		for _, token := range []string{"garbage", held.access + "A", held.refresh + "A", s.proof(t, d, "")} {
			done(t, s.revoke(t, app, token))
		}
		s.wantAlive(t, d, held)
	})
	t.Run("wrong hint", func(t *testing.T) {
		d := newDevice(t)
		held := s.login(t, d, "alice")
		done(t, s.post(t, "/revoke", url.Values{"client_id": {app.id}, "token": {held.refresh}, "token_type_hint": {"access_token"}}, nil))
		s.wantEnded(t, d, held)
	})
	t.Run("refused", func(t *testing.T) {
		wantError(t, s.post(t, "/revoke", url.Values{"client_id": {app.id}}, nil), http.StatusBadRequest, "invalid_request")
		wantError(t, s.post(t, "/revoke", url.Values{"client_id": {app.id}, "token": {""}}, nil), http.StatusBadRequest, "invalid_request")
		wantError(t, s.post(t, "/revoke", url.Values{"token": {"AAAA"}}, nil), http.StatusUnauthorized, "invalid_client")
	})
}
