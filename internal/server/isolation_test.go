package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestIsolation tries to get from one domain of an issuer into another, in each way that there is. Alice has an account in
// example.com and one in example.org, made by the same account at her provider, under the same handle, and with the same
// key: nothing but the domain tells them apart.
func TestIsolation(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	code := func(domain string, change url.Values) string {
		q := url.Values{"client_id": {bothApp.id}, "im_domain": {domain}}
		for name, v := range change {
			q[name] = v
		}
		return s.code(t, "alice", q)
	}
	com := wantTokens(t, s.token(t, bothApp, phone, codeForm(code("example.com", nil), nil)))
	org := wantTokens(t, s.token(t, bothApp, phone, codeForm(code("example.org", nil), nil)))
	comID, orgID := deviceOf(t, com), deviceOf(t, org)
	if com.set.Handle != "im:%40alice@example.com" || org.set.Handle != "im:%40alice@example.org" || comID.Local() == orgID.Local() || comID.Device() == orgID.Device() {
		t.Fatalf("alice is %+v and %+v, want two people on two devices, with one handle", com.set, org.set)
	}
	for _, domain := range []struct {
		peer, other caller
		held        tokens
	}{{peer, stranger, com}, {stranger, peer, org}} { // what follows could not fail without
		if a := s.introspect(t, domain.peer, domain.held.access); a.json["active"] != true {
			t.Fatalf("answer = %v to the domain's own peer, want active", a)
		}
	}
	ask := func(change url.Values) func() answer {
		return func() answer { return s.askToLogIn(t, s.browser(), change) }
	}
	token := func(c caller, form url.Values) func() answer {
		return func() answer { return s.token(t, c, phone, form) }
	}
	with := func(form url.Values, name, value string) url.Values {
		form.Set(name, value)
		return form
	}
	operator := func(method, path, domain string) func() answer {
		return func() answer {
			return s.operate(t, method, path, url.Values{"domain": {domain}, "handle": {"mallory"}})
		}
	}
	unspent := code("example.org", nil)

	// Her accounts in two further domains, where she lets a bot of example.com act for her.
	account := func(domain string) tokens {
		return s.elsewhere(t, phone, domain, url.Values{"scope": {"im:handle im:device account"}})
	}
	generic, wxyz := account("generic.example"), account("wxyz.example")
	id, grant := s.madeBy(t, manyApp, phone, generic, "actors", object{"actor": bot.id, "actor_iss": s.issuer, "scope": "im:handle"})
	own := wantTokens(t, s.token(t, manyApp, phone, with(with(refreshForm(wxyz.refresh), "resource", s.issuer), "scope", "account"))).access

	for _, attempt := range []struct {
		name string
		try  func() answer
		want string // the error; "inactive"; a status; or, after "-> ", the provider or redirect URI and the error that follow
	}{
		// Asking about tokens.
		{"a peer of the other domain asks about a token", func() answer { return s.introspect(t, peer, org.access) }, "inactive"},
		{"and the other way round", func() answer { return s.introspect(t, stranger, com.access) }, "inactive"},
		{"a service wants a token of the other domain", token(stranger, url.Values{"grant_type": {"client_credentials"}, "im_domain": {"example.com"}}), "invalid_request"},
		{"a service wants a token for the other domain", token(stranger, url.Values{"grant_type": {"client_credentials"}, "resource": {"im:example.com"}}), "invalid_target"},

		// Logging in.
		{"an app names a domain that it is not registered for", ask(url.Values{"im_domain": {"example.org"}}), "-> app invalid_request"},
		{"an app names a provider of the other domain", ask(url.Values{"im_provider": {"other"}}), "-> app invalid_request"},
		{"an app names its own domain and a provider of the other", ask(url.Values{"im_domain": {"example.com"}, "im_provider": {"other"}}), "-> app invalid_request"},
		{"an app of both names one and a provider of the other", ask(url.Values{"client_id": {bothApp.id}, "im_domain": {"example.com"}, "im_provider": {"other"}}), "-> app invalid_request"},
		{"an app of both hints at one and names a provider of the other", ask(url.Values{"client_id": {bothApp.id}, "login_hint": {"im:%40alice@example.com"}, "im_provider": {"other"}}), "-> app invalid_request"},
		{"an app hints at somebody of the other domain", ask(url.Values{"login_hint": {"im:%40alice@example.org"}}), "-> dev"},
		{"an app asks for tokens for the other domain", ask(url.Values{"resource": {"im:example.org"}}), "-> app invalid_target"},
		{"a request is pushed for a domain that the app is not registered for", func() answer { return s.push(t, nil, url.Values{"im_domain": {"example.org"}}) }, "invalid_request"},
		{"a request is pushed for one domain and opened with the other", func() answer {
			uri := s.pushed(t, nil, url.Values{"client_id": {bothApp.id}, "im_domain": {"example.com"}})
			return s.get(t, "/authorize?"+url.Values{"client_id": {bothApp.id}, "request_uri": {uri}, "im_domain": {"example.org"}, "im_provider": {"other"}}.Encode())
		}, "-> dev"},
		{"a person chooses a domain of others", func() answer {
			b := s.browser()
			state := wantChoice(t, s.askToLogIn(t, b, url.Values{"client_id": {twoApp.id}}), "domain", "two.example", "example.org")
			return s.pick(t, b, state, url.Values{"domain": {"example.com"}})
		}, "-> app invalid_request"},
		{"a person chooses a provider of the other domain", func() answer {
			b := s.browser()
			state := wantChoice(t, s.askToLogIn(t, b, url.Values{"client_id": {twoApp.id}, "im_domain": {"two.example"}}), "provider", "staff", "guests")
			return s.pick(t, b, state, url.Values{"provider": {"other"}})
		}, "-> app invalid_request"},
		{"a login at the provider of one domain ends at that of the other", func() answer {
			v := s.visit(t, "alice", url.Values{"client_id": {bothApp.id}, "im_domain": {"example.org"}})
			v.callback.Path = "/login/callback/dev"
			return s.arrive(t, v.browser, v.callback)
		}, "400"},

		// Getting tokens.
		{"a client of the other domain redeems a code", token(app, codeForm(unspent, nil)), "invalid_grant"},
		{"a client of the other domain refreshes", token(app, refreshForm(org.refresh)), "invalid_grant"},
		{"a code is redeemed for the other domain", token(bothApp, codeForm(code("example.org", nil), url.Values{"resource": {"im:example.com"}})), "invalid_target"},
		{"a refresh is for the other domain", token(bothApp, with(refreshForm(org.refresh), "resource", "im:example.com")), "invalid_target"},

		{"a bot acts for a person of a domain that it is not registered for", func() answer {
			machine := newDevice(t)
			return s.token(t, bot, machine, exchanging(grant, typeJWT, s.service(t, bot, machine, nil), nil))
		}, "invalid_request"},

		// What people do with their accounts.
		{"a person withdraws what she said in the other domain", func() answer {
			return s.held(t, phone, own, http.MethodDelete, "/me/actors/"+id, nil)
		}, "404"},

		// What operators do with people and devices.
		{"a device is removed in the other domain", operator(http.MethodDelete, "/admin/devices/example.com/"+orgID.Device(), ""), "404"},
		{"a person is looked up in the other domain", operator(http.MethodGet, "/admin/users/"+orgID.Local(), "example.com"), "404"},
		{"a person is renamed in the other domain", operator(http.MethodPut, "/admin/users/"+orgID.Local()+"/handle", "example.com"), "404"},
		{"a person is disabled in the other domain", operator(http.MethodPost, "/admin/users/"+orgID.Local()+"/disable", "example.com"), "404"},
	} {
		t.Run(attempt.name, func(t *testing.T) { s.wantKeptOut(t, attempt.try(), attempt.want) })
	}

	// Nothing came of all that, and the code can still be redeemed. What a request says of domains then does not count.
	for _, held := range []struct {
		domain string
		now    tokens
	}{
		{"example.org", wantTokens(t, s.token(t, bothApp, phone, with(codeForm(unspent, nil), "im_domain", "example.com")))},
		{"example.org", wantTokens(t, s.token(t, bothApp, phone, with(refreshForm(org.refresh), "im_domain", "example.com")))},
		{"example.com", wantTokens(t, s.token(t, bothApp, phone, with(refreshForm(com.refresh), "im_domain", "example.org")))},
	} {
		if set := held.now.set; deviceOf(t, held.now).Domain() != held.domain || !strings.HasSuffix(set.Handle, "@"+held.domain) || len(set.Audience) != 1 || set.Audience[0] != "im:"+held.domain {
			t.Errorf("token of %s for %q, want one of %s", set.Device, set.Audience, held.domain)
		}
	}
	s.revoke(t, app, org.refresh) // of a client of the other domain: nothing
	if a := s.introspect(t, stranger, org.access); a.json["active"] != true {
		t.Errorf("answer = %v, want active", a)
	}
}

// wantKeptOut holds an answer to what an attempt of TestIsolation must come to.
func (s *site) wantKeptOut(t *testing.T, a answer, want string) {
	t.Helper()
	if where, ok := strings.CutPrefix(want, "-> "); ok {
		if code, ok := strings.CutPrefix(where, "app "); ok {
			s.wantRedirect(t, a, redirectURI, appState, code)
			return
		}
		to, err := a.to()
		if err != nil || a.status != http.StatusSeeOther || to.Query().Get("redirect_uri") != s.issuer+"/login/callback/"+where {
			t.Errorf("answer = %v to %v, want a redirect to the provider %s", a, to, where)
		}
		return
	}
	switch want {
	case "inactive":
		if strings.TrimSpace(a.body) != `{"active":false}` {
			t.Errorf("answer = %v, want inactive", a)
		}
	case "400":
		wantPage(t, a, http.StatusBadRequest)
	case "404":
		wantStatus(t, a, http.StatusNotFound)
	default:
		wantError(t, a, http.StatusBadRequest, want)
	}
}

// TestWhatHappensInOneDomain holds that what happens to a person in one domain does not happen to her in another one.
func TestWhatHappensInOneDomain(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	login := func(d *device, domain string) tokens {
		t.Helper()
		q := url.Values{"client_id": {bothApp.id}, "im_domain": {domain}, "dpop_jkt": {d.JKT()}}
		return wantTokens(t, s.token(t, bothApp, d, codeForm(s.code(t, "alice", q), nil)))
	}
	com, org := login(phone, "example.com"), login(phone, "example.org")
	alive := func(held tokens) tokens {
		t.Helper()
		s.wantActive(t, held.access)
		return s.refreshedAs(t, bothApp, phone, held.refresh)
	}
	list := s.operate(t, http.MethodGet, "/admin/devices", url.Values{"domain": {"example.com"}})
	if strings.Contains(list.body, deviceOf(t, org).Device()) || !strings.Contains(list.body, deviceOf(t, com).Device()) {
		t.Errorf("devices of example.com = %v, want hers of that domain alone", list)
	}
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/"+deviceOf(t, org).Local()+"/handle", url.Values{"domain": {"example.org"}, "handle": {"alex"}}), http.StatusOK)
	com = alive(com)
	if com.set.Handle != "im:%40alice@example.com" {
		t.Errorf("handle = %q, want the one of this domain", com.set.Handle)
	}
	s.remove(t, org.set.Device)
	wantError(t, s.token(t, bothApp, phone, refreshForm(org.refresh)), http.StatusBadRequest, "invalid_grant")
	com = alive(com)
	refused := url.Values{"client_id": {bothApp.id}, "im_domain": {"example.org"}, "dpop_jkt": {phone.JKT()}}
	b := s.browser()
	if q := s.signInAt(t, b, s.askToLogIn(t, b, refused), "alice"); q.Get("error") != "invalid_request" || q.Has("code") {
		t.Errorf("the app is told %v, want invalid_request", q)
	}
	if again := login(phone, "example.com"); again.set.Device != com.set.Device {
		t.Errorf("device = %q, want %q: its key is good in this domain", again.set.Device, com.set.Device)
	}
	tablet := newDevice(t)
	org = login(tablet, "example.org")
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/users/"+deviceOf(t, org).Local()+"/disable", url.Values{"domain": {"example.org"}}), http.StatusOK)
	wantError(t, s.token(t, bothApp, tablet, refreshForm(org.refresh)), http.StatusBadRequest, "invalid_grant")
	com = alive(com)

	// The client loses one of its domains: sessions there are over, and those of the other live.
	s.restart(t, map[string]string{"both": "[example.org]"})
	wantError(t, s.token(t, bothApp, phone, refreshForm(com.refresh)), http.StatusBadRequest, "invalid_grant")
	s.restart(t, map[string]string{"both": "[example.com]"})
	alive(com)
}
