package server_test

import (
	"bytes"
	"image"
	"image/png"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
)

// submit sends a form of a page from a browser.
func (s *site) submit(t *testing.T, b *browser.Browser, path string, form url.Values) answer {
	t.Helper()
	req := s.request(t, http.MethodPost, path, form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.send(t, b.Client(), req)
}

// TestReviewD8ConsentLeadsWithTheDecision holds that the page that asks says one sentence, then has the buttons, then the
// details, folded; internal/interop looks at it in a browser.
func TestReviewD8ConsentLeadsWithTheDecision(t *testing.T) {
	s := start(t, nil)
	_, page, _ := s.consented(t, "alice", url.Values{"client_id": {guestApp.id}, "redirect_uri": {"https://guest.example.net/callback"}})
	at := -1
	for _, part := range []string{"<h1>", "<p>You are signed in as", `value="allow"`, `value="deny"`, "Not you?", "Use another account", "<details>", "<dl>", "</details>"} {
		next := strings.Index(page.body, part)
		if next <= at {
			t.Fatalf("%q is at %d, want it after %d in %s", part, next, at, page.body)
		}
		at = next
	}
	lead := page.body[strings.Index(page.body, "</h1>"):strings.Index(page.body, "<form")]
	if n := strings.Count(lead, "<p"); n != 1 {
		t.Errorf("there are %d paragraphs before the decision, want one: %s", n, lead)
	}
}

// TestReviewD8Service holds that pages show who runs the issuer, and that their policy lets in the logo and no more.
func TestReviewD8Service(t *testing.T) {
	var logo bytes.Buffer
	if err := png.Encode(&logo, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "logo.png")
	if err := os.WriteFile(file, logo.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, map[string]string{"choose": "true", "more": `service: {name: "Acme <Chat>", privacy_url: "https://acme.example/privacy", terms_url: "https://acme.example/terms", logo_file: "` + file + `"}`})
	b := s.browser()
	_, consent, _ := s.consented(t, "alice", nil)
	for name, page := range map[string]answer{
		"home":    s.get(t, "/"),
		"choice":  s.askToLogIn(t, b, url.Values{"client_id": {twoApp.id}}),
		"consent": consent,
		"error":   s.get(t, "/authorize?client_id=nobody"),
		"over":    s.submit(t, b, "/login/handle", url.Values{"state": {"none"}}),
	} {
		for _, want := range []string{"Acme &lt;Chat&gt;", `<a href="https://acme.example/privacy"`, `<a href="https://acme.example/terms"`, `<img src="data:image/png;base64,`} {
			if !strings.Contains(page.body, want) {
				t.Errorf("%s: the page lacks %q: %s", name, want, page.body)
			}
		}
		csp := page.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'; ") || !strings.Contains(csp, "; img-src data:; ") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy = %q", name, csp)
		}
	}
}

// TestReviewD8AnotherAccount holds that a person who is signed in as somebody else goes to the provider again and signs in
// there anew, from the page that asks for consent and from the one that asks for a handle.
func TestReviewD8AnotherAccount(t *testing.T) {
	s := start(t, choosing)
	b, _, state := s.consented(t, "alice", url.Values{"login_hint": {"alice@example.com"}})
	a := s.submit(t, b, "/login/another", url.Values{"state": {state}})
	to, err := a.to()
	if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), s.provider.url) ||
		to.Query().Get("prompt") != "login" || to.Query().Has("login_hint") {
		t.Fatalf("answer = %v to %v, want a redirect to the provider with prompt=login and without a hint", a, to)
	}
	back, err := b.Login(t.Context(), to.String(), browser.To(redirectURI), map[string]string{"text": "bob", "password": "bob"})
	if err != nil {
		t.Fatal(err)
	}
	held := wantTokens(t, s.token(t, app, newDevice(t), codeForm(back.Query().Get("code"), nil)))
	if held.set.Handle != "im:%40bob@example.com" || back.Query().Get("state") != appState {
		t.Errorf("the app got %v for %s, want bob", back, held.set.Handle)
	}
	wantPage(t, s.submit(t, s.browser(), "/login/another", url.Values{"state": {state}}), http.StatusForbidden)

	s.namesake(t, "dev-10077", "admin")
	v := s.visit(t, "alice", nil)
	state = handleForm(t, s.open(t, v.browser, v.callback), http.StatusConflict, "admin")
	if to, err := s.submit(t, v.browser, "/login/another", url.Values{"state": {state}}).to(); err != nil || !strings.HasPrefix(to.String(), s.provider.url) {
		t.Errorf("from the page of handles the browser goes to %v, %v, want the provider", to, err)
	}
}

// TestReviewD8HandlePage holds that the page says what others would read, the rules before a refusal, and whether the handle
// can be changed.
func TestReviewD8HandlePage(t *testing.T) {
	s := start(t, choosing)
	v := s.visit(t, "bob", url.Values{"client_id": {bothApp.id}, "im_domain": {"example.org"}})
	page := s.open(t, v.browser, v.callback)
	state := handleForm(t, page, http.StatusOK, "bob")
	for _, want := range []string{"Only support can change it later.", "Name @@example.org Letters of one alphabet, digits"} {
		if !strings.Contains(words(page), want) {
			t.Errorf("the page says %q, want %q in it", words(page), want)
		}
	}
	page = s.call(t, v.browser, state, "ADMIN")
	if want := "@admin@example.org: This name is reserved."; page.status != http.StatusConflict || !strings.Contains(words(page), want) {
		t.Errorf("the page says %q, want %q in it", words(page), want)
	}
}

// TestReviewD5Cancel holds that a person can go back from each page of choices, and that the app is told.
func TestReviewD5Cancel(t *testing.T) {
	s := start(t, choosing)
	b := s.browser()
	state := wantChoice(t, s.askToLogIn(t, b, url.Values{"client_id": {twoApp.id}}), "domain", "two.example", "example.org")
	wantPage(t, s.submit(t, s.browser(), "/login/cancel", url.Values{"state": {state}}), http.StatusForbidden)
	s.wantRedirect(t, s.submit(t, b, "/login/cancel", url.Values{"state": {state}}), redirectURI, appState, "access_denied")
	s.wantRedirect(t, s.submit(t, b, "/login/cancel", url.Values{"state": {state}}), redirectURI, appState, "access_denied")

	v := s.visit(t, "bob", url.Values{"client_id": {bothApp.id}, "im_domain": {"example.org"}})
	state = handleForm(t, s.open(t, v.browser, v.callback), http.StatusOK, "bob")
	form := url.Values{"state": {state}, "handle": {"bob"}}
	s.wantRedirect(t, s.submit(t, v.browser, "/login/cancel", form), redirectURI, appState, "access_denied")
	s.wantNobody(t, "dev-10022")
}

// TestReviewD5Home holds that the root is a page.
func TestReviewD5Home(t *testing.T) {
	for _, prefix := range []string{"", "/im"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			s := start(t, map[string]string{"prefix": prefix})
			wantPage(t, s.get(t, "/"), http.StatusOK)
		})
	}
}
