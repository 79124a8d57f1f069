package server_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// limits are settings with those limits, behind a proxy that says where a request comes from.
func limits(address, client, user string) map[string]string {
	return map[string]string{
		"more":   "trusted_proxies: [127.0.0.0/8]",
		"limits": fmt.Sprintf(", per_address: %s, per_client: %s, per_user: %s", address, client, user),
	}
}

// from is the header of a request that comes from an address.
func from(address string) http.Header { return http.Header{"X-Forwarded-For": {address}} }

// tokenFrom asks the token endpoint as [site.token] does, from an address.
func (s *site) tokenFrom(t *testing.T, address string, c caller, d *device, form url.Values) answer {
	t.Helper()
	header, form := from(address), maps.Clone(form)
	c.authenticate(form, header)
	if d != nil {
		header.Set("DPoP", s.proof(t, d, ""))
	}
	return s.post(t, "/token", form, header)
}

// asked returns how often the stores are asked while requests are answered.
func (s *site) asked(during func()) int {
	s.faults.setNth(0, nil)
	during()
	n, _, _ := s.faults.sofar()
	return n
}

// wantLimited wants an answer to be 429, for a program or for a person, and returns for how long it says to wait.
func wantLimited(t *testing.T, a answer, page bool) time.Duration {
	t.Helper()
	if page {
		wantPage(t, a, http.StatusTooManyRequests)
	} else {
		wantError(t, a, http.StatusTooManyRequests, "temporarily_unavailable")
	}
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || seconds < 1 || strconv.Itoa(seconds) != a.header.Get("Retry-After") {
		t.Fatalf("429 with Retry-After %q, want whole seconds", a.header.Get("Retry-After"))
	}
	words := fmt.Sprintf("Wait %d seconds", seconds)
	if seconds == 1 {
		words = "Wait 1 second,"
	}
	if page && !strings.Contains(a.body, words) {
		t.Errorf("the page does not say to wait %d seconds: %v", seconds, a)
	}
	if a.header.Get("DPoP-Nonce") == "" {
		t.Error("429 without DPoP-Nonce")
	}
	return time.Duration(seconds) * time.Second
}

// TestLimitPerAddress holds that an address may ask each endpoint that logs in or issues tokens so often and no more,
// whoever it says to be, and that the others get what they ask for.
func TestLimitPerAddress(t *testing.T) {
	s := start(t, limits("3/30s", "off", "off"))
	s.freeze(t)
	send := func(t *testing.T, method, path, address string) answer {
		req := s.request(t, method, path, "")
		req.Header.Set("X-Forwarded-For", address)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return s.send(t, s.http, req)
	}
	for i, test := range []struct {
		method, path string
		page         bool
	}{
		{"GET", "/authorize", true},
		{"POST", "/authorize", true},
		{"GET", "/login/callback/dev", true},
		{"POST", "/login/handle", true},
		{"POST", "/par", false},
		{"POST", "/token", false},
		{"POST", "/revoke", false},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			greedy, other := fmt.Sprintf("192.0.2.%d", i), fmt.Sprintf("198.51.100.%d", i)
			for range 3 {
				if a := send(t, test.method, test.path, greedy); a.status == http.StatusTooManyRequests {
					t.Fatalf("answer = %v, want three that are none", a)
				}
			}
			var wait time.Duration
			if n := s.asked(func() { wait = wantLimited(t, send(t, test.method, test.path, greedy), test.page) }); n != 1 {
				t.Errorf("a refused request asked the stores %d times, want once, for the epoch of the nonce", n)
			}
			if wait != 10*time.Second {
				t.Errorf("Retry-After = %v, want 10s", wait)
			}
			if a := send(t, test.method, test.path, other); a.status == http.StatusTooManyRequests {
				t.Errorf("answer = %v to another address, want none of 429", a)
			}
			s.advance(t, wait-time.Second)
			wantLimited(t, send(t, test.method, test.path, greedy), test.page)
			s.advance(t, time.Second)
			if a := send(t, test.method, test.path, greedy); a.status == http.StatusTooManyRequests {
				t.Errorf("answer = %v after Retry-After, want none of 429", a)
			}
			wantLimited(t, send(t, test.method, test.path, greedy), test.page)
		})
	}
	t.Run("IPv6", func(t *testing.T) {
		for i := range 3 {
			send(t, "POST", "/token", fmt.Sprintf("2001:db8:1:2:%d::1", i))
		}
		wantLimited(t, send(t, "POST", "/token", "2001:db8:1:2::7"), false)
		if a := send(t, "POST", "/token", "2001:db8:1:3::7"); a.status != http.StatusBadRequest {
			t.Errorf("answer = %v to another network, want 400", a)
		}
	})
	t.Run("one bucket for all of them", func(t *testing.T) {
		for _, path := range []string{"/token", "/par", "/revoke"} {
			send(t, "POST", path, "192.0.2.77")
		}
		wantLimited(t, send(t, "GET", "/authorize", "192.0.2.77"), true)
	})
	t.Run("what costs nothing is not counted", func(t *testing.T) {
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/jwks", "/nonce", "/healthz", "/readyz"} {
			for range 5 {
				if a := send(t, "GET", path, "192.0.2.99"); a.status >= 400 {
					t.Errorf("GET %s = %v, want success", path, a)
				}
			}
		}
	})
}

// TestLimitFailures holds that who asks about tokens meets no limit for asking, and one for failing to say who it is.
func TestLimitFailures(t *testing.T) {
	s := start(t, limits("5/30s", "off", "off"))
	s.freeze(t)
	held := s.login(t, newDevice(t), "alice")
	ask := func(c caller, address string) answer {
		header, form := from(address), url.Values{"token": {held.access}}
		c.authenticate(form, header)
		return s.post(t, "/introspect", form, header)
	}
	for range 20 {
		if a := ask(peer, "192.0.2.1"); a.json["active"] != true {
			t.Fatalf("answer = %v, want active", a)
		}
	}
	for range 5 {
		wantError(t, ask(caller{peer.id, "guess"}, "192.0.2.1"), http.StatusUnauthorized, "invalid_client")
	}
	wait := wantLimited(t, ask(caller{peer.id, "guess"}, "192.0.2.1"), false)
	wantLimited(t, ask(peer, "192.0.2.1"), false) // a right guess looks like a wrong one
	if a := ask(peer, "192.0.2.2"); a.json["active"] != true {
		t.Errorf("answer = %v to another address, want active", a)
	}
	s.advance(t, wait)
	for range 5 {
		if a := ask(peer, "192.0.2.1"); a.json["active"] != true {
			t.Errorf("answer = %v after Retry-After, want active", a)
		}
	}

	d := newDevice(t)
	show := func(address, nonce string) answer {
		header := from(address)
		header.Set("Authorization", "DPoP nonsense")
		proof, err := d.Proof(dpop.ProofParams{
			Method: http.MethodPost, URL: s.issuer + "/introspect", Nonce: nonce, IssuedAt: s.clock.now(), AccessToken: "nonsense",
		})
		if err != nil {
			t.Fatal(err)
		}
		header.Set("DPoP", proof)
		return s.post(t, "/introspect", url.Values{"token": {held.access}}, header)
	}
	for range 5 {
		if a := show("192.0.2.4", ""); a.status != http.StatusUnauthorized || a.text("error") != "use_dpop_nonce" {
			t.Errorf("answer = %v to a proof without a nonce, want 401 use_dpop_nonce", a)
		}
	}
	for range 5 {
		if a := show("192.0.2.5", s.nonce(t)); a.status != http.StatusUnauthorized || a.text("error") != "invalid_token" {
			t.Errorf("answer = %v to a token that is none, want 401 invalid_token", a)
		}
	}
	wantLimited(t, show("192.0.2.5", s.nonce(t)), false)

	s.advance(t, time.Minute)
	s.faults.set("Revocations")
	s.clock.advance(time.Minute) // the mirror is stale
	for range 5 {
		wantError(t, ask(peer, "192.0.2.3"), http.StatusServiceUnavailable, "temporarily_unavailable")
	}
	s.faults.set("")
	s.waitReady(t)
	if a := ask(peer, "192.0.2.3"); a.status == http.StatusTooManyRequests {
		t.Errorf("answer = %v after an outage, want none of 429: an outage is no failure of who asks", a)
	}
}

// TestLimitPerClient holds that a client may ask so often and no more, and that nobody can use it up but the client
// itself: one with a secret is counted when it has shown that, a public one for each address.
func TestLimitPerClient(t *testing.T) {
	s := start(t, limits("off", "3/30s", "off"))
	s.freeze(t)
	service := url.Values{"grant_type": {"client_credentials"}}
	t.Run("with a secret", func(t *testing.T) {
		d := newDevice(t)
		for range 10 { // by somebody else
			wantError(t, s.tokenFrom(t, "203.0.113.66", caller{peer.id, "guess"}, d, service), http.StatusUnauthorized, "invalid_client")
			wantError(t, s.tokenFrom(t, "203.0.113.66", caller{peer.id, ""}, d, service), http.StatusUnauthorized, "invalid_client")
		}
		for i := range 3 {
			if a := s.tokenFrom(t, fmt.Sprintf("192.0.2.%d", i), peer, d, service); a.status != http.StatusOK {
				t.Fatalf("answer = %v, want a token", a)
			}
		}
		wait := wantLimited(t, s.tokenFrom(t, "192.0.2.9", peer, d, service), false) // wherever it asks from
		if a := s.tokenFrom(t, "192.0.2.9", stranger, d, service); a.status != http.StatusOK {
			t.Errorf("answer = %v to another client, want a token", a)
		}
		s.advance(t, wait)
		if a := s.tokenFrom(t, "192.0.2.9", peer, d, service); a.status != http.StatusOK {
			t.Errorf("answer = %v after Retry-After, want a token", a)
		}
	})
	t.Run("public", func(t *testing.T) {
		s.advance(t, time.Minute)
		d := newDevice(t)
		held := s.login(t, d, "alice") // from no address of those below
		for range 3 {
			wantError(t, s.tokenFrom(t, "203.0.113.66", app, d, refreshForm("nonsense")), http.StatusBadRequest, "invalid_grant")
		}
		wantLimited(t, s.tokenFrom(t, "203.0.113.66", app, d, refreshForm("nonsense")), false)
		wantLimited(t, s.post(t, "/par", authorization(nil), from("203.0.113.66")), false)
		wantError(t, s.tokenFrom(t, "203.0.113.66", otherApp, d, refreshForm("nonsense")), http.StatusBadRequest, "invalid_grant")
		wantTokens(t, s.tokenFrom(t, "192.0.2.5", app, d, refreshForm(held.refresh)))
		if a := s.post(t, "/par", authorization(nil), from("192.0.2.5")); a.status != http.StatusCreated {
			t.Errorf("push = %v from another address, want 201", a)
		}
	})
	t.Run("nothing is spent", func(t *testing.T) {
		s.advance(t, time.Minute)
		d := newDevice(t)
		held, code := s.login(t, d, "alice"), s.code(t, "alice", nil)
		for range 3 {
			s.tokenFrom(t, "203.0.113.67", app, d, refreshForm("nonsense"))
		}
		wait := wantLimited(t, s.tokenFrom(t, "203.0.113.67", app, d, refreshForm(held.refresh)), false)
		wantLimited(t, s.tokenFrom(t, "203.0.113.67", app, d, codeForm(code, nil)), false)
		s.advance(t, 2*wait)
		wantTokens(t, s.tokenFrom(t, "203.0.113.67", app, d, codeForm(code, nil)))
		s.wantAlive(t, d, held)
	})
}

// TestLimitPerUser holds that a user, on however many devices, may log in and refresh so often and no more; that
// others are not concerned; and that what was refused is good afterwards, down to the proof.
func TestLimitPerUser(t *testing.T) {
	s := start(t, limits("off", "off", "6/30s"))
	s.freeze(t)
	// A login takes two, one when the person is known and one for the code; the first login of all only the latter.
	first, second := newDevice(t), newDevice(t)
	held, other := s.login(t, first, "alice"), s.login(t, second, "alice")
	s.login(t, newDevice(t), "bob")
	held = s.refreshed(t, first, held.refresh)
	other = s.refreshed(t, second, other.refresh)
	form := refreshForm(held.refresh)
	form.Set("client_id", app.id)
	refused := http.Header{"Dpop": {s.proof(t, first, "")}}
	other = s.refreshed(t, second, other.refresh)
	if n := s.asked(func() { wantLimited(t, s.post(t, "/token", form, refused), false) }); n != 4 {
		t.Errorf("the refused refresh asked the stores %d times, want 4: for the epoch, twice, a transaction, and the session in it", n)
	}
	s.wantActive(t, held.access)
	code := s.code(t, "bob", nil) // other people are let in
	wantTokens(t, s.token(t, app, newDevice(t), codeForm(code, nil)))

	v := s.visit(t, "alice", nil)
	wait := wantLimited(t, s.open(t, v.browser, v.callback), true)
	if wait != 5*time.Second {
		t.Errorf("Retry-After = %v, want 5s", wait)
	}
	s.advance(t, wait)
	wantTokens(t, s.post(t, "/token", form, refused)) // neither refresh token nor proof was spent
	wantLimited(t, s.token(t, app, second, refreshForm(other.refresh)), false)
	s.advance(t, 10*time.Second)
	code = s.code(t, "alice", nil)
	s.refreshed(t, second, other.refresh)
	wantLimited(t, s.token(t, app, newDevice(t), codeForm(code, nil)), false)
	s.advance(t, 5*time.Second)
	wantTokens(t, s.token(t, app, newDevice(t), codeForm(code, nil))) // nor was the code
}

// TestLimitInParallel holds that of many requests at once as many pass as there are tokens.
func TestLimitInParallel(t *testing.T) {
	s := start(t, limits("off", "off", "10/10m"))
	s.freeze(t)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	proofs := make(chan string, 30)
	for range cap(proofs) {
		proofs <- s.proof(t, d, "")
	}
	var passed atomic.Int64
	parallel(cap(proofs), func() answer {
		form := refreshForm(held.refresh)
		form.Set("client_id", app.id)
		a := s.post(t, "/token", form, http.Header{"Dpop": {<-proofs}})
		if a.status == http.StatusOK {
			passed.Add(1)
		} else {
			wantLimited(t, a, false)
		}
		return a
	})
	if n := passed.Load(); n != 9 {
		t.Errorf("%d refreshes passed, want 9: ten tokens, and one was taken for the code", n)
	}
}

// TestWaitingLogins holds that strangers fill the database with logins that nobody finishes up to a bound, whatever addresses
// they come from; that who has a session notices nothing; and that there is room again when the logins have expired.
func TestWaitingLogins(t *testing.T) {
	fill := limits("off", "off", "off")
	fill["limits"] += ", waiting_logins: 100"
	maps.Copy(fill, fast)
	s := start(t, fill)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	begin := func(i int) answer {
		address := fmt.Sprintf("203.0.113.%d", i)
		if i%2 == 0 {
			req := s.request(t, http.MethodGet, "/authorize?"+authorization(nil).Encode(), "")
			req.Header = from(address)
			return s.send(t, s.http, req)
		}
		return s.post(t, "/par", authorization(nil), from(address))
	}
	refused := 0
	for i := range 120 {
		switch a := begin(i); {
		case a.status == http.StatusSeeOther && i%2 == 0, a.status == http.StatusCreated && i%2 == 1:
		case a.status == http.StatusServiceUnavailable:
			refused++
			if a.header.Get("Retry-After") == "" || i%2 == 1 && a.text("error") != "temporarily_unavailable" {
				t.Errorf("answer = %v, want 503 with Retry-After", a)
			}
		default:
			t.Fatalf("answer %d = %v", i, a)
		}
	}
	rows := s.pending(t)
	if refused != 30 || rows != 90 { // ten places are reserved
		t.Errorf("%d refused, %d rows kept, want 30 and 90", refused, rows)
	}
	wantTokens(t, s.token(t, app, d, refreshForm(held.refresh)))
	for range 5 {
		wantError(t, s.post(t, "/par", authorization(nil), from("198.51.100.1")), http.StatusServiceUnavailable, "temporarily_unavailable")
	}
	s.advance(t, time.Hour)
	deadline := time.Now().Add(time.Minute)
	for begin(0).status != http.StatusSeeOther {
		if time.Now().After(deadline) {
			t.Fatal("no login begins when all of them have expired")
		}
		time.Sleep(20 * time.Millisecond)
	}
}
