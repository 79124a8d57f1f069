package server_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/imidentity/issuer/nested"
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

// TestRemovedDeviceEndsStatements holds that a thief who lets keys and actors of his own in by a stolen device is out with it,
// and that what she said by her other devices stands.
func TestRemovedDeviceEndsStatements(t *testing.T) {
	c := startCast(t)
	stolen := newDevice(t)
	held := c.account(t, stolen, "alice")
	key, other := newKey(t), newKey(t)
	id, delegation := c.made(t, stolen, held, "delegations", delegating(t, key))
	_, grant := c.made(t, stolen, held, "actors", object{"actor": bot.id, "actor_iss": c.issuer, "scope": "im:handle"})
	limits := delegating(t, other)
	limits["devices"] = "08*"
	_, hers := c.made(t, c.phone, c.alice, "delegations", limits)
	_, herGrant := c.lets(t, bot.id, c.issuer, "im:handle")

	hidden, tablet := newDevice(t), newDevice(t)
	ask := embedding{c: accounts, d: hidden, inside: []inside{c.device(t, key, held.set, delegation, hidden.JKT(), "07a", 1, nil)}}
	exchanged := func(grant string) answer {
		return c.token(t, bot, c.machine, exchanging(grant, typeJWT, c.service(t, bot, c.machine, nil), nil))
	}
	countersigned, shown := c.nested(t, ask, asValue), c.nested(t, c.its(inside{rel: "acts_for", token: grant}), asValue)
	logged, acting := c.account(t, hidden, "alice"), issued(t, exchanged(grant))
	// What he lets in by that in turn.
	_, further := c.made(t, hidden, logged, "actors", object{"actor": bot.id, "actor_iss": c.issuer, "scope": "im:handle"})

	c.remove(t, held.set.Device)
	c.wantOver(t, countersigned, "device_removed", "")
	c.wantOver(t, nest{token: logged.access}, "device_removed", "")
	c.wantOver(t, shown, "device_removed", "tokens[0]")
	c.wantOver(t, nest{token: acting}, "device_removed", "")
	wantError(t, c.token(t, accounts, hidden, refreshForm(logged.refresh)), http.StatusBadRequest, "invalid_grant")
	wantRefusedAt(t, c.ask(t, ask), "tokens[0].tokens[0]", string(nested.CodeRevoked))
	for _, gone := range []string{grant, further} {
		wantError(t, exchanged(gone), http.StatusBadRequest, "invalid_request")
	}
	if s, err := c.store.Statement(t.Context(), id); err != nil || s.WithdrawnReason != "device_removed" {
		t.Errorf("Statement = %+v, %v, want it withdrawn with the device", s, err)
	}
	issued(t, exchanged(herGrant))
	c.nested(t, embedding{c: accounts, d: tablet, inside: []inside{c.device(t, other, c.alice.set, hers, tablet.JKT(), "08a", 1, nil)}}, asValue)
}
