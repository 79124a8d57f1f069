package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
)

// speak sends a request of a browser that prefers a language.
func (s *site) speak(t *testing.T, b *browser.Browser, language, method, path string, form url.Values) answer {
	t.Helper()
	req := s.request(t, method, path, form.Encode())
	req.Header.Set("Accept-Language", language)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return s.send(t, b.Client(), req)
}

// wantLanguage wants a page in a language that says something.
func wantLanguage(t *testing.T, a answer, status int, language, direction, says string) {
	t.Helper()
	if a.status != status || a.header.Get("Content-Language") != language || !strings.Contains(a.body, `<html lang="`+language+`" dir="`+direction+`">`) {
		t.Errorf("answer = %d in %q, want %d in %s from %s: %s", a.status, a.header.Get("Content-Language"), status, language, direction, a.body)
	}
	if vary := a.header.Get("Vary"); vary != "Accept-Language" {
		t.Errorf("Vary = %q, want Accept-Language", vary)
	}
	if !strings.Contains(words(a), says) {
		t.Errorf("the page says %q, want %q in it", words(a), says)
	}
}

// TestLanguageOfALogin holds that the languages which the app asks for hold for the whole login, also if the request was pushed, and
// are passed on to the OpenID provider. Pages outside of it are in the language of the browser.
func TestLanguageOfALogin(t *testing.T) {
	s := start(t, choosing)
	chosen := 0
	for name, query := range map[string]func(change url.Values) url.Values{
		"in the URL": authorization,
		"pushed": func(change url.Values) url.Values {
			return url.Values{"client_id": {bothApp.id}, "request_uri": {s.pushed(t, nil, change)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser()
			a := s.speak(t, b, "de", http.MethodGet, "/authorize?"+query(url.Values{"client_id": {bothApp.id}, "im_domain": {"example.org"}, "ui_locales": {"fi ar en"}}).Encode(), nil)
			to, err := a.to()
			if err != nil || to.Query().Get("ui_locales") != "fi ar en" {
				t.Fatalf("answer = %v, want a redirect to the provider with ui_locales", a)
			}
			back, err := b.Login(t.Context(), to.String(), func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) },
				map[string]string{"text": "alice", "password": "alice"})
			if err != nil {
				t.Fatal(err)
			}
			a = s.speak(t, b, "de", http.MethodGet, back.String(), nil)
			if m := regexp.MustCompile(`name="state" value="([\w-]{43})"`).FindStringSubmatch(a.body); len(m) == 2 { // the first login
				chosen++
				wantLanguage(t, a, http.StatusOK, "ar", "rtl", "اختر اسمك")
				a = s.speak(t, b, "de", http.MethodPost, "/login/handle", url.Values{"state": {m[1]}, "handle": {"admin"}})
				wantLanguage(t, a, http.StatusConflict, "ar", "rtl", "هذا الاسم محجوز. اختر اسمًا آخر.")
				a = s.speak(t, b, "de", http.MethodPost, "/login/handle", url.Values{"state": {m[1]}, "handle": {"alice"}})
			}
			consent := a.header.Get("Location")
			a = s.speak(t, b, "de", http.MethodGet, consent, nil)
			wantLanguage(t, a, http.StatusOK, "ar", "rtl", "أنت مسجّل الدخول باسم @alice@example.org")
			// In another browser, the language of that browser: it is told nothing of the login.
			wantLanguage(t, s.speak(t, s.browser(), "de", http.MethodGet, consent, nil), http.StatusForbidden, "de", "ltr", "Diese Anmeldung wurde anderswo begonnen")
			m := regexp.MustCompile(`name="state" value="([\w-]{43})"`).FindStringSubmatch(a.body)
			a = s.speak(t, b, "de", http.MethodPost, "/login/consent", url.Values{"state": {m[1]}, "decision": {"deny"}})
			s.wantRedirect(t, a, redirectURI, appState, "access_denied")
			wantLanguage(t, s.speak(t, b, "de", http.MethodGet, consent, nil), http.StatusBadRequest, "de", "ltr", "Diese Anmeldung ist vorbei")
		})
	}
	if chosen != 1 {
		t.Errorf("a handle was chosen %d times, want at the first login", chosen)
	}
}

// TestLanguageOfErrors holds that a page says in the user's language that a request failed, and to the developer of the app in English
// why. The error code, the identifiers and the id of the request are as always.
func TestLanguageOfErrors(t *testing.T) {
	s := start(t, nil)
	a := s.speak(t, s.browser(), "ar-EG, de;q=0.5", http.MethodGet, "/authorize?"+authorization(url.Values{"client_id": {"nobody"}}).Encode(), nil)
	wantLanguage(t, a, http.StatusBadRequest, "ar", "rtl", "لم ينجح ذلك")
	for _, want := range []string{
		"لمطوّر التطبيق", "error invalid_request", "error_description The app that sent you here is not known to this server.",
		"client_id nobody", "هذا الرمز: " + a.header.Get("X-Request-Id"),
	} {
		if !strings.Contains(words(a), want) {
			t.Errorf("the page says %q, want %q in it", words(a), want)
		}
	}
	a = s.speak(t, s.browser(), "ar", http.MethodGet, "/authorize?"+authorization(url.Values{"client_id": {"nobody"}, "ui_locales": {"de"}}).Encode(), nil)
	wantLanguage(t, a, http.StatusBadRequest, "de", "ltr", "Das hat nicht geklappt")
	wantLanguage(t, s.speak(t, s.browser(), "de", http.MethodGet, "/", nil), http.StatusOK, "de", "ltr", "Anmeldedienst")
	wantLanguage(t, s.speak(t, s.browser(), "de", http.MethodGet, "/?ui_locales=ar", nil), http.StatusOK, "ar", "rtl", "خدمة تسجيل الدخول")
	a = s.speak(t, s.browser(), "de", http.MethodPost, "/token", url.Values{"grant_type": {"none"}})
	if a.header.Get("Content-Language") != "" || a.text("error") == "" {
		t.Errorf("answer = %v in %q, want one for programs", a, a.header.Get("Content-Language"))
	}
	meta := s.get(t, "/.well-known/oauth-authorization-server")
	if list, _ := meta.json["ui_locales_supported"].([]any); len(list) < 3 || list[0] != "en" {
		t.Errorf("ui_locales_supported = %v, want English and more", meta.json["ui_locales_supported"])
	}
}

// TestReloadService holds that pages describe the operator as in the settings that came last, while they are shown in parallel.
func TestReloadService(t *testing.T) {
	s := start(t, map[string]string{"more": `service: {name: "Acme"}`})
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			for range 20 {
				if a := s.get(t, "/"); !strings.Contains(words(a), "Acme is the sign-in service") && !strings.Contains(words(a), "Emca is the sign-in service") {
					t.Errorf("the page says %q, want the name of the service", words(a))
				}
			}
		})
	}
	s.reload(t, map[string]string{"more": `service: {name: "Emca", terms_url: "https://emca.example/terms"}`})
	asking.Wait()
	if a := s.get(t, "/"); !strings.Contains(words(a), "Emca is the sign-in service") || !strings.Contains(a.body, `<a href="https://emca.example/terms"`) {
		t.Errorf("the page says %s, want the new name and the terms", a.body)
	}
}

// TestHandleCanChange holds that the page for a handle says who can change it later.
func TestHandleCanChange(t *testing.T) {
	for rule, says := range map[string]string{"rename: {by: user}": "You can change it later.", "rename: {by: admin}": "Only support can change it later."} {
		t.Run(rule, func(t *testing.T) {
			s := start(t, map[string]string{"choose": "true", "others": rule})
			s.namesake(t, "dev-10099", "admin")
			v := s.visit(t, "alice", nil)
			if a := s.arrive(t, v.browser, v.callback); !strings.Contains(words(a), says) {
				t.Errorf("the page says %q, want %q in it", words(a), says)
			}
		})
	}
}
