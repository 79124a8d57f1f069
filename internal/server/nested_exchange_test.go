package server_test

import (
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/nested"
)

// exchanging is a request for token exchange: of a statement, if its type is not that of access tokens.
func exchanging(subject, typ, actor string, change url.Values) url.Values {
	form := url.Values{"grant_type": {grantExchange}, "subject_token": {subject}, "subject_token_type": {typ}}
	if actor != "" {
		form.Set("actor_token", actor)
		form.Set("actor_token_type", typeAccess)
	}
	for name, v := range change {
		if v == nil {
			form.Del(name)
		} else {
			form[name] = v
		}
	}
	return form
}

// signs signs an access token as the issuer itself, with any claims.
func (s *site) signs(t *testing.T, set claims.Set) string {
	t.Helper()
	kek, err := keys.ReadKEK(filepath.Join(s.fill["data"], "kek"))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.OpenRing(t.Context(), s.store, keys.NewSealer(kek), keys.RingConfig{Alg: "ES256"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := ring.Sign(nested.TypeAccessToken, set.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// lets makes a grant of Alice's.
func (c *cast) lets(t *testing.T, actor, issuer, scope string) (id, grant string) {
	body := object{"actor": actor, "scope": scope}
	if issuer != "" {
		body["actor_iss"] = issuer
	}
	return c.made(t, c.phone, c.alice, "actors", body)
}

// TestExchangeRefused holds that an exchange never gives what the tokens that it is made of do not: nothing is written, and
// the proof is good for another request (RFC 8693 §2.2.2).
func TestExchangeRefused(t *testing.T) {
	c := startCast(t)
	const invalid = "invalid_request"
	actor := c.service(t, bot, c.machine, nil)
	gone, withdrawn := c.lets(t, bot.id, c.issuer, "im:handle")
	c.withdrawn(t, c.phone, c.alice, "actors", gone)
	_, grant := c.lets(t, bot.id, c.issuer, "im:handle introspect")
	_, bobs := c.lets(t, c.bob.set.Subject, "", "im:handle")
	_, elsewhere := c.made(t, c.phone, c.alice, "actors", object{"actor": bot.id, "actor_iss": c.issuer, "scope": "im:handle", "audience": "https://id.old.example"})
	foreign := c.school.states(t, nested.TypeActor, kim, c.issuer, func(s *nested.Statement) {
		s.Party, s.PartyIssuer, s.Scope = bot.id, c.issuer, "im:handle"
	})
	_, link := c.made(t, c.phone, c.alice, "links", object{"same_as": oldAlice})
	generic := newDevice(t)
	there := c.elsewhere(t, generic, "generic.example", url.Values{"scope": {"im:handle im:device account"}})
	_, theirs := c.madeBy(t, manyApp, generic, there, "actors", object{"actor": bot.id, "actor_iss": c.issuer, "scope": "im:handle"})
	acting := issued(t, c.token(t, accounts, c.bobs, exchanging(bobs, typeJWT, c.bob.access, nil)))
	_, fromBob := c.made(t, c.bobs, c.bob, "actors", object{"actor": c.alice.set.Subject, "scope": "im:handle introspect"})
	nest := c.nested(t, embedding{c: accounts, d: c.bobs, subject: c.bob.access, inside: []inside{{
		rel: "moved_from", token: c.old.states(t, nested.TypeMove, oldAlice, c.issuer, func(s *nested.Statement) { s.Party = c.bob.set.Subject }),
	}}}, asValue).token
	bearer := c.service(t, mute, nil, nil)
	key := newKey(t)
	limits := delegating(t, key)
	limits["statements"] = []string{nested.TypeActor}
	_, delegation := c.made(t, c.phone, c.alice, "delegations", limits)
	byKey := c.says(t, key, nested.TypeActor, c.alice.set.Subject, delegation, func(s *nested.Statement) {
		s.Party, s.Scope = c.bob.set.Subject, "im:handle"
	})

	wantTokens(t, c.token(t, accounts, c.bobs, refreshForm(c.bob.refresh)))
	spare := map[*device]url.Values{
		c.phone: refreshForm(c.alice.refresh), c.bobs: refreshForm(c.bob.refresh), c.machine: {"grant_type": {"client_credentials"}},
	}
	for _, test := range []struct {
		name string
		c    caller
		d    *device
		form url.Values
		code string
		says string // some of the description
	}{
		{"no subject_token", bot, c.machine, exchanging("", typeJWT, actor, nil), invalid, "subject_token is missing"},
		{"no type of it", bot, c.machine, exchanging(grant, "", actor, nil), invalid, "subject_token_type"},
		{"an unknown type", bot, c.machine, exchanging(grant, "urn:ietf:params:oauth:token-type:saml2", actor, nil), invalid, "subject_token_type"},
		{"a grant called an access token", bot, c.machine, exchanging(grant, typeAccess, actor, nil), invalid, "The subject_token is not valid"},
		{"an access token called a grant", bot, c.machine, exchanging(c.alice.access, typeJWT, actor, nil), invalid, "wrong_type"},
		{"a refresh token", accounts, c.phone, exchanging(c.alice.refresh, typeAccess, "", nil), invalid, "The subject_token is not valid"},
		{"for another type", bot, c.machine, exchanging(grant, typeJWT, actor, url.Values{"requested_token_type": {typeJWT}}), invalid, "requested_token_type"},
		{"a grant without an actor", bot, c.machine, exchanging(grant, typeJWT, "", nil), invalid, "actor_token"},
		{"an actor without a type", bot, c.machine, exchanging(grant, typeJWT, actor, url.Values{"actor_token_type": nil}), invalid, "go together"},
		{"a type without an actor", bot, c.machine, exchanging(grant, typeJWT, "", url.Values{"actor_token_type": {typeAccess}}), invalid, "go together"},
		{"an actor of another type", bot, c.machine, exchanging(grant, typeJWT, actor, url.Values{"actor_token_type": {typeJWT}}), invalid, "actor_token_type"},
		{"evidence of nothing", accounts, c.phone, exchanging(c.alice.access, typeAccess, "", url.Values{"im_evidence": {"true"}}), invalid, "im_evidence"},
		{"evidence perhaps", bot, c.machine, exchanging(grant, typeJWT, actor, url.Values{"im_evidence": {"1"}}), invalid, "im_evidence"},
		{"a link for a grant", bot, c.machine, exchanging(link, typeJWT, actor, nil), invalid, "wrong_type"},
		{"a grant that was withdrawn", bot, c.machine, exchanging(withdrawn, typeJWT, actor, nil), invalid, "revoked"},
		{"a grant to somebody else", bot, c.machine, exchanging(bobs, typeJWT, actor, nil), invalid, "does not let this actor act"},
		{"a grant for another server", bot, c.machine, exchanging(elsewhere, typeJWT, actor, nil), invalid, "wrong_audience"},
		{"a grant of another issuer", bot, c.machine, exchanging(foreign, typeJWT, actor, nil), invalid, "domain"},
		{"a grant of a user in a domain that is not the client's", bot, c.machine, exchanging(theirs, typeJWT, actor, nil), invalid, "domain"},
		{"more than the grant", accounts, c.bobs, exchanging(bobs, typeJWT, c.bob.access, url.Values{"scope": {"im:handle account"}}), "invalid_scope", ""},
		{"more than the client may", bot, c.machine, exchanging(grant, typeJWT, actor, nil), "invalid_scope", "fewer"},
		{"for a resource that is not the client's", bot, c.machine, exchanging(grant, typeJWT, actor, url.Values{"scope": {"im:handle"}, "audience": {"https://rooms.example.com"}}), "invalid_target", ""},
		{"an access token that lets nobody act", accounts, c.bobs, exchanging(c.alice.access, typeAccess, c.bob.access, nil), invalid, "does not let this actor act"},
		{"an actor's token that is garbage", bot, c.machine, exchanging(grant, typeJWT, "garbage", nil), invalid, "The actor_token is not valid"},
		{"an actor's token of another client", bot, c.machine, exchanging(grant, typeJWT, c.alice.access, nil), invalid, "another client's"},
		{"an actor's token of another key", bot, c.machine, exchanging(grant, typeJWT, c.service(t, bot, newDevice(t), nil), nil), invalid, "another key"},
		{"an actor's bearer token", bot, c.machine, exchanging(grant, typeJWT, bearer, nil), invalid, "another key"},
		{"an actor who acts for another", accounts, c.bobs, exchanging(fromBob, typeJWT, acting, nil), invalid, "acts for somebody else"},
		{"an actor's token that encloses some", accounts, c.bobs, exchanging(bobs, typeJWT, nest, nil), invalid, "encloses"},
		{"evidence by a client that may not embed grants", accounts, c.bobs, exchanging(bobs, typeJWT, c.bob.access, url.Values{"im_evidence": {"true"}}), "unauthorized_client", "embed"},
		{"a grant by her own key, by such a client", accounts, c.bobs, exchanging(byKey, typeJWT, c.bob.access, nil), "unauthorized_client", "embed"},
		{"another's token", accounts, c.phone, exchanging(c.bob.access, typeAccess, "", nil), invalid, "another key"},
		{"another client's token", bot, c.machine, exchanging(c.alice.access, typeAccess, "", nil), invalid, "another client's"},
		{"a bearer token", bot, c.machine, exchanging(bearer, typeAccess, "", nil), invalid, "another client's"},
	} {
		t.Run(test.name, func(t *testing.T) {
			proof, before := c.proof(t, test.d, ""), c.rows(t)
			a := c.tokenWith(t, test.c, test.d, test.form, proof)
			wantError(t, a, http.StatusBadRequest, test.code)
			if !strings.Contains(a.text("error_description"), test.says) {
				t.Errorf("error_description = %q, want %q in it", a.text("error_description"), test.says)
			}
			if after := c.rows(t); strings.Join(after, "\n") != strings.Join(before, "\n") {
				t.Error("rows changed")
			}
			if a := c.tokenWith(t, test.c, test.d, spare[test.d], proof); a.status != http.StatusOK {
				t.Errorf("answer to the next request with the same proof = %v, want a token", a)
			}
		})
	}
}

// madeBy is made for an app of any name.
func (s *site) madeBy(t *testing.T, c caller, d *device, held tokens, kind string, body object) (id, statement string) {
	t.Helper()
	form := refreshForm(held.refresh)
	form.Set("resource", s.issuer)
	form.Set("scope", "account")
	own := wantTokens(t, s.token(t, c, d, form))
	a := s.held(t, d, own.access, http.MethodPost, "/me/"+kind, body)
	if a.status != http.StatusCreated {
		t.Fatalf("POST /me/%s = %v, want a statement", kind, a)
	}
	return a.text("id"), a.text("token")
}

// TestPersonActs lets Bob act for Alice. It ends with his session, his device and his account as with her grant, and is
// good for nothing that is for herself.
func TestPersonActs(t *testing.T) {
	c := startCastWith(t, map[string]string{"embed": ", acts_for"})
	id, grant := c.lets(t, c.bob.set.Subject, "", "im:handle introspect")
	act := func(t *testing.T, d *device, held tokens, change url.Values) string {
		return issued(t, c.token(t, accounts, d, exchanging(grant, typeJWT, held.access, change)))
	}
	first := act(t, c.bobs, c.bob, url.Values{"resource": {c.issuer}})
	set := claimsOf(t, first)
	if set.Subject != c.alice.set.Subject || set.JKT != c.bobs.JKT() || set.Actor == nil || set.Actor.Subject != c.bob.set.Subject ||
		set.Actor.SID != c.bob.set.SID || set.Actor.Issuer != c.issuer || set.Scope != "im:handle introspect" || set.Device != "" {
		t.Errorf("claims = %+v, want Alice's, by Bob", set)
	}
	if set.Expires.After(c.bob.set.Expires) {
		t.Errorf("the token ends at %v, want no later than the actor's, %v", set.Expires, c.bob.set.Expires)
	}
	t.Run("her account", func(t *testing.T) {
		wantRefused(t, c.held(t, c.bobs, first, http.MethodGet, "/me/actors", nil), http.StatusForbidden, "insufficient_scope")
	})
	t.Run("no other's name", func(t *testing.T) { // by the token for the same key Bob is not Alice, nor is what is said of her his to show
		a, _ := c.embed(t, embedding{c: accounts, d: c.bobs, subject: c.bob.access, inside: []inside{{rel: "attested_by", token: act(t, c.bobs, c.bob, nil), typ: typeAccess}}}, asValue)
		wantRefusedAt(t, a, "tokens[0]", string(nested.CodeBinding))
		a, _ = c.embed(t, embedding{c: accounts, d: c.bobs, subject: act(t, c.bobs, c.bob, nil), inside: []inside{c.member(t, nil)}}, asValue)
		wantError(t, a, 400, "invalid_request")
	})
	t.Run("introspection", func(t *testing.T) {
		a := c.held(t, c.bobs, first, http.MethodPost, "/introspect", url.Values{"token": {c.alice.access}})
		if a.status != http.StatusOK || a.json["active"] != true {
			t.Errorf("introspection = %v, want active", a)
		}
	})
	t.Run("a narrower token", func(t *testing.T) {
		narrow := claimsOf(t, issued(t, c.token(t, accounts, c.bobs, exchanging(first, typeAccess, "", url.Values{"scope": {"im:handle"}}))))
		if narrow.Actor == nil || narrow.Actor.SID != c.bob.set.SID || narrow.Scope != "im:handle" || narrow.Expires.After(set.Expires) {
			t.Errorf("claims = %+v, want Bob still to act", narrow)
		}
		wantError(t, c.token(t, accounts, c.bobs, exchanging(first, typeAccess, "", url.Values{"scope": {"im:handle account"}})), 400, "invalid_scope")
	})
	t.Run("revocation of one token", func(t *testing.T) { // its sid is the jti of the grant, which it leaves alone
		other := act(t, c.bobs, c.bob, nil)
		wantStatus(t, c.revokeBy(t, accounts, c.bobs, other), http.StatusOK)
		c.wantInactive(t, other)
		c.wantActive(t, act(t, c.bobs, c.bob, nil))
		wantError(t, c.token(t, accounts, c.bobs, exchanging(other, typeAccess, "", nil)), 400, "invalid_request")
		wantStatus(t, c.revoke(t, accounts, grant), http.StatusOK) // no token that anybody was issued
		c.witness.knows(id)
		wantStatus(t, c.revoke(t, accounts, id), http.StatusOK)
		wantError(t, c.token(t, accounts, c.bobs, refreshForm(id)), 400, "invalid_grant")
		wantError(t, c.token(t, accounts, c.bobs, refreshForm(grant)), 400, "invalid_grant")
		c.wantActive(t, act(t, c.bobs, c.bob, nil))
	})
	for _, test := range []struct {
		name, reason string
		end          func(t *testing.T, d *device, held tokens)
	}{
		{"his session ends", "revoked", func(t *testing.T, _ *device, held tokens) {
			wantStatus(t, c.revoke(t, accounts, held.refresh), http.StatusOK)
		}},
		{"his device is removed", "device_removed", func(t *testing.T, _ *device, held tokens) { c.remove(t, held.set.Device) }},
		{"he is shut out", "user_disabled", func(t *testing.T, _ *device, _ tokens) {
			wantStatus(t, c.disable(t, "@bob"), http.StatusOK)
		}},
		{"she takes it back", "revoked", func(t *testing.T, _ *device, _ tokens) {
			c.withdrawn(t, c.phone, c.alice, "actors", id)
			_, grant = c.lets(t, c.bob.set.Subject, "", "im:handle introspect")
		}},
		{"she is shut out", "user_disabled", func(t *testing.T, _ *device, _ tokens) {
			wantStatus(t, c.disable(t, "@alice"), http.StatusOK)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantStatus(t, c.enable(t, "@bob"), http.StatusOK)
			d := newDevice(t)
			held := c.account(t, d, "bob")
			plain, shown := act(t, d, held, nil), act(t, d, held, url.Values{"im_evidence": {"true"}})
			narrow := issued(t, c.token(t, accounts, d, exchanging(shown, typeAccess, "", url.Values{"scope": {"im:handle"}})))
			test.end(t, d, held)
			for _, token := range []string{plain, shown, narrow} {
				c.wantOver(t, nest{token: token}, test.reason, "")
				wantError(t, c.token(t, accounts, d, exchanging(token, typeAccess, "", nil)), 400, "invalid_request")
			}
		})
	}
}

// TestGrantByOwnKey exchanges what a user's own key granted. It gives no more than the issuer itself lets an actor have,
// goes along, and ends with the delegation.
func TestGrantByOwnKey(t *testing.T) {
	c := startCastWith(t, map[string]string{"embed": ", acts_for"})
	key := newKey(t)
	limits := delegating(t, key)
	limits["statements"] = []string{nested.TypeActor}
	id, delegation := c.made(t, c.phone, c.alice, "delegations", limits)
	grant := c.says(t, key, nested.TypeActor, c.alice.set.Subject, delegation, func(s *nested.Statement) {
		s.Party, s.Scope = c.bob.set.Subject, "im:handle im:device account"
	})
	form := func(change url.Values) url.Values { return exchanging(grant, typeJWT, c.bob.access, change) }
	token := issued(t, c.token(t, accounts, c.bobs, form(nil)))
	if set := claimsOf(t, token); set.Scope != "im:handle" || set.Device != "" || set.SID != id || set.Tokens == nil {
		t.Errorf("claims = %+v, want the scope im:handle alone, and the grant along", set)
	}
	for _, scope := range []string{"account", "im:device"} {
		wantError(t, c.token(t, accounts, c.bobs, form(url.Values{"scope": {scope}})), 400, "invalid_scope")
	}
	c.wantLayers(t, nest{token: token},
		"tokens[0] acts_for im-actor+jwt "+c.alice.set.Subject+" checked",
		"tokens[0].tokens[0] cascade im-delegation+jwt "+c.alice.set.Subject+" checked")
	c.withdrawn(t, c.phone, c.alice, "delegations", id)
	c.wantOver(t, nest{token: token}, "revoked", "")
	wantError(t, c.token(t, accounts, c.bobs, form(nil)), 400, "invalid_request")
}

// TestMayAct exchanges an access token that names an actor in may_act (RFC 8693 §4.4), as this issuer makes none by itself.
func TestMayAct(t *testing.T) {
	c := startCast(t)
	letting := func(change func(set *claims.Set)) string {
		set := c.alice.set
		set.MayAct = &claims.Actor{Subject: c.bob.set.Subject, Issuer: c.issuer}
		if change != nil {
			change(&set)
		}
		return c.signs(t, set)
	}
	form := func(token string) url.Values { return exchanging(token, typeAccess, c.bob.access, nil) }
	set := claimsOf(t, issued(t, c.token(t, accounts, c.bobs, form(letting(nil)))))
	if set.Subject != c.alice.set.Subject || set.SID != c.alice.set.SID || set.JKT != c.bobs.JKT() || set.MayAct != nil || set.Device != "" ||
		set.Actor == nil || set.Actor.Subject != c.bob.set.Subject || set.Expires.After(c.alice.set.Expires) {
		t.Errorf("claims = %+v, want Alice's, by Bob alone", set)
	}
	if !slices.Equal(set.Audience, c.alice.set.Audience) {
		t.Errorf("aud = %v, want that of the subject_token, %v", set.Audience, c.alice.set.Audience)
	}
	wide := form(letting(nil))
	wide.Set("resource", "https://rooms.example.com") // the client may, but the subject_token is not for it
	wantError(t, c.token(t, accounts, c.bobs, wide), 400, "invalid_target")
	chain := claimsOf(t, issued(t, c.token(t, accounts, c.bobs, form(letting(func(set *claims.Set) {
		set.Actor = &claims.Actor{Subject: "before", Issuer: c.issuer, ClientID: "before"}
	})))))
	if chain.Actor.Subject != c.bob.set.Subject || chain.Actor.Actor == nil || chain.Actor.Actor.Subject != "before" {
		t.Errorf("act = %+v, want Bob, and who acted before", chain.Actor)
	}
	for name, change := range map[string]func(set *claims.Set){
		"nobody":            func(set *claims.Set) { set.MayAct = nil },
		"somebody else":     func(set *claims.Set) { set.MayAct.Subject = c.alice.set.Subject },
		"of another issuer": func(set *claims.Set) { set.MayAct.Issuer = "https://id.old.example" },
		"with tokens inside": func(set *claims.Set) {
			set.Tokens = encode([]object{byValue(typeJWT, "moved_from", c.move(t, nil).token)})
		},
		"an actor whose session is over": func(set *claims.Set) {
			set.Actor = &claims.Actor{Subject: "im:x@example.com;id-type=user", Issuer: c.issuer, SID: "none", Actor: nil}
		},
		"an actor before whose session is over": func(set *claims.Set) {
			set.Actor = &claims.Actor{Subject: "between", Actor: &claims.Actor{Subject: "im:x@example.com;id-type=user", SID: "none"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, c.token(t, accounts, c.bobs, form(letting(change))), 400, "invalid_request")
		})
	}
	e := form(letting(nil))
	e.Set("im_evidence", "true")
	wantError(t, c.token(t, accounts, c.bobs, e), 400, "invalid_request")
}

// TestExchangeLimit holds that who has the tokens of a user exchanged or enclosed is counted as who refreshes.
func TestExchangeLimit(t *testing.T) {
	s := start(t, limits("off", "off", "3/30s"))
	s.freeze(t)
	d := newDevice(t)
	form := exchanging(s.account(t, d, "alice").access, typeAccess, "", nil)
	s.advance(t, 30*time.Second) // the login is forgotten
	for range 3 {
		issued(t, s.token(t, accounts, d, form))
	}
	proof := s.proof(t, d, "")
	wait := wantLimited(t, s.tokenWith(t, accounts, d, form, proof), false)
	s.advance(t, wait)
	issued(t, s.tokenWith(t, accounts, d, form, proof)) // it was not spent
	wantLimited(t, s.token(t, accounts, d, form), false)
}

// TestStatementLimit holds that nobody fills the database with statements, or with what was withdrawn.
func TestStatementLimit(t *testing.T) {
	c := startCastWith(t, limits("off", "off", "3/30s"))
	c.advance(t, 30*time.Second)
	own := c.forIssuer(t, c.phone, c.alice, "account").access
	hers := c.signing(t, c.phone, c.alice)
	statement := c.says(t, hers.key, nested.TypeLink, c.alice.set.Subject, hers.delegation, func(s *nested.Statement) { s.Party = oldAlice })
	c.advance(t, 30*time.Second)
	for range 3 {
		a := c.held(t, c.phone, own, http.MethodPost, "/me/links", object{"same_as": oldAlice})
		wantStatus(t, a, http.StatusCreated)
	}
	rows := c.rows(t)
	for path, body := range map[string]any{"/me/links": object{"same_as": oldAlice}, "/me/withdrawals": object{"token": statement}} {
		wantStatus(t, c.held(t, c.phone, own, http.MethodPost, path, body), http.StatusTooManyRequests)
	}
	if !slices.Equal(rows, c.rows(t)) {
		t.Error("rows changed")
	}
	c.advance(t, 10*time.Second)
	wantStatus(t, c.held(t, c.phone, own, http.MethodPost, "/me/withdrawals", object{"token": statement}), http.StatusNoContent)
}

// TestActorPays holds that a bot that asks too often for tokens about a user does not keep her from hers.
func TestActorPays(t *testing.T) {
	s := start(t, limits("off", "off", "3/30s"))
	s.freeze(t)
	phone, machine := newDevice(t), newDevice(t)
	alice := s.account(t, phone, "alice")
	s.advance(t, 30*time.Second)
	_, grant := s.made(t, phone, alice, "actors", object{"actor": bot.id, "actor_iss": s.issuer, "scope": "im:handle"})
	for range 9 {
		issued(t, s.token(t, bot, machine, exchanging(grant, typeJWT, s.service(t, bot, machine, nil), nil)))
	}
	wantTokens(t, s.token(t, accounts, phone, refreshForm(alice.refresh)))
}

// TestMidnight holds that a token is judged by the time that it is made at, though the second ends meanwhile.
func TestMidnight(t *testing.T) {
	c := startCast(t)
	c.freeze(t)
	e := c.her(c.member(t, nil))
	e.proof = c.proof(t, c.phone, "")
	c.clock.hasten(time.Second)
	a, n := c.embed(t, e, asValue)
	c.clock.hasten(0)
	issued(t, a)
	c.waitReady(t)
	c.wantLayers(t, n, "tokens[0] member_of im-member+jwt "+aTeam+" not_asked")
}

// TestStatementsInEverySystem lets a bot act and a key take a device in, in a domain of each system.
func TestStatementsInEverySystem(t *testing.T) {
	s := start(t, nil)
	manyBot := caller{id: "many-bot", secret: secret}
	for _, domain := range []string{"generic.example", "wxyz.example", "wire.example", "xmpp.example", "mimi.example"} {
		t.Run(domain, func(t *testing.T) {
			phone, machine, laptop, key := newDevice(t), newDevice(t), newDevice(t), newKey(t)
			in := url.Values{"im_domain": {domain}}
			alice := s.elsewhere(t, phone, domain, url.Values{"scope": {"im:handle im:device account"}})
			_, grant := s.madeBy(t, manyApp, phone, alice, "actors", object{"actor": manyBot.id, "actor_iss": s.issuer, "scope": "im:handle"})
			form := exchanging(grant, typeJWT, s.service(t, manyBot, machine, in), url.Values{"im_evidence": {"true"}})
			acting := issued(t, s.token(t, manyBot, machine, form))
			if set := claimsOf(t, acting); set.Subject != alice.set.Subject || set.Handle != alice.set.Handle || set.Device != "" {
				t.Errorf("claims = %+v, want those of %+v without device", set, alice.set)
			}
			embed := maps.Clone(in)
			maps.Copy(embed, url.Values{"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "acts_for", grant))}})
			own := issued(t, s.token(t, manyBot, machine, embed))

			id, delegation := s.madeBy(t, manyApp, phone, alice, "delegations", object{
				"jkt": thumbprint(t, key), "devices": "*", "count": 1, "lifetime": 3600, "depth": 1,
			})
			statement := s.says(t, key, nested.TypeDevice, alice.set.Subject, delegation, func(v *nested.Statement) {
				old := deviceOf(t, alice).Device()
				at := strings.LastIndex(alice.set.Device, old)
				v.Device, v.Number, v.JKT = alice.set.Device[:at]+"7a1"+alice.set.Device[at+len(old):], 1, laptop.JKT()
			})
			device := issued(t, s.token(t, manyApp, laptop, url.Values{
				"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "attested_by", statement))},
			}))
			if set := claimsOf(t, device); set.Subject != alice.set.Subject || !strings.Contains(set.Device, "7a1") {
				t.Errorf("claims = %+v, want the device 7a1 of %s", set, alice.set.Subject)
			}
			for _, token := range []string{acting, own, device} {
				if a := s.introspect(t, manyPeer, token); a.json["active"] != true {
					t.Errorf("introspection = %v, want active", a)
				}
			}
			for _, e := range []string{id, claimsOf(t, acting).SID} {
				s.endAttested(t, domain, e)
			}
			for _, token := range []string{acting, own, device} {
				if a := s.introspect(t, manyPeer, token); a.json["active"] != false {
					t.Errorf("introspection = %v, want inactive", a)
				}
			}
		})
	}
}
