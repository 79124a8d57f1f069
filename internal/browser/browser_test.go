package browser_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
)

const app = "http://127.0.0.1:9/cb"

// site serves pages by path. It answers a form with a redirect to the application that contains the form's values.
func site(t *testing.T, pages map[string]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page, ok := pages[r.URL.Path]; ok {
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprint(w, page)
			return
		}
		switch r.URL.Path {
		case "/done":
			_ = r.ParseForm()
			if r.Method == http.MethodPost {
				r.Form.Set("origin", r.Header.Get("Origin"))
			}
			http.Redirect(w, r, app+"?"+r.Form.Encode(), http.StatusSeeOther)
		case "/cookie":
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "yes", Path: "/"})
			http.Redirect(w, r, "need", http.StatusFound)
		case "/need":
			c, err := r.Cookie("seen")
			if err != nil {
				http.Error(w, "no cookie", http.StatusForbidden)
				return
			}
			http.Redirect(w, r, app+"?seen="+c.Value, http.StatusFound)
		case "/again":
			http.Redirect(w, r, "/done", http.StatusTemporaryRedirect)
		case "/circle":
			http.Redirect(w, r, "/circle", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestForms(t *testing.T) {
	fill := map[string]string{"text": "alice", "password": "alice"}
	for _, test := range []struct {
		name, page string
		fill       map[string]string
		want       string // the query without origin
	}{
		{"by type", `<form method=post action=/done><input name=login><input type=password name=pw></form>`,
			fill, "login=alice&pw=alice"},
		{"by name", `<form method=post action=/done><input name=other value=kept><input name=login></form>`,
			map[string]string{"login": "bob"}, "login=bob&other=kept"},
		{"hidden stays", `<form method=POST action="done"><input type=hidden name=password value=x><input type=hidden name=prompt value=consent></form>`,
			map[string]string{"hidden": "no", "password": "no"}, "password=x&prompt=consent"},
		{"first button", `<form method=post action=/done><button name=a value=1>Yes</button><button name=b value=2>No</button></form>`,
			fill, "a=1"},
		{"named button", `<form method=post action=/done><button name=a value=1>Yes</button><input type=submit name=b value=2></form>`,
			map[string]string{"b": "2"}, "b=2"},
		{"form that takes more", `<form method=post action=/gone><button name=abort>No</button></form>
			<form method=post action=/done><input name=login><button>Go</button></form>`, fill, "login=alice"},
		{"first of equals", `<form method=post action=/done><button name=go value=1></form><form method=post action=/gone></form>`,
			nil, "go=1"},
		{"choices", `<form method=post action=/done><input type=checkbox name=c1 checked><input type=checkbox name=c2>
			<input type=radio name=r value=1><input type=radio name=r value=2 checked>
			<select name=s><option value=a>A<option value=b selected>B</select><textarea name=t>some
			text</textarea><input name=off value=1 disabled></form>`, nil, "c1=on&r=2&s=b&t=some+text"},
		{"chosen", `<form method=post action=/done><input type=radio name=r value=1><input type=radio name=r value=2 checked>
			<input type=checkbox name=c value=yes></form>`, map[string]string{"r": "1", "c": "yes"}, "c=yes&r=1"},
		{"by GET", `<form action="/done?gone=1"><input name=login></form>`, fill, "login=alice"},
		{"redirected whole", `<form method=post action=/again><input name=login></form>`, fill, "login=alice"},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := site(t, map[string]string{"/start": "<title>x</title>" + test.page})
			got, err := browser.New(nil).Login(t.Context(), at+"/start", browser.To(app), test.fill)
			if err != nil {
				t.Fatalf("Login: %v", err)
			}
			q := got.Query()
			if origin := q.Get("origin"); origin != "" && origin != at {
				t.Errorf("Origin = %q, want %q", origin, at)
			}
			q.Del("origin")
			if q.Encode() != test.want {
				t.Errorf("form sent %q, want %q", q.Encode(), test.want)
			}
		})
	}
}

func TestCookies(t *testing.T) {
	at := site(t, nil)
	b := browser.New(http.DefaultTransport)
	got, err := b.Login(t.Context(), at+"/cookie", browser.To(app), nil)
	if err != nil || got.Query().Get("seen") != "yes" {
		t.Errorf("Login = %v, %v, want the cookie back", got, err)
	}
	u, _ := url.Parse(at)
	if n := len(b.Client().Jar.Cookies(u)); n != 1 {
		t.Errorf("the jar has %d cookies, want 1", n)
	}
	if _, err := browser.New(nil).Login(t.Context(), at+"/need", browser.To(app), nil); err == nil {
		t.Error("Login in another browser = nil, want an error")
	}
}

func TestStuck(t *testing.T) {
	at := site(t, map[string]string{
		"/plain": "<title>Sorry</title><h1>This did\n work out badly</h1>",
		"/loop":  "<form method=post><input type=password name=p></form>",
	})
	for path, want := range map[string]string{
		"/plain?state=secret": at + `/plain (200 OK) "Sorry" "This did work out badly"`,
		"/loop":               "POST " + at + "/loop (200 OK)",
		"/circle":             at + "/circle (302 Found)",
		"/missing":            at + "/missing (404 Not Found)",
	} {
		_, err := browser.New(nil).Login(t.Context(), at+path, browser.To(app), nil)
		if !errors.Is(err, browser.ErrStuck) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("Login at %s = %v, want it stuck at %s", path, err, want)
		}
	}
	if _, err := browser.New(nil).Login(t.Context(), "http://127.0.0.1:1/", browser.To(app), nil); err == nil || errors.Is(err, browser.ErrStuck) {
		t.Errorf("Login at nobody = %v, want another error", err)
	}
}

func TestTo(t *testing.T) {
	stop := browser.To("http://127.0.0.1:9/cb")
	for raw, want := range map[string]bool{
		"http://127.0.0.1:9/cb": true, "http://127.0.0.1:9/cb?code=a": true, "http://127.0.0.1:9/cb#a": true,
		"http://127.0.0.1:9/cb/x": false, "http://127.0.0.1:90/cb": false, "https://127.0.0.1:9/cb": false,
	} {
		u, _ := url.Parse(raw)
		if got := stop(u); got != want {
			t.Errorf("To(%s) = %v, want %v", raw, got, want)
		}
	}
}
