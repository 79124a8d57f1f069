package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
)

// wantChoice wants a page that lets a person choose among values for a parameter, and returns the state of its form.
func wantChoice(t *testing.T, a answer, name string, values ...string) string {
	t.Helper()
	state := regexp.MustCompile(`name="state" value="([\w-]{43})"`).FindStringSubmatch(a.body)
	var offered []string
	for _, m := range regexp.MustCompile(`<button type="submit" name="`+name+`" value="([^"]*)">`).FindAllStringSubmatch(a.body, -1) {
		offered = append(offered, m[1])
	}
	if a.status != http.StatusOK || len(state) != 2 || !slices.Equal(offered, values) {
		t.Fatalf("answer = %v, want a page that offers %q as %s", a, values, name)
	}
	wantNotStored(t, a)
	wantQuestion(t, a)
	return state[1]
}

// wantQuestion holds a page with a form to what goes with it: nothing is loaded, nothing frames it, no script runs.
func wantQuestion(t *testing.T, a answer) {
	t.Helper()
	csp := a.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none';", "form-action 'self' ", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("Content-Security-Policy = %q, want %q in it", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(a.body, "<script") {
		t.Errorf("page with policy %q: %s", csp, a.body)
	}
}

// askToLogIn opens /authorize in a browser.
func (s *site) askToLogIn(t *testing.T, b *browser.Browser, change url.Values) answer {
	t.Helper()
	return s.send(t, b.Client(), s.request(t, http.MethodGet, "/authorize?"+authorization(change).Encode(), ""))
}

// pick submits the form of the page that lets a person choose.
func (s *site) pick(t *testing.T, b *browser.Browser, state string, choice url.Values) answer {
	t.Helper()
	form := url.Values{"state": {state}}
	for name, values := range choice {
		form[name] = values
	}
	req := s.request(t, http.MethodPost, "/login/choose", form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.send(t, b.Client(), req)
}

// signInAt goes on from a redirect to a provider, signs a person in there and allows what the app asks for. It returns
// what the app gets to see.
func (s *site) signInAt(t *testing.T, b *browser.Browser, a answer, person string) url.Values {
	t.Helper()
	to, err := a.to()
	if err != nil || a.status != http.StatusSeeOther {
		t.Fatalf("answer = %v, want a redirect to a provider", a)
	}
	back, err := b.Login(t.Context(), to.String(), browser.To(redirectURI), map[string]string{"text": person, "password": person})
	if err != nil {
		t.Fatal(err)
	}
	return back.Query()
}

// to is where an answer redirects to.
func (a answer) to() (*url.URL, error) { return url.Parse(a.header.Get("Location")) }

// TestChooseDomainAndProvider goes the whole way: a domain, one of its providers, and back to the app. Whoever comes back
// to the page may choose another one.
func TestChooseDomainAndProvider(t *testing.T) {
	s := start(t, withGuests)
	change := url.Values{"client_id": {twoApp.id}}
	for name, begin := range map[string]func(*testing.T, *browser.Browser) answer{
		"by GET": func(t *testing.T, b *browser.Browser) answer { return s.askToLogIn(t, b, change) },
		"by POST": func(t *testing.T, b *browser.Browser) answer {
			req := s.request(t, http.MethodPost, "/authorize", authorization(change).Encode())
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			return s.send(t, b.Client(), req)
		},
		"pushed": func(t *testing.T, b *browser.Browser) answer {
			query := url.Values{"client_id": {twoApp.id}, "request_uri": {s.pushed(t, nil, change)}}
			return s.send(t, b.Client(), s.request(t, http.MethodGet, "/authorize?"+query.Encode(), ""))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.browser()
			a := begin(t, b)
			state := wantChoice(t, a, "domain", "two.example", "example.org")
			if !strings.Contains(a.body, "Two &amp; Co.") {
				t.Errorf("the page does not say which app asks: %v", a)
			}
			a = s.pick(t, b, state, url.Values{"domain": {"two.example"}})
			if again := wantChoice(t, a, "provider", "staff", "guests"); again != state {
				t.Error("the second page has another state")
			}
			if !strings.Contains(a.body, `<input type="hidden" name="domain" value="two.example">`) || !strings.Contains(a.body, "Staff accounts") {
				t.Errorf("answer = %v, want the domain in it, and the providers by name", a)
			}
			for _, provider := range []*provider{s.provider, s.guests, s.provider} {
				id := "staff"
				if provider == s.guests {
					id = "guests"
				}
				a = s.pick(t, b, state, url.Values{"domain": {"two.example"}, "provider": {id}})
				if to, err := a.to(); err != nil || "http://"+to.Host != provider.url || to.Query().Get("redirect_uri") != s.issuer+"/login/callback/"+id {
					t.Fatalf("choice of %s leads to %v, want %s", id, to, provider.url)
				}
			}
			q := s.signInAt(t, b, a, "alice")
			if q.Get("state") != appState || q.Get("iss") != s.issuer {
				t.Errorf("authorization answer = %v, want state and iss", q)
			}
			held := wantTokens(t, s.token(t, twoApp, newDevice(t), codeForm(q.Get("code"), nil)))
			if held.set.Handle != "im:%40alice@two.example" {
				t.Errorf("handle = %q, want alice of two.example", held.set.Handle)
			}
		})
	}
	t.Run("domain with one provider", func(t *testing.T) {
		b := s.browser()
		a := s.pick(t, b, wantChoice(t, s.askToLogIn(t, b, change), "domain", "two.example", "example.org"), url.Values{"domain": {"example.org"}})
		if to, err := a.to(); err != nil || to.Query().Get("redirect_uri") != s.issuer+"/login/callback/other" {
			t.Errorf("choice leads to %v, want the provider of example.org", to)
		}
	})
	t.Run("domain by hint", func(t *testing.T) {
		hinted := url.Values{"client_id": {twoApp.id}, "login_hint": {"im:%40alice@two.example"}}
		wantChoice(t, s.askToLogIn(t, s.browser(), hinted), "provider", "staff", "guests")
	})
}

// TestChoiceIsBound holds that the page is of the browser that asked for it, for as long as a login may take, and that
// only what was open can be chosen.
func TestChoiceIsBound(t *testing.T) {
	s := start(t, nil)
	b, change := s.browser(), url.Values{"client_id": {twoApp.id}}
	state := wantChoice(t, s.askToLogIn(t, b, change), "domain", "two.example", "example.org")
	choice := url.Values{"domain": {"example.org"}}
	wantPage(t, s.pick(t, s.browser(), state, choice), http.StatusForbidden)
	other := s.browser()
	wantChoice(t, s.askToLogIn(t, other, change), "domain", "two.example", "example.org")
	wantPage(t, s.pick(t, other, state, choice), http.StatusForbidden)
	wantPage(t, s.pick(t, b, strings.Repeat("A", 43), choice), http.StatusBadRequest)
	wantPage(t, s.pick(t, b, "", choice), http.StatusBadRequest)
	wantPage(t, s.pick(t, b, state, url.Values{"domain": {"example.org", "two.example"}}), http.StatusBadRequest)
	for name, choice := range map[string]url.Values{
		"domain of others":            {"domain": {"example.com"}},
		"no domain":                   {"domain": {"nowhere.example"}},
		"provider of others":          {"provider": {"dev"}},
		"provider of another domain":  {"domain": {"example.org"}, "provider": {"staff"}},
		"provider that there is none": {"domain": {"two.example"}, "provider": {"nobody"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.wantRedirect(t, s.pick(t, b, state, choice), redirectURI, appState, "invalid_request")
		})
	}
	t.Run("nothing", func(t *testing.T) {
		wantChoice(t, s.pick(t, b, state, nil), "domain", "two.example", "example.org")
	})
	t.Run("what the app has said", func(t *testing.T) {
		b := s.browser()
		state := wantChoice(t, s.askToLogIn(t, b, url.Values{"client_id": {twoApp.id}, "im_domain": {"two.example"}}), "provider", "staff", "guests")
		s.wantRedirect(t, s.pick(t, b, state, url.Values{"domain": {"example.org"}, "provider": {"other"}}), redirectURI, appState, "invalid_request")
		wantChoice(t, s.pick(t, b, state, url.Values{"domain": {"example.org"}}), "provider", "staff", "guests")
	})
	t.Run("another step", func(t *testing.T) {
		wantPage(t, s.decide(t, b, state, "allow"), http.StatusBadRequest)
		wantPage(t, s.choose(t, b, state, "alice"), http.StatusBadRequest)
		query := url.Values{"state": {state}, "code": {"x"}}
		wantPage(t, s.send(t, b.Client(), s.request(t, http.MethodGet, "/login/callback/staff?"+query.Encode(), "")), http.StatusBadRequest)
		v := s.visit(t, "alice", nil)
		wantPage(t, s.pick(t, v.browser, v.callback.Query().Get("state"), choice), http.StatusBadRequest)
	})
	t.Run("registration that has shrunk", func(t *testing.T) {
		b := s.browser()
		state := wantChoice(t, s.askToLogIn(t, b, url.Values{"client_id": {bothApp.id}}), "domain", "example.com", "example.org")
		s.restart(t, map[string]string{"both": "[example.com]"})
		s.wantRedirect(t, s.pick(t, b, state, url.Values{"domain": {"example.org"}}), redirectURI, appState, "invalid_request")
	})
	t.Run("provider that is down", func(t *testing.T) {
		guests := url.Values{"domain": {"two.example"}, "provider": {"guests"}}
		wantPage(t, s.pick(t, b, state, guests), http.StatusServiceUnavailable)
	})
	t.Run("store that is down", func(t *testing.T) {
		for _, op := range []string{"Login", "InsertLogin"} {
			s.faults.set(op)
			wantPage(t, s.pick(t, b, state, choice), http.StatusServiceUnavailable)
			s.faults.set("")
		}
	})
	s.advance(t, 10*time.Minute)
	wantPage(t, s.pick(t, b, state, choice), http.StatusBadRequest)
}

// TestChoiceOfKey holds that a key which cannot log in to the chosen domain is refused after the login: before it, anybody
// could ask which keys were removed.
func TestChoiceOfKey(t *testing.T) {
	s := start(t, nil)
	gone := newDevice(t)
	s.remove(t, s.login(t, gone, "alice").set.Device)
	b := s.browser()
	state := wantChoice(t, s.askToLogIn(t, b, url.Values{"client_id": {bothApp.id}, "dpop_jkt": {gone.JKT()}}), "domain", "example.com", "example.org")
	q := s.signInAt(t, b, s.pick(t, b, state, url.Values{"domain": {"example.com"}}), "alice")
	if q.Get("error") != "invalid_request" || q.Get("state") != appState || q.Has("code") {
		t.Errorf("the app is told %v, want invalid_request", q)
	}
	if a := s.pick(t, b, state, url.Values{"domain": {"example.org"}}); a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), s.provider.url) {
		t.Errorf("answer = %v, want a redirect to the provider of the domain that never knew the key", a)
	}
}

// TestMixUp holds that a login begun at one provider of a domain is not finished by the callback of the other, nor with
// what that one said (RFC 9700 §4.4).
func TestMixUp(t *testing.T) {
	s := start(t, withGuests)
	staff := s.visit(t, "alice", url.Values{"client_id": {twoApp.id}, "im_provider": {"staff"}})
	guests := s.visit(t, "alice", url.Values{"client_id": {twoApp.id}, "im_provider": {"guests"}})
	for name, mixed := range map[string]func() *url.URL{
		"path of the other":                    func() *url.URL { u := *staff.callback; u.Path = "/login/callback/guests"; return &u },
		"path of a provider of another domain": func() *url.URL { u := *staff.callback; u.Path = "/login/callback/other"; return &u },
	} {
		t.Run(name, func(t *testing.T) { wantPage(t, s.arrive(t, staff.browser, mixed()), http.StatusBadRequest) })
	}
	for name, change := range map[string]url.Values{
		"iss of the other":          {"iss": {s.guests.url}},
		"code of the other":         {"code": guests.callback.Query()["code"]},
		"code and iss of the other": {"code": guests.callback.Query()["code"], "iss": {s.guests.url}},
	} {
		t.Run(name, func(t *testing.T) {
			status := http.StatusBadGateway
			if name == "code of the other" { // the provider does not accept it, as it would not accept one that has expired
				status = http.StatusBadRequest
			}
			wantPage(t, s.arrive(t, staff.browser, with(staff.callback, change)), status)
		})
	}
	to, err := s.open(t, staff.browser, staff.callback).to()
	if err != nil || to.Query().Get("code") == "" {
		t.Errorf("the login that was not mixed up leads to %v, want a code", to)
	}
}

// TestPeopleOfTwoProviders holds that people of two providers are never taken for each other, whatever these say of
// them, and that handles go to who takes them first.
func TestPeopleOfTwoProviders(t *testing.T) {
	s := start(t, withGuests)
	at := func(provider string) url.Values {
		return url.Values{"client_id": {twoApp.id}, "im_provider": {provider}}
	}
	login := func(q url.Values) tokens {
		t.Helper()
		return wantTokens(t, s.token(t, twoApp, newDevice(t), codeForm(q.Get("code"), nil)))
	}
	staff := login(s.signIn(t, "alice", at("staff")))

	// The guest has the same sub, the same user name and the same email.
	b := s.browser()
	back, err := b.Login(t.Context(), s.issuer+"/authorize?"+authorization(at("guests")).Encode(),
		func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.guests.callback) }, map[string]string{"text": "alice", "password": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	state := handleForm(t, s.arrive(t, b, back), http.StatusConflict, "alice")
	to, err := s.choose(t, b, state, "alice.guest").to()
	if err != nil {
		t.Fatal(err)
	}
	guest := login(to.Query())
	if guest.set.Subject == staff.set.Subject || guest.set.Handle != "im:%40alice.guest@two.example" {
		t.Errorf("guest is %s called %s, want another one than %s, called alice.guest", guest.set.Subject, guest.set.Handle, staff.set.Subject)
	}
	for provider, want := range map[string]tokens{"staff": staff, "guests": guest} {
		if again := login(s.signIn(t, "alice", at(provider))); again.set.Subject != want.set.Subject || again.set.Handle != want.set.Handle {
			t.Errorf("the next login at %s is %s called %s, want %s called %s", provider, again.set.Subject, again.set.Handle, want.set.Subject, want.set.Handle)
		}
	}
	bob := login(s.signIn(t, "bob", at("guests"))) // her provider is believed about her handle: nobody has it
	if bob.set.Handle != "im:%40bob@two.example" {
		t.Errorf("handle = %q, want bob", bob.set.Handle)
	}
	s.guests.tamper(t, tampering{idToken: func(_, claims object) {
		claims["email"], claims["email_verified"], claims["name"] = "alice@example.com", true, "Alice Example"
	}})
	if again := login(s.signIn(t, "bob", at("guests"))); again.set.Subject != bob.set.Subject {
		t.Errorf("bob with the email of alice is %s, want %s", again.set.Subject, bob.set.Subject)
	}
}
