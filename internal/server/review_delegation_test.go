package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/nested"
)

// TestReviewB2DelegationToDeviceKey holds that nobody delegates to the key of a device of the issuer, whose removal would
// leave the key the right to admit devices.
func TestReviewB2DelegationToDeviceKey(t *testing.T) {
	c := startCast(t)
	removed, abroad := newDevice(t), newDevice(t)
	c.remove(t, c.account(t, removed, "alice").set.Device)
	code := c.code(t, "alice", url.Values{"client_id": {twoApp.id}, "im_provider": {"staff"}})
	wantTokens(t, c.token(t, twoApp, abroad, codeForm(code, nil)))
	own := c.forIssuer(t, c.phone, c.alice, "account").access
	for name, d := range map[string]*device{
		"of the same device":                c.phone,
		"of another person's device":        c.bobs,
		"of a removed device":               removed,
		"of a device in another domain":     abroad,
		"of a device that is added between": newDevice(t),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "of a device that is added between" {
				code := c.code(t, "bob", url.Values{"client_id": {accounts.id}})
				c.faults.beforeUpdate(func() { wantStatus(t, c.token(t, accounts, d, codeForm(code, nil)), http.StatusOK) })
			}
			a := c.held(t, c.phone, own, http.MethodPost, "/me/delegations", delegating(t, d.key))
			wantError(t, a, http.StatusBadRequest, "invalid_request")
		})
	}
	c.made(t, c.phone, c.alice, "delegations", delegating(t, newKey(t)))
}

// TestReviewB2DelegatedKeyOfRemovedDevice holds that a key to which was delegated, and which became a device's after that,
// admits nothing once the device is removed: neither under the delegation of the issuer, nor where a user's key delegated on.
func TestReviewB2DelegatedKeyOfRemovedDevice(t *testing.T) {
	c := startCast(t)
	key, further, laptop := newDevice(t), newDevice(t), newDevice(t)
	limits := delegating(t, key.key)
	limits["depth"] = 2
	_, delegation := c.made(t, c.phone, c.alice, "delegations", limits)
	admit := embedding{c: accounts, d: laptop, inside: []inside{c.device(t, key.key, c.alice.set, delegation, laptop.JKT(), "07a", 1, nil)}}
	c.wantActive(t, c.nested(t, admit, asValue).token)
	sub := c.says(t, key.key, nested.TypeDelegation, c.alice.set.Subject, delegation, func(v *nested.Statement) {
		v.JKT, v.Limits = further.JKT(), &nested.Limits{Devices: "*", Count: 9, Lifetime: time.Hour, Depth: 1}
	})
	admitFurther := embedding{c: accounts, d: newDevice(t)}
	admitFurther.inside = []inside{c.device(t, further.key, c.alice.set, sub, admitFurther.d.JKT(), "07b", 2, nil)}

	c.remove(t, c.account(t, further, "alice").set.Device)
	wantRefusedAt(t, c.ask(t, admitFurther), "tokens[0].tokens[0]", string(nested.CodeRevoked))
	c.nested(t, admit, asValue)
	c.remove(t, c.account(t, key, "alice").set.Device)
	wantRefusedAt(t, c.ask(t, admit), "tokens[0].tokens[0]", string(nested.CodeRevoked))
}

// TestReviewC5WithdrawByDigest holds that a person withdraws a statement of a key which names its delegation by digest: the
// delegation is sent along.
func TestReviewC5WithdrawByDigest(t *testing.T) {
	c := startCastWith(t, map[string]string{"embed": ", acts_for"})
	hers := c.signing(t, c.phone, c.alice)
	grant := c.says(t, hers.key, nested.TypeActor, c.alice.set.Subject, hers.delegation, func(s *nested.Statement) {
		tokens, err := nested.Build(nested.Entry{Relation: nested.Cascade, Token: hers.delegation, ByDigest: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Party, s.Scope, s.Tokens = c.bob.set.Subject, "im:handle", tokens
	})
	along := string(encode([]string{hers.delegation}))
	exchange := func() answer {
		return c.token(t, accounts, c.bobs, exchanging(grant, typeJWT, c.bob.access, url.Values{"im_along": {along}}))
	}
	token := issued(t, exchange())
	own := c.forIssuer(t, c.phone, c.alice, "account").access
	withdraw := func(body object) answer {
		return c.held(t, c.phone, own, http.MethodPost, "/me/withdrawals", body)
	}
	wantError(t, withdraw(object{"token": grant}), http.StatusBadRequest, "invalid_request")
	wantError(t, withdraw(object{"token": grant, "im_along": []string{grant}}), http.StatusBadRequest, "invalid_request")
	wantStatus(t, withdraw(object{"token": grant, "im_along": []string{hers.delegation}}), http.StatusNoContent)
	wantError(t, exchange(), http.StatusBadRequest, "invalid_request")
	c.wantInactive(t, token)
}
