package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
)

// operator asks the admin listener about users of example.com.
func (s *site) operator(t *testing.T, method, path string) answer {
	t.Helper()
	return s.operate(t, method, "/admin/users"+path, url.Values{"domain": {"example.com"}})
}

// disable shuts a user out, named by her id or, after an @, by her handle.
func (s *site) disable(t *testing.T, user string) answer {
	t.Helper()
	return s.operator(t, http.MethodPost, "/"+user+"/disable")
}

// enable lets a user in again.
func (s *site) enable(t *testing.T, user string) answer {
	t.Helper()
	return s.operator(t, http.MethodPost, "/"+user+"/enable")
}

// disabledAndBack is a flow of TestStoreFails: a new person is shut out and let in again.
func disabledAndBack(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "person"))
	d := newDevice(t)
	held := s.login(t, d, "alice")
	return []step{
		{
			name: "disabling",
			ask:  func() answer { return s.disable(t, "@"+handleOf(t, "person")) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.soonEnded(t, d, held)
			},
		},
		{
			name: "enabling",
			ask:  func() answer { return s.enable(t, "@"+handleOf(t, "person")) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.faults.quietly(func() { s.wantActive(t, s.login(t, d, "alice").access) })
				s.soonEnded(t, d, held)
			},
		},
	}
}

// TestDisableUser holds that a disabled user is out at once, on every device and in every session, and that nothing of
// it comes back with her.
func TestDisableUser(t *testing.T) {
	s := start(t, nil)
	phone, laptop, bobs := newDevice(t), newDevice(t), newDevice(t)
	first, second, other := s.login(t, phone, "alice"), s.login(t, laptop, "alice"), s.login(t, bobs, "bob")
	again := s.refreshed(t, phone, first.refresh)
	code := s.code(t, "alice", nil)

	a := s.disable(t, "@alice")
	if a.status != http.StatusOK || a.text("disabled_at") == "" || a.json["sessions_ended"] != 2.0 {
		t.Fatalf("disabling = %v, want 200, with the time and two sessions ended", a)
	}
	id := a.text("id")
	for _, held := range []tokens{first, again, second} {
		s.wantInactive(t, held.access)
	}
	refused := func(when string) {
		t.Helper()
		for _, try := range []struct {
			by   *device
			held tokens
		}{{phone, first}, {phone, again}, {laptop, second}} {
			if a := s.token(t, app, try.by, refreshForm(try.held.refresh)); a.status != http.StatusBadRequest || a.text("error") != "invalid_grant" {
				t.Errorf("refresh %s = %v, want 400 invalid_grant", when, a)
			}
		}
	}
	refused("of a disabled user")
	wantError(t, s.token(t, app, newDevice(t), codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
	v := s.visit(t, "alice", nil)
	wantPage(t, s.open(t, v.browser, v.callback), http.StatusForbidden)
	s.wantAlive(t, bobs, other)

	if b := s.disable(t, id); b.text("disabled_at") != a.text("disabled_at") || b.json["sessions_ended"] != 0.0 {
		t.Errorf("disabling once more = %v, want %v with no session ended", b, a)
	}
	if a := s.enable(t, id); a.status != http.StatusOK || a.text("id") != id || a.text("disabled_at") != "" {
		t.Errorf("enabling = %v, want 200 without a time", a)
	}
	refused("after her return")
	wantError(t, s.token(t, app, newDevice(t), codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
	for _, held := range []tokens{first, again, second} {
		s.wantInactive(t, held.access)
	}
	back := s.login(t, phone, "alice")
	if back.set.Device != first.set.Device || back.set.Subject != first.set.Subject {
		t.Errorf("after her return device %s of %s, want %s of %s", back.set.Device, back.set.Subject, first.set.Device, first.set.Subject)
	}
	s.wantAlive(t, phone, back)
	s.restart(t, nil) // another process knows the same
	s.wantInactive(t, again.access)
	s.wantActive(t, back.access)

	for _, path := range []string{"/nobody/disable", "/@nobody/disable", "/nobody/enable", "/@/enable"} {
		wantError(t, s.operator(t, http.MethodPost, path), http.StatusNotFound, "not_found")
	}
	wantError(t, s.send(t, s.http, s.request(t, http.MethodPost, s.admin+"/admin/users/"+id+"/disable", "")), http.StatusBadRequest, "invalid_request") // of which domain?
	wantError(t, s.send(t, s.http, s.request(t, http.MethodPost, s.admin+"/admin/users/"+id+"/disable?domain=example.org", "")), http.StatusNotFound, "not_found")
}

// TestDisableRaces holds that whatever races with the disabling of a user, nothing of it lives afterwards: refreshes,
// repeated ones too, and logins that are about to end.
func TestDisableRaces(t *testing.T) {
	s := start(t, nil)
	for range 8 {
		d := newDevice(t)
		held := s.login(t, d, "alice")
		var (
			mu  sync.Mutex
			got []tokens
			by  []*device
		)
		keep := func(d *device, a answer) {
			switch {
			case a.status == http.StatusOK:
				mu.Lock()
				defer mu.Unlock()
				got, by = append(got, tokens{a.text("access_token"), a.text("refresh_token"), claimsOf(t, a.text("access_token"))}), append(by, d)
			case a.text("error") != "invalid_grant" && a.text("error") != "temporarily_unavailable":
				t.Errorf("answer = %v, want tokens, invalid_grant or temporarily_unavailable", a)
			}
		}
		var ready, done sync.WaitGroup
		begin := make(chan struct{})
		race := func(fn func()) {
			ready.Add(1)
			done.Go(func() {
				ready.Done()
				<-begin
				fn()
			})
		}
		for range 6 {
			race(func() {
				a := s.token(t, app, d, refreshForm(held.refresh))
				keep(d, a)
				if a.status == http.StatusOK {
					keep(d, s.token(t, app, d, refreshForm(a.text("refresh_token"))))
				}
			})
		}
		for range 2 {
			other, code := newDevice(t), s.code(t, "alice", nil)
			race(func() { keep(other, s.token(t, app, other, codeForm(code, nil))) })
		}
		race(func() {
			if a := s.disable(t, "@alice"); a.status != http.StatusOK {
				t.Errorf("disabling = %v, want 200", a)
			}
		})
		ready.Wait()
		close(begin)
		done.Wait()
		for i, held := range append(got, held) {
			d := append(by, d)[i]
			s.wantEnded(t, d, held)
		}
		if a := s.operator(t, http.MethodGet, "/@alice"); len(a.json["sessions"].([]any)) != 0 {
			t.Errorf("sessions of a disabled user = %v, want none", a.json["sessions"])
		}
		s.enable(t, "@alice")
		for _, held := range got {
			s.wantInactive(t, held.access)
		}
	}
}

// TestAdminUsers holds what operators are shown of users.
func TestAdminUsers(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	s.login(t, newDevice(t), "bob")
	var all []string
	for after, pages := "", 0; ; pages++ {
		a := s.get(t, s.admin+"/admin/users?domain=example.com&limit=1&after="+after)
		var page []object
		decode(t, []byte(a.body), &page)
		if len(page) == 0 {
			break
		}
		if len(page) != 1 || pages > 2 {
			t.Fatalf("page = %v, want one user each, and two pages", a)
		}
		after = page[0]["id"].(string)
		all = append(all, after+" "+page[0]["handle"].(string))
	}
	if !slices.IsSorted(all) || len(all) != 2 {
		t.Errorf("users = %q, want two in the order of ids", all)
	}
	for _, query := range []string{"", "?domain=example.net", "?domain=example.com&limit=0", "?domain=example.com&limit=1001", "?domain=example.com&limit=x"} {
		wantError(t, s.get(t, s.admin+"/admin/users"+query), http.StatusBadRequest, "invalid_request")
	}

	a := s.operator(t, http.MethodGet, "/@ALICE")
	if a.status != http.StatusOK || a.text("handle") != "alice" || a.text("uri") != held.set.Subject || a.text("handle_uri") != held.set.Handle {
		t.Fatalf("alice = %v, want her with %s and %s", a, held.set.Subject, held.set.Handle)
	}
	var alice struct {
		Handles, Links, Devices, Sessions []object
	}
	decode(t, []byte(a.body), &alice)
	if len(alice.Links) != 1 || alice.Links[0]["iss"] != s.provider.url || alice.Links[0]["sub"] != "dev-10021" {
		t.Errorf("links = %v, want that of the provider", alice.Links)
	}
	if len(alice.Devices) != 1 || alice.Devices[0]["jkt"] != held.set.JKT || len(alice.Handles) != 1 {
		t.Errorf("devices %v and handles %v, want one of each", alice.Devices, alice.Handles)
	}
	if len(alice.Sessions) != 1 || alice.Sessions[0]["sid"] != held.set.SID || alice.Sessions[0]["client"] != app.id || alice.Sessions[0]["refreshed_at"] != nil {
		t.Errorf("sessions = %v, want the one of the login", alice.Sessions)
	}
	s.refreshed(t, d, held.refresh)
	if a := s.operator(t, http.MethodGet, "/"+a.text("id")); fmt.Sprint(a.json["sessions"].([]any)[0].(map[string]any)["refreshed_at"]) == "<nil>" {
		t.Errorf("sessions = %v, want a time of refresh", a.json["sessions"])
	}
	for _, path := range []string{"/nobody", "/@nobody", "/@al.ice"} {
		wantError(t, s.operator(t, http.MethodGet, path), http.StatusNotFound, "not_found")
	}
}
