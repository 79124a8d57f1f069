package server_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/issuer"
)

// TestAdminSocket holds that the admin socket is its owner's alone, and that what a dead process left is no obstacle.
func TestAdminSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	first, err := issuer.ListenAdmin(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode = %v, %v; want a socket with 0600", info.Mode(), err)
	}
	if l, err := issuer.ListenAdmin(path); err == nil {
		l.Close()
		t.Error("ListenAdmin of a path in use = nil, want an error")
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := issuer.ListenAdmin(path)
	if err != nil {
		t.Fatalf("ListenAdmin of what a dead process left = %v, want nil", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("a", 108))
	if l, err := issuer.ListenAdmin(long); err == nil {
		l.Close()
		t.Error("ListenAdmin of a path of more than 108 octets = nil, want an error")
	} else if errors.Is(err, os.ErrNotExist) {
		t.Errorf("ListenAdmin = %v, want it to say that the path is too long", err)
	}
}

// TestAdmin holds what operators are shown and may do.
func TestAdmin(t *testing.T) {
	s := start(t, nil)
	held, bobs := s.login(t, newDevice(t), "alice"), s.login(t, newDevice(t), "bob")
	list := func(path string) []object {
		t.Helper()
		a := s.get(t, s.admin+path)
		if a.status != http.StatusOK {
			t.Fatalf("%s = %v, want 200", path, a)
		}
		if strings.Contains(a.body, `"secret":`) || strings.Contains(a.body, `"d":`) || strings.Contains(a.body, "ealed") {
			t.Errorf("%s = %v, which tells secrets", path, a)
		}
		var all []object
		decode(t, []byte(a.body), &all)
		return all
	}
	if all := list("/admin/devices?domain=example.com"); len(all) != 2 {
		t.Errorf("devices of example.com = %v, want 2", all)
	}
	if all := list("/admin/devices?domain=example.org"); len(all) != 0 {
		t.Errorf("devices of example.org = %v, want none", all)
	}
	alice, err := s.store.LinkedUser(t.Context(), "example.com", s.provider.url, "dev-10021")
	if err != nil {
		t.Fatal(err)
	}
	own := list("/admin/devices?domain=example.com&user=" + alice.ID)
	if len(own) != 1 || own[0]["user"] != alice.ID || own[0]["client"] != app.id || own[0]["jkt"] != held.set.JKT {
		t.Fatalf("devices of alice = %v, want one, with key %s", own, held.set.JKT)
	}
	public := make(map[any]any)
	for _, client := range list("/admin/clients") {
		public[client["id"]] = client["public"]
	}
	if public[app.id] != true || public[peer.id] != false {
		t.Errorf("clients = %v, want app public and peer not", public)
	}
	if all := list("/admin/keys"); len(all) != 1 || all[0]["state"] != "signing" {
		t.Errorf("keys = %v, want one that signs", all)
	}
	wantError(t, s.get(t, s.admin+"/admin/devices"), http.StatusBadRequest, "invalid_request") // of which domain?

	device := s.admin + "/admin/devices/example.com/" + own[0]["id"].(string)
	a := s.send(t, s.http, s.request(t, http.MethodDelete, device+"?reason=lost", ""))
	if a.status != http.StatusOK || a.text("removed_reason") != "lost" || a.text("removed_at") == "" {
		t.Errorf("removal = %v, want 200 with reason and time", a)
	}
	again := s.send(t, s.http, s.request(t, http.MethodDelete, device+"?reason=other", ""))
	if again.body != a.body {
		t.Errorf("second removal = %v, want %v", again, a)
	}
	for _, unknown := range []string{"/admin/devices/example.com/0", "/admin/devices/example.org/" + own[0]["id"].(string), "/admin/devices/example.net/1"} {
		wantError(t, s.send(t, s.http, s.request(t, http.MethodDelete, s.admin+unknown, "")), http.StatusNotFound, "not_found")
	}
	s.wantInactive(t, held.access)
	s.wantActive(t, bobs.access)
	for _, public := range []string{"/token", "/jwks", "/authorize"} {
		wantError(t, s.get(t, s.admin+public), http.StatusNotFound, "not_found")
	}
}
