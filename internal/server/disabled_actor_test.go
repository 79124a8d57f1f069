package server_test

import (
	"net/http"
	"net/url"
	"testing"
)

// TestDisableEndsActors holds that who acts for a user is out with her, in every form that its tokens have, and that what
// she had let others do does not come back with her: she may have been disabled because of it.
func TestDisableEndsActors(t *testing.T) {
	s := start(t, nil)
	phone, machine := newDevice(t), newDevice(t)
	alice := s.account(t, phone, "alice")
	_, grant := s.made(t, phone, alice, "actors", object{
		"actor": bot.id, "actor_iss": s.issuer, "scope": "im:handle", "expires_in": 3600,
	})
	exchange := func() url.Values {
		return url.Values{
			"grant_type": {grantExchange}, "subject_token": {grant}, "subject_token_type": {typeJWT},
			"actor_token": {s.service(t, bot, machine, nil)}, "actor_token_type": {typeAccess},
		}
	}
	embed := url.Values{"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "acts_for", grant))}}
	shown := exchange()
	shown.Set("im_evidence", "true")
	tokens := map[string]string{
		"exchanged": issued(t, s.token(t, bot, machine, exchange())), "with evidence": issued(t, s.token(t, bot, machine, shown)),
		"its own": issued(t, s.token(t, bot, machine, embed)),
	}
	for name, token := range tokens {
		if a := s.introspect(t, peer, token); a.json["active"] != true {
			t.Fatalf("%s: introspection = %v, want active", name, a)
		}
	}
	if a := s.disable(t, "@alice"); a.status != http.StatusOK {
		t.Fatalf("disabling = %v, want 200", a)
	}
	ended := func(when string) {
		t.Helper()
		for name, token := range tokens {
			if a := s.introspect(t, peer, token); a.json["active"] != false {
				t.Errorf("%s, %s: introspection = %v, want inactive", name, when, a)
			}
		}
		for name, form := range map[string]url.Values{"exchange": exchange(), "embedding": embed} {
			if a := s.token(t, bot, machine, form); a.status != http.StatusBadRequest {
				t.Errorf("%s, %s: answer = %v, want 400", name, when, a)
			}
		}
	}
	ended("disabled")
	s.enable(t, "@alice")
	ended("enabled again")
}
