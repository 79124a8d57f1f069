package server_test

import (
	"net/http"
	"testing"
	"time"
)

// TestRevocationsUnknown holds that an issuer which cannot read what was revoked does not know what is active, and says
// that; what does not depend on it goes on (design: an outage is never an answer of no).
func TestRevocationsUnknown(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	s.wantActive(t, held.access)
	s.faults.set("Revocations")
	s.clock.advance(3 * time.Second)
	for _, token := range []string{held.access, "garbage", held.refresh} {
		wantError(t, s.introspect(t, peer, token), http.StatusServiceUnavailable, "temporarily_unavailable")
	}
	wantError(t, s.introspect(t, mute, held.access), http.StatusForbidden, "unauthorized_client")
	wantError(t, s.get(t, "/readyz"), http.StatusServiceUnavailable, "temporarily_unavailable")
	for _, path := range []string{"/healthz", "/jwks", "/.well-known/oauth-authorization-server"} {
		if a := s.get(t, path); a.status != http.StatusOK {
			t.Errorf("%s = %v, want 200", path, a)
		}
	}
	next := s.refreshed(t, d, held.refresh)
	if a := s.revokeBy(t, app, d, held.access); a.status != http.StatusOK {
		t.Errorf("revocation = %v, want 200", a)
	}
	s.faults.set("")
	s.waitReady(t)
	s.wantInactive(t, held.access)
	s.wantAlive(t, d, next)
}

// TestNotReady holds that a store which does not answer makes the issuer not ready, and it alone.
func TestNotReady(t *testing.T) {
	s := start(t, nil)
	s.faults.set("Ping")
	s.clock.advance(2 * time.Second)
	for range 1000 {
		if s.get(t, "/readyz").status == http.StatusServiceUnavailable {
			break
		}
		time.Sleep(time.Millisecond)
	}
	wantError(t, s.get(t, "/readyz"), http.StatusServiceUnavailable, "temporarily_unavailable")
	if a := s.get(t, "/healthz"); a.status != http.StatusOK {
		t.Errorf("/healthz = %v, want 200", a)
	}
	s.faults.set("")
	s.advance(t, 2*time.Second)
}
