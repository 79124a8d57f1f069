package server_test

import (
	"net/http"
	"net/url"
	"testing"
)

// At the issuer's own endpoints, too, a token that encloses others has the scope of the whole: what an enclosed one lacks,
// the outer one cannot do.
func TestScopeOfTheWhole(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	alice := s.account(t, d, "alice")
	user := issued(t, s.token(t, accounts, d, url.Values{
		"grant_type": {grantExchange}, "subject_token": {alice.access}, "subject_token_type": {typeAccess}, "scope": {"im:handle"},
	}))
	outer := s.forIssuer(t, d, s.refreshedBy(t, accounts, d, alice), "im:handle im:device account")
	if a := s.held(t, d, outer.access, http.MethodGet, "/me/actors", nil); a.status != http.StatusOK {
		t.Fatalf("GET /me/actors with the token alone = %v, want 200", a)
	}
	nested := issued(t, s.token(t, accounts, d, url.Values{
		"grant_type": {grantEmbed}, "subject_token": {outer.access}, "subject_token_type": {typeAccess},
		"tokens": {entries(t, byValue(typeAccess, "separate", user))},
	}))
	if set := claimsOf(t, nested); set.Tokens == nil || set.Scope != "im:handle im:device account" {
		t.Fatalf("claims = %+v, want the wide scope outside, or nothing is tried here", set)
	}
	wantRefused(t, s.held(t, d, nested, http.MethodGet, "/me/actors", nil), http.StatusForbidden, "insufficient_scope")
}

// refreshedBy is refreshed for another client than app.
func (s *site) refreshedBy(t *testing.T, c caller, d *device, held tokens) tokens {
	t.Helper()
	return wantTokens(t, s.token(t, c, d, refreshForm(held.refresh)))
}
