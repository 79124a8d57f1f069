package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestReviewC6RemovedDeviceIsNotTold holds that nobody learns from the thumbprint of a key alone, which is in every token,
// whether its device was removed: a key is refused once a proof shows that the caller has it, or after the login.
func TestReviewC6RemovedDeviceIsNotTold(t *testing.T) {
	s := start(t, nil)
	gone := newDevice(t)
	s.remove(t, s.login(t, gone, "alice").set.Device)
	named := url.Values{"dpop_jkt": {gone.JKT()}}

	a, fresh := s.push(t, nil, named), s.push(t, nil, url.Values{"dpop_jkt": {newDevice(t).JKT()}})
	if a.status != http.StatusCreated || fresh.status != a.status {
		t.Fatalf("answers = %v and %v, want a request_uri for any key", a, fresh)
	}
	if q := s.pushedLogin(t, a.text("request_uri")); q.Get("error") != "invalid_request" || q.Has("code") {
		t.Errorf("authorization answer = %v, want invalid_request after the login", q)
	}
	direct := s.askToLogIn(t, s.browser(), named)
	if to := direct.header.Get("Location"); direct.status != http.StatusSeeOther || !strings.HasPrefix(to, s.provider.url) {
		t.Errorf("answer = %v to %q, want a redirect to the provider", direct, to)
	}
	if q := s.signIn(t, "alice", named); q.Get("error") != "invalid_request" || q.Has("code") {
		t.Errorf("authorization answer = %v, want invalid_request after the login", q)
	}
	wantError(t, s.push(t, gone, nil), http.StatusBadRequest, "invalid_request")
}

// TestReviewE9LongState holds that a state of 4 KiB comes back whole, pushed and not.
func TestReviewE9LongState(t *testing.T) {
	s := start(t, nil)
	state := strings.Repeat("s", 4<<10)
	change := url.Values{"state": {state}}
	if q := s.signIn(t, "alice", change); q.Get("state") != state || !q.Has("code") {
		t.Errorf("authorization answer has a state of %d bytes, want all 4096 and a code", len(q.Get("state")))
	}
	if q := s.pushedLogin(t, s.pushed(t, nil, change)); q.Get("state") != state || !q.Has("code") {
		t.Errorf("authorization answer to a pushed request has a state of %d bytes, want all 4096 and a code", len(q.Get("state")))
	}
	wantError(t, s.push(t, nil, url.Values{"state": {state + "s"}}), http.StatusBadRequest, "invalid_request")
}

// TestReviewE9PublicClientByBasic holds that an app which sends its id by HTTP Basic with an empty secret is told what to do,
// and that nobody else is told anything.
func TestReviewE9PublicClientByBasic(t *testing.T) {
	s := start(t, nil)
	ask := func(id, secret string) answer {
		return s.post(t, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"AAAA"}},
			http.Header{"Authorization": {basic(id, secret)}, "Dpop": {s.proof(t, newDevice(t), "")}})
	}
	a := ask(app.id, "")
	wantInvalidClient(t, a)
	if want := "send client_id in the body"; !strings.Contains(a.text("error_description"), want) {
		t.Errorf("error_description = %q, want %q in it", a.text("error_description"), want)
	}
	unknown := ask("nobody", "")
	for name, other := range map[string]answer{"public with a secret": ask(app.id, "x"), "confidential without": ask(peer.id, "")} {
		if other.text("error_description") != unknown.text("error_description") {
			t.Errorf("%s: %v, want the answer to an unknown client", name, other)
		}
	}
}
