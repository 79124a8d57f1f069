package server_test

import (
	"crypto/ecdsa"
	"net/http"
	"slices"
	"testing"

	"github.com/imidentity/issuer/nested"
)

// A signing is a person's key, under a delegation that lets it sign all that such keys can.
type signing struct {
	key        *ecdsa.PrivateKey
	delegation string
}

func (c *cast) signing(t *testing.T, by *device, held tokens) signing {
	t.Helper()
	key := newKey(t)
	limits := delegating(t, key)
	limits["statements"] = []string{nested.TypeActor, nested.TypeLink}
	_, delegation := c.made(t, by, held, "delegations", limits)
	return signing{key, delegation}
}

// TestWithdrawSigned lets a person take back one thing that her key signed, of which the issuer knew nothing: it ends for
// everybody who is shown it, and what else the key signed stands.
func TestWithdrawSigned(t *testing.T) {
	c := startCastWith(t, map[string]string{"embed": ", acts_for"})
	hers := c.signing(t, c.phone, c.alice)
	says := func(typ string, change func(s *nested.Statement)) string {
		return c.says(t, hers.key, typ, c.alice.set.Subject, hers.delegation, change)
	}
	acts := func(s *nested.Statement) { s.Party, s.Scope = c.bob.set.Subject, "im:handle" }
	grant, other := says(nested.TypeActor, acts), says(nested.TypeActor, acts)
	tablet := newDevice(t)
	statement := c.device(t, hers.key, c.alice.set, hers.delegation, tablet.JKT(), "07a", 1, nil)
	exchange := func(grant string) answer {
		return c.token(t, accounts, c.bobs, exchanging(grant, typeJWT, c.bob.access, nil))
	}
	show := func(grant string) embedding {
		return embedding{c: accounts, d: c.bobs, subject: c.bob.access, inside: []inside{{rel: "acts_for", token: grant}}}
	}
	ask := embedding{c: accounts, d: tablet, inside: []inside{statement}}
	exchanged, shown, device := issued(t, exchange(grant)), c.nested(t, show(grant), asValue), c.nested(t, ask, asValue)
	kept := c.nested(t, show(other), asDigest)

	own := c.forIssuer(t, c.phone, c.alice, "account").access
	for _, statement := range []string{grant, statement.token, grant} { // once more changes nothing
		wantStatus(t, c.held(t, c.phone, own, http.MethodPost, "/me/withdrawals", object{"token": statement}), http.StatusNoContent)
	}
	for _, n := range []nest{{token: exchanged}, shown, device} {
		c.wantOver(t, n, "revoked", "tokens[0]")
	}
	wantError(t, exchange(grant), http.StatusBadRequest, "invalid_request")
	a, _ := c.embed(t, show(grant), asValue)
	wantRefusedAt(t, a, "tokens[0]", string(nested.CodeRevoked))
	wantRefusedAt(t, c.ask(t, ask), "tokens[0]", string(nested.CodeRevoked))
	c.restart(t, map[string]string{"embed": ", acts_for"})
	c.wantOver(t, shown, "revoked", "tokens[0]")
	c.wantLayers(t, kept, "tokens[0] acts_for im-actor+jwt "+c.alice.set.Subject+" checked",
		"tokens[0].tokens[0] cascade im-delegation+jwt "+c.alice.set.Subject+" checked")
	issued(t, exchange(other))
}

// TestNotWithdrawn holds that nobody ends with it what is not hers: a jti of her choosing names no token of anybody else.
func TestNotWithdrawn(t *testing.T) {
	c := startCast(t)
	hers, his := c.signing(t, c.phone, c.alice), c.signing(t, c.bobs, c.bob)
	link := func(s *nested.Statement) { s.Party = oldAlice }
	bobs := c.says(t, his.key, nested.TypeLink, c.bob.set.Subject, his.delegation, link)
	_, made := c.made(t, c.phone, c.alice, "links", object{"same_as": oldAlice})
	unbound := c.says(t, newKey(t), nested.TypeLink, c.alice.set.Subject, hers.delegation, link)
	own := c.forIssuer(t, c.phone, c.alice, "account").access
	for name, body := range map[string]any{
		"Bob's":                  object{"token": bobs},
		"one of the issuer's":    object{"token": made},
		"another key's":          object{"token": unbound},
		"an access token":        object{"token": c.bob.access},
		"a jti":                  object{"token": c.bob.set.JTI},
		"nothing":                object{},
		"an unknown member":      object{"token": bobs, "jti": "x"},
		"no text":                object{"token": 1},
		"a statement over again": rawBody(`{"token":"a.b.c","token":"a.b.c"}`),
	} {
		t.Run(name, func(t *testing.T) {
			before := c.rows(t)
			wantRefused(t, c.held(t, c.phone, own, http.MethodPost, "/me/withdrawals", body), http.StatusBadRequest, "invalid_request")
			if !slices.Equal(before, c.rows(t)) {
				t.Error("rows changed")
			}
		})
	}
	// She may call hers what she likes.
	namesake := c.says(t, hers.key, nested.TypeLink, c.alice.set.Subject, hers.delegation, func(s *nested.Statement) {
		s.Party, s.JTI = oldAlice, c.bob.set.JTI
	})
	wantStatus(t, c.held(t, c.phone, own, http.MethodPost, "/me/withdrawals", object{"token": namesake}), http.StatusNoContent)
	c.wantActive(t, c.bob.access)

	wantRefused(t, c.held(t, c.phone, c.alice.access, http.MethodPost, "/me/withdrawals", object{"token": namesake}), http.StatusUnauthorized, "invalid_token")
	wantStatus(t, c.revoke(t, accounts, c.alice.refresh), http.StatusOK)
	a := c.held(t, c.phone, own, http.MethodPost, "/me/withdrawals", object{"token": namesake})
	wantRefused(t, a, http.StatusUnauthorized, "invalid_token")
}
