package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
)

// A visit is a login as far as the provider, which has sent the browser back: the callback is still to be opened.
type visit struct {
	browser  *browser.Browser
	callback *url.URL
}

// visit lets a person sign in at the provider.
func (s *site) visit(t *testing.T, person string, change url.Values) visit {
	t.Helper()
	b := s.browser()
	back, err := b.Login(t.Context(), s.issuer+"/authorize?"+authorization(change).Encode(),
		func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) }, map[string]string{"text": person, "password": person})
	if err != nil {
		t.Fatal(err)
	}
	return visit{b, back}
}

// open opens a callback in a browser, and allows what the app asks for.
func (s *site) open(t *testing.T, b *browser.Browser, callback *url.URL) answer {
	t.Helper()
	return s.allow(t, b, s.arrive(t, b, callback))
}

// arrive opens a callback in a browser.
func (s *site) arrive(t *testing.T, b *browser.Browser, callback *url.URL) answer {
	t.Helper()
	return s.send(t, b.Client(), s.request(t, http.MethodGet, callback.String(), ""))
}

// wantCode wants the browser to be sent to the app with a code that is good.
func (s *site) wantCode(t *testing.T, a answer) {
	t.Helper()
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther || to.Query().Get("code") == "" || to.Query().Get("iss") != s.issuer {
		t.Errorf("answer = %v to %q, want a redirect with a code and iss", a, to)
		return
	}
	wantNotStored(t, a)
	wantTokens(t, s.token(t, app, newDevice(t), codeForm(to.Query().Get("code"), nil)))
}

// with returns a URL with parameters changed.
func with(u *url.URL, change url.Values) *url.URL {
	changed, q := *u, u.Query()
	for name, v := range change {
		if v == nil {
			q.Del(name)
		} else {
			q[name] = v
		}
	}
	changed.RawQuery = q.Encode()
	return &changed
}

// TestCallbackInAnotherBrowser holds that a login ends in the browser that it began in (RFC 9700 §4.7), and that
// nobody else can spoil it.
func TestCallbackInAnotherBrowser(t *testing.T) {
	s := start(t, nil)
	v := s.visit(t, "alice", nil)
	other := s.visit(t, "bob", nil)
	wantPage(t, s.open(t, s.browser(), v.callback), http.StatusForbidden)
	wantPage(t, s.open(t, other.browser, v.callback), http.StatusForbidden)

	// Not even with a cookie of the right name.
	own := v.browser.Client().Jar.Cookies(v.callback)
	if len(own) != 1 || strings.Contains(own[0].Name, v.callback.Query().Get("state")) {
		t.Fatalf("the browser holds cookies %v, want one whose name does not tell the state", own)
	}
	req := s.request(t, http.MethodGet, v.callback.String(), "")
	req.AddCookie(&http.Cookie{Name: own[0].Name, Value: other.browser.Client().Jar.Cookies(other.callback)[0].Value})
	wantPage(t, s.send(t, s.http, req), http.StatusForbidden)

	s.wantCode(t, s.open(t, v.browser, v.callback))
	s.wantCode(t, s.open(t, other.browser, other.callback))
}

// TestCallbackTwice holds that a login ends once, and that its cookie goes when nothing can be had by it any more.
func TestCallbackTwice(t *testing.T) {
	s := start(t, nil)
	v := s.visit(t, "alice", nil)
	own := v.browser.Client().Jar.Cookies(v.callback)
	s.wantCode(t, s.open(t, v.browser, v.callback))
	for _, left := range v.browser.Client().Jar.Cookies(v.callback) {
		if left.Name == own[0].Name {
			t.Errorf("the browser still holds %v", left)
		}
	}
	wantPage(t, s.open(t, v.browser, v.callback), http.StatusBadRequest)
	req := s.request(t, http.MethodGet, v.callback.String(), "")
	req.AddCookie(own[0])
	wantPage(t, s.send(t, s.http, req), http.StatusBadRequest)
}

// TestCallbackInParallel opens one callback several times at once, as a person does who clicks twice: one goes on.
func TestCallbackInParallel(t *testing.T) {
	s := start(t, nil)
	for range 5 {
		v := s.visit(t, "alice", nil)
		var ahead []answer
		for _, a := range parallel(4, func() answer { return s.open(t, v.browser, v.callback) }) {
			if a.status == http.StatusSeeOther {
				ahead = append(ahead, a)
			} else if a.status != http.StatusBadGateway && a.status != http.StatusBadRequest && a.status != http.StatusForbidden {
				t.Errorf("answer = %v, want a redirect or a refusal", a)
			}
		}
		if len(ahead) != 1 {
			t.Fatalf("%d of 4 callbacks went on, want 1", len(ahead))
		}
		s.wantCode(t, ahead[0])
	}
}

// TestCallbackRefused holds what is no callback of a login that waits.
func TestCallbackRefused(t *testing.T) {
	s := start(t, nil)
	v, other := s.visit(t, "alice", nil), s.visit(t, "bob", nil)
	for _, test := range []struct {
		name   string
		change url.Values
		status int
	}{
		{"no state", url.Values{"state": nil}, 400},
		{"unknown state", url.Values{"state": {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}, 400},
		{"state of another login", url.Values{"state": other.callback.Query()["state"]}, 403},
		{"two states", url.Values{"state": append(other.callback.Query()["state"], v.callback.Query()["state"]...)}, 400},
		{"oversized state", url.Values{"state": {strings.Repeat("a", 8<<10+1)}}, 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantPage(t, s.open(t, v.browser, with(v.callback, test.change)), test.status)
		})
	}
	t.Run("other provider", func(t *testing.T) {
		to := *v.callback
		to.Path = "/login/callback/other"
		wantPage(t, s.open(t, v.browser, &to), http.StatusBadRequest)
	})
	t.Run("unknown provider", func(t *testing.T) {
		to := *v.callback
		to.Path = "/login/callback/nobody"
		wantPage(t, s.open(t, v.browser, &to), http.StatusBadRequest)
	})
	s.wantCode(t, s.open(t, v.browser, v.callback))
	s.wantCode(t, s.open(t, other.browser, other.callback))
}

func TestCallbackTooLate(t *testing.T) {
	s := start(t, nil)
	early, late := s.visit(t, "alice", nil), s.visit(t, "alice", nil)
	s.advance(t, 50*time.Second)
	s.wantCode(t, s.open(t, early.browser, early.callback))
	s.advance(t, 10*time.Minute)
	wantPage(t, s.open(t, late.browser, late.callback), http.StatusBadRequest)
}

// TestTwoTabs holds that two logins in one browser do not disturb each other.
func TestTwoTabs(t *testing.T) {
	s := start(t, nil)
	b := s.browser()
	var callbacks []*url.URL
	for range 2 {
		back, err := b.Login(t.Context(), s.issuer+"/authorize?"+authorization(nil).Encode(),
			func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) }, map[string]string{"text": "alice", "password": "alice"})
		if err != nil {
			t.Fatal(err)
		}
		callbacks = append(callbacks, back)
	}
	for _, callback := range callbacks {
		s.wantCode(t, s.open(t, b, callback))
	}
}

// TestCookie holds the attributes of the cookie that ties a login to a browser, also of an issuer that is served by
// https through a proxy.
func TestCookie(t *testing.T) {
	for name, test := range map[string]struct {
		fill   map[string]string
		prefix string
		secure bool
	}{
		"http":  {nil, "im-login-", false},
		"https": {map[string]string{"issuer": "https://issuer.example.com"}, "__Host-im-login-", true},
	} {
		t.Run(name, func(t *testing.T) {
			a := start(t, test.fill).get(t, "/authorize?"+authorization(nil).Encode())
			cookies := (&http.Response{Header: a.header}).Cookies()
			if len(cookies) != 1 {
				t.Fatalf("answer = %v with cookies %v, want one", a, cookies)
			}
			c := cookies[0]
			if !strings.HasPrefix(c.Name, test.prefix) || c.Secure != test.secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" ||
				c.SameSite != http.SameSiteLaxMode || c.MaxAge != 600 || len(c.Value) != 43 {
				t.Errorf("Set-Cookie = %v, want %s…, HttpOnly, SameSite=Lax, Path=/, Max-Age=600, Secure %t", c, test.prefix, test.secure)
			}
		})
	}
}
