package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// serviceInStorage is the life of a service that an operator registers while the issuer runs.
func serviceInStorage(t *testing.T, s *site) []step {
	c := caller{id: strings.ReplaceAll(t.Name(), " ", "-")}
	d := newDevice(t)
	token := ""
	secretOf := func(a answer) {
		wantStatus(t, a, http.StatusOK)
		c.secret = a.text("secret")
	}
	return []step{
		{
			name: "registration",
			ask:  func() answer { return s.register(t, newService(c.id)) },
			again: func(durable bool) answer {
				a := s.register(t, newService(c.id))
				if durable { // it is there, and nobody knows its secret
					wantRefusal(t, a, http.StatusConflict, "client_taken")
					return s.newSecret(t, c.id, "0s")
				}
				return a
			},
			good: secretOf,
		},
		{
			name: "client_credentials",
			ask:  func() answer { return s.token(t, c, d, serviceForm) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				token = a.text("access_token")
			},
		},
		{
			name: "new secret",
			ask:  func() answer { return s.newSecret(t, c.id, "1h") },
			good: func(a answer) {
				old := c
				secretOf(a)
				s.faults.quietly(func() {
					s.wantService(t, c, true)
					if op, _, _ := s.faults.sofar(); op == 0 { // else the old one may be that of an answer that was lost
						s.wantService(t, old, true)
					}
				})
			},
		},
		{
			name: "removal",
			ask:  func() answer { return s.unregister(t, c.id) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.faults.quietly(func() {
					s.soonInactive(t, token)
					wantInvalidClient(t, s.token(t, c, d, serviceForm))
				})
			},
		},
	}
}

// appInStorage is a session of an app that an operator has registered, to the end that he makes.
func appInStorage(t *testing.T, s *site) []step {
	var c caller
	s.faults.quietly(func() { c = s.registered(t, newAppClient(strings.ReplaceAll(t.Name(), " ", "-"))) })
	d := newDevice(t)
	var (
		v    visit
		code string
		held tokens
	)
	return []step{
		{
			name:  "callback",
			ready: func() { v = s.visit(t, "alice", url.Values{"client_id": {c.id}}) },
			ask:   func() answer { return s.open(t, v.browser, v.callback) },
			page:  true,
			again: func(bool) answer {
				var a answer
				s.faults.quietly(func() {
					v = s.visit(t, "alice", url.Values{"client_id": {c.id}})
					a = s.open(t, v.browser, v.callback)
				})
				return a
			},
			good: func(a answer) {
				to, err := url.Parse(a.header.Get("Location"))
				if code = to.Query().Get("code"); err != nil || code == "" {
					t.Errorf("answer = %v to %v, want a redirect with a code", a, to)
				}
			},
		},
		{
			name: "code",
			ask:  func() answer { return s.token(t, c, d, codeForm(code, nil)) },
			again: func(durable bool) answer {
				if durable { // the code is spent: a new login
					s.faults.quietly(func() { code = s.code(t, "alice", url.Values{"client_id": {c.id}}) })
				}
				return s.token(t, c, d, codeForm(code, nil))
			},
			good: func(a answer) { held = wantTokens(t, a) },
		},
		{
			name: "refresh",
			ask:  func() answer { return s.token(t, c, d, refreshForm(held.refresh)) },
			good: func(a answer) { held = wantTokens(t, a) },
		},
		{
			name: "removal",
			ask:  func() answer { return s.unregister(t, c.id) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.faults.quietly(func() {
					s.soonInactive(t, held.access)
					wantInvalidClient(t, s.token(t, c, d, refreshForm(held.refresh)))
				})
			},
		},
	}
}
