package server_test

import (
	"net/http"
	"net/url"
	"testing"
)

// TestReviewB3CodeRaceEndsSession lets a thief redeem a code between what the request of the app reads and what it writes.
// The app comes with the right verifier and another key, so the session of the thief ends, as if the app had come later.
func TestReviewB3CodeRaceEndsSession(t *testing.T) {
	s := start(t, nil)
	for _, test := range []struct {
		name  string
		as    caller
		begin url.Values
		same  bool // the app repeats its own request: both come by one key
	}{
		{name: "public client", as: app},
		{name: "confidential client", as: deskApp, begin: url.Values{"client_id": {deskApp.id}}},
		{name: "same key", as: app, same: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, thief := newDevice(t), newDevice(t)
			if test.same {
				thief = ours
			}
			code := s.code(t, "alice", test.begin)
			var stolen answer
			s.faults.beforeUpdate(func() { stolen = s.token(t, test.as, thief, codeForm(code, nil)) })
			wantError(t, s.token(t, test.as, ours, codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
			wantStatus(t, stolen, http.StatusOK)
			if test.same {
				s.wantActive(t, stolen.text("access_token"))
				s.refreshed(t, thief, stolen.text("refresh_token"))
				return
			}
			s.wantInactive(t, stolen.text("access_token"))
			if refresh := stolen.text("refresh_token"); refresh != "" {
				wantError(t, s.token(t, test.as, thief, refreshForm(refresh)), http.StatusBadRequest, "invalid_grant")
			}
		})
	}
}

// TestReviewB3CodeRacedEndsSession sends one code by eight keys at once. One request is answered with tokens, and in the end
// no session of them lives.
func TestReviewB3CodeRacedEndsSession(t *testing.T) {
	s := start(t, nil)
	code := s.code(t, "alice", nil)
	devices := make(chan *device, 8)
	for range cap(devices) {
		devices <- newDevice(t)
	}
	won := make(chan func(), cap(devices))
	for _, a := range parallel(cap(devices), func() answer {
		d := <-devices
		a := s.token(t, app, d, codeForm(code, nil))
		if a.status == http.StatusOK {
			held := wantTokens(t, a)
			won <- func() { s.wantEnded(t, d, held) }
		}
		return a
	}) {
		if a.status != http.StatusOK {
			wantError(t, a, http.StatusBadRequest, "invalid_grant")
		}
	}
	if len(won) != 1 {
		t.Fatalf("%d requests got tokens, want 1", len(won))
	}
	(<-won)()
}
