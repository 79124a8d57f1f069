package server_test

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// TestDevicePage links a TV in a browser: the user arrives by the QR code or types the code, compares it, and allows the TV.
func TestDevicePage(t *testing.T) {
	s := start(t, nil)
	s.onTime(t, nil)
	screen := newDevice(t)
	a := s.askDevice(t, tv, screen, url.Values{"im_device_platform": {"tv"}, "im_device_name": {"<b>Living</b> room"}})
	code, shown := a.text("device_code"), a.text("user_code")
	b := s.browser()
	to := s.comeHere(t, b, "/device?user_code="+shown, "alice")
	if to != "/device?user_code="+shown {
		t.Fatalf("the browser goes on to %s, want the page with the code", to)
	}
	page := s.look(t, b, to)
	wantStatus(t, page, http.StatusOK)
	wantQuestion(t, page)
	for _, want := range []string{
		`<p class="shown" dir="ltr"><code>` + shown + "</code>", "<bdi>Big screen</bdi>", "<bdi>&lt;b&gt;Living&lt;/b&gt; room</bdi> (Television)",
		"<bdi>127.0.0.0/24</bdi>, which you use, too", "less than a minute ago", "<bdi>@alice@example.com</bdi>", "somebody sent you the code",
	} {
		if !strings.Contains(page.body, want) {
			t.Errorf("page = %s\nwant %s in it", page.body, want)
		}
	}
	csrf := csrfOf(t, page)
	decide := func(change url.Values) answer {
		form := url.Values{"csrf": {csrf}, "user_code": {shown}, "decision": {"allow"}}
		for name, v := range change {
			form[name] = v
		}
		return s.fillIn(t, b, "/device/decide", form, nil)
	}
	// A form that is not of this session, or that is wrong, decides nothing.
	wantPage(t, decide(url.Values{"csrf": {strings.Repeat("A", 43)}}), http.StatusForbidden)
	wantPage(t, decide(url.Values{"decision": {"perhaps"}}), http.StatusBadRequest)
	wantPage(t, decide(url.Values{"user_code": {"AEIOU"}}), http.StatusBadRequest)
	wantPage(t, decide(url.Values{"user": {"bob"}}), http.StatusBadRequest)
	wantPage(t, s.fillIn(t, b, "/device/decide", url.Values{"csrf": {csrf}, "user_code": {shown}, "decision": {"allow"}},
		http.Header{"Origin": {"https://evil.example"}}), http.StatusForbidden)
	wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "authorization_pending")

	for range 2 { // two clicks
		s.wantGone(t, decide(nil), "/device/done?decision=allow")
	}
	if end := s.look(t, b, "/device/done?decision=allow"); end.status != http.StatusOK || !strings.Contains(end.body, "The device is allowed") {
		t.Errorf("page = %v, want the end", end)
	}
	got := wantTokens(t, s.token(t, tv, screen, pollForm(code)))
	if !strings.Contains(got.set.Handle, "alice") {
		t.Errorf("token = %+v, want one of alice's", got.set)
	}
	s.wantGone(t, decide(nil), "/device/done?decision=allow") // changes nothing
	if a := decide(url.Values{"decision": {"deny"}}); a.status != http.StatusNotFound {
		t.Errorf("answer = %v, want 404 for what is decided", a)
	}

	// Typed, in small letters, and denied.
	code, shown = s.askedDevice(t, screen)
	if a := s.look(t, b, "/device"); a.status != http.StatusOK || !strings.Contains(a.body, `name="user_code"`) {
		t.Errorf("page = %v, want the field for the code", a)
	}
	page = s.look(t, b, "/device?user_code="+strings.ToLower(strings.ReplaceAll(shown, "-", "+")))
	csrf = csrfOf(t, page)
	s.wantGone(t, decide(url.Values{"decision": {"deny"}}), "/device/done?decision=deny")
	wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "access_denied")

	// An older login allows nothing: the user signs in again and comes back to the page that asks. To deny, it is enough.
	code, shown = s.askedDevice(t, screen)
	s.advance(t, 5*time.Minute+10*time.Second)
	csrf = csrfOf(t, s.look(t, b, "/device?user_code="+shown))
	again := decide(nil)
	if again.status != http.StatusSeeOther || !strings.HasPrefix(again.header.Get("Location"), s.provider.url) ||
		!strings.Contains(again.header.Get("Location"), "prompt=login") {
		t.Errorf("answer = %v to %s, want a new login", again, again.header.Get("Location"))
	}
	wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "authorization_pending")
	s.wantGone(t, decide(url.Values{"decision": {"deny"}}), "/device/done?decision=deny")
}

// TestDevicePageCodeIsHidden holds that a user code is in no file of the database while its user signs in, at any step and for the second
// time, also after a restart.
func TestDevicePageCodeIsHidden(t *testing.T) {
	s := start(t, nil)
	s.onTime(t, nil)
	_, shown := s.askedDevice(t, nil)
	hidden := func(when string) {
		t.Helper()
		files, err := filepath.Glob(s.database() + "*")
		if err != nil || len(files) == 0 {
			t.Fatalf("files = %q, %v", files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{shown, strings.ReplaceAll(shown, "-", "")} {
				if bytes.Contains(bytes.ToUpper(text), []byte(strings.ToUpper(secret))) {
					t.Errorf("%s: %s holds %q", when, filepath.Base(file), secret)
				}
			}
		}
	}
	b := s.browser()
	a := s.look(t, b, "/device?user_code="+shown)
	wantSignIn(t, a)
	if n := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM logins"); n != 1 {
		t.Fatalf("%d logins are stored, want one", n)
	}
	hidden("at the choice of the domain")
	to := s.comeHere(t, b, "/device?user_code="+shown, "alice")
	hidden("signed in")
	if to != "/device?user_code="+shown {
		t.Errorf("the browser goes on to %s, want the page with the code", to)
	}
	page := s.look(t, b, to)
	wantStatus(t, page, http.StatusOK)
	s.advance(t, 5*time.Minute+10*time.Second)
	csrf := csrfOf(t, s.look(t, b, to))
	again := s.fillIn(t, b, "/device/decide", url.Values{"csrf": {csrf}, "user_code": {shown}, "decision": {"allow"}}, nil)
	if !strings.HasPrefix(again.header.Get("Location"), s.provider.url) {
		t.Fatalf("answer = %v, want a new login", again)
	}
	hidden("signing in once more")
	s.restart(t, nil)
	back, err := b.Login(t.Context(), again.header.Get("Location"), func(u *url.URL) bool {
		return strings.HasPrefix(u.String(), s.issuer+"/device")
	}, map[string]string{"text": "alice", "password": "alice"})
	if err != nil || back.RequestURI() != to {
		t.Errorf("the browser goes on to %v, %v, want %s", back, err, to)
	}
	hidden("signed in once more")
}

// TestDevicePageGuessed holds that wrong codes on the page count, and that a code of a browser that is not signed in is not looked at.
func TestDevicePageGuessed(t *testing.T) {
	s := start(t, nil)
	s.onTime(t, nil)
	_, shown := s.askedDevice(t, nil)
	for range 10 { // nobody is signed in
		wantSignIn(t, s.look(t, s.browser(), "/device?user_code="+shown))
	}
	b := s.browser()
	s.comeHere(t, b, "/device", "alice")
	for _, guess := range []string{"BBBB-BBBB", "cccccccc", "DDDD DDDD", "FFFFFFFF", "GGGGGGGG"} {
		a := s.look(t, b, "/device?user_code="+url.QueryEscape(guess))
		if a.status != http.StatusNotFound || !strings.Contains(a.body, `role="alert"`) || !strings.Contains(a.body, `value="`+guess+`"`) {
			t.Errorf("guess = %v, want the field again with what is wrong", a)
		}
	}
	wantLimited(t, s.look(t, b, "/device?user_code="+shown), true)
	wantStatus(t, s.look(t, b, "/device"), http.StatusOK)
	for _, bad := range []string{"1", "BBBB", strings.Repeat("B", 500), "%22%3E%3Cscript%3E"} { // no codes: they are not looked at
		if a := s.look(t, b, "/device?user_code="+bad); a.status != http.StatusNotFound || strings.Contains(a.body, "<script") {
			t.Errorf("%s = %v, want the field again", bad, a)
		}
	}
	other := s.browser()
	s.comeHere(t, other, "/device", "bob")
	wantStatus(t, s.look(t, other, "/device?user_code="+shown), http.StatusOK)
}

// TestDevicePageEnds holds that what ends the login in the browser ends what it has allowed.
func TestDevicePageEnds(t *testing.T) {
	s := start(t, nil)
	s.onTime(t, "browser")
	screen := newDevice(t)
	code, shown := s.askedDevice(t, screen)
	b := s.browser()
	s.comeHere(t, b, "/device?user_code="+shown, "alice")
	csrf := csrfOf(t, s.look(t, b, "/device?user_code="+shown))
	form := url.Values{"csrf": {csrf}, "user_code": {shown}, "decision": {"allow"}}
	s.wantGone(t, s.fillIn(t, b, "/device/decide", form, nil), "/device/done?decision=allow")
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(object{"sub": nil, "sid": "browser"})), http.StatusOK)
	wantError(t, s.token(t, tv, screen, pollForm(code)), http.StatusBadRequest, "invalid_grant")
	wantSignIn(t, s.look(t, b, "/device?user_code="+shown))
}

// TestDeviceQR shows the page with the QR code, which is the same for user codes that exist and for others.
func TestDeviceQR(t *testing.T) {
	s := start(t, nil)
	s.onTime(t, nil)
	shown := s.askDevice(t, tv, newDevice(t), nil).text("user_code")
	look := func(query string) answer { return s.look(t, s.browser(), "/device/qr"+query) }
	withoutCode := func(a answer, code string) string {
		a.body = strings.ReplaceAll(a.body, a.header.Get("X-Request-Id"), "")
		picture := a.body[strings.Index(a.body, "<svg"):strings.Index(a.body, "</svg>")]
		return strings.NewReplacer(code, "", picture, "").Replace(a.body)
	}
	page := look("?user_code=" + strings.ToLower(strings.ReplaceAll(shown, "-", "+")))
	wantPage(t, page, http.StatusOK)
	if !strings.Contains(page.body, `<p class="shown" dir="ltr"><code>`+shown+"</code>") || !strings.Contains(page.body, "<code>"+s.issuer+"/device</code>") {
		t.Errorf("page = %s\nwant the user code and the address", page.body)
	}
	other := "BBBB-BBBB"
	unknown := look("?user_code=" + other)
	wantPage(t, unknown, http.StatusOK)
	if withoutCode(page, shown) != withoutCode(unknown, other) {
		t.Errorf("the page of a user code that exists is\n%s\nthat of another one\n%s", page.body, unknown.body)
	}
	for _, bad := range []string{"", "?user_code=", "?user_code=AEIO-UAEI", "?user_code=BBBB-BBBBB", "?user_code=%22%3E%3Cscript%3E", "?user_code=BBBB-BBBB&user_code=CCCC-CCCC"} {
		if a := look(bad); a.status != http.StatusBadRequest || strings.Contains(a.body, "<svg") || strings.Contains(a.body, "<script") {
			t.Errorf("GET /device/qr%s = %v, want 400 without a picture", bad, a)
		}
	}
}
