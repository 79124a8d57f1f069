package server_test

import (
	"net/http"
	"net/url"
	"testing"
)

// A token of a domain that writes mimi: URIs has a username too.
func TestReviewC5MIMIUsername(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	code := s.code(t, "alice", url.Values{"client_id": {manyApp.id}, "im_domain": {"mimi.example"}})
	held := wantTokens(t, s.token(t, manyApp, d, codeForm(code, nil)))
	a := s.introspect(t, manyPeer, held.access)
	if a.json["active"] != true || a.text("handle") != "mimi://mimi.example/u/alice" || a.text("username") != "@alice@mimi.example" {
		t.Errorf("introspection = %v, want the handle as a username too", a)
	}
}

// Nobody signs up with a handle that no mimi: URI can hold.
func TestReviewC5DotHandles(t *testing.T) {
	s := start(t, nil)
	for _, c := range [][2]string{{"xmpp.example", "."}, {"xmpp.example", ".."}, {"wire.example", ".."}} {
		s.namesake(t, "dev-10099", c[1])
		v := s.visit(t, "alice", url.Values{"client_id": {manyApp.id}, "im_domain": {c[0]}})
		if a := s.open(t, v.browser, v.callback); a.status != http.StatusConflict {
			t.Errorf("first login as %q at %s = %v, want 409", c[1], c[0], a)
		}
	}
}
