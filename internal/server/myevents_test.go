package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// askMyEvents asks for the events of a user.
func (s *site) askMyEvents(t *testing.T, d *device, own, query string) answer {
	t.Helper()
	req := s.request(t, http.MethodGet, "/me/events?"+query, "")
	req.Header.Set("Authorization", "DPoP "+own)
	req.Header.Set("DPoP", s.proofFor(t, d.Signer, http.MethodGet, "/me/events", s.nonce(t), own))
	return s.send(t, s.http, req)
}

// eventsIn returns the events of an answer in short: their numbers, types and devices.
func eventsIn(t *testing.T, a answer) (list []string) {
	t.Helper()
	wantStatus(t, a, http.StatusOK)
	events, ok := a.json["events"].([]any)
	if !ok {
		t.Fatalf("answer = %v, want events", a)
	}
	for _, v := range events {
		e, _ := v.(object)
		if at, err := time.Parse(time.RFC3339, fmt.Sprint(e["at"])); err != nil || at.IsZero() || len(e) != 5 {
			t.Errorf("event = %v, want five members with a time", e)
		}
		if uri, id := fmt.Sprint(e["device"]), fmt.Sprint(e["id"]); !strings.Contains(uri, "/"+id+"@") {
			t.Errorf("event = %v, want the URI of the device", e)
		}
		list = append(list, fmt.Sprintf("%v %v %v", e["number"], e["type"], e["id"]))
	}
	return list
}

// TestMyEvents holds which events a user gets, in pages of any size, and that others are not among them.
func TestMyEvents(t *testing.T) {
	s := start(t, nil)
	phone, tablet, next, bobs := newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	held, hers, his := s.account(t, phone, "alice"), s.account(t, tablet, "alice"), s.account(t, bobs, "bob")
	s.account(t, phone, "alice") // the same device: no event
	s.rekeyed(t, tablet, next, hers)
	id := func(h tokens) string { return deviceOf(t, h).Device() }
	s.remove(t, hers.set.Device) // by an operator
	own := s.forIssuer(t, phone, held, "account").access
	third := s.login(t, newDevice(t), "alice")
	for range 2 { // the second one changes nothing
		wantStatus(t, s.held(t, phone, own, http.MethodDelete, "/me/devices/"+id(third), nil), http.StatusNoContent)
	}
	want := []string{
		"1 device_added " + id(held), "2 device_added " + id(hers), "3 device_rekeyed " + id(hers), "4 device_removed " + id(hers),
		"5 device_added " + id(third), "6 device_removed " + id(third),
	}
	for since := range len(want) + 1 {
		for limit := 1; limit <= len(want)+1; limit++ {
			a := s.askMyEvents(t, phone, own, fmt.Sprintf("since=%d&limit=%d", since, limit))
			end := min(since+limit, len(want))
			if got := eventsIn(t, a); strings.Join(got, "; ") != strings.Join(want[since:end], "; ") || a.json["next"] != float64(end) || a.json["more"] != (end < len(want)) {
				t.Errorf("after %d, %d at most = %v, want %q and next %d", since, limit, a, want[since:end], end)
			}
		}
	}
	if got := eventsIn(t, s.askMyEvents(t, phone, own, "")); len(got) != len(want) {
		t.Errorf("events = %q, want all", got)
	}
	if got := eventsIn(t, s.askMyEvents(t, bobs, s.forIssuer(t, bobs, his, "account").access, "")); len(got) != 1 || got[0] != "1 device_added "+id(his) {
		t.Errorf("events of somebody else = %q, want one", got)
	}
	wantRefused(t, s.askMyEvents(t, phone, own, "since=7"), http.StatusGone, "fresh_start_required")
	for _, query := range []string{"since=-1", "since=x", "since=1.5", "since=01", "since=99999999999999999999", "limit=0", "limit=51", "wait=51", "wait=-1", "since=1&since=2"} {
		wantError(t, s.askMyEvents(t, phone, own, query), http.StatusBadRequest, "invalid_request")
	}
	s.restart(t, nil)
	if got := eventsIn(t, s.askMyEvents(t, phone, own, "since=5")); len(got) != 1 || got[0] != want[5] {
		t.Errorf("events after a restart = %q, want the last", got)
	}
}

// TestMyEventsAwaited holds that a waiting request is answered by the next event, when its time is over, and when its token ends.
func TestMyEventsAwaited(t *testing.T) {
	s := start(t, nil)
	phone, tablet := newDevice(t), newDevice(t)
	held, hers := s.account(t, phone, "alice"), s.account(t, tablet, "alice")
	own, tablets := s.forIssuer(t, phone, held, "account").access, s.forIssuer(t, tablet, hers, "account").access
	answers := make(chan answer, 1)
	await := func(d *device, own, query string) {
		go func() { answers <- s.askMyEvents(t, d, own, query) }()
	}
	// There are some already.
	if got := eventsIn(t, s.askMyEvents(t, phone, own, "since=1&wait=50")); len(got) != 1 {
		t.Errorf("events = %q, want one at once", got)
	}
	// The time is over.
	if a := s.askMyEvents(t, phone, own, "since=2&wait=1"); len(eventsIn(t, a)) != 0 || a.json["next"] != 2.0 {
		t.Errorf("answer = %v, want none, and the same number", a)
	}
	await(phone, own, "since=2&wait=50")
	third := s.login(t, newDevice(t), "alice")
	if got := eventsIn(t, <-answers); len(got) != 1 || got[0] != "3 device_added "+deviceOf(t, third).Device() {
		t.Errorf("events = %q, want the new device", got)
	}
	// The device of the request is removed: it hears of no more.
	await(tablet, tablets, "since=3&wait=50")
	s.remove(t, hers.set.Device)
	if a := <-answers; a.status != http.StatusForbidden && a.status != http.StatusUnauthorized {
		t.Errorf("answer = %v, want a refusal", a)
	}
	// The key is replaced: the old one hears of nothing.
	await(phone, own, "since=4&wait=50")
	s.rekeyed(t, phone, newDevice(t), held)
	a := <-answers
	if a.status == http.StatusOK {
		if got := eventsIn(t, a); len(got) != 1 || !strings.HasPrefix(got[0], "5 device_rekeyed ") {
			t.Errorf("events = %q, want the replaced key", got)
		}
	} else {
		wantRefused(t, a, http.StatusUnauthorized, "invalid_token")
	}
}

// TestMyEventsBounded holds how many requests of one user wait at a time.
func TestMyEventsBounded(t *testing.T) {
	s := start(t, nil)
	phone, bobs := newDevice(t), newDevice(t)
	held, his := s.account(t, phone, "alice"), s.account(t, bobs, "bob")
	own, bob := s.forIssuer(t, phone, held, "account").access, s.forIssuer(t, bobs, his, "account").access
	const most = 10
	answers := make(chan answer, 2*most)
	for range 2 * most {
		go func() { answers <- s.askMyEvents(t, phone, own, "since=1&wait=50") }()
	}
	for range most { // of the others, one each
		wantLimited(t, <-answers, false)
	}
	if got := eventsIn(t, s.askMyEvents(t, phone, own, "since=0&limit=1")); len(got) != 1 {
		t.Errorf("events without waiting = %q, want one", got)
	}
	if a := s.askMyEvents(t, bobs, bob, "since=1&wait=1"); len(eventsIn(t, a)) != 0 {
		t.Errorf("answer to somebody else = %v, want none after a second", a)
	}
	s.login(t, newDevice(t), "alice")
	for range most {
		if got := eventsIn(t, <-answers); len(got) != 1 {
			t.Errorf("events = %q, want one", got)
		}
	}
	// All have left.
	if a := s.askMyEvents(t, phone, own, "since=2&wait=1"); len(eventsIn(t, a)) != 0 {
		t.Errorf("answer = %v, want none", a)
	}
}
