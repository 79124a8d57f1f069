package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
)

// TestAdminCredentials lists credentials by every filter, at the socket and over the network, and ends one. Operators of another domain
// neither see nor end it.
func TestAdminCredentials(t *testing.T) {
	s := start(t, withOperators())
	ops, others := s.asOperator(t, "ops"), s.asOperator(t, "other-ops")
	phone, tablet, bobs := newDevice(t), newDevice(t), newDevice(t)
	held, his := s.account(t, phone, "alice"), s.account(t, bobs, "bob")
	first, second, third, onBobs := s.obtain(t, phone, "alice"), s.obtain(t, phone, "alice"), s.obtain(t, tablet, "alice"), s.obtain(t, bobs, "bob")
	other := s.insertCredential(t, held, func(c *storage.Credential) { c.Format = "other" })
	s.insertCredential(t, held, func(c *storage.Credential) { c.ExpiresAt = s.clock.now() }) // no longer shown
	alice, bob := deviceOf(t, held), deviceOf(t, his)

	// One ends, at once, with its reason. Ending it again changes nothing.
	path := "/admin/credentials/example.com/" + first.id
	wantError(t, s.by(t, others, http.MethodDelete, path, ""), http.StatusForbidden, "access_denied")
	wantError(t, s.by(t, others, http.MethodDelete, "/admin/credentials/example.org/"+first.id, ""), http.StatusNotFound, "not_found")
	for _, wrong := range []string{"none", "0", strings.Repeat("f", 300), "%00", url.PathEscape("../keys")} {
		wantError(t, s.by(t, ops, http.MethodDelete, "/admin/credentials/example.com/"+wrong, ""), http.StatusNotFound, "not_found")
	}
	s.wantStatusOf(t, first, statuslist.Valid)
	var a answer
	events := s.audited(func() { a = s.by(t, ops, http.MethodDelete, path+"?reason=copied", "") })
	s.wantStatusOf(t, first, statuslist.Invalid)
	if a.status != http.StatusOK || a.text("state") != "ended" || a.text("ended_reason") != "copied" || a.text("ended_at") == "" ||
		a.text("id") != first.id || a.text("device") != alice.Device() || a.text("user") != alice.Local() || a.text("jkt") != first.jkt {
		t.Errorf("answer = %v, want the ended credential", a)
	}
	if len(events) != 1 || !strings.Contains(events[0], "event=credential.ended actor=admin:ops") ||
		!strings.Contains(events[0], "credential="+first.id) || !strings.Contains(events[0], "reason=copied") {
		t.Errorf("events = %q, want one", events)
	}
	events = s.audited(func() { a = s.by(t, ops, http.MethodDelete, path+"?reason=again", "") })
	if a.status != http.StatusOK || a.text("ended_reason") != "copied" || len(events) != 0 {
		t.Errorf("second answer = %v with the events %q, want that of the first end", a, events)
	}

	for _, test := range []struct {
		query string
		want  []string
	}{
		{"", []string{first.id, second.id, third.id, onBobs.id, other.ID}},
		{"&live=true", []string{second.id, third.id, onBobs.id, other.ID}},
		{"&live=false", []string{first.id}},
		{"&user=" + alice.Local(), []string{first.id, second.id, third.id, other.ID}},
		{"&user=" + alice.Local() + "&live=false&format=dc%2Bsd-jwt", []string{first.id}},
		{"&device=" + alice.Device(), []string{first.id, second.id, other.ID}},
		{"&device=" + alice.Device() + "&user=" + alice.Local() + "&format=dc%2Bsd-jwt&live=true", []string{second.id}},
		{"&format=other", []string{other.ID}},
		{"&format=none", nil},
	} {
		path, want := "/admin/credentials?domain=example.com"+test.query, slices.Sorted(slices.Values(test.want))
		for _, size := range []int{1, 2, 200} {
			if got := s.pages(t, func(path string) answer { return s.by(t, ops, http.MethodGet, path, "") }, path, "id", size); !slices.Equal(got, want) {
				t.Errorf("%s in pages of %d = %q, want %q", path, size, got, want)
			}
		}
		if got := s.pages(t, func(path string) answer { return s.get(t, s.admin+path) }, path, "id", 1000); !slices.Equal(got, want) {
			t.Errorf("%s at the socket = %q, want %q", path, got, want)
		}
	}
	for query, code := range map[string]int{
		"user=none": 404, "device=none": 404, "user=" + bob.Local() + "&device=" + alice.Device(): 400, "live=maybe": 400, "limit=0": 400,
		"ended=true": 400, "user=a&user=b": 400,
	} {
		if a := s.by(t, ops, http.MethodGet, "/admin/credentials?domain=example.com&"+query, ""); a.status != code || a.text("error_description") == "" {
			t.Errorf("answer to %s = %v, want %d that says why", query, a, code)
		}
	}
	wantError(t, s.by(t, others, http.MethodGet, "/admin/credentials?domain=example.com", ""), http.StatusForbidden, "access_denied")
	wantError(t, s.by(t, ops, http.MethodGet, "/admin/credentials?domain=elsewhere.example", ""), http.StatusBadRequest, "invalid_request")
	if got := s.pages(t, func(path string) answer { return s.by(t, others, http.MethodGet, path, "") }, "/admin/credentials?domain=example.org", "id", 200); got != nil {
		t.Errorf("credentials of another domain = %q, want none", got)
	}

	// A rename shows, and so does a removal, whose credentials are gone.
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/"+alice.Local()+"/handle", url.Values{"domain": {"example.com"}, "handle": {"alexandra"}}), http.StatusOK)
	var list []object
	decode(t, []byte(s.get(t, s.admin+"/admin/credentials?domain=example.com&user="+alice.Local()+"&live=true").body), &list)
	for _, v := range list {
		if v["state"] != "handle_ended" || v["handle"] != "alice" || v["handle_ended_at"] == nil {
			t.Errorf("credential = %v, want one whose handle has ended", v)
		}
	}
	if len(list) != 3 {
		t.Errorf("%d live credentials, want three", len(list))
	}
	wantStatus(t, s.removeUser(t, alice.Local()), http.StatusOK)
	if got := s.pages(t, func(path string) answer { return s.get(t, s.admin+path) }, "/admin/credentials?domain=example.com", "id", 1000); !slices.Equal(got, []string{onBobs.id}) {
		t.Errorf("credentials after a removal = %q, want those of bob", got)
	}
	wantError(t, s.by(t, ops, http.MethodDelete, "/admin/credentials/example.com/"+second.id, ""), http.StatusNotFound, "not_found")
	for _, c := range []obtained{first, second, third} {
		s.wantStatusOf(t, c, statuslist.Invalid)
	}
	s.wantStatusOf(t, onBobs, statuslist.Valid)
	s.advance(t, 40*24*time.Hour)
	if got := s.pages(t, func(path string) answer { return s.get(t, s.admin+path) }, "/admin/credentials?domain=example.com", "id", 1000); got != nil {
		t.Errorf("credentials after they have expired = %q, want none", got)
	}
}
