package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var nextLink = regexp.MustCompile(`^<(/admin/[^>]*)>; rel="next"$`)

// pages reads a list of operators by its Links, with pages of a size, and returns the ids of its entries.
func (s *site) pages(t *testing.T, ask func(path string) answer, path, id string, size int) (ids []string) {
	t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	for next := fmt.Sprintf("%s%slimit=%d", path, sep, size); next != ""; {
		a := ask(next)
		wantStatus(t, a, http.StatusOK)
		var page []object
		decode(t, []byte(a.body), &page)
		if len(page) > size || len(ids) > 1000 {
			t.Fatalf("%s has %d entries, want at most %d", next, len(page), size)
		}
		for _, entry := range page {
			ids = append(ids, entry[id].(string))
		}
		m := nextLink.FindStringSubmatch(a.header.Get("Link"))
		if next = ""; m != nil {
			next = m[1]
		} else if link := a.header.Get("Link"); link != "" {
			t.Fatalf("Link = %q, want none or one to the next page", link)
		}
	}
	return ids
}

// TestAdminPages reads every list of operators by its Links, at the socket and over the network: whatever the size of the pages, each
// entry comes once and in the same order, and filters hold on every page.
func TestAdminPages(t *testing.T) {
	s := start(t, withOperators())
	ops := s.asOperator(t, "ops")
	network := func(path string) answer { return s.by(t, ops, http.MethodGet, path, "") }
	socket := func(path string) answer { return s.get(t, s.admin+path) }
	var alice string
	for range 3 {
		alice = deviceOf(t, s.login(t, newDevice(t), "alice")).Local()
	}
	bob := deviceOf(t, s.login(t, newDevice(t), "bob"))
	gone := deviceOf(t, s.login(t, newDevice(t), "bob")).Device()
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/devices/example.com/"+gone, nil), http.StatusOK)
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/"+alice+"/handle", url.Values{"domain": {"example.com"}, "handle": {"alex"}}), http.StatusOK)
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/users/"+bob.Local()+"/disable", url.Values{"domain": {"example.com"}}), http.StatusOK)
	for i := range 3 {
		s.attested(t, object{"typ": "im-member+jwt", "sub": "im:wxyz=%23%23team@wxyz.example", "member": "im:%40alice@example.com", "role": fmt.Sprint(i)})
	}
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/keys", nil), http.StatusOK)
	for _, test := range []struct {
		path, id string
		want     int // how many entries; -1 for any number above one
	}{
		{"/admin/users?domain=example.com", "id", 2},
		{"/admin/users?domain=example.com&disabled=true", "id", 1},
		{"/admin/users?domain=example.com&disabled=false", "id", 1},
		{"/admin/users?domain=example.com&search=ale", "id", 1},
		{"/admin/users?domain=example.com&search=%40alice", "id", 1}, // a former handle
		{"/admin/users?domain=example.com&search=im%3A%2540BOB%40example.com", "id", 1},
		{"/admin/users?domain=example.com&search=DEV-1002", "id", 2}, // subjects
		{"/admin/users?domain=example.com&search=dev-1002&disabled=true", "id", 1},
		{"/admin/users?domain=example.com&search=" + gone, "id", 1},
		{"/admin/users?domain=example.com&search=nobody", "id", 0},
		{"/admin/devices?domain=example.com", "id", 5},
		{"/admin/devices?domain=example.com&removed=false", "id", 4},
		{"/admin/devices?domain=example.com&removed=true", "id", 1},
		{"/admin/devices?domain=example.com&client=other-app", "id", 0},
		{"/admin/devices?domain=example.com&user=" + alice, "id", 3},
		{"/admin/sessions?domain=example.com", "sid", 3},
		{"/admin/sessions?domain=example.com&user=" + alice, "sid", 3},
		{"/admin/sessions?domain=example.com&user=" + bob.Local(), "sid", 0},
		{"/admin/sessions?domain=example.com&client=app", "sid", 3},
		{"/admin/sessions?domain=example.com&client=other-app", "sid", 0},
		{"/admin/sessions?domain=example.com&ended=false", "sid", 3},
		{"/admin/sessions?domain=example.com&ended=true", "sid", 2},
		{"/admin/handles?domain=example.com", "handle", 3},
		{"/admin/handles?domain=example.com&held=true", "handle", 2},
		{"/admin/handles?domain=example.com&user=" + alice, "handle", 2},
		{"/admin/statements?domain=wxyz.example", "id", 3},
		{"/admin/statements?domain=wxyz.example&typ=im-link%2Bjwt", "id", 0},
		{"/admin/keys", "kid", 2},
		{"/admin/keys?state=signing", "kid", 1},
		{"/admin/domains", "name", 9},
		{"/admin/clients", "id", -1},
		{"/admin/clients?source=storage", "id", 0},
		{"/admin/clients?domain=two.example", "id", -1},
	} {
		whole := s.pages(t, socket, test.path, test.id, 1000)
		if test.want >= 0 && len(whole) != test.want || test.want < 0 && len(whole) < 2 {
			t.Errorf("%s = %q, want %d entries", test.path, whole, test.want)
		}
		if len(slices.Compact(slices.Sorted(slices.Values(whole)))) != len(whole) {
			t.Errorf("%s = %q, with an entry twice", test.path, whole)
		}
		sizes := []int{1, 2, 200}
		if len(whole) > 10 {
			sizes = []int{7, 200}
		}
		for _, size := range sizes {
			if got := s.pages(t, network, test.path, test.id, size); !slices.Equal(got, whole) {
				t.Errorf("%s in pages of %d = %q, want %q", test.path, size, got, whole)
			}
		}
	}
	for _, query := range []string{"limit=0", "limit=201", "limit=x", "cursor=%21", "cursor=YQ&after=a", "cursor=_w", "disabled=maybe", "search=im:%2540bob@example.org", "search=" + strings.Repeat("a", 257)} {
		wantError(t, network("/admin/users?domain=example.com&"+query), http.StatusBadRequest, "invalid_request")
	}
	wantStatus(t, socket("/admin/users?domain=example.com&limit=1000"), http.StatusOK)
	// A list of one domain shows nothing of another, whatever its cursor says.
	local := s.asOperator(t, "local-ops")
	if got := s.pages(t, func(path string) answer { return s.by(t, local, http.MethodGet, path, "") }, "/admin/domains", "name", 1); !slices.Equal(got, []string{"example.com"}) {
		t.Errorf("domains for an operator of example.com = %q, want that one", got)
	}
}

// TestAdminSessions ends a session: its tokens end, its device stays, and another domain cannot do it.
func TestAdminSessions(t *testing.T) {
	s := start(t, withOperators())
	ops, other := s.asOperator(t, "ops"), s.asOperator(t, "other-ops")
	d, stays := newDevice(t), newDevice(t)
	held, kept := s.login(t, d, "alice"), s.login(t, stays, "alice")
	path := "/admin/sessions/example.com/" + held.set.SID
	wantError(t, s.by(t, other, http.MethodDelete, path, ""), http.StatusForbidden, "access_denied")
	wantError(t, s.by(t, other, http.MethodDelete, "/admin/sessions/example.org/"+held.set.SID, ""), http.StatusNotFound, "not_found")
	wantError(t, s.by(t, ops, http.MethodDelete, "/admin/sessions/example.com/nobody", ""), http.StatusNotFound, "not_found")
	s.wantActive(t, held.access)
	var a answer
	events := s.audited(func() { a = s.by(t, ops, http.MethodDelete, path+"?reason=lost", "") })
	wantStatus(t, a, http.StatusOK)
	if a.text("ended_reason") != "lost" || a.text("ended_at") == "" || a.text("sid") != held.set.SID {
		t.Errorf("answer = %v, want an ended session", a)
	}
	if len(events) != 1 || !strings.Contains(events[0], "event=session.ended actor=admin:ops") || !strings.Contains(events[0], "reason=lost") {
		t.Errorf("events = %q, want one", events)
	}
	s.wantInactive(t, held.access)
	s.wantActive(t, kept.access)
	wantError(t, s.token(t, app, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
	again := s.by(t, ops, http.MethodDelete, path+"?reason=other", "")
	if again.status != http.StatusOK || again.text("ended_reason") != "lost" {
		t.Errorf("second answer = %v, want that of the first end", again)
	}
	device := s.by(t, ops, http.MethodGet, "/admin/devices/example.com/"+deviceOf(t, held).Device(), "")
	if device.status != http.StatusOK || device.text("removed_at") != "" {
		t.Errorf("device = %v, want one that is not removed", device)
	}
	wantError(t, s.by(t, ops, http.MethodGet, "/admin/devices/example.com/none", ""), http.StatusNotFound, "not_found")
}
