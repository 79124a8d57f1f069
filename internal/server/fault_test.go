package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestStoreFails lets each operation that a request asks of the store fail in turn: the answer is 503, nothing was
// decided, and the same request passes when the store is well again.
func TestStoreFails(t *testing.T) {
	s := start(t, nil)
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T) func() answer // makes a request that passes once; it must not matter how often it failed
		page    bool
		least   int // operations that it is known to ask for
	}{
		{"code", func(t *testing.T) func() answer {
			d, code := newDevice(t), s.code(t, "alice", nil)
			return func() answer { return s.token(t, app, d, codeForm(code, nil)) }
		}, false, 7},
		{"refresh", func(t *testing.T) func() answer {
			d := newDevice(t)
			held := s.login(t, d, "alice")
			return func() answer { return s.token(t, app, d, refreshForm(held.refresh)) }
		}, false, 4},
		{"end of a session", func(t *testing.T) func() answer {
			d := newDevice(t)
			code := s.code(t, "alice", nil)
			held := wantTokens(t, s.token(t, app, d, codeForm(code, nil)))
			return func() answer {
				a := s.token(t, app, newDevice(t), codeForm(code, nil))
				if a.status == http.StatusServiceUnavailable {
					s.wantActive(t, held.access)
				} else {
					s.wantInactive(t, held.access)
				}
				return a
			}
		}, false, 5},
		{"revocation of a refresh token", func(t *testing.T) func() answer {
			held := s.login(t, newDevice(t), "alice")
			return func() answer { return s.revoke(t, app, held.refresh) }
		}, false, 5},
		{"revocation of an access token", func(t *testing.T) func() answer {
			held := s.login(t, newDevice(t), "alice")
			return func() answer { return s.revoke(t, app, held.access) }
		}, false, 3},
		{"removal of a device", func(t *testing.T) func() answer {
			d := newDevice(t)
			s.login(t, d, "alice")
			device, err := s.store.DeviceByKey(t.Context(), "example.com", d.JKT())
			if err != nil {
				t.Fatal(err)
			}
			return func() answer {
				return s.send(t, s.http, s.request(t, http.MethodDelete, s.admin+"/admin/devices/example.com/"+device.ID, ""))
			}
		}, false, 6},
		{"authorization request", func(t *testing.T) func() answer {
			q := authorization(url.Values{"dpop_jkt": {newDevice(t).JKT()}})
			return func() answer { return s.get(t, "/authorize?"+q.Encode()) }
		}, true, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			var before answer
			request := test.prepare(t)
			ops := s.faults.during(func() { before = request() })
			if len(ops) < test.least || before.status == http.StatusServiceUnavailable {
				t.Fatalf("answer = %v after %q, want one after at least %d operations", before, ops, test.least)
			}
			for _, op := range ops {
				t.Run(op, func(t *testing.T) {
					request := test.prepare(t)
					s.faults.set(op)
					a := request()
					s.faults.set("")
					if test.page {
						wantPage(t, a, http.StatusServiceUnavailable)
					} else {
						wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
					}
					if strings.Contains(a.body, "fire") {
						t.Errorf("answer = %v, which tells what is inside", a)
					}
					if a := request(); a.status != before.status {
						t.Errorf("answer afterwards = %v, want %v", a, before)
					}
				})
			}
		})
	}
	t.Run("client_credentials", func(t *testing.T) {
		form := url.Values{"grant_type": {"client_credentials"}}
		var a answer
		ops := s.faults.during(func() { a = s.token(t, peer, newDevice(t), form) })
		if len(ops) != 0 || a.status != http.StatusOK {
			t.Errorf("answer = %v after %q, want a token without the store", a, ops)
		}
	})
}

// TestStoreFailsAtLogin is the same for the callback, whose code at the provider may be spent by then: it is told as an
// outage, leaves nothing half made, and a new login passes.
func TestStoreFailsAtLogin(t *testing.T) {
	s := start(t, nil)
	s.namesake(t, "first", "first")
	v := s.visit(t, "alice", nil)
	ops := s.faults.during(func() { s.wantCode(t, s.open(t, v.browser, v.callback)) })
	for _, want := range []string{"Login", "TakeLogin", "LinkedUser", "InsertUser", "InsertName", "InsertLink", "InsertCode", "Commit"} {
		found := false
		for _, op := range ops {
			found = found || op == want
		}
		if !found {
			t.Errorf("a first login asks for %q, want %s among them", ops, want)
		}
	}
	for _, op := range ops {
		t.Run(op, func(t *testing.T) {
			s.namesake(t, "person of "+op, "person-of-"+strings.ToLower(op))
			v := s.visit(t, "alice", nil)
			s.faults.set(op)
			a := s.open(t, v.browser, v.callback)
			s.faults.set("")
			if a.status != http.StatusSeeOther { // what is asked for only to redeem the code does not fail here
				wantPage(t, a, http.StatusServiceUnavailable)
			}
			s.login(t, newDevice(t), "alice")
		})
	}
}

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
	if a := s.revoke(t, app, held.access); a.status != http.StatusOK {
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
