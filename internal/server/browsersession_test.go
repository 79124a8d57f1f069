package server_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
)

// comeHere signs a person of example.com in in a browser, for a page of the issuer's own, and returns where the browser goes on to.
func (s *site) comeHere(t *testing.T, b *browser.Browser, page, person string) string {
	t.Helper()
	root, _, _ := strings.Cut(strings.TrimPrefix(page, "/"), "/")
	to, err := b.Login(t.Context(), s.issuer+page, func(u *url.URL) bool {
		return strings.HasPrefix(u.String(), s.issuer+"/"+root)
	}, map[string]string{"domain": "example.com", "text": person, "password": person})
	if err != nil {
		t.Fatal(err)
	}
	return to.RequestURI()
}

// visiting returns a browser in which a person of example.com is signed in.
func (s *site) visiting(t *testing.T, person string) *browser.Browser {
	t.Helper()
	b := s.browser()
	if to := s.comeHere(t, b, "/account", person); to != "/account" {
		t.Fatalf("the browser goes on to %s, want /account", to)
	}
	return b
}

// onTime lets the provider live by the clock of the site from now on, a few seconds ahead, so that its ID tokens are newer than its
// logouts. sid is its session; nil for none.
func (s *site) onTime(t *testing.T, sid any) {
	s.provider.tamper(t, tampering{idToken: func(_, claims object) {
		now := s.clock.now().Unix() + 5
		claims["iat"], claims["exp"], claims["auth_time"] = now, now+600, now
		if claims["sid"] = sid; sid == nil {
			delete(claims, "sid")
		}
	}})
}

// look opens a page in a browser.
func (s *site) look(t *testing.T, b *browser.Browser, page string) answer {
	t.Helper()
	return s.send(t, b.Client(), s.request(t, http.MethodGet, page, ""))
}

// fill sends a form in a browser, as a page of the issuer does, with headers that may stand in the place of the usual ones.
func (s *site) fillIn(t *testing.T, b *browser.Browser, page string, form url.Values, header http.Header) answer {
	t.Helper()
	req := s.request(t, http.MethodPost, page, form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", s.origin())
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for name, values := range header {
		if req.Header[name] = values; values == nil {
			delete(req.Header, name)
		}
	}
	return s.send(t, b.Client(), req)
}

func (s *site) origin() string {
	u, _ := url.Parse(s.issuer)
	return u.Scheme + "://" + u.Host
}

// csrfOf returns the token of the forms of a page.
func csrfOf(t *testing.T, a answer) string {
	t.Helper()
	m := regexp.MustCompile(`name="csrf" value="([\w-]{43})"`).FindStringSubmatch(a.body)
	if a.status != http.StatusOK || len(m) != 2 {
		t.Fatalf("answer = %v, want a page with a form", a)
	}
	return m[1]
}

// sessionOf returns the cookie of the session of a browser; nil if it has none.
func (s *site) sessionOf(b *browser.Browser) *http.Cookie {
	u, _ := url.Parse(s.issuer)
	for _, c := range b.Client().Jar.Cookies(u) {
		if strings.HasSuffix(c.Name, "im-session") {
			return c
		}
	}
	return nil
}

// bearing returns a browser with that session alone.
func (s *site) bearing(t *testing.T, c *http.Cookie) *browser.Browser {
	t.Helper()
	b := s.browser()
	u, _ := url.Parse(s.issuer)
	b.Client().Jar.SetCookies(u, []*http.Cookie{c})
	return b
}

// wantSignIn wants the answer to a browser that is not signed in: the page that asks for the domain.
func wantSignIn(t *testing.T, a answer) {
	t.Helper()
	if a.status != http.StatusOK || !strings.Contains(a.body, `name="domain" value="example.com"`) {
		t.Errorf("answer = %v, want the page that begins to sign in", a)
	}
	wantNotStored(t, a)
}

// wantSignedIn wants a page of the account of a person.
func wantSignedIn(t *testing.T, a answer, person string) {
	t.Helper()
	if a.status != http.StatusOK || !strings.Contains(a.body, "<bdi>@"+person) {
		t.Errorf("answer = %v, want the account of %s", a, person)
		return
	}
	wantNotStored(t, a)
	wantQuestion(t, a)
	for name, want := range map[string]string{
		"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

// wantGone wants a redirect to another page of the issuer's after a form.
func (s *site) wantGone(t *testing.T, a answer, page string) {
	t.Helper()
	to, err := a.to()
	if err != nil || a.status != http.StatusSeeOther || strings.TrimPrefix(to.String(), s.issuer) != page {
		t.Errorf("answer = %v to %v, want a redirect to %s", a, to, page)
	}
	wantNotStored(t, a)
}

// A person signs in in a browser, which has a session until they sign out. Its cookie is of no use afterwards.
func TestBrowserSession(t *testing.T) {
	s := start(t, nil)
	b := s.visiting(t, "alice")
	page := s.look(t, b, "/account")
	wantSignedIn(t, page, "alice")
	cookie := s.sessionOf(b)
	wantSignedIn(t, s.look(t, s.bearing(t, cookie), "/account"), "alice")
	wantSignIn(t, s.look(t, s.browser(), "/account"))
	for _, forged := range []string{"", "x", strings.Repeat("A", 43), cookie.Value[:42], cookie.Value + "A"} {
		wantSignIn(t, s.look(t, s.bearing(t, &http.Cookie{Name: cookie.Name, Value: forged}), "/account"))
	}

	out := s.fillIn(t, b, "/account/sign-out", url.Values{"csrf": {csrfOf(t, page)}}, nil)
	s.wantGone(t, out, "/account/signed-out")
	if s.sessionOf(b) != nil {
		t.Error("the browser still has the cookie")
	}
	wantPage(t, s.look(t, b, "/account/signed-out"), http.StatusOK)
	wantSignIn(t, s.look(t, s.bearing(t, cookie), "/account"))
	// Signing out once more, without a session, changes nothing.
	s.wantGone(t, s.fillIn(t, s.bearing(t, cookie), "/account/sign-out", url.Values{"csrf": {csrfOf(t, page)}}, nil), "/account/signed-out")

	// Only the pages of a list are linked from the page for browsers that are signed out.
	for to, want := range map[string]string{
		"?to=/device&because=cancelled": `href="/device"`, "?to=/account&because=unavailable": `href="/account"`,
		"?to=//evil.example&because=<b>": `href="/account"`, "?to=https://evil.example/account": `href="/account"`,
	} {
		if a := s.look(t, b, "/account/signed-out"+to); a.status != http.StatusOK || !strings.Contains(a.body, want) || strings.Contains(a.body, "evil") {
			t.Errorf("answer to %s = %v, want %s", to, a, want)
		}
	}
}

// The cookie is one that scripts cannot read, of this host alone, and of a site served by https.
func TestBrowserCookie(t *testing.T) {
	for origin, name := range map[string]string{"": "im-session", "https://issuer.example.com": "__Host-im-session"} {
		t.Run(name, func(t *testing.T) {
			s := start(t, map[string]string{"origin": origin})
			b := s.browser()
			var set *http.Cookie
			seen := s.http.Transport
			b.Client().Transport = transportFunc(func(r *http.Request) (*http.Response, error) {
				resp, err := seen.RoundTrip(r)
				if err == nil {
					for _, c := range resp.Cookies() {
						if c.Name == name {
							set = c
						}
					}
				}
				return resp, err
			})
			s.comeHere(t, b, "/account", "alice")
			if set == nil || !set.HttpOnly || set.SameSite != http.SameSiteLaxMode || set.Secure != (origin != "") || set.Path != "/" ||
				set.Domain != "" || set.MaxAge != 3600 || len(set.Value) != 43 {
				t.Errorf("cookie = %+v", set)
			}
			page := s.look(t, b, "/account")
			wantSignedIn(t, page, "alice")
			s.wantGone(t, s.fillIn(t, b, "/account/sign-out", url.Values{"csrf": {csrfOf(t, page)}}, nil), "/account/signed-out")
		})
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A session has the secret that the issuer made, whatever cookie the browser had before; and a login ends the session before it.
func TestBrowserSessionFixation(t *testing.T) {
	s := start(t, nil)
	planted := &http.Cookie{Name: "im-session", Value: strings.Repeat("F", 43)}
	b := s.bearing(t, planted)
	s.comeHere(t, b, "/account", "alice")
	if s.sessionOf(b).Value == planted.Value {
		t.Error("the session has the secret that was planted")
	}
	wantSignIn(t, s.look(t, s.bearing(t, planted), "/account"))

	// Somebody plants the cookie of their own session. The login of alice does not make it hers, and ends it.
	bobs := s.sessionOf(s.visiting(t, "bob"))
	b = s.bearing(t, bobs)
	wantSignedIn(t, s.look(t, b, "/account"), "bob")
	q := authorization(nil)
	if _, err := b.Login(t.Context(), s.issuer+"/authorize?"+q.Encode(), browser.To(redirectURI),
		map[string]string{"text": "alice", "password": "alice"}); err != nil {
		t.Fatal(err)
	}
	wantSignedIn(t, s.look(t, b, "/account"), "bob") // a login for an app changes nothing
	s.clock.advance(16 * time.Minute)
	s.onTime(t, nil)
	s.comeHere(t, b, "/account", "alice")
	wantSignedIn(t, s.look(t, b, "/account"), "alice")
	if s.sessionOf(b).Value == bobs.Value {
		t.Error("alice has the session that was planted")
	}
	wantSignIn(t, s.look(t, s.bearing(t, bobs), "/account"))
}

// Nobody is signed in by a login that another browser began.
func TestBrowserLoginForged(t *testing.T) {
	s := start(t, nil)
	b := s.browser()
	callback, err := b.Login(t.Context(), s.issuer+"/account", func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) },
		map[string]string{"domain": "example.com", "text": "bob", "password": "bob"})
	if err != nil {
		t.Fatal(err)
	}
	victim := s.browser()
	wantPage(t, s.arrive(t, victim, callback), http.StatusForbidden)
	wantSignIn(t, s.look(t, victim, "/account"))

	s.wantGone(t, s.arrive(t, b, callback), "/account")
	wantSignedIn(t, s.look(t, b, "/account"), "bob")
	cookie := s.sessionOf(b)
	wantPage(t, s.arrive(t, b, callback), http.StatusBadRequest) // used
	if s.sessionOf(b).Value != cookie.Value {
		t.Error("a used callback made another session")
	}
}

// A form without the token of its session, or from another site, does nothing.
func TestBrowserForms(t *testing.T) {
	s := start(t, nil)
	b, other := s.visiting(t, "alice"), s.visiting(t, "alice")
	token, foreign := csrfOf(t, s.look(t, b, "/account")), csrfOf(t, s.look(t, other, "/account"))
	bobs := csrfOf(t, s.look(t, s.visiting(t, "bob"), "/account"))
	good := url.Values{"csrf": {token}}
	for name, test := range map[string]struct {
		form   url.Values
		header http.Header
		status int
	}{
		"no token":                     {url.Values{}, nil, 403},
		"empty token":                  {url.Values{"csrf": {""}}, nil, 403},
		"token of another session":     {url.Values{"csrf": {foreign}}, nil, 403},
		"token of another person":      {url.Values{"csrf": {bobs}}, nil, 403},
		"token twice":                  {url.Values{"csrf": {token, token}}, nil, 400},
		"another origin":               {good, http.Header{"Origin": {"https://evil.example"}}, 403},
		"another port":                 {good, http.Header{"Origin": {s.provider.url}}, 403},
		"two origins":                  {good, http.Header{"Origin": {s.origin(), "https://evil.example"}}, 403},
		"no origin to tell":            {good, http.Header{"Origin": {"null"}}, 403},
		"another site, no origin":      {good, http.Header{"Origin": nil, "Sec-Fetch-Site": {"cross-site"}}, 403},
		"a site beside, no origin":     {good, http.Header{"Origin": nil, "Sec-Fetch-Site": {"same-site"}}, 403},
		"from nowhere":                 {good, http.Header{"Origin": nil, "Sec-Fetch-Site": {"none"}}, 403},
		"another field":                {url.Values{"csrf": {token}, "device": {"x"}}, nil, 400},
		"not a form":                   {good, http.Header{"Content-Type": {"application/json"}}, 400},
		"as a script may send it":      {good, http.Header{"Content-Type": {"text/plain"}}, 400},
		"a field as long as a book":    {url.Values{"csrf": {strings.Repeat("a", 9<<10)}}, nil, 413},
		"a body as long as a library":  {url.Values{"csrf": {strings.Repeat("a", 1<<20)}}, nil, 413},
		"not UTF-8":                    {url.Values{"csrf": {"\xff"}}, nil, 400},
		"the token in the query, too":  {good, http.Header{"X-Query": {"?csrf=" + token}}, 400},
		"a token of the right length ": {url.Values{"csrf": {strings.Repeat("A", 43)}}, nil, 403},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.fillIn(t, b, "/account/sign-out"+test.header.Get("X-Query"), test.form, test.header)
			wantPage(t, a, test.status)
			wantSignedIn(t, s.look(t, b, "/account"), "alice")
		})
	}
	// An old browser says neither: then the token alone decides.
	s.wantGone(t, s.fillIn(t, b, "/account/sign-out", good, http.Header{"Origin": nil, "Sec-Fetch-Site": nil}), "/account/signed-out")
	wantSignedIn(t, s.look(t, other, "/account"), "alice")
}

// A session ends with what ends the access of its person, and by itself.
func TestBrowserSessionEnds(t *testing.T) {
	s := start(t, nil)
	user := deviceOf(t, s.login(t, newDevice(t), "alice")).Local()
	for name, end := range map[string]struct {
		sid  any
		ends func(t *testing.T)
	}{
		"user disabled": {nil, func(t *testing.T) {
			form := url.Values{"domain": {"example.com"}, "reason": {"left"}}
			wantStatus(t, s.operate(t, http.MethodPost, "/admin/users/"+user+"/disable", form), http.StatusOK)
			wantStatus(t, s.operate(t, http.MethodPost, "/admin/users/"+user+"/enable", form), http.StatusOK)
		}},
		"logout of the session at the provider": {"browser", func(t *testing.T) {
			wantStatus(t, s.logOut(t, "dev", s.logoutToken(object{"sub": nil, "sid": "browser"})), http.StatusOK)
		}},
		"logout of the person at the provider": {nil, func(t *testing.T) {
			wantStatus(t, s.logOut(t, "dev", s.logoutToken(nil)), http.StatusOK)
		}},
		"a quarter of an hour without use": {nil, func(t *testing.T) { s.advance(t, 15*time.Minute) }},
	} {
		t.Run(name, func(t *testing.T) {
			s.onTime(t, end.sid)
			b, bobs := s.visiting(t, "alice"), s.visiting(t, "bob")
			page := s.look(t, b, "/account")
			wantSignedIn(t, page, "alice")
			end.ends(t)
			wantSignIn(t, s.look(t, b, "/account"))
			if strings.Contains(name, "user") || strings.Contains(name, "person") {
				wantSignedIn(t, s.look(t, bobs, "/account"), "bob")
			}
		})
	}
	t.Run("an hour with use", func(t *testing.T) {
		s.onTime(t, nil)
		b := s.visiting(t, "alice")
		for range 5 {
			s.advance(t, 11*time.Minute)
			wantSignedIn(t, s.look(t, b, "/account"), "alice")
		}
		s.advance(t, 5*time.Minute)
		wantSignIn(t, s.look(t, b, "/account"))
	})
}

// A person has ten sessions of browsers: another one ends the one that was used least recently.
func TestBrowserSessionsBounded(t *testing.T) {
	s := start(t, nil)
	s.onTime(t, nil)
	var list []*browser.Browser
	for range 10 {
		list = append(list, s.visiting(t, "alice"))
		s.clock.advance(time.Minute)
	}
	wantSignedIn(t, s.look(t, list[0], "/account"), "alice") // used now
	list = append(list, s.visiting(t, "alice"))
	for i, b := range list {
		if a := s.look(t, b, "/account"); i == 1 {
			wantSignIn(t, a)
		} else {
			wantSignedIn(t, a, "alice")
		}
	}
}

// A person who cancels, and one whose provider is down, get a page that says so, and no session.
func TestBrowserLoginFails(t *testing.T) {
	s := start(t, nil)
	b := s.browser()
	page := s.look(t, b, "/account?x=1")
	state := regexp.MustCompile(`name="state" value="([\w-]{43})"`).FindStringSubmatch(page.body)[1]
	if strings.Contains(page.body, "wants to sign you in") {
		t.Error("the page names an app")
	}
	cancel := func() answer { return s.fillIn(t, b, "/login/cancel", url.Values{"state": {state}}, nil) }
	pick := url.Values{"domain": {"example.com"}}
	if a := s.pick(t, b, state, url.Values{"domain": {"nowhere.example"}}); a.status != http.StatusSeeOther ||
		!strings.Contains(a.header.Get("Location"), "/account/signed-out?because=changed") {
		t.Errorf("answer = %v to %s, want the end", a, a.header.Get("Location"))
	}
	s.provider.tamper(t, tampering{answer: down})
	s.advance(t, time.Hour) // what the issuer knows of the provider is old
	page = s.look(t, b, "/account")
	state = regexp.MustCompile(`name="state" value="([\w-]{43})"`).FindStringSubmatch(page.body)[1]
	for range 2 {
		wantPage(t, s.pick(t, b, state, pick), http.StatusServiceUnavailable)
	}
	s.provider.set(tampering{})
	s.clock.advance(time.Minute)
	if a := s.pick(t, b, state, pick); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), s.provider.url) {
		t.Errorf("answer = %v, want a redirect to the provider", a)
	}
	for range 2 { // two clicks
		s.wantGone(t, cancel(), "/account/signed-out?because=cancelled&to=%2Faccount")
	}
	if s.sessionOf(b) != nil {
		t.Error("the browser has a session")
	}
	// The parameters of such a login are not those of an app.
	for _, forged := range []url.Values{{"session_path": {"/account"}}, {"session_path": {"//evil.example"}, "client_id": nil}} {
		if a := s.askToLogIn(t, b, forged); strings.Contains(a.header.Get("Set-Cookie"), "im-session") || strings.Contains(a.body, "evil") {
			t.Errorf("answer = %v", a)
		}
	}
	s.onTime(t, nil)
	v := s.visit(t, "alice", url.Values{"session_path": {"/account"}})
	s.wantCode(t, s.open(t, v.browser, v.callback))
	if s.sessionOf(v.browser) != nil {
		t.Error("a login for an app made a session of the browser")
	}
}

// A person who has to choose a handle first gets one session, also if the form is sent twice.
func TestBrowserLoginWithHandle(t *testing.T) {
	s := start(t, choosing)
	s.namesake(t, "person "+t.Name(), "admin")
	b := s.browser()
	callback, err := b.Login(t.Context(), s.issuer+"/account", func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) },
		map[string]string{"domain": "example.com", "text": "alice", "password": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	state := handleForm(t, s.arrive(t, b, callback), http.StatusConflict, "admin")
	s.wantGone(t, s.call(t, b, state, "carol"), "/account")
	first := s.sessionOf(b)
	b.Client().Jar.(*cookiejar.Jar).SetCookies(callback, []*http.Cookie{{Name: first.Name, Value: "lost", Path: "/"}})
	s.wantGone(t, s.call(t, b, state, "carol"), "/account")
	if again := s.sessionOf(b); again.Value != first.Value {
		t.Error("the second click got another session than the first")
	}
	wantSignedIn(t, s.look(t, b, "/account"), "carol")
}
