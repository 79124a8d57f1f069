package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// takingIn is a device that a user's own key takes in: she delegates to the key, the issuer countersigns what the key signed,
// the device asks again and narrows its token, and she withdraws the delegation.
func takingIn(t *testing.T, s *site) []step {
	phone, laptop, key := newDevice(t), newDevice(t), newKey(t)
	alice := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, alice, "account").access
	var (
		id, token, narrow string
		ask               url.Values
		done              = http.StatusNoContent
	)
	limits := delegating(t, key)
	limits["devices"] = "*"
	devices := func() int {
		return sqlitetest.Count(t, s.database(), "SELECT count(*) FROM devices WHERE jkt = ?", laptop.JKT())
	}
	withdraw := func() answer { return s.held(t, phone, own, http.MethodDelete, "/me/delegations/"+id, nil) }
	return []step{
		{
			name: "delegation",
			ask:  func() answer { return s.held(t, phone, own, http.MethodPost, "/me/delegations", limits) },
			good: func(a answer) {
				if id = a.text("id"); a.status != http.StatusCreated {
					t.Errorf("answer = %v, want a statement", a)
					return
				}
				statement := s.device(t, key, alice.set, a.text("token"), laptop.JKT(), laptop.JKT()[:12], 1, nil)
				ask = url.Values{"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "attested_by", statement.token))}}
			},
		},
		{
			name: "countersignature",
			ask:  func() answer { return s.token(t, accounts, laptop, ask) },
			again: func(durable bool) answer { // the device is there whole, or not at all
				if n := devices(); n > 1 || n == 1 && !durable {
					t.Errorf("%d devices after a fault, durable %t", n, durable)
				}
				return s.token(t, accounts, laptop, ask)
			},
			good: func(a answer) {
				token = issued(t, a)
				if n := devices(); n != 1 {
					t.Errorf("%d devices, want 1", n)
				}
			},
		},
		{
			name: "the next token",
			ask:  func() answer { return s.token(t, accounts, laptop, ask) },
			good: func(a answer) { issued(t, a) },
		},
		{
			name: "a narrower token",
			ask:  func() answer { return s.token(t, accounts, laptop, exchanging(token, typeAccess, "", nil)) },
			good: func(a answer) { narrow = issued(t, a) },
		},
		{
			name: "list",
			ask:  func() answer { return s.held(t, phone, own, http.MethodGet, "/me/delegations", nil) },
			good: func(a answer) { wantStatus(t, a, http.StatusOK) },
		},
		{
			name: "withdrawal", ask: withdraw,
			again: func(durable bool) answer {
				if durable {
					done = http.StatusNotFound
				}
				return withdraw()
			},
			good: func(a answer) {
				wantStatus(t, a, done)
				s.soonInactive(t, token)
				s.soonInactive(t, narrow)
			},
		},
		{
			name: "countersignature afterwards",
			ask:  func() answer { return s.token(t, accounts, laptop, ask) },
			good: func(a answer) { wantRefusedAt(t, a, "tokens[0].tokens[0]", string(nested.CodeRevoked)) },
		},
	}
}

// attesting is what an operator says of a user, until the operator takes it back.
func attesting(t *testing.T, s *site) []step {
	phone := newDevice(t)
	alice := s.account(t, phone, "alice")
	var (
		id, statement, token string
		done                 = http.StatusNoContent
	)
	body := object{"typ": nested.TypeMember, "sub": "im:wxyz=%23%23engineering@example.com", "member": alice.set.Subject}
	move := object{"typ": nested.TypeMove, "sub": alice.set.Subject, "moved_to": oldAlice}
	state := func(body object) func() answer {
		return func() answer {
			req := s.request(t, http.MethodPost, s.admin+"/admin/statements", string(encode(body)))
			req.Header.Set("Content-Type", "application/json")
			return s.send(t, s.http, req)
		}
	}
	withdraw := func() answer {
		return s.operate(t, http.MethodDelete, "/admin/statements/"+id, url.Values{"domain": {"example.com"}})
	}
	embed := func() answer {
		return s.token(t, accounts, phone, url.Values{
			"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "member_of", statement))},
			"subject_token": {alice.access}, "subject_token_type": {typeAccess},
		})
	}
	return []step{
		{
			name: "statement about a user", ask: state(move),
			good: func(a answer) { wantStatus(t, a, http.StatusCreated) },
		},
		{
			name: "statement about a team", ask: state(body),
			good: func(a answer) {
				if id, statement = a.text("id"), a.text("token"); a.status != http.StatusCreated || statement == "" {
					t.Errorf("answer = %v, want a statement", a)
				}
			},
		},
		{
			name: "list",
			ask: func() answer {
				return s.operate(t, http.MethodGet, "/admin/statements", url.Values{"domain": {"example.com"}})
			},
			good: func(a answer) { wantStatus(t, a, http.StatusOK) },
		},
		{name: "embedding", ask: embed, good: func(a answer) { token = issued(t, a) }},
		{
			name: "withdrawal", ask: withdraw,
			again: func(durable bool) answer {
				if durable {
					done = http.StatusNotFound
				}
				return withdraw()
			},
			good: func(a answer) {
				wantStatus(t, a, done)
				s.soonInactive(t, token)
			},
		},
		{
			name: "embedding afterwards", ask: embed,
			good: func(a answer) { wantRefusedAt(t, a, "tokens[0]", string(nested.CodeRevoked)) },
		},
	}
}

// TestOutageWhileEmbedding holds that what cannot be known is never a no: while the store does not answer, or a peer's keys
// cannot be fetched, tokens are neither refused for it nor called inactive.
func TestOutageWhileEmbedding(t *testing.T) {
	// A peer without keys in the settings, at an address where nobody is.
	w := startWorld(t, map[string]string{"peers": "peers:\n  - {domain: school.example, issuer: \"http://127.0.0.1:1\"}\n"})
	phone := newDevice(t)
	alice := w.account(t, phone, "alice")
	w.school.issuer = "http://127.0.0.1:1"
	member := w.school.states(t, nested.TypeMember, aTeam, w.issuer, func(s *nested.Statement) { s.Party = alice.set.Subject })
	e := embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "member_of", token: member}}}
	before := w.rows(t)
	wantError(t, w.ask(t, e), http.StatusServiceUnavailable, "temporarily_unavailable")
	if !slices.Equal(before, w.rows(t)) {
		t.Error("rows changed")
	}
	set := alice.set
	set.JTI, set.Tokens = "enclosing", encode([]object{byValue(typeJWT, "member_of", member)})
	wantError(t, w.introspect(t, peer, w.signs(t, set)), http.StatusServiceUnavailable, "temporarily_unavailable")
	for _, op := range []string{"Session", "Revocation", "User"} {
		w.faults.set(op)
		if a := w.ask(t, e); a.status != http.StatusServiceUnavailable {
			t.Errorf("answer while %s fails = %v, want 503", op, a)
		}
	}
	w.faults.set("")
	w.waitReady(t)
	w.wantActive(t, alice.access)
}
