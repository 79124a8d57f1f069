package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A handle that was released goes to the next person who signs in with it, and the token of its former user stays void.
func TestReviewC3ReleasedHandleAtLogin(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	squatter := s.login(t, d, "alice")
	ask := func(method, path string, query url.Values) answer {
		query.Set("domain", "example.com")
		return s.operate(t, method, path, query)
	}
	release := func(handle string) answer {
		return ask(http.MethodDelete, "/admin/names", url.Values{"handle": {handle}})
	}
	wantError(t, release("alice"), http.StatusConflict, "handle_refused")
	wantStatus(t, ask(http.MethodPut, "/admin/users/@alice/handle", url.Values{"handle": {"other"}}), http.StatusOK)
	wantStatus(t, release("alice"), http.StatusOK)
	wantError(t, release("alice"), http.StatusConflict, "handle_refused")
	s.namesake(t, "dev-10077", "alice")
	next := s.login(t, newDevice(t), "alice")
	if next.set.Handle != squatter.set.Handle || next.set.Subject == squatter.set.Subject {
		t.Errorf("the next login is of %s, %s, want another user than %s with the handle", next.set.Subject, next.set.Handle, squatter.set.Subject)
	}
	s.wantInactive(t, squatter.access)
	s.wantActive(t, next.access)
	again := s.refreshed(t, d, squatter.refresh)
	if again.set.Handle != "im:%40other@example.com" {
		t.Errorf("handle of the former user = %s, want other", again.set.Handle)
	}
	s.wantActive(t, again.access)
}

// In a domain that writes mimi: URIs a handle's URI finds its user, and a user's own id works as the handle.
func TestReviewC5HandleURIInMIMIDomain(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	code := s.code(t, "alice", url.Values{"client_id": {manyApp.id}, "im_domain": {"mimi.example"}})
	held := wantTokens(t, s.token(t, manyApp, d, codeForm(code, nil)))
	show := func(user string) answer {
		return s.operate(t, http.MethodGet, "/admin/users/"+user, url.Values{"domain": {"mimi.example"}})
	}
	byHandle := show("alice") // as the command line reads mimi://mimi.example/u/alice
	wantStatus(t, byHandle, http.StatusOK)
	if byHandle.text("uri") != held.set.Subject || byHandle.text("handle_uri") != held.set.Handle {
		t.Errorf("user = %v, want %s", byHandle, held.set.Subject)
	}
	id := byHandle.text("id")
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/alice/handle", url.Values{"domain": {"mimi.example"}, "handle": {id}}), http.StatusOK)
	again := s.refreshedAs(t, manyApp, d, held.refresh)
	if again.set.Handle != strings.ToLower(held.set.Subject) || again.set.Subject != held.set.Subject {
		t.Errorf("token of %s called %s, want the id as the handle", again.set.Subject, again.set.Handle)
	}
	if a := s.introspect(t, manyPeer, again.access); a.json["active"] != true {
		t.Errorf("introspection = %v, want active", a)
	}
}
