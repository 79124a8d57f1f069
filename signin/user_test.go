package signin_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/signin"
)

// A user has a browser: cookies, by the states that they belong to.
type user struct {
	w       *world
	name    string
	browser *browser.Browser // for the OpenID provider
	from    netip.Addr

	mu      sync.Mutex
	cookies map[string]string
}

func (w *world) user(name string) *user {
	return &user{w: w, name: name, browser: browser.New(nil), from: netip.MustParseAddr("192.0.2.1"), cookies: make(map[string]string)}
}

// send advances a login, as the browser does that is told to set cookies.
func (u *user) send(t testing.TB, token string, in signin.Input) (signin.Outcome, error) {
	t.Helper()
	u.mu.Lock()
	at := signin.State{Token: token, Browser: u.cookies[token], From: u.from}
	u.mu.Unlock()
	out, err := u.w.logins.Advance(t.Context(), at, in)
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, c := range cookies(out) {
		if c.Life < 0 {
			delete(u.cookies, c.Token)
		} else {
			u.cookies[c.Token] = c.Value
		}
	}
	return out, err
}

func cookies(out signin.Outcome) []signin.Cookie {
	switch o := out.(type) {
	case signin.Redirect:
		return o.Cookies
	case signin.Ask:
		return o.Cookies
	case signin.Refuse:
		return o.Cookies
	case signin.Page:
		return o.Cookies
	}
	return nil
}

// good is send for an input that must have an outcome of a type.
func good[O signin.Outcome](t testing.TB, u *user, token string, in signin.Input) O {
	t.Helper()
	out, err := u.send(t, token, in)
	if o, ok := out.(O); ok && err == nil {
		return o
	}
	t.Fatalf("%T has the outcome %#v, %v; want a %T", in, out, err, *new(O))
	panic("not reached")
}

// wantPage sends an input and wants a page of a reason.
func (u *user) wantPage(t testing.TB, token string, in signin.Input, want signin.Reason) {
	t.Helper()
	if p := good[signin.Page](t, u, token, in); p.Reason != want {
		t.Errorf("%T leads to a page of reason %d, %v; want %d", in, p.Reason, p.Err, want)
	}
}

// request is the authorization request of a client.
func request(client string, change url.Values) signin.Begin {
	sum := sha256.Sum256([]byte("verifier"))
	r := url.Values{
		"client_id": {client}, "response_type": {"code"}, "redirect_uri": {home}, "state": {"of the app"},
		"code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}
	for name, values := range change {
		r[name] = values
	}
	return signin.Begin{Request: r}
}

// signInAt goes to a URL at the OpenID provider, signs in there, and returns the way back: the state and the input.
func (u *user) signInAt(t testing.TB, to string) (token string, in signin.Return) {
	t.Helper()
	back, err := u.browser.Login(t.Context(), to, func(at *url.URL) bool { return strings.HasPrefix(at.String(), callback) },
		map[string]string{"text": u.name, "password": u.name})
	if err != nil {
		t.Fatal(err)
	}
	id := back.Path[strings.LastIndex(back.Path, "/")+1:]
	return back.Query().Get("state"), signin.Return{Provider: id, Query: back.Query()}
}

// arrive begins a login and signs in at the provider.
func (u *user) arrive(t testing.TB, client string, change url.Values) (token string, in signin.Return) {
	t.Helper()
	return u.signInAt(t, good[signin.Redirect](t, u, "", request(client, change)).Location)
}

// asked begins a login that leads to the page which asks for consent, and returns the state of the page.
func (u *user) asked(t testing.TB, client string, change url.Values) (token string) {
	t.Helper()
	token, in := u.arrive(t, client, change)
	return consentIn(t, good[signin.Redirect](t, u, token, in))
}

func consentIn(t testing.TB, r signin.Redirect) (token string) {
	t.Helper()
	if !strings.HasPrefix(r.Location, consentPage+"?state=") {
		t.Fatalf("redirect to %s, want the page that asks for consent", r.Location)
	}
	return strings.TrimPrefix(r.Location, consentPage+"?state=")
}

// wantCode wants a redirect to the app with a code, and returns the code.
func wantCode(t testing.TB, r signin.Redirect) string {
	t.Helper()
	to, err := url.Parse(r.Location)
	if err != nil || !strings.HasPrefix(r.Location, home) || to.Query().Get("code") == "" || to.Query().Get("state") != "of the app" {
		t.Fatalf("redirect to %s, want %s with a code", r.Location, home)
	}
	return to.Query().Get("code")
}

// wantRefused wants an error code for the app.
func wantRefused(t testing.TB, r signin.Refuse, code string) {
	t.Helper()
	to, err := url.Parse(r.Err.Location)
	if err != nil || r.Err.Err.Code != code || to.Query().Get("error") != code || !strings.HasPrefix(r.Err.Location, home) {
		t.Errorf("the app is told %v at %s, want %s", r.Err, r.Err.Location, code)
	}
}

// pending returns how many logins are stored, answers to forms among them.
func (w *world) pending(t testing.TB) int {
	t.Helper()
	n, err := w.store.(interface {
		Waiting(context.Context) (int, error)
	}).Waiting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}
