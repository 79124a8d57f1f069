package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestPageLanguage follows a link that names a language: the pages of the login, the provider, and the pages after the login are in it,
// whatever the browser prefers.
func TestPageLanguage(t *testing.T) {
	s := start(t, nil)
	s.onTime(t, nil)
	const arabic, english = `<html lang="ar" dir="rtl">`, `<html lang="en" dir="ltr">`
	want := func(a answer, language string) {
		t.Helper()
		if !strings.Contains(a.body, language) {
			t.Errorf("the page is\n%s\nwant one with %s", a.body, language)
		}
	}
	for _, page := range []string{"/account", "/device"} {
		b := s.browser()
		want(s.look(t, b, page+"?ui_locales=fi+ar-EG+de"), arabic) // asks for the domain
		var asked url.Values
		to, err := b.Login(t.Context(), s.issuer+page+"?ui_locales=fi+ar-EG+de", func(u *url.URL) bool {
			if u.Query().Has("client_id") {
				asked = u.Query()
			}
			return strings.HasPrefix(u.String(), s.issuer+page)
		}, map[string]string{"domain": "example.com", "text": "alice", "password": "alice"})
		if err != nil {
			t.Fatal(err)
		}
		if asked.Get("ui_locales") != "ar" {
			t.Errorf("the provider was asked with %v, want ui_locales=ar", asked)
		}
		want(s.look(t, b, to.RequestURI()), arabic)
		want(s.look(t, b, page), arabic)
		want(s.look(t, b, "/account/devices/none"), arabic) // an error
		want(s.look(t, b, "/account/signed-out?because=cancelled"), arabic)
		want(s.look(t, b, page+"?ui_locales=fi"), arabic) // there are no texts in Finnish
		want(s.look(t, b, page+"?ui_locales=en"), english)
		want(s.look(t, b, page), english)
	}
	// The next login of an app in that browser is in its own language.
	b := s.browser()
	want(s.look(t, b, "/device/qr?user_code=BBBB-BBBB&ui_locales=ar"), arabic)
	want(s.look(t, b, "/device/qr?user_code=BBBB-BBBB"), arabic)
	want(s.look(t, b, "/"), english)
	req := s.request(t, http.MethodGet, "/device/qr?user_code=BBBB-BBBB", "")
	req.AddCookie(&http.Cookie{Name: "im-language", Value: "ar\"><script>"})
	want(s.send(t, s.browser().Client(), req), english)
}
