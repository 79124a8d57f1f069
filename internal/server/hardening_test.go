package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// TestTrustedProxy holds that behind a proxy each client has an address of its own: one that fills the memory of spent
// proofs is refused, others are not. What the client itself writes into X-Forwarded-For does not count.
func TestTrustedProxy(t *testing.T) {
	s := start(t, map[string]string{"more": "trusted_proxies: [127.0.0.0/8]", "proofs": "1000"})
	push := func(forwarded string) answer {
		t.Helper()
		proof, err := newDevice(t).Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + "/par", Nonce: s.nonce(t)})
		if err != nil {
			t.Fatal(err)
		}
		return s.post(t, "/par", authorization(nil), http.Header{"Dpop": {proof}, "X-Forwarded-For": {forwarded}})
	}
	var accepted int
	for range 1000 {
		if a := push("203.0.113.9, 198.51.100.7"); a.status == http.StatusTooManyRequests {
			wantError(t, a, http.StatusTooManyRequests, "temporarily_unavailable")
			break
		}
		accepted++
	}
	if accepted < 100 || accepted > 600 {
		t.Errorf("%d pushes of one address were accepted, want about half of what fits", accepted)
	}
	if a := push("198.51.100.8"); a.status != http.StatusCreated {
		t.Errorf("a push from another address = %v, want 201", a)
	}
	if a := push("198.51.100.8, 198.51.100.7"); a.status != http.StatusTooManyRequests {
		t.Errorf("a push by the flooding address that claims to be another = %v, want 429", a)
	}
}

// TestDomainTakenFromClient holds that a session ends for a client that is no longer registered for its domain.
func TestDomainTakenFromClient(t *testing.T) {
	s := start(t, map[string]string{"both": "[example.com, example.org]"})
	d := newDevice(t)
	code := s.code(t, "alice", url.Values{"client_id": {bothApp.id}, "im_domain": {"example.com"}})
	held := wantTokens(t, s.token(t, bothApp, d, codeForm(code, nil)))
	s.restart(t, map[string]string{"both": "[example.org]"})
	wantError(t, s.token(t, bothApp, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
}

// TestLoopbackRedirect holds that nothing but the port of a loopback redirect URI is free.
func TestLoopbackRedirect(t *testing.T) {
	s := start(t, nil)
	for to, good := range map[string]bool{
		"http://127.0.0.1:5/callback":         true,
		"http://[::1]:5/callback":             true,
		"http://127.0.0.1/callback":           true,
		"http://127.0.0.1:5/callback#":        false,
		"HTTP://127.0.0.1:5/callback":         false,
		"http://127.0.0.1:/callback":          false,
		"http://127.0.0.1:5/callback?":        false,
		"http://127.0.0.1:5//callback":        false,
		"http://127.0.0.1:5/%63allback":       false,
		"http://user@127.0.0.1:5/callback":    false,
		"http://127.0.0.2:5/callback":         false,
		"http://127.0.0.1.example:5/callback": false,
		"https://127.0.0.1:5/callback":        false,
	} {
		a := s.get(t, "/authorize?"+authorization(url.Values{"redirect_uri": {to}}).Encode())
		if got := strings.HasPrefix(a.header.Get("Location"), s.provider.url); got != good {
			t.Errorf("redirect URI %s = %v to %q, want accepted %t", to, a.status, a.header.Get("Location"), good)
		}
	}
}

// TestParametersAreBounded holds that what is kept of an authorization request is short.
func TestParametersAreBounded(t *testing.T) {
	s := start(t, nil)
	for name, value := range map[string]string{
		"login_hint": strings.Repeat("x", 1025), "prompt": "login nonsense", "max_age": strings.Repeat("0", 11), "state": strings.Repeat("x", 4097),
	} {
		a := s.get(t, "/authorize?"+authorization(url.Values{name: {value}}).Encode())
		to, err := url.Parse(a.header.Get("Location"))
		if err != nil || to.Query().Get("error") != "invalid_request" {
			t.Errorf("%s = %v to %v, want invalid_request", name, a.status, to)
		}
	}
	many := strings.Repeat("im:handle ", 200)
	if code := s.code(t, "alice", url.Values{"scope": {many}}); code == "" {
		t.Error("no code for a scope with repeats")
	}
}

// TestRevokeAgain holds that a token that is revoked over and over costs one row.
func TestRevokeAgain(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	for range 3 {
		for _, token := range []string{held.access, held.refresh} {
			if a := s.revokeBy(t, app, d, token); a.status != http.StatusOK {
				t.Errorf("answer = %v, want 200", a)
			}
		}
	}
	rows, last, err := s.store.Revocations(t.Context(), 0, 0)
	if err != nil || len(rows) != 2 || last != 2 {
		t.Errorf("Revocations = %+v, %d, %v, want two rows, numbers 1 and 2", rows, last, err)
	}
}
