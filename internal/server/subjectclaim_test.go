package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// withOID lets the provider put the claim oid into ID tokens, "oid-" and the sub, and issue them some seconds later.
func (s *site) withOID(t *testing.T, sid string, seconds int64) {
	s.provider.tamper(t, tampering{idToken: func(_, claims object) {
		claims["oid"], claims["sid"], claims["iat"] = "oid-"+claims["sub"].(string), sid, time.Now().Unix()+seconds
	}})
}

// TestSubjectClaim plays a provider whose users are known by oid and are provisioned by it: SCIM, login, logout, and the way there from
// sub.
func TestSubjectClaim(t *testing.T) {
	s := start(t, nil)
	bobs := newDevice(t)
	bob := s.login(t, bobs, "bob") // by sub
	s.restart(t, map[string]string{"subject": "oid"})
	s.withOID(t, "one", 0)

	made := s.scim(t, corpToken, http.MethodPost, "/Users", newUser("alice", "oid-"+aliceSubject))
	wantStatus(t, made, http.StatusCreated)
	phone := newDevice(t)
	alice := s.login(t, phone, "alice")
	if id := deviceOf(t, alice).Local(); id != made.text("id") {
		t.Fatalf("alice is %s, want %s, who was provisioned", id, made.text("id"))
	}
	if got := s.filtered(t, corpToken, `externalId eq "oid-`+aliceSubject+`"`); len(got) != 1 || got[0] != "alice@example.com" {
		t.Errorf("users = %q, want alice", got)
	}
	missing := s.scim(t, corpToken, http.MethodPost, "/Users", object{"schemas": []string{schemaUser}, "userName": "dora"})
	if wantSCIM(t, missing, http.StatusBadRequest, "invalidValue"); !strings.Contains(missing.text("detail"), "oid") {
		t.Errorf("detail = %q, want the name of the claim", missing.text("detail"))
	}

	// Bob is known by his sub still. He becomes nobody else; his session goes on.
	s.wantRefusedLogin(t, "bob", "Your account is not ready yet")
	bob = s.wantAlive(t, bobs, bob)
	s.moveLinkOf(t, deviceOf(t, bob).Local(), s.provider.url, "oid-"+bobSubject)
	if again := s.login(t, bobs, "bob"); deviceOf(t, again).Local() != deviceOf(t, bob).Local() {
		t.Errorf("bob is %s after the link was moved, want %s", deviceOf(t, again).Local(), deviceOf(t, bob).Local())
	}

	// A logout by sub names nobody; the session decides.
	refused := s.logOut(t, "dev", s.logoutToken(nil))
	if wantError(t, refused, http.StatusBadRequest, "invalid_request"); !strings.Contains(refused.text("error_description"), "neither sid nor oid") {
		t.Errorf("answer = %v, want what is missing", refused)
	}
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(object{"sid": "two"})), http.StatusOK)
	alice = s.wantAlive(t, phone, alice)
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(object{"oid": "oid-" + aliceSubject})), http.StatusOK)
	s.wantEnded(t, phone, alice)

	off := s.scim(t, corpToken, http.MethodPatch, "/Users/"+made.text("id"), setActive(false))
	wantStatus(t, off, http.StatusOK)
	s.withOID(t, "two", 5) // after the logout
	s.wantRefusedLogin(t, "alice", "Your account is disabled")

	// An ID token without the claim logs nobody in.
	s.provider.set(tampering{})
	s.wantRefusedLogin(t, "alice", "Your sign-in could not be verified")
}

// wantRefusedLogin wants a login to end on a page with a title.
func (s *site) wantRefusedLogin(t *testing.T, person, title string) {
	t.Helper()
	v := s.visit(t, person, nil)
	if a := s.arrive(t, v.browser, v.callback); a.status < 400 || !strings.Contains(a.body, title) {
		t.Errorf("login of %s = %v, want the page %q", person, a, title)
	}
}
