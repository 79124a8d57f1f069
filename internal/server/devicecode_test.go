package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

var (
	tv      = caller{id: "tv"}
	otherTV = caller{id: "other-tv", secret: secret}
)

const deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"

// askDevice sends a device authorization request, with a proof by d unless it is nil.
func (s *site) askDevice(t *testing.T, c caller, d *device, change url.Values) answer {
	t.Helper()
	header, form := http.Header{}, url.Values{"im_device_name": {"Living room"}}
	for name, v := range change {
		form[name] = v
	}
	c.authenticate(form, header)
	if d != nil {
		proof, err := d.Proof(dpop.ProofParams{
			Method: http.MethodPost, URL: s.issuer + "/device_authorization", Nonce: s.nonce(t), IssuedAt: s.clock.now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		header.Set("DPoP", proof)
	}
	return s.post(t, "/device_authorization", form, header)
}

// askedDevice is askDevice of tv that must succeed. It returns both codes.
func (s *site) askedDevice(t *testing.T, d *device) (deviceCode, userCode string) {
	t.Helper()
	a := s.askDevice(t, tv, d, nil)
	wantStatus(t, a, http.StatusOK)
	wantNotStored(t, a)
	return a.text("device_code"), a.text("user_code")
}

func pollForm(code string) url.Values {
	return url.Values{"grant_type": {deviceGrant}, "device_code": {code}}
}

// showWaiting asks by a linked device what waits under a user code.
func (s *site) showWaiting(t *testing.T, d *device, own, userCode string) answer {
	t.Helper()
	req := s.request(t, http.MethodGet, "/me/device_codes?user_code="+url.QueryEscape(userCode), "")
	req.Header.Set("Authorization", "DPoP "+own)
	req.Header.Set("DPoP", s.proofFor(t, d.Signer, http.MethodGet, "/me/device_codes", s.nonce(t), own))
	return s.send(t, s.http, req)
}

// decideDevice decides by a linked device.
func (s *site) decideDevice(t *testing.T, d *device, own, userCode, decision string) answer {
	t.Helper()
	return s.held(t, d, own, http.MethodPost, "/me/device_codes", object{"user_code": userCode, "decision": decision})
}

// TestDeviceGrant links a TV from a phone: the TV shows a code, the phone sees what asks and allows it, the TV gets its tokens, and the
// phone is told of the new device.
func TestDeviceGrant(t *testing.T) {
	s := start(t, nil)
	meta := s.get(t, "/.well-known/oauth-authorization-server")
	if meta.text("device_authorization_endpoint") != s.issuer+"/device_authorization" || !strings.Contains(meta.body, deviceGrant) {
		t.Errorf("metadata = %v, want the endpoint and the grant type (RFC 8628 §4)", meta)
	}
	phone, screen := newDevice(t), newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	a := s.askDevice(t, tv, nil, url.Values{"im_device_platform": {"tv"}, "scope": {"im:handle im:device"}})
	wantStatus(t, a, http.StatusOK)
	code, shown := a.text("device_code"), a.text("user_code")
	if a.text("verification_uri") != s.issuer+"/device" || a.text("verification_uri_complete") != s.issuer+"/device?user_code="+shown ||
		a.json["expires_in"] != 600.0 || a.json["interval"] != 5.0 || len(a.json) != 6 {
		t.Errorf("answer = %v, want what RFC 8628 §3.2 says", a)
	}
	wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "authorization_pending")
	wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "slow_down")
	wantError(t, s.token(t, otherTV, screen, pollForm(code)), http.StatusBadRequest, "invalid_grant")

	asks := s.showWaiting(t, phone, own, strings.ToLower(shown))
	wantStatus(t, asks, http.StatusOK)
	for name, want := range (object{
		"user_code": shown, "client_id": "tv", "client_name": "Big screen", "device_name": "Living room", "platform": "tv",
		"network": "127.0.0.0/24", "same_network": true, "scope": "im:handle im:device", "key_in_use": false, "device_limit_reached": false,
	}) {
		if asks.json[name] != want {
			t.Errorf("%s = %v, want %v", name, asks.json[name], want)
		}
	}
	events := s.audited(func() {
		for range 2 { // the answer was lost
			wantStatus(t, s.decideDevice(t, phone, own, shown, "allow"), http.StatusNoContent)
		}
	})
	want := fmt.Sprintf("event=consent.given actor=user domain=example.com user=%s client=tv session=%s address=127.0.0.1",
		deviceOf(t, held).Local(), held.set.SID)
	if len(events) != 1 {
		t.Errorf("events = %q, want one", events)
	}
	for field := range strings.FieldsSeq(want) {
		if len(events) == 1 && !strings.Contains(events[0], field) {
			t.Errorf("event = %s, want %s in it", events[0], field)
		}
	}
	s.restart(t, nil) // an allowed code survives it
	got := wantTokens(t, s.token(t, tv, screen, pollForm(code)))
	if got.set.Subject != held.set.Subject || got.set.Device == held.set.Device || got.set.JKT != screen.JKT() {
		t.Errorf("token = %+v, want one of alice's on another device", got.set)
	}
	wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "invalid_grant")
	if list := eventsIn(t, s.askMyEvents(t, phone, own, "since=1")); len(list) != 1 || list[0] != "2 device_added "+deviceOf(t, got).Device() {
		t.Errorf("events = %q, want the new device", list)
	}
	if d := s.devicesOf(t, phone, own, 50)[deviceOf(t, got).Device()]; d["name"] != "Living room" || d["platform"] != "tv" || d["client_id"] != "tv" {
		t.Errorf("device = %v, want the TV", d)
	}
	wantTokens(t, s.token(t, tv, screen, refreshForm(got.refresh)))

	// Denied.
	code, shown = s.askedDevice(t, screen)
	events = s.audited(func() { wantStatus(t, s.decideDevice(t, phone, own, shown, "deny"), http.StatusNoContent) })
	if len(events) != 1 || !strings.Contains(events[0], "event=consent.denied") {
		t.Errorf("events = %q, want a denial", events)
	}
	wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "access_denied")
	wantRefused(t, s.decideDevice(t, phone, own, shown, "allow"), http.StatusNotFound, "not_found")
	for name, body := range map[string]any{
		"no code": object{"decision": "allow"}, "no decision": object{"user_code": shown}, "another decision": object{"user_code": shown, "decision": "maybe"},
		"no user code": object{"user_code": "12345678", "decision": "allow"}, "a long one": object{"user_code": strings.Repeat("B", 9), "decision": "deny"},
		"more": object{"user_code": shown, "decision": "allow", "user": "bob"}, "a form": url.Values{"user_code": {shown}, "decision": {"allow"}},
	} {
		if a := s.held(t, phone, own, http.MethodPost, "/me/device_codes", body); a.status != http.StatusBadRequest {
			t.Errorf("decision with %s = %v, want it refused", name, a)
		}
	}
	wantError(t, s.showWaiting(t, phone, own, "AEIOU"), http.StatusBadRequest, "invalid_request")

	// Refused: without a login of the last five minutes (RFC 9470), with a token for something else, and after the end of the session.
	code, shown = s.askedDevice(t, screen)
	s.advance(t, 5*time.Minute+time.Second)
	own = s.forIssuer(t, phone, held, "account").access
	wantRefused(t, s.decideDevice(t, phone, own, shown, "allow"), http.StatusUnauthorized, "insufficient_user_authentication")
	wantStatus(t, s.showWaiting(t, phone, own, shown), http.StatusOK)
	wantRefused(t, s.showWaiting(t, phone, held.access, shown), http.StatusUnauthorized, "invalid_token")
	narrow := s.forIssuer(t, phone, held, "introspect").access
	wantRefused(t, s.showWaiting(t, phone, narrow, shown), http.StatusForbidden, "insufficient_scope")
	s.advance(t, 5*time.Minute)
	wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "expired_token")
	wantRefused(t, s.showWaiting(t, phone, own, shown), http.StatusNotFound, "not_found")
}

// TestDeviceRequestsRefused holds the form of the first request, with the authentication of clients as elsewhere.
func TestDeviceRequestsRefused(t *testing.T) {
	s := start(t, map[string]string{"limits": ", waiting_logins: 100"})
	wrong := caller{id: "other-tv", secret: "wrong"}
	wantError(t, s.askDevice(t, wrong, nil, nil), http.StatusUnauthorized, "invalid_client")
	wantError(t, s.askDevice(t, app, nil, nil), http.StatusBadRequest, "unauthorized_client")
	wantError(t, s.askDevice(t, tv, nil, url.Values{"scope": {"introspect"}}), http.StatusBadRequest, "invalid_scope")
	wantError(t, s.askDevice(t, tv, nil, url.Values{"im_device_name": {strings.Repeat("x", 65)}}), http.StatusBadRequest, "invalid_request")
	wantError(t, s.askDevice(t, tv, nil, url.Values{"im_device_name": {"a", "b"}}), http.StatusBadRequest, "invalid_request")
	wantError(t, s.post(t, "/device_authorization?client_id=tv", url.Values{}, nil), http.StatusBadRequest, "invalid_request")
	wantError(t, s.post(t, "/device_authorization", url.Values{}, nil), http.StatusUnauthorized, "invalid_client")
	wantError(t, s.post(t, "/device_authorization", url.Values{"client_id": {"tv"}}, http.Header{"Dpop": {"a.b.c"}}), http.StatusBadRequest, "invalid_dpop_proof")
	replayed := http.Header{"Dpop": {s.proofFor(t, newDevice(t).Signer, http.MethodPost, "/device_authorization", s.nonce(t), "")}}
	wantStatus(t, s.post(t, "/device_authorization", url.Values{"client_id": {"tv"}}, replayed), http.StatusOK)
	wantError(t, s.post(t, "/device_authorization", url.Values{"client_id": {"tv"}}, replayed), http.StatusBadRequest, "invalid_dpop_proof")

	// One address cannot fill the store.
	limited := 0
	for range 60 {
		if a := s.askDevice(t, tv, nil, nil); a.status != http.StatusOK {
			wantLimited(t, a, false)
			limited++
		}
	}
	if limited < 10 || limited == 60 {
		t.Errorf("%d of 60 requests were refused, want some", limited)
	}
}

// TestUserCodeGuessed holds the limits of guesses: a hundred of them do not help, however many at a time. A code
// that waits takes nothing from the budget.
func TestUserCodeGuessed(t *testing.T) {
	s := start(t, nil)
	s.freeze(t)
	phone, bobs := newDevice(t), newDevice(t)
	own, his := s.forIssuer(t, phone, s.account(t, phone, "alice"), "account").access, s.forIssuer(t, bobs, s.account(t, bobs, "bob"), "account").access
	_, shown := s.askedDevice(t, nil)
	for range 10 {
		wantStatus(t, s.showWaiting(t, phone, own, shown), http.StatusOK)
	}
	proofs := make([]answer, 100)
	var group sync.WaitGroup
	for i := range proofs {
		guess := "BBBB" + string("BCDFGHJKLM"[i/10]) + string("BCDFGHJKLM"[i%10]) + "BB"
		group.Go(func() {
			if i%2 == 0 {
				proofs[i] = s.showWaiting(t, phone, own, guess)
			} else {
				proofs[i] = s.decideDevice(t, phone, own, guess, "deny")
			}
		})
	}
	group.Wait()
	looked := 0
	for _, a := range proofs {
		switch a.status {
		case http.StatusNotFound:
			looked++
		case http.StatusTooManyRequests:
		default:
			t.Errorf("guess = %v, want 404 or 429", a)
		}
	}
	if looked != 5 {
		t.Errorf("%d guesses were looked at, want 5", looked)
	}
	if wait := wantLimited(t, s.showWaiting(t, phone, own, shown), false); wait > 2*time.Minute {
		t.Errorf("Retry-After = %v, want two minutes at most", wait)
	}
	wantLimited(t, s.decideDevice(t, phone, own, shown, "allow"), false)
	wantStatus(t, s.showWaiting(t, bobs, his, shown), http.StatusOK) // somebody else at the same address
	s.clock.advance(2 * time.Minute)
	s.waitReady(t)
	wantStatus(t, s.showWaiting(t, phone, own, shown), http.StatusOK)
}

// TestDeviceCodeEnds holds that logout at the provider, disabling and the removal of the phone end what it has allowed.
func TestDeviceCodeEnds(t *testing.T) {
	s := start(t, nil)
	for _, test := range []struct {
		name string
		end  func(held tokens)
	}{
		{"removed", func(held tokens) { s.remove(t, held.set.Device) }},
		{"disabled", func(held tokens) {
			for _, act := range []string{"disable", "enable"} {
				path := "/admin/users/" + deviceOf(t, held).Local() + "/" + act
				wantStatus(t, s.operate(t, http.MethodPost, path, url.Values{"domain": {"example.com"}}), http.StatusOK)
			}
		}},
		{"logout at the provider", func(tokens) { // last: it also ends logins of the same second
			wantStatus(t, s.logOut(t, "dev", s.logoutToken(object{"sub": "dev-10021"})), http.StatusOK)
		}},
	} {
		phone, screen := newDevice(t), newDevice(t)
		held := s.account(t, phone, "alice")
		own := s.forIssuer(t, phone, held, "account").access
		code, shown := s.askedDevice(t, screen)
		wantStatus(t, s.decideDevice(t, phone, own, shown, "allow"), http.StatusNoContent)
		test.end(held)
		if a := s.token(t, tv, screen, pollForm(code)); a.status != http.StatusBadRequest || a.text("error") != "invalid_grant" {
			t.Errorf("%s: poll = %v, want invalid_grant", test.name, a)
		}
	}
}

// linking goes through the device grant.
func linking(t *testing.T, s *site) []step {
	phone, screen := newDevice(t), newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	var code, shown string
	return []step{
		{
			name: "device authorization",
			ask:  func() answer { return s.askDevice(t, tv, nil, nil) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				code, shown = a.text("device_code"), a.text("user_code")
			},
		},
		{
			name: "first poll",
			ask:  func() answer { return s.token(t, tv, screen, pollForm(code)) },
			good: func(a answer) {
				if a.text("error") != "slow_down" { // after an answer that was lost
					wantError(t, a, http.StatusBadRequest, "authorization_pending")
				}
			},
		},
		{name: "look", ask: func() answer { return s.showWaiting(t, phone, own, shown) }, good: func(a answer) { wantStatus(t, a, http.StatusOK) }},
		{
			name: "decision",
			ask:  func() answer { return s.decideDevice(t, phone, own, shown, "allow") },
			good: func(a answer) { wantStatus(t, a, http.StatusNoContent) },
		},
		{
			name: "redemption",
			ask:  func() answer { return s.token(t, tv, screen, pollForm(code)) },
			good: func(a answer) {
				if got := wantTokens(t, a); got.set.Subject != held.set.Subject {
					t.Errorf("token of %s, want one of %s", got.set.Subject, held.set.Subject)
				}
			},
			again: func(durable bool) answer {
				if !durable {
					return s.token(t, tv, screen, pollForm(code))
				}
				wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "invalid_grant") // as for a code whose answer was lost
				code, shown = s.askedDevice(t, screen)
				wantStatus(t, s.decideDevice(t, phone, own, shown, "allow"), http.StatusNoContent)
				return s.token(t, tv, screen, pollForm(code))
			},
		},
	}
}
