package server_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/imidentity/issuer/storage"
)

// removeUser removes a user of example.com, named by their id or, after an @, by their handle.
func (s *site) removeUser(t *testing.T, user string) answer {
	t.Helper()
	return s.operator(t, http.MethodDelete, "/"+user)
}

// readmit lets the person with an account at the provider sign in again.
func (s *site) readmit(t *testing.T, subject string) answer {
	t.Helper()
	return s.operate(t, http.MethodDelete, "/admin/removals", url.Values{"domain": {"example.com"}, "iss": {s.provider.url}, "sub": {subject}})
}

// removedAndBack is a flow of TestStoreFails: a new person is removed, and may come back as another one.
func removedAndBack(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "person"))
	d := newDevice(t)
	held := s.login(t, d, "alice")
	return []step{
		{
			name: "removal",
			ask:  func() answer { return s.removeUser(t, "@"+handleOf(t, "person")) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.soonEnded(t, d, held)
			},
		},
		{
			name: "readmission",
			ask:  func() answer { return s.readmit(t, "person "+t.Name()) },
			good: func(a answer) {
				if a.status != http.StatusConflict { // after a lost answer: the account can be used already
					wantStatus(t, a, http.StatusNoContent)
				}
				s.faults.quietly(func() {
					s.namesake(t, "person "+t.Name(), handleOf(t, "another"))
					s.wantActive(t, s.login(t, newDevice(t), "alice").access)
				})
			},
		},
	}
}

// TestRemoveUser holds that a removed user is out at once, on every device and in every session, that logins and codes that began before
// come to nothing, that the person is refused afterwards, and that nobody else gets the handle. An outage is no removal.
func TestRemoveUser(t *testing.T) {
	s := start(t, nil)
	phone, laptop, bobs := newDevice(t), newDevice(t), newDevice(t)
	held, other, bob := s.login(t, phone, "alice"), s.login(t, laptop, "alice"), s.login(t, bobs, "bob")
	id := deviceOf(t, held)
	code, begun := s.code(t, "alice", nil), s.visit(t, "alice", nil)
	from := s.witness.audited(t)

	s.faults.set("BeginRemoval")
	wantStatus(t, s.removeUser(t, id.Local()), http.StatusServiceUnavailable)
	s.faults.set("")
	s.wantActive(t, held.access)

	a := s.removeUser(t, id.Local())
	wantStatus(t, a, http.StatusOK)
	if a.json["changed"] != true || a.json["sessions_ended"] != 2.0 || a.text("removed_on") == "" || a.text("id") != id.Local() {
		t.Errorf("answer = %v, want a removal of 2 sessions", a)
	}
	if events := s.witness.audited(t)[len(from):]; len(events) != 1 || events[0]["event"] != "user.removed" || events[0]["user"] != id.Local() {
		t.Errorf("audit events %v, want a user.removed", events)
	}
	for _, session := range []struct {
		d    *device
		held tokens
	}{{phone, held}, {laptop, other}} {
		s.wantInactive(t, session.held.access)
		wantError(t, s.token(t, app, session.d, refreshForm(session.held.refresh)), http.StatusBadRequest, "invalid_grant")
	}
	wantError(t, s.token(t, app, newDevice(t), codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
	wantPage(t, s.open(t, begun.browser, begun.callback), http.StatusForbidden)
	again := s.visit(t, "alice", nil)
	refused := s.open(t, again.browser, again.callback)
	if wantPage(t, refused, http.StatusForbidden); !strings.Contains(refused.body, "Your account was removed") {
		t.Errorf("answer = %v, want that the account was removed", refused)
	}
	s.wantActive(t, bob.access)

	// A repeat changes nothing, by id or by handle. What else is asked about the user is 410.
	for _, name := range []string{id.Local(), "@alice", "alice"} {
		a := s.removeUser(t, name)
		if wantStatus(t, a, http.StatusOK); a.json["changed"] != false {
			t.Errorf("the removal of %s again = %v, want no change", name, a)
		}
		wantError(t, s.operator(t, http.MethodGet, "/"+name), http.StatusGone, "user_removed")
		wantError(t, s.disable(t, name), http.StatusGone, "user_removed")
	}
	wantError(t, s.removeUser(t, "nobody"), http.StatusNotFound, "not_found")
	wantError(t, s.operate(t, http.MethodDelete, "/admin/users/"+deviceOf(t, bob).Local(), url.Values{"domain": {"example.org"}}),
		http.StatusNotFound, "not_found")
	wantError(t, s.operate(t, http.MethodDelete, "/admin/users/"+id.Local(), url.Values{"domain": {"example.com"}, "may_return": {"yes"}}),
		http.StatusBadRequest, "invalid_request")
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/"+deviceOf(t, bob).Local()+"/handle",
		url.Values{"domain": {"example.com"}, "handle": {"alice"}}), http.StatusConflict)
	s.namesake(t, "dev-10099", "alice")
	thief := s.visit(t, "alice", nil)
	wantPage(t, s.open(t, thief.browser, thief.callback), http.StatusConflict)
	if _, err := s.store.LinkedUser(t.Context(), "example.com", s.provider.url, "dev-10099"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the person who asked for the handle has a user: %v", err)
	}

	// An operator lets the person in again, as another user.
	wantError(t, s.readmit(t, "dev-10022"), http.StatusConflict, "not_removed")
	wantStatus(t, s.readmit(t, "dev-10021"), http.StatusNoContent)
	s.namesake(t, "dev-10021", "alice-again")
	back := s.login(t, newDevice(t), "alice")
	if now := deviceOf(t, back); now.Local() == id.Local() || back.set.Handle != "im:%40alice-again@example.com" {
		t.Errorf("the person who returned is %s, %s, want another user than %s", now.Local(), back.set.Handle, id.Local())
	}
}

// TestRemovalRacesRefresh holds that of refreshes, logins and a removal at once, each ends in a way that leaves no live token.
func TestRemovalRacesRefresh(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	held := s.login(t, phone, "alice")
	var codes []string
	for range 4 {
		codes = append(codes, s.code(t, "alice", nil))
	}
	id := deviceOf(t, held)
	var race sync.WaitGroup
	var mu sync.Mutex
	var got []string
	keep := func(a answer) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case a.status == http.StatusOK:
			got = append(got, a.text("access_token"))
		case a.status != http.StatusBadRequest && a.status != http.StatusServiceUnavailable:
			t.Errorf("a racing request = %v", a)
		}
	}
	for i := range 4 {
		race.Go(func() { keep(s.token(t, app, phone, refreshForm(held.refresh))) })
		race.Go(func() { keep(s.token(t, app, newDevice(t), codeForm(codes[i], nil))) })
	}
	race.Go(func() { wantStatus(t, s.removeUser(t, id.Local()), http.StatusOK) })
	race.Wait()
	for _, token := range append(got, held.access) {
		s.wantInactive(t, token)
	}
	if left, err := s.store.Grants(t.Context(), "example.com", id.Local()); err != nil || len(left) != 0 {
		t.Errorf("%d sessions are left, %v", len(left), err)
	}
}
