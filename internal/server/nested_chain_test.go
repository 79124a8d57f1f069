package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// TestChain makes a token of a token of a token, by turns of exchange and embedding: none is for more, for longer, for another
// key or for somebody else than the one before, and what ends one ends what was made of it, and nothing else.
func TestChain(t *testing.T) {
	c := startCast(t)
	id, member := c.attested(t, object{"typ": nested.TypeMember, "sub": "im:wxyz=%23%23crew@example.com", "member": c.alice.set.Subject})
	steps := []struct {
		name string
		make func(token string) string
	}{
		{"less scope", func(token string) string {
			return issued(t, c.token(t, accounts, c.phone, exchanging(token, typeAccess, "", url.Values{"scope": {"im:handle"}})))
		}},
		{"enclosing", func(token string) string {
			return c.nested(t, embedding{c: accounts, d: c.phone, subject: token, inside: []inside{{rel: "member_of", token: member}}}, asValue).token
		}},
		{"the same again", func(token string) string {
			return issued(t, c.token(t, accounts, c.phone, exchanging(token, typeAccess, "", nil)))
		}},
	}
	chain, sets := []string{c.alice.access}, []claims.Set{c.alice.set}
	for _, step := range steps {
		c.advance(t, time.Minute)
		before := sets[len(sets)-1]
		token := step.make(chain[len(chain)-1])
		set := claimsOf(t, token)
		if set.Subject != before.Subject || set.JKT != before.JKT || set.SID != before.SID || set.Gen != before.Gen || set.Device != "" ||
			!slices.Equal(set.Audience, before.Audience) || !set.Expires.Equal(before.Expires) || set.JTI == before.JTI || set.Scope != "im:handle" ||
			before.Tokens != nil && len(set.Tokens) != len(before.Tokens) {
			t.Errorf("%s: claims = %+v, want no more than %+v", step.name, set, before)
		}
		chain, sets = append(chain, token), append(sets, set)
	}
	last := chain[len(chain)-1]
	for name, test := range map[string]struct {
		c    caller
		d    *device
		form url.Values
		code string
	}{
		"the scope of the first":   {accounts, c.phone, exchanging(last, typeAccess, "", url.Values{"scope": {"im:handle im:device"}}), "invalid_scope"},
		"another resource":         {accounts, c.phone, exchanging(last, typeAccess, "", url.Values{"resource": {c.issuer}}), "invalid_target"},
		"another key":              {accounts, c.bobs, exchanging(last, typeAccess, "", nil), "invalid_request"},
		"another client":           {bot, c.phone, exchanging(last, typeAccess, "", nil), "invalid_request"},
		"one enclosing it":         {accounts, c.phone, url.Values{"grant_type": {grantEmbed}, "subject_token": {last}, "subject_token_type": {typeAccess}, "tokens": {entries(t, byValue(typeJWT, "member_of", member))}}, "invalid_request"},
		"enclosed as a membership": {accounts, c.phone, url.Values{"grant_type": {grantEmbed}, "subject_token": {c.alice.access}, "subject_token_type": {typeAccess}, "tokens": {entries(t, byValue(typeAccess, "member_of", last))}}, "invalid_embedded_token"},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, c.token(t, test.c, test.d, test.form), http.StatusBadRequest, test.code)
		})
	}
	for _, token := range chain {
		c.wantActive(t, token)
	}
	c.endAttested(t, "example.com", id)
	for i, token := range chain {
		if sets[i].Tokens != nil {
			c.wantOver(t, nest{token: token}, "revoked", "tokens[0]")
			wantRefusedAt(t, c.token(t, accounts, c.phone, exchanging(token, typeAccess, "", nil)), "tokens[0]", string(nested.CodeRevoked))
		} else {
			c.wantActive(t, token)
		}
	}
	c.remove(t, c.alice.set.Device)
	for _, token := range chain[:2] {
		c.wantOver(t, nest{token: token}, "device_removed", "")
	}
}

// TestRenamedAmongStatements holds that nobody goes on learning a handle that was given up: what carries it ends, the rest
// goes on, and what is made afterwards has the new one.
func TestRenamedAmongStatements(t *testing.T) {
	c := startCast(t)
	old := c.alice.set.Handle
	_, grant := c.lets(t, bot.id, c.issuer, "im:handle")
	_, silent := c.lets(t, bot.id, c.issuer, "introspect")
	if strings.Contains(string(payloadOf(t, silent)), "handle") {
		t.Errorf("the grant %s tells a handle that its scope does not cover", payloadOf(t, silent))
	}
	key, tablet := newKey(t), newDevice(t)
	_, delegation := c.made(t, c.phone, c.alice, "delegations", delegating(t, key))
	statement := c.device(t, key, c.alice.set, delegation, tablet.JKT(), "07a", 1, nil)
	countersigned := func() string {
		return c.nested(t, embedding{c: accounts, d: tablet, inside: []inside{statement}}, asValue).token
	}
	shown := func(grant string) string {
		return c.nested(t, c.its(inside{rel: "acts_for", token: grant}), asValue).token
	}
	exchanged := func(grant string) string {
		return issued(t, c.token(t, bot, c.machine, exchanging(grant, typeJWT, c.service(t, bot, c.machine, nil), nil)))
	}
	before := map[string][2]string{ // a token, and the path at which it breaks
		"what the bot shows": {shown(grant), "tokens[0]"}, "what the bot was issued": {exchanged(grant), ""}, "the tablet's": {countersigned(), ""},
		"her own": {c.refreshedBy(t, accounts, c.phone, c.alice).access, ""},
	}
	if a := c.about(t, peer, nest{token: before["what the bot shows"][0]}); !strings.Contains(a.body, old) {
		t.Fatalf("introspection = %v, want the handle %s in it", a, old)
	}
	wantStatus(t, c.operate(t, http.MethodPut, "/admin/users/@alice/handle", url.Values{"domain": {"example.com"}, "handle": {"alex"}}), http.StatusOK)
	for _, b := range before {
		c.wantOver(t, nest{token: b[0]}, "handle_changed", b[1])
	}
	a, _ := c.embed(t, c.its(inside{rel: "acts_for", token: grant}), asValue)
	wantRefusedAt(t, a, "tokens[0]", string(nested.CodeRevoked))
	wantError(t, c.token(t, bot, c.machine, exchanging(grant, typeJWT, c.service(t, bot, c.machine, nil), nil)), http.StatusBadRequest, "invalid_request")

	again := c.refreshedBy(t, accounts, c.phone, c.alice)
	c.alice = again
	_, anew := c.lets(t, bot.id, c.issuer, "im:handle")
	for name, token := range map[string]string{
		"what the bot shows": shown(anew), "what the bot is issued": exchanged(anew), "the tablet's": countersigned(), "her own": again.access,
	} {
		a := c.about(t, peer, nest{token: token})
		if a.json["active"] != true || !strings.Contains(a.body, "alex@example.com") || strings.Contains(a.body, old) {
			t.Errorf("%s: introspection = %v, want the new handle, and not %s", name, a, old)
		}
	}
	if set := claimsOf(t, countersigned()); !strings.Contains(set.Handle, "alex@example.com") {
		t.Errorf("the tablet is issued %+v, want the new handle", set)
	}
	silentToken := c.nested(t, c.its(inside{rel: "acts_for", token: silent}), asValue)
	if a := c.about(t, peer, silentToken); a.json["active"] != true || strings.Contains(a.body, old) {
		t.Errorf("introspection = %v, want the grant without a handle to stand", a)
	}
}
