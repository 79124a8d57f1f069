package server_test

import (
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Subjects of the people at the provider.
const (
	aliceSubject = "dev-10021"
	bobSubject   = "dev-10022"
)

// logoutClaims are the claims of a good logout token, with changes. A nil value removes a claim.
func (s *site) logoutClaims(change object) object {
	now := s.clock.now().Unix()
	claims := object{
		"iss": s.provider.url, "aud": "issuer", "sub": aliceSubject, "iat": now, "exp": now + 120, "jti": rand.Text(),
		"events": object{logoutEvent: object{}},
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// logoutToken is a logout token by a key of the provider.
func (s *site) logoutToken(change object) string {
	return sign(s.provider.key, object{"alg": "ES256", "typ": "logout+jwt", "kid": "proxy"}, s.logoutClaims(change))
}

// logOut sends a logout token to the endpoint of a provider.
func (s *site) logOut(t *testing.T, provider, token string) answer {
	t.Helper()
	return s.post(t, "/login/backchannel/"+provider, url.Values{"logout_token": {token}}, nil)
}

// inSession lets the provider say that everybody who signs in is in that session, nil for none.
func (s *site) inSession(t *testing.T, sid any) {
	s.provider.tamper(t, tampering{idToken: func(_, claims object) {
		if claims["sid"] = sid; sid == nil {
			delete(claims, "sid")
		}
	}})
}

// later lets the provider issue ID tokens a few seconds later: after the logouts so far, whose times are whole seconds.
func (s *site) later(t *testing.T) {
	s.provider.tamper(t, tampering{idToken: func(_, claims object) { claims["iat"] = time.Now().Unix() + 5 }})
}

// TestBackchannelLogout holds that the provider ends the logins that it names, with all that came from them, and no others.
func TestBackchannelLogout(t *testing.T) {
	s := start(t, nil)
	phone, laptop, old, bobs := newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	s.inSession(t, "phone")
	onPhone := s.login(t, phone, "alice")
	code := s.code(t, "alice", nil)
	there := newDevice(t)
	abroad := s.signedInTo(t, "example.org", there, "alice")
	s.inSession(t, "laptop")
	onLaptop := s.login(t, laptop, "alice")
	s.inSession(t, nil)
	onOld := s.login(t, old, "alice")
	s.provider.set(tampering{})
	bob := s.login(t, bobs, "bob")

	// The session and the one whose login named none; devices stay.
	token := s.logoutToken(object{"sid": "phone"})
	var a answer
	events := s.audited(func() { a = s.logOut(t, "dev", token) })
	wantStatus(t, a, http.StatusOK)
	wantNotStored(t, a)
	if a.body != "" {
		t.Errorf("body = %q, want none", a.body)
	}
	user := deviceOf(t, onPhone).Local()
	if len(events) != 1 || !strings.Contains(events[0], "event=user.logged_out actor=provider") || !strings.Contains(events[0], "user="+user) {
		t.Errorf("audit events = %q, want one of the logout of %s", events, user)
	}
	s.wantEnded(t, phone, onPhone)
	s.wantEnded(t, old, onOld)
	wantError(t, s.token(t, app, newDevice(t), codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
	onLaptop, bob = s.wantAlive(t, laptop, onLaptop), s.wantAlive(t, bobs, bob)
	abroad = s.refreshedAs(t, bothApp, there, abroad.refresh)

	// Once, also after a restart.
	again := func() {
		t.Helper()
		a := s.logOut(t, "dev", token)
		if wantError(t, a, http.StatusBadRequest, "invalid_request"); !strings.Contains(a.text("error_description"), "used before") {
			t.Errorf("answer = %v, want that the token was used before", a)
		}
	}
	again()
	s.restart(t, nil)
	again()

	// The sid alone, of nobody and of somebody.
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(object{"sub": nil, "sid": "unknown"})), http.StatusOK)
	onLaptop = s.wantAlive(t, laptop, onLaptop)
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(object{"sub": nil, "sid": "laptop"})), http.StatusOK)
	s.wantEnded(t, laptop, onLaptop)

	// All sessions of the user. Whoever is unknown is logged out already.
	s.later(t)
	onPhone, onLaptop = s.login(t, phone, "alice"), s.login(t, laptop, "alice")
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(object{"sub": "nobody"})), http.StatusOK)
	onPhone = s.wantAlive(t, phone, onPhone)
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(nil)), http.StatusOK)
	s.wantEnded(t, phone, onPhone)
	s.wantEnded(t, laptop, onLaptop)
	s.wantAlive(t, bobs, bob)
	abroad = s.refreshedAs(t, bothApp, there, abroad.refresh)
	s.login(t, phone, "alice")
}

// TestBackchannelLogoutOfPendingLogin holds that a login that waits for the user's consent ends too, and that a login that the provider
// let in later does not.
func TestBackchannelLogoutOfPendingLogin(t *testing.T) {
	s := start(t, nil)
	b, _, state := s.consented(t, "alice", nil)
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(nil)), http.StatusOK)
	wantPage(t, s.decide(t, b, state, "allow"), http.StatusBadRequest)
	s.later(t)
	b, _, state = s.consented(t, "alice", nil)
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(object{"sub": bobSubject})), http.StatusOK)
	if a := s.decide(t, b, state, "allow"); a.status != http.StatusSeeOther {
		t.Errorf("answer = %v, want the login to go on", a)
	}
}

// TestBackchannelLogoutRefused holds that nobody is logged out by a token or request that is not good.
func TestBackchannelLogoutRefused(t *testing.T) {
	s := start(t, withGuests)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	now := s.clock.now().Unix()
	header := object{"alg": "ES256", "typ": "logout+jwt", "kid": "proxy"}
	with := func(change object) url.Values { return url.Values{"logout_token": {s.logoutToken(change)}} }
	none := object{"alg": "none", "typ": "logout+jwt"}
	for name, form := range map[string]url.Values{
		"no token":            {},
		"empty token":         {"logout_token": {""}},
		"doubled parameter":   {"logout_token": {s.logoutToken(nil), s.logoutToken(nil)}},
		"no JWT":              {"logout_token": {"logout"}},
		"with nonce":          with(object{"nonce": "n"}),
		"other aud":           with(object{"aud": "other"}),
		"other iss":           with(object{"iss": s.guests.url}),
		"expired":             with(object{"iat": now - 600, "exp": now - 300}),
		"iat in the future":   with(object{"iat": now + 300, "exp": now + 600}),
		"no sub and sid":      with(object{"sub": nil}),
		"no events":           with(object{"events": nil}),
		"no jti":              with(object{"jti": nil}),
		"alg none":            {"logout_token": {compact(none, s.logoutClaims(nil), "")}},
		"unsigned":            {"logout_token": {compact(header, s.logoutClaims(nil), "")}},
		"ID token":            {"logout_token": {sign(s.provider.key, object{"alg": "ES256", "typ": "JWT", "kid": "proxy"}, s.logoutClaims(object{"events": nil, "nonce": "n"}))}},
		"access token":        {"logout_token": {held.access}},
		"too long":            {"logout_token": {s.logoutToken(object{"pad": strings.Repeat("a", 8<<10)})}},
		"of 1 MiB":            {"logout_token": {strings.Repeat("a", 1<<20)}},
		"of another provider": {"logout_token": {sign(s.guests.key, header, s.logoutClaims(object{"iss": s.guests.url}))}},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.post(t, "/login/backchannel/dev", form, nil)
			if name == "too long" || name == "of 1 MiB" {
				wantError(t, a, http.StatusRequestEntityTooLarge, "invalid_request")
			} else {
				wantError(t, a, http.StatusBadRequest, "invalid_request")
			}
		})
	}
	good := s.logoutToken(nil)
	t.Run("content type", func(t *testing.T) {
		for _, kind := range []string{"application/json", "text/plain", ""} {
			req := s.request(t, http.MethodPost, "/login/backchannel/dev", "logout_token="+good)
			req.Header.Set("Content-Type", kind)
			wantError(t, s.send(t, s.http, req), http.StatusBadRequest, "invalid_request")
		}
	})
	t.Run("in the URL", func(t *testing.T) {
		wantError(t, s.post(t, "/login/backchannel/dev?logout_token="+good, nil, nil), http.StatusBadRequest, "invalid_request")
	})
	t.Run("unknown provider", func(t *testing.T) {
		wantError(t, s.logOut(t, "nobody", good), http.StatusNotFound, "not_found")
	})
	t.Run("GET", func(t *testing.T) {
		wantError(t, s.get(t, "/login/backchannel/dev"), http.StatusMethodNotAllowed, "invalid_request")
	})
	t.Run("key of nobody", func(t *testing.T) { // the keys were fetched a moment ago, and may have changed since
		a := s.logOut(t, "dev", sign(newKey(t), header, s.logoutClaims(nil)))
		if a.status != http.StatusBadRequest {
			wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
		}
		s.advance(t, 2*time.Minute)
		wantError(t, s.logOut(t, "dev", sign(newKey(t), header, s.logoutClaims(nil))), http.StatusBadRequest, "invalid_request")
	})
	held = s.wantAlive(t, d, held)
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(nil)), http.StatusOK)
	s.wantEnded(t, d, held)
}

// TestBackchannelLogoutRaced holds that of many requests with one token one is accepted.
func TestBackchannelLogoutRaced(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	token := s.logoutToken(nil)
	var wg sync.WaitGroup
	answers := make([]answer, 8)
	for i := range answers {
		wg.Go(func() { answers[i] = s.logOut(t, "dev", token) })
	}
	wg.Wait()
	accepted := 0
	for _, a := range answers {
		if a.status == http.StatusOK {
			accepted++
		} else {
			wantError(t, a, http.StatusBadRequest, "invalid_request")
		}
	}
	if accepted != 1 {
		t.Errorf("%d of %d requests were accepted, want 1", accepted, len(answers))
	}
	s.wantEnded(t, d, held)
}

// TestBackchannelLogoutProviderDown holds that nothing is decided while the keys of the provider are not known, and that the same
// token is good afterwards.
func TestBackchannelLogoutProviderDown(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	s.restart(t, nil) // the keys are forgotten
	token := s.logoutToken(nil)
	s.provider.set(tampering{answer: down})
	a := s.logOut(t, "dev", token)
	wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Errorf("answer = %v, want Retry-After", a)
	}
	held = s.wantAlive(t, d, held)
	s.provider.set(tampering{})
	s.advance(t, 2*time.Minute)
	wantStatus(t, s.logOut(t, "dev", s.logoutToken(nil)), http.StatusOK)
	s.wantEnded(t, d, held)
}

// TestBackchannelLogoutLimited holds that an address cannot have signatures verified without a limit, whatever becomes of its tokens,
// while good ones are not counted.
func TestBackchannelLogoutLimited(t *testing.T) {
	s := start(t, limits("5/10m", "off", "off"))
	for range 8 {
		wantStatus(t, s.logOut(t, "dev", s.logoutToken(object{"sub": "nobody"})), http.StatusOK)
	}
	header := object{"alg": "ES256", "typ": "logout+jwt", "kid": "unknown"}
	for range 5 {
		a := s.logOut(t, "dev", sign(newKey(t), header, s.logoutClaims(nil)))
		if a.status != http.StatusBadRequest {
			wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
		}
	}
	wantError(t, s.logOut(t, "dev", sign(newKey(t), header, s.logoutClaims(nil))), http.StatusTooManyRequests, "temporarily_unavailable")
}

// loggedOutAtProvider is a logout at the provider, of which the issuer learns at its back-channel.
func loggedOutAtProvider(t *testing.T, s *site) []step {
	subject := "leaves " + t.Name()
	s.namesake(t, subject, handleOf(t, "leaves"))
	d := newDevice(t)
	held := s.login(t, d, "alice")
	token := s.logoutToken(object{"sub": subject})
	ask := func() answer { return s.logOut(t, "dev", token) }
	return []step{{
		name: "logout", ask: ask,
		good: func(a answer) {
			wantStatus(t, a, http.StatusOK)
			s.soonEnded(t, d, held)
		},
		again: func(durable bool) answer {
			if !durable {
				return ask()
			}
			wantError(t, ask(), http.StatusBadRequest, "invalid_request")
			return s.logOut(t, "dev", s.logoutToken(object{"sub": subject}))
		},
	}}
}
