package server_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/nested"
)

const mediaExport = "application/im-export+jwt"

// signsInNow lets the provider say that users sign in at the present of the site.
func (s *site) signsInNow(t *testing.T) {
	t.Helper()
	s.provider.tamper(t, tampering{idToken: func(_, claims object) { claims["auth_time"] = s.clock.now().Unix() }})
}

// recordsOf returns the records of an export.
func (s *site) recordsOf(t *testing.T, jwt string) map[string][]map[string]any {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("export = %q, want a JWT", jwt)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Records map[string][]map[string]any `json:"records"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims.Records
}

// leaving is a flow of TestStoreFails: a new person takes their data and leaves.
func leaving(t *testing.T, s *site) []step {
	s.provider.tamper(t, tampering{idToken: func(_, claims object) {
		claims["sub"], claims["preferred_username"], claims["auth_time"] = "person "+t.Name(), handleOf(t, "person"), s.clock.now().Unix()
	}})
	d := newDevice(t)
	held := s.account(t, d, "alice")
	own := s.forIssuer(t, d, held, "account").access
	return []step{
		{
			name: "export",
			ask:  func() answer { return s.held(t, d, own, http.MethodGet, "/me/export", nil) },
			good: func(a answer) { wantStatus(t, a, http.StatusOK) },
		},
		{
			name: "leave",
			ask:  func() answer { return s.held(t, d, own, http.MethodDelete, "/me", nil) },
			good: func(a answer) {
				if a.status != http.StatusUnauthorized && a.status != http.StatusForbidden { // after a lost answer
					wantStatus(t, a, http.StatusNoContent)
				}
				s.faults.quietly(func() { s.soonInactive(t, held.access) })
			},
		},
	}
}

// erased is a flow of TestStoreFails: an operator exports what is stored about a new person, and erases it.
func erased(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "person"))
	d := newDevice(t)
	held := s.login(t, d, "alice")
	// Somebody else states something about them.
	about := object{"typ": nested.TypeMember, "sub": "im:wxyz=%23%23team@wxyz.example", "member": held.set.Handle}
	s.faults.quietly(func() { wantStatus(t, s.operateJSON(t, "/admin/statements", about), http.StatusCreated) })
	name := deviceOf(t, held).Local()
	return []step{
		{
			name: "export",
			ask:  func() answer { return s.operator(t, http.MethodGet, "/"+name+"/export") },
			good: func(a answer) { wantStatus(t, a, http.StatusOK) },
		},
		{
			name: "erasure",
			ask: func() answer {
				return s.operate(t, http.MethodPost, "/admin/users/"+name+"/erase", url.Values{"domain": {"example.com"}, "confirm": {"true"}})
			},
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.soonEnded(t, d, held)
			},
		},
	}
}

// TestExportAndLeave holds that a user who has just signed in gets everything that is stored about them and nothing about others, and can
// leave; and that an older login, another scope and a service are refused.
func TestExportAndLeave(t *testing.T) {
	s := start(t, nil)
	s.login(t, newDevice(t), "bob")
	s.signsInNow(t)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access

	refused := func(token string, d *device, status int, code string) {
		t.Helper()
		for path, method := range map[string]string{"/me/export": http.MethodGet, "/me": http.MethodDelete} {
			if a := s.held(t, d, token, method, path, nil); a.status != status || a.text("error") != code {
				t.Errorf("%s %s = %v, want %d %s", method, path, a, status, code)
			}
		}
	}
	refused(held.access, phone, http.StatusUnauthorized, "invalid_token") // not for the issuer alone
	refused(own, newDevice(t), http.StatusUnauthorized, "invalid_token")
	refused(s.forIssuer(t, phone, held, "introspect").access, phone, http.StatusForbidden, "insufficient_scope")
	machine := newDevice(t)
	refused(s.service(t, peer, machine, url.Values{"resource": {s.issuer}}), machine, http.StatusForbidden, "insufficient_scope")

	a := s.held(t, phone, own, http.MethodGet, "/me/export", nil)
	wantStatus(t, a, http.StatusOK)
	claims := s.openedJWT(t, a, mediaExport, "im-export+jwt", "ES256")
	if claims["sub"] != held.set.Subject || claims["handle"] != held.set.Handle || claims["iss"] != s.issuer {
		t.Errorf("claims = %v, want those of the user", claims)
	}
	records := s.recordsOf(t, a.body)
	for kind, want := range map[string]int{"users": 1, "links": 1, "names": 2, "devices": 1, "grants": 1, "user_events": 1, "statements": 0} {
		if len(records[kind]) != want {
			t.Errorf("%d records in %s, want %d: %v", len(records[kind]), kind, want, records[kind])
		}
	}
	if strings.Contains(string(encode(claims)), "bob") {
		t.Errorf("the export is about another user, too: %v", claims)
	}

	// A login that is too old is refused, and so is one of which the provider does not say when it was.
	for _, change := range []func(object){
		func(claims object) { claims["auth_time"] = s.clock.now().Add(-6 * time.Minute).Unix() },
		func(claims object) { delete(claims, "auth_time") },
	} {
		s.provider.tamper(t, tampering{idToken: func(_, claims object) { change(claims) }})
		old := s.account(t, phone, "alice")
		refused(s.forIssuer(t, phone, old, "account").access, phone, http.StatusUnauthorized, "insufficient_user_authentication")
	}
	wantStatus(t, s.held(t, phone, own, http.MethodDelete, "/me", nil), http.StatusNoContent)
	refused(own, phone, http.StatusUnauthorized, "invalid_token")
	s.wantInactive(t, held.access)
	v := s.visit(t, "alice", nil)
	wantPage(t, s.open(t, v.browser, v.callback), http.StatusForbidden)
}

// TestErase holds that nothing of an erased user is left in the files of the database but tombstones: neither ids nor names, in no table,
// no index, no free page and not in the log. Statements of others that name the user end. Another user loses nothing.
func TestErase(t *testing.T) {
	s := start(t, nil)
	const subject, handle = "subject-of-the-leaver", "handle-of-the-leaver"
	s.namesake(t, subject, handle)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	id := deviceOf(t, held)
	renamed := s.operate(t, http.MethodPut, "/admin/users/"+id.Local()+"/handle", url.Values{"domain": {"example.com"}, "handle": {"later-" + handle}})
	wantStatus(t, renamed, http.StatusOK)
	held = s.refreshedAs(t, accounts, phone, held.refresh)
	own := s.forIssuer(t, phone, held, "account").access
	wantStatus(t, s.held(t, phone, own, http.MethodPatch, "/me/devices/"+id.Device(), object{"name": "phone-of-the-leaver"}), http.StatusNoContent)
	made := s.held(t, phone, own, http.MethodPost, "/me/links", object{"same_as": "im:leaver-elsewhere@example.org;id-type=user"})
	wantStatus(t, made, http.StatusCreated)
	about := s.operateJSON(t, "/admin/statements", object{
		"typ": nested.TypeMember, "sub": "im:wxyz=%23%23team@wxyz.example", "member": "im:%40" + handle + "@example.com",
	})
	wantStatus(t, about, http.StatusCreated)
	s.provider.tamper(t, tampering{})
	other := newDevice(t)
	bob := s.login(t, other, "bob")

	erase := func(name, confirm string) answer {
		return s.operate(t, http.MethodPost, "/admin/users/"+name+"/erase", url.Values{"domain": {"example.com"}, "confirm": {confirm}})
	}
	wantError(t, erase(id.Local(), "false"), http.StatusConflict, "not_confirmed")
	wantError(t, erase(id.Local(), "yes"), http.StatusBadRequest, "invalid_request")
	wantError(t, erase("nobody", "true"), http.StatusNotFound, "not_found")
	s.wantActive(t, held.access)
	a := erase(id.Local(), "true")
	if wantStatus(t, a, http.StatusOK); a.json["changed"] != true || a.json["statements_ended"] != 1.0 {
		t.Errorf("answer = %v, want a change and the end of 1 statement", a)
	}
	if a := erase("@"+handle, "false"); a.status != http.StatusOK || a.json["changed"] != false {
		t.Errorf("the second erasure = %v, want no change", a)
	}
	wantError(t, s.operator(t, http.MethodGet, "/"+id.Local()+"/export"), http.StatusGone, "user_removed")
	s.wantInactive(t, held.access)
	list := s.operate(t, http.MethodGet, "/admin/statements", url.Values{"domain": {"wxyz.example"}})
	if strings.Contains(list.body, handle) {
		t.Errorf("statements = %v, want none that names the user", list)
	}
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(s.database() + suffix)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{subject, handle, "phone-of-the-leaver", "leaver-elsewhere", phone.JKT(), held.set.SID} {
			if word == held.set.SID { // in a revocation, until the tokens have expired
				continue
			}
			if bytes.Contains(text, []byte(word)) {
				t.Errorf("%q is in the file issuer.db%s", word, suffix)
			}
		}
	}
	s.wantActive(t, bob.access)
	s.refreshed(t, other, bob.refresh)
}
