package server_test

import (
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
