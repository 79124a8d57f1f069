package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"
)

// A person lets a bot act for her, the bot exchanges the grant for a token about her, and it ends when she withdraws it.
func TestActor(t *testing.T) {
	s := start(t, nil)
	phone, machine := newDevice(t), newDevice(t)
	alice := s.account(t, phone, "alice")
	id, grant := s.made(t, phone, alice, "actors", object{
		"actor": bot.id, "actor_iss": s.issuer, "scope": "im:handle", "expires_in": 3600,
	})
	actor := s.service(t, bot, machine, nil)
	exchange := url.Values{
		"grant_type": {grantExchange}, "subject_token": {grant}, "subject_token_type": {typeJWT},
		"actor_token": {actor}, "actor_token_type": {typeAccess},
	}
	plain := issued(t, s.token(t, bot, machine, exchange))
	exchange.Set("im_evidence", "true")
	shown := issued(t, s.token(t, bot, machine, exchange))
	own := issued(t, s.token(t, bot, machine, url.Values{
		"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "acts_for", grant))},
	}))

	for name, token := range map[string]string{"exchanged": plain, "with evidence": shown} {
		set := claimsOf(t, token)
		if set.Subject != alice.set.Subject || set.Handle != alice.set.Handle || set.Device != "" || set.Scope != "im:handle" ||
			set.JKT != machine.JKT() || set.Actor == nil || set.Actor.Subject != bot.id || set.Actor.Issuer != s.issuer ||
			set.SID != id || (set.Tokens != nil) != (name == "with evidence") {
			t.Errorf("%s: claims = %+v, want Alice's, for the bot's key, by the grant %s", name, set, id)
		}
		a := s.introspect(t, peer, token)
		act, _ := a.json["act"].(object)
		if a.json["active"] != true || act["sub"] != bot.id || a.text("handle") != alice.set.Handle {
			t.Errorf("%s: introspection = %v, want Alice by the bot", name, a)
		}
	}
	a := s.introspect(t, peer, own)
	layers, _ := a.json["tokens"].([]any)
	if a.json["active"] != true || a.text("sub") != bot.id || len(layers) != 1 {
		t.Fatalf("introspection = %v, want the bot, with one token inside", a)
	}
	layer, _ := layers[0].(object)
	if layer["path"] != "tokens[0]" || layer["rel"] != "acts_for" || layer["sub"] != alice.set.Subject || layer["handle"] != alice.set.Handle ||
		layer["active"] != true || layer["revocation"] != "checked" || layer["jti"] != id {
		t.Errorf("layer = %v, want the grant of Alice", layer)
	}

	s.withdrawn(t, phone, alice, "actors", id)
	s.wantReason(t, plain, "revoked", "")
	s.wantReason(t, own, "revoked", "tokens[0]")
	s.wantReason(t, shown, "revoked", "")
	exchange.Set("actor_token", s.service(t, bot, machine, nil))
	wantError(t, s.token(t, bot, machine, exchange), http.StatusBadRequest, "invalid_request")
	wantError(t, s.token(t, bot, machine, url.Values{
		"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "acts_for", grant))},
	}), http.StatusBadRequest, "invalid_embedded_token")
	s.wantActive(t, alice.access) // she herself is not touched
}

// A token is exchanged for a narrower one for the same key, and never for a wider or a longer one.
func TestExchangeNarrower(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	code := s.code(t, "alice", url.Values{
		"client_id": {accounts.id}, "scope": {"im:handle im:device"}, "resource": {"im:example.com", "https://rooms.example.com"},
	})
	alice := wantTokens(t, s.token(t, accounts, d, codeForm(code, nil)))
	form := func(change url.Values) url.Values {
		f := url.Values{"grant_type": {grantExchange}, "subject_token": {alice.access}, "subject_token_type": {typeAccess}}
		for name, v := range change {
			f[name] = v
		}
		return f
	}
	s.clock.advance(time.Minute)
	narrow := claimsOf(t, issued(t, s.token(t, accounts, d, form(url.Values{"scope": {"im:handle"}, "resource": {"https://rooms.example.com"}}))))
	if narrow.Scope != "im:handle" || narrow.Device != "" || len(narrow.Audience) != 1 || narrow.JKT != d.JKT() ||
		narrow.SID != alice.set.SID || narrow.Gen != alice.set.Gen || !narrow.Expires.Equal(alice.set.Expires) || narrow.JTI == alice.set.JTI {
		t.Errorf("claims = %+v, want less than %+v, until the same moment", narrow, alice.set)
	}
	for name, test := range map[string]struct {
		c      caller
		d      *device
		change url.Values
		code   string
	}{
		"more scope":       {accounts, d, url.Values{"scope": {"im:handle account"}}, "invalid_scope"},
		"another resource": {accounts, d, url.Values{"resource": {s.issuer}}, "invalid_target"},
		"another key":      {accounts, newDevice(t), nil, "invalid_request"},
		"another client":   {bot, d, nil, "invalid_request"},
		"another grant":    {app, d, nil, "unauthorized_client"},
		"no token":         {accounts, d, url.Values{"subject_token": {"garbage"}}, "invalid_request"},
		"of another type":  {accounts, d, url.Values{"subject_token_type": {"urn:ietf:params:oauth:token-type:id_token"}}, "invalid_request"},
		"for another type": {accounts, d, url.Values{"requested_token_type": {"urn:ietf:params:oauth:token-type:refresh_token"}}, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, s.token(t, test.c, test.d, form(test.change)), http.StatusBadRequest, test.code)
		})
	}
	s.remove(t, alice.set.Device)
	wantError(t, s.token(t, accounts, d, form(nil)), http.StatusBadRequest, "invalid_request")
}
