package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
)

var choosing = map[string]string{"choose": "true"}

// handleForm wants a page that asks for a handle, and returns the state of its form.
func handleForm(t *testing.T, a answer, status int, proposed string) string {
	t.Helper()
	state := regexp.MustCompile(`name="state" value="([\w-]{43})"`).FindStringSubmatch(a.body)
	handle := regexp.MustCompile(`name="handle"[^>]* value="([^"]*)"`).FindStringSubmatch(a.body)
	if a.status != status || len(state) != 2 || len(handle) != 2 || handle[1] != proposed {
		t.Fatalf("answer = %v, want %d and a form for a handle, with %q in it", a, status, proposed)
	}
	wantNotStored(t, a)
	return state[1]
}

// choose submits the form, and allows what the app asks for.
func (s *site) choose(t *testing.T, b *browser.Browser, state, handle string) answer {
	t.Helper()
	return s.allow(t, b, s.call(t, b, state, handle))
}

// call submits the form.
func (s *site) call(t *testing.T, b *browser.Browser, state, handle string) answer {
	t.Helper()
	form := url.Values{"state": {state}, "handle": {handle}}
	req := s.request(t, http.MethodPost, "/login/handle", form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.send(t, b.Client(), req)
}

// namesake lets the provider say that alice is a new person, called as told.
func (s *site) namesake(t *testing.T, subject, called string) {
	s.provider.tamper(t, tampering{idToken: func(_, claims object) {
		claims["sub"], claims["preferred_username"] = subject, called
	}})
}

// TestChooseHandle holds that a person whose name at the provider cannot be had here chooses one that can.
func TestChooseHandle(t *testing.T) {
	s := start(t, choosing)
	s.login(t, newDevice(t), "alice")
	s.namesake(t, "dev-10099", "alice")
	v := s.visit(t, "alice", nil)
	state := handleForm(t, s.open(t, v.browser, v.callback), http.StatusConflict, "alice")
	s.wantNobody(t, "dev-10099")
	for _, refused := range []string{"alice", "ALICE", "", "two words", "admin", "alice@example.com", "аlice", strings.Repeat("a", 300)} {
		a := s.choose(t, v.browser, state, refused)
		if a.status != http.StatusConflict && !(refused == "" && a.status == http.StatusOK) {
			t.Errorf("choice of %q = %v, want the form again with 409", refused, a)
		}
		s.wantNobody(t, "dev-10099")
	}
	wantPage(t, s.choose(t, s.browser(), state, "alice2"), http.StatusForbidden)
	wantPage(t, s.choose(t, v.browser, strings.Repeat("A", 43), "alice2"), http.StatusBadRequest)
	s.wantNobody(t, "dev-10099")

	s.wantCode(t, s.choose(t, v.browser, state, "alice2"))
	wantPage(t, s.choose(t, v.browser, state, "alice3"), http.StatusBadRequest)
	if held := s.login(t, newDevice(t), "alice"); held.set.Handle != "im:%40alice2@example.com" {
		t.Errorf("handle = %q, want the chosen one", held.set.Handle)
	}
}

// TestChooseAmongLogins holds that the two halves of a login are not taken for each other.
func TestChooseAmongLogins(t *testing.T) {
	s := start(t, choosing)
	s.login(t, newDevice(t), "alice")
	before := s.visit(t, "bob", nil)
	wantPage(t, s.choose(t, before.browser, before.callback.Query().Get("state"), "bob"), http.StatusBadRequest)

	s.namesake(t, "dev-10099", "alice")
	v := s.visit(t, "alice", nil)
	state := handleForm(t, s.open(t, v.browser, v.callback), http.StatusConflict, "alice")
	wantPage(t, s.open(t, v.browser, with(v.callback, url.Values{"state": {state}})), http.StatusBadRequest)
	wantPage(t, s.open(t, v.browser, v.callback), http.StatusBadRequest)
	s.wantCode(t, s.choose(t, v.browser, state, "alice2"))
	s.provider.set(tampering{})
	s.wantCode(t, s.open(t, before.browser, before.callback))
}

// TestChooseInParallel sends different choices at once: one person comes of it, and one code.
func TestChooseInParallel(t *testing.T) {
	s := start(t, choosing)
	s.login(t, newDevice(t), "alice")
	s.namesake(t, "dev-10099", "alice")
	v := s.visit(t, "alice", nil)
	state := handleForm(t, s.open(t, v.browser, v.callback), http.StatusConflict, "alice")
	names := make(chan string, 4)
	for _, name := range []string{"carol", "carla", "carmen", "caroline"} {
		names <- name
	}
	var ahead []answer
	for _, a := range parallel(4, func() answer { return s.choose(t, v.browser, state, <-names) }) {
		if a.status == http.StatusSeeOther {
			ahead = append(ahead, a)
		} else if a.status != http.StatusBadRequest && a.status != http.StatusForbidden {
			t.Errorf("answer = %v, want a redirect or the end", a)
		}
	}
	if len(ahead) != 1 {
		t.Fatalf("%d of 4 choices went on, want 1", len(ahead))
	}
	s.wantCode(t, ahead[0])
}

func TestChooseTooLate(t *testing.T) {
	s := start(t, choosing)
	s.login(t, newDevice(t), "alice")
	s.namesake(t, "dev-10099", "alice")
	v := s.visit(t, "alice", nil)
	state := handleForm(t, s.open(t, v.browser, v.callback), http.StatusConflict, "alice")
	s.advance(t, 10*time.Minute)
	wantPage(t, s.choose(t, v.browser, state, "alice2"), http.StatusBadRequest)
	s.wantNobody(t, "dev-10099")
}

// TestProposedHandle holds that a handle which the provider only proposes becomes nobody's before she has agreed.
func TestProposedHandle(t *testing.T) {
	s := start(t, choosing)
	change := url.Values{"client_id": {bothApp.id}, "im_domain": {"example.org"}}
	v := s.visit(t, "alice", change)
	state := handleForm(t, s.open(t, v.browser, v.callback), http.StatusOK, "alice")
	a := s.choose(t, v.browser, state, "wonderland")
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	token := s.token(t, bothApp, newDevice(t), codeForm(to.Query().Get("code"), nil)).text("access_token")
	if set := claimsOf(t, token); set.Handle != "im:%40wonderland@example.org" {
		t.Errorf("handle = %q, want the chosen one", set.Handle)
	}
}

// TestMarkupOfAHandle holds that a page shows what somebody else wrote as text.
func TestMarkupOfAHandle(t *testing.T) {
	s := start(t, choosing)
	s.namesake(t, "dev-10099", `"><script>alert(1)</script>`)
	v := s.visit(t, "alice", nil)
	a := s.open(t, v.browser, v.callback)
	if strings.Contains(a.body, "<script>") || a.status != http.StatusConflict {
		t.Errorf("answer = %v, want the form, without markup", a)
	}
}
