package server_test

import (
	"context"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/storage"
)

// allow goes on from an answer that leads to the page which asks for consent, and allows it. Any other answer is
// returned as it is.
func (s *site) allow(t *testing.T, b *browser.Browser, a answer) answer {
	t.Helper()
	to := a.header.Get("Location")
	if !strings.HasPrefix(to, s.issuer+"/login/consent?") {
		return a
	}
	page := s.send(t, b.Client(), s.request(t, http.MethodGet, to, ""))
	state := regexp.MustCompile(`name="state" value="([\w-]{43})"`).FindStringSubmatch(page.body)
	if page.status != http.StatusOK || len(state) != 2 {
		return page
	}
	return s.decide(t, b, state[1], "allow")
}

// decide submits the form of that page.
func (s *site) decide(t *testing.T, b *browser.Browser, state, decision string) answer {
	t.Helper()
	form := url.Values{"state": {state}, "decision": {decision}}
	req := s.request(t, http.MethodPost, "/login/consent", form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.send(t, b.Client(), req)
}

// consented lets a person sign in, and returns the browser and the page that asks her, with the state of its form.
func (s *site) consented(t *testing.T, person string, change url.Values) (b *browser.Browser, page answer, state string) {
	t.Helper()
	v := s.visit(t, person, change)
	a := s.arrive(t, v.browser, v.callback)
	to, err := a.to()
	if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), s.issuer+"/login/consent?") {
		t.Fatalf("answer = %v to %v, want a redirect to the page that asks", a, to)
	}
	wantNotStored(t, a)
	page = s.send(t, v.browser.Client(), s.request(t, http.MethodGet, to.String(), ""))
	m := regexp.MustCompile(`name="state" value="([\w-]{43})"`).FindStringSubmatch(page.body)
	if page.status != http.StatusOK || len(m) != 2 || m[1] != to.Query().Get("state") {
		t.Fatalf("answer = %v, want a page with the state of its URL", page)
	}
	wantNotStored(t, page)
	wantQuestion(t, page)
	return v.browser, page, m[1]
}

// words returns the text of a page, without its markup.
func words(page answer) string {
	body := page.body[strings.Index(page.body, "<body>"):]
	text := html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(body, ""))
	return strings.Join(strings.Fields(text), " ")
}

// TestWhoIsAsked holds that consent is left out only where the app is the operator's own and cannot be another program
// (RFC 8252 §8.6).
func TestWhoIsAsked(t *testing.T) {
	s := start(t, nil)
	const web, guest = "https://app.example.com/callback?from=issuer", "https://guest.example.net/callback"
	for _, test := range []struct {
		name   string
		change url.Values
		asked  bool
		app    string // where the browser goes
	}{
		{"own public app on loopback", nil, true, redirectURI},
		{"own public app on IPv6 loopback", url.Values{"redirect_uri": {"http://[::1]:7777/callback"}}, true, "http://[::1]:7777/callback"},
		{"own public app on loopback, every time", nil, true, redirectURI},
		{"own public app by claimed https", url.Values{"redirect_uri": {web}}, false, "https://app.example.com/callback"},
		{"the same, if it wants", url.Values{"redirect_uri": {web}, "prompt": {"consent"}}, true, "https://app.example.com/callback"},
		{"public app with a private-use scheme", url.Values{"client_id": {twoApp.id}, "im_provider": {"staff"}, "redirect_uri": {"com.example.two:/callback"}}, true, "com.example.two:/callback"},
		{"own confidential app", url.Values{"client_id": {webApp.id}, "redirect_uri": {"https://web.example.com/callback"}}, false, "https://web.example.com/callback"},
		{"the same, if it wants", url.Values{"client_id": {webApp.id}, "redirect_uri": {"https://web.example.com/callback"}, "prompt": {"login consent"}}, true, "https://web.example.com/callback"},
		{"own confidential app on loopback", url.Values{"client_id": {deskApp.id}}, false, redirectURI},
		{"public app of others by https", url.Values{"client_id": {guestApp.id}, "redirect_uri": {guest}}, true, guest},
		{"public app by https on loopback", url.Values{"client_id": {guestApp.id}, "redirect_uri": {"https://127.0.0.1/callback"}}, true, "https://127.0.0.1/callback"},
		{"confidential app of others", url.Values{"client_id": {guestWeb.id}, "redirect_uri": {guest}}, true, guest},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := s.visit(t, "alice", test.change)
			a := s.arrive(t, v.browser, v.callback)
			to, err := a.to()
			if err != nil || a.status != http.StatusSeeOther {
				t.Fatalf("answer = %v, want a redirect", a)
			}
			if asked := strings.HasPrefix(to.String(), s.issuer+"/login/consent?"); asked != test.asked {
				t.Fatalf("the browser is sent to %v, want to be asked: %t", to, test.asked)
			}
			if to, err = s.allow(t, v.browser, a).to(); err != nil || !strings.HasPrefix(to.String(), test.app) || to.Query().Get("code") == "" || to.Query().Get("iss") != s.issuer {
				t.Errorf("the browser is sent to %v, want %s with a code", to, test.app)
			}
		})
		if test.change.Has("prompt") {
			continue
		}
		t.Run(test.name+", without a page", func(t *testing.T) {
			s.provider.tamper(t, tampering{answer: patient})
			change := maps.Clone(test.change)
			if change == nil {
				change = url.Values{}
			}
			change.Set("prompt", "none")
			v := s.visit(t, "alice", change)
			to, err := s.arrive(t, v.browser, v.callback).to()
			if err != nil || !strings.HasPrefix(to.String(), test.app) || to.Query().Get("state") != appState || to.Query().Get("iss") != s.issuer {
				t.Fatalf("the browser is sent to %v, want %s with state and iss", to, test.app)
			}
			if want := map[bool]string{true: "consent_required"}[test.asked]; to.Query().Get("error") != want || to.Query().Has("code") == test.asked {
				t.Errorf("the app is told %v, want the error %q", to.Query(), want)
			}
		})
	}
}

// patient lets the provider show its form although the issuer asked it not to: as one that knows the person would, it
// comes to an answer.
func patient(_ http.ResponseWriter, r *http.Request) bool {
	q := r.URL.Query()
	q.Del("prompt")
	r.URL.RawQuery = q.Encode()
	return false
}

// TestSilentHandle holds that nobody is asked for her handle when the app wants no page (OpenID Connect Core 1.0
// §3.1.2.6), and that she is still nobody then.
func TestSilentHandle(t *testing.T) {
	s := start(t, choosing)
	s.login(t, newDevice(t), "alice")
	s.provider.tamper(t, tampering{answer: patient, idToken: func(_, claims object) { claims["sub"] = "dev-10099" }})
	v := s.visit(t, "alice", url.Values{"prompt": {"none"}})
	s.wantRedirect(t, s.arrive(t, v.browser, v.callback), redirectURI, appState, "interaction_required")
	s.wantNobody(t, "dev-10099")
}

// TestConsentPage holds what a person is told before she decides.
func TestConsentPage(t *testing.T) {
	s := start(t, nil)
	known, unnamed := newDevice(t), newDevice(t)
	wantTokens(t, s.token(t, app, known, codeForm(s.code(t, "alice", url.Values{"im_device_name": {"Alice’s phone"}}), nil)))
	s.login(t, unnamed, "alice")
	const anyProgram = "any program on it can claim to be this app."
	for _, test := range []struct {
		name   string
		change url.Values
		want   []string
		not    []string
	}{
		{"the least", nil,
			[]string{
				"You are signed in as @alice@example.com and will return to a program on this device.", "The app app", "A program on this device 127.0.0.1:7777", "A new device is added, unless it is one of your devices already",
				"Act for you, also after your name changes", "Show your name: @alice@example.com", "Show which of your devices it runs on",
				"for up to 20 days", "It can show this to example.com", anyProgram, "Not you? Use another account",
			}, []string{"“"}},
		{"new device", url.Values{"dpop_jkt": {newDevice(t).JKT()}, "im_device_name": {"Alice’s <b>tablet</b>"}},
			[]string{"“Alice’s <b>tablet</b>” is added The"}, []string{"one of your devices"}},
		{"known device", url.Values{"dpop_jkt": {known.JKT()}, "im_device_name": {"Somebody else’s"}},
			[]string{"“Alice’s phone”, which is one of your devices already"}, []string{"Somebody else’s", "is added"}},
		{"known device without a name", url.Values{"dpop_jkt": {unnamed.JKT()}, "im_device_name": {"A name"}},
			[]string{"One of your devices, without a name"}, []string{"A name", "is added"}},
		{"fewer scopes", url.Values{"scope": {"im:device"}}, []string{"Show which of your devices"}, []string{"Show your name"}},
		{"resources", url.Values{"resource": {"https://rooms.example.com", "im:example.com"}},
			[]string{"It can show this to rooms.example.com, example.com"}, nil},
		{"private-use scheme", url.Values{"client_id": {twoApp.id}, "im_provider": {"staff"}, "redirect_uri": {"com.example.two:/callback"}},
			[]string{"Two & Co. two-app", "A program on this device com.example.two:", anyProgram, "@alice@two.example"}, nil},
		{"https", url.Values{"client_id": {guestApp.id}, "redirect_uri": {"https://guest.example.net/callback"}},
			[]string{"Allow <b>Guest</b> to act as you?", "The app <b>Guest</b> guest-app", "will return to guest.example.net.", "You return to guest.example.net Your"},
			[]string{anyProgram, "program on this device", "for up to"}},
		{"IPv6", url.Values{"redirect_uri": {"http://[::1]:7777/callback"}}, []string{"A program on this device [::1]:7777"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, page, _ := s.consented(t, "alice", test.change)
			text := words(page)
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("the page says %q, want %q in it", text, want)
				}
			}
			for _, not := range test.not {
				if strings.Contains(text, not) {
					t.Errorf("the page says %q, want no %q in it", text, not)
				}
			}
			if strings.Contains(page.body, "<b>Guest") || strings.Contains(page.body, "<b>tablet") {
				t.Errorf("the page holds markup of others: %s", page.body)
			}
		})
	}
}

// TestConsentMayEndAtTheApp holds that the policy of the page lets the form end where the browser must go: browsers hold
// every redirect after a form to it.
func TestConsentMayEndAtTheApp(t *testing.T) {
	s := start(t, nil)
	for target, change := range map[string]url.Values{
		"http://127.0.0.1:7777": nil,
		"http:":                 {"redirect_uri": {"http://[::1]:7777/callback"}}, // no source names one
		"com.example.two:":      {"client_id": {twoApp.id}, "im_provider": {"staff"}, "redirect_uri": {"com.example.two:/callback"}},
		"":                      {"client_id": {guestApp.id}, "redirect_uri": {"https://guest.example.net/callback"}},
	} {
		_, page, _ := s.consented(t, "alice", change)
		sources := []string{"'self'", "https:", s.provider.url} // and where another account is chosen
		if target != "" {
			sources = append(sources, target)
		}
		slices.Sort(sources)
		want := "form-action " + strings.Join(sources, " ") + ";"
		if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, want) {
			t.Errorf("Content-Security-Policy = %q, want %q in it", csp, want)
		}
	}
}

// TestDeny holds that the app learns of a refusal, and gets nothing.
func TestDeny(t *testing.T) {
	s := start(t, nil)
	b, _, state := s.consented(t, "alice", nil)
	s.wantRedirect(t, s.decide(t, b, state, "deny"), redirectURI, appState, "access_denied")
	wantPage(t, s.decide(t, b, state, "allow"), http.StatusBadRequest)
	for _, decision := range []string{"deny", "allow"} { // who denied by mistake may begin again
		b := s.browser()
		to, err := b.Login(t.Context(), s.issuer+"/authorize?"+authorization(nil).Encode(), browser.To(redirectURI),
			map[string]string{"text": "alice", "password": "alice", "decision": decision})
		if err != nil || to.Query().Has("code") != (decision == "allow") {
			t.Errorf("%s leads to %v, %v", decision, to, err)
		}
	}
}

// TestConsentIsBound holds that a decision is of the person who was asked, in the browser in which she was, and counts
// once.
func TestConsentIsBound(t *testing.T) {
	s := start(t, nil)
	b, _, state := s.consented(t, "alice", nil)
	other, _, others := s.consented(t, "bob", nil)
	reload := func(b *browser.Browser, state string) answer {
		return s.send(t, b.Client(), s.request(t, http.MethodGet, "/login/consent?"+url.Values{"state": {state}}.Encode(), ""))
	}
	wantPage(t, s.decide(t, s.browser(), state, "allow"), http.StatusForbidden)
	wantPage(t, s.decide(t, other, state, "allow"), http.StatusForbidden)
	wantPage(t, s.decide(t, other, state, "deny"), http.StatusForbidden)
	wantPage(t, reload(other, state), http.StatusForbidden)
	wantPage(t, reload(b, strings.Repeat("A", 43)), http.StatusBadRequest)
	for _, decision := range []string{"", "Allow", "yes"} {
		wantPage(t, s.decide(t, b, state, decision), http.StatusBadRequest)
	}
	t.Run("from another site", func(t *testing.T) { // which can send a form, but neither read the page nor hold its state
		for _, guess := range []string{"", others, strings.Repeat("A", 43)} {
			if a := s.decide(t, b, guess, "allow"); a.status != http.StatusBadRequest && a.status != http.StatusForbidden {
				t.Errorf("answer = %v, want a refusal", a)
			}
		}
		wantPage(t, s.post(t, "/login/consent", url.Values{"state": {state}, "decision": {"allow"}}, nil), http.StatusForbidden) // no cookie
		wantPage(t, s.send(t, b.Client(), s.request(t, http.MethodGet, "/login/consent?"+url.Values{"decision": {"allow"}}.Encode(), "")), http.StatusBadRequest)
	})
	t.Run("another step", func(t *testing.T) {
		wantPage(t, s.choose(t, b, state, "alice"), http.StatusBadRequest)
		wantPage(t, s.pick(t, b, state, url.Values{"domain": {"example.com"}}), http.StatusBadRequest)
		wantPage(t, s.arrive(t, b, with(mustParse(t, s.provider.callback+"dev"), url.Values{"state": {state}, "code": {"x"}})), http.StatusBadRequest)
		v := s.visit(t, "alice", nil)
		wantPage(t, s.decide(t, v.browser, v.callback.Query().Get("state"), "allow"), http.StatusBadRequest)
	})
	if a := reload(b, state); a.status != http.StatusOK || !strings.Contains(words(a), "@alice@example.com") {
		t.Errorf("answer = %v, want the page again", a)
	}
	var ahead []answer
	for _, a := range parallel(4, func() answer { return s.decide(t, b, state, "allow") }) {
		if a.status == http.StatusSeeOther {
			ahead = append(ahead, a)
		} else if a.status != http.StatusBadRequest && a.status != http.StatusForbidden {
			t.Errorf("answer = %v, want a redirect or the end", a)
		}
	}
	for _, a := range ahead { // who decides twice gets one answer
		if a.header.Get("Location") != ahead[0].header.Get("Location") {
			t.Fatalf("answers lead to %q and %q, want one code", ahead[0].header.Get("Location"), a.header.Get("Location"))
		}
	}
	s.wantCode(t, ahead[0])
	wantPage(t, reload(b, state), http.StatusBadRequest)
	s.wantRedirect(t, s.decide(t, other, others, "deny"), redirectURI, appState, "access_denied")
}

// TestConsentMeanwhile holds that a decision is about the request, the client and the person as they are now.
func TestConsentMeanwhile(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	late, _, lateState := s.consented(t, "bob", nil)
	t.Run("key of another person", func(t *testing.T) {
		b, _, state := s.consented(t, "alice", url.Values{"dpop_jkt": {d.JKT()}})
		wantTokens(t, s.token(t, app, d, codeForm(s.code(t, "bob", nil), nil)))
		s.wantRedirect(t, s.decide(t, b, state, "allow"), redirectURI, appState, "invalid_request")
		v := s.visit(t, "alice", url.Values{"dpop_jkt": {d.JKT()}})
		s.wantRedirect(t, s.arrive(t, v.browser, v.callback), redirectURI, appState, "invalid_request") // not even asked
	})
	t.Run("disabled", func(t *testing.T) {
		b, _, state := s.consented(t, "alice", nil)
		u, err := s.store.LinkedUser(t.Context(), "example.com", s.provider.url, "dev-10021")
		if err != nil {
			t.Fatal(err)
		}
		u.DisabledAt = time.Now()
		err = s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.UpdateUser(ctx, u) })
		if err != nil {
			t.Fatal(err)
		}
		wantPage(t, s.decide(t, b, state, "allow"), http.StatusForbidden)
	})
	t.Run("client that lost the domain", func(t *testing.T) {
		b, _, state := s.consented(t, "bob", url.Values{"client_id": {bothApp.id}, "im_domain": {"example.com"}})
		s.restart(t, map[string]string{"both": "[example.org]"})
		s.wantRedirect(t, s.decide(t, b, state, "allow"), redirectURI, appState, "invalid_request")
	})
	t.Run("a pushed request waits as long as its login", func(t *testing.T) {
		query := url.Values{"client_id": {twoApp.id}, "request_uri": {s.pushed(t, nil, url.Values{"client_id": {twoApp.id}})}}
		b := s.browser()
		const wait = 9 * time.Minute
		s.advance(t, 2*time.Minute)
		a := s.send(t, b.Client(), s.request(t, http.MethodGet, "/authorize?"+query.Encode(), ""))
		state := wantChoice(t, a, "domain", "two.example", "example.org")
		to, err := s.pick(t, b, state, url.Values{"domain": {"example.org"}}).to()
		if err != nil {
			t.Fatal(err)
		}
		back, err := b.Login(t.Context(), to.String(), func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) },
			map[string]string{"text": "alice", "password": "alice"})
		if err != nil {
			t.Fatal(err)
		}
		state = handleForm(t, s.arrive(t, b, back), http.StatusOK, "alice")
		s.advance(t, wait)
		a = s.call(t, b, state, "alice")
		s.advance(t, wait)
		err = s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return sweepAll(ctx, tx, s.clock.now()) })
		if err != nil {
			t.Fatal(err)
		}
		if to, err := s.allow(t, b, a).to(); err != nil || to.Query().Get("code") == "" {
			t.Errorf("the login leads to %v, want a code", to)
		}
	})
	wantPage(t, s.decide(t, late, lateState, "allow"), http.StatusBadRequest) // ten minutes are over
}

func mustParse(t *testing.T, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
