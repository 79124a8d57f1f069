package server_test

import (
	"net/url"
	"testing"
	"time"
)

// TestReviewA4OneAppLocksOutNoOther holds that an app which asks too often for a user is refused alone: the user's other
// apps go on, and so does the app for other users, until all apps of the user together ask too often.
func TestReviewA4OneAppLocksOutNoOther(t *testing.T) {
	fill := limits("off", "off", "12/60s")
	fill["limits"] += ", per_user_client: 5/60s"
	s := start(t, fill)
	s.freeze(t)
	greedy, quiet, third, others := newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	first, fromThird, bob := s.login(t, greedy, "alice"), s.account(t, third, "alice"), s.login(t, others, "bob")
	form := codeForm(s.code(t, "alice", url.Values{"client_id": {otherApp.id}}), nil)
	second := wantTokens(t, s.token(t, otherApp, quiet, form))
	s.advance(t, time.Minute) // all may ask as often as they like again

	for range 5 {
		first = s.refreshed(t, greedy, first.refresh)
	}
	for range 3 {
		wantLimited(t, s.token(t, app, greedy, refreshForm(first.refresh)), false)
	}
	s.refreshed(t, others, bob.refresh)
	for range 5 {
		second = s.refreshedAs(t, otherApp, quiet, second.refresh)
	}
	wantLimited(t, s.token(t, otherApp, quiet, refreshForm(second.refresh)), false)
	for range 2 { // what is refused takes nothing from the user
		fromThird = s.refreshedAs(t, accounts, third, fromThird.refresh)
	}
	wantLimited(t, s.token(t, accounts, third, refreshForm(fromThird.refresh)), false)
	got := s.metrics(t)
	if app, user := got[`issuer_requests_limited_total{by="user_client"}`], got[`issuer_requests_limited_total{by="user"}`]; app != 4 || user != 1 {
		t.Errorf("%v requests were too many of a user by a client and %v of a user, want 4 and 1", app, user)
	}
}
