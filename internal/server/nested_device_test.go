package server_test

import (
	"crypto/ecdsa"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// device is what a user's own key says of a device of hers: the one with that id and number.
func (s *site) device(t *testing.T, key *ecdsa.PrivateKey, user claims.Set, delegation, jkt, id string, number int, change func(v *nested.Statement)) inside {
	t.Helper()
	return inside{rel: "attested_by", token: s.says(t, key, nested.TypeDevice, user.Subject, delegation, func(v *nested.Statement) {
		uri, err := claims.Parse(user.Subject)
		if err != nil {
			t.Fatal(err)
		}
		v.Device, v.Number, v.JKT = "im:"+uri.Local()+"/"+id+"@"+uri.Domain(), number, jkt
		if change != nil {
			change(v)
		}
	})}
}

// TestDeviceNotTakenIn holds that the issuer countersigns no device but one that the user's key was let take in, and that
// whoever refuses names the token at fault.
func TestDeviceNotTakenIn(t *testing.T) {
	c := startCast(t)
	key, key2 := newKey(t), newKey(t)
	_, delegation := c.made(t, c.phone, c.alice, "delegations", delegating(t, key))
	deeper := delegating(t, key)
	deeper["depth"], deeper["devices"] = 2, "*"
	_, deep := c.made(t, c.phone, c.alice, "delegations", deeper)
	ended, over := c.made(t, c.phone, c.alice, "delegations", delegating(t, key))
	c.withdrawn(t, c.phone, c.alice, "delegations", ended)
	under := func(delegation string) string { // a delegation of key's to key2
		return c.says(t, key, nested.TypeDelegation, c.alice.set.Subject, delegation, func(v *nested.Statement) {
			v.JKT, v.Limits = thumbprint(t, key2), &nested.Limits{Devices: "*", Count: 9, Lifetime: time.Hour, Depth: 1}
		})
	}
	taken := newDevice(t)
	good := c.device(t, key, c.alice.set, delegation, taken.JKT(), "07a", 1, nil)
	c.nested(t, embedding{c: accounts, d: taken, inside: []inside{good}}, asValue)
	removed := newDevice(t)
	n := c.nested(t, embedding{c: accounts, d: removed, inside: []inside{c.device(t, key, c.alice.set, delegation, removed.JKT(), "07b", 2, nil)}}, asValue)
	c.remove(t, claimsOf(t, n.token).Device)

	laptop := newDevice(t)
	by := func(delegation, id string, number int, change func(v *nested.Statement)) inside {
		return c.device(t, key, c.alice.set, delegation, laptop.JKT(), id, number, change)
	}
	for _, test := range []struct {
		name string
		d    *device
		in   inside
		path string
		code nested.Code
	}{
		{"outside the pattern", laptop, by(delegation, "7a", 3, nil), "tokens[0].tokens[0]", nested.CodeDelegation},
		{"over the count", laptop, by(delegation, "07c", 4, nil), "tokens[0].tokens[0]", nested.CodeDelegation},
		{"longer than the lifetime", laptop, by(delegation, "07c", 3, func(v *nested.Statement) { v.Expires = v.IssuedAt.Add(3*time.Hour + time.Second) }), "tokens[0].tokens[0]", nested.CodeDelegation},
		{"older than the delegation", laptop, by(delegation, "07c", 3, func(v *nested.Statement) { v.IssuedAt = v.IssuedAt.Add(-time.Hour) }), "tokens[0].tokens[0]", nested.CodeDelegation},
		{"longer than the delegation", laptop, by(c.brief(t, key), "07c", 3, nil), "tokens[0].tokens[0]", nested.CodeWider},
		{"deeper than allowed", laptop, c.device(t, key2, c.alice.set, under(delegation), laptop.JKT(), "07c", 3, nil), "tokens[0].tokens[0].tokens[0]", nested.CodeDelegation},
		{"deeper than can be", laptop, c.device(t, key2, c.alice.set, under(deep), laptop.JKT(), "07c", 3, nil), "tokens[0].tokens[0].tokens[0]", nested.CodeTooDeep},
		{"by another key", laptop, c.device(t, key2, c.alice.set, delegation, laptop.JKT(), "07c", 3, nil), "tokens[0].tokens[0]", nested.CodeBinding},
		{"by the device's own key", laptop, c.device(t, laptop.key, c.alice.set, delegation, laptop.JKT(), "07c", 3, nil), "tokens[0].tokens[0]", nested.CodeBinding},
		{"about another user", laptop, c.device(t, key, c.bob.set, delegation, laptop.JKT(), "07c", 3, nil), "tokens[0].tokens[0]", nested.CodeBinding},
		{"under no delegation", laptop, by(delegation, "07c", 3, func(v *nested.Statement) { v.Tokens = nil }), "tokens[0]", nested.CodeBinding},
		{"under two delegations", laptop, by(delegation, "07c", 3, func(v *nested.Statement) {
			v.Tokens = encode([]object{byValue(typeJWT, "cascade", delegation), byValue(typeJWT, "cascade", deep)})
		}), "tokens[0]", nested.CodeBinding},
		{"under a grant", laptop, by(delegation, "07c", 3, func(v *nested.Statement) {
			_, grant := c.made(t, c.phone, c.alice, "actors", object{"actor": "im:b07@bridge.example;id-type=user", "scope": "im:handle"})
			v.Tokens = encode([]object{byValue(typeJWT, "cascade", grant)})
		}), "tokens[0].tokens[0]", nested.CodeType},
		{"under a delegation that was withdrawn", laptop, by(over, "07c", 3, nil), "tokens[0].tokens[0]", nested.CodeRevoked},
		{"under another issuer's delegation", laptop, c.stranger(t, key, laptop.JKT()), "tokens[0].tokens[0]", nested.CodeDelegation},
		{"for another server", laptop, by(delegation, "07c", 3, func(v *nested.Statement) { v.Audience = []string{"https://id.old.example"} }), "tokens[0]", nested.CodeAudience},
		{"expired", laptop, by(delegation, "07c", 3, func(v *nested.Statement) { v.IssuedAt, v.Expires = v.IssuedAt.Add(-time.Minute), v.IssuedAt }), "tokens[0]", nested.CodeExpired},
		{"stolen: for another key", laptop, good, "tokens[0]", nested.CodeBinding},
		{"for a number that is taken", laptop, by(delegation, "07c", 1, nil), "tokens[0]", nested.CodeBinding},
		{"for an id that is taken", laptop, by(delegation, "07a", 3, nil), "tokens[0]", nested.CodeBinding},
		{"for the number of a removed device", laptop, by(delegation, "07c", 2, nil), "tokens[0]", nested.CodeBinding},
		{"for the id of Bob's device", laptop, by(c.wide(t, key), deviceOf(t, c.bob).Device(), 1, nil), "tokens[0]", nested.CodeBinding},
		{"with the key of Alice's phone", c.phone, c.device(t, key, c.alice.set, delegation, c.phone.JKT(), "07c", 3, nil), "tokens[0]", nested.CodeBinding},
		{"with the key of Bob's device", c.bobs, c.device(t, key, c.alice.set, delegation, c.bobs.JKT(), "07c", 3, nil), "tokens[0]", nested.CodeBinding},
		{"with the key of a removed device", removed, c.device(t, key, c.alice.set, delegation, removed.JKT(), "07b", 2, nil), "tokens[0]", nested.CodeBinding},
		{"the device of before under another number", taken, c.device(t, key, c.alice.set, delegation, taken.JKT(), "07a", 3, nil), "tokens[0]", nested.CodeBinding},
		{"an id with a dot", laptop, by(delegation, "07.c", 3, nil), "tokens[0]", nested.CodeBinding},
		{"an id with a tilde", laptop, by(delegation, "07~c", 3, nil), "tokens[0]", nested.CodeBinding},
		{"an id of many letters", laptop, by(delegation, "07"+strings.Repeat("c", 63), 3, nil), "tokens[0]", nested.CodeBinding},
		{"an id of another system", laptop, by(delegation, "07c", 3, func(v *nested.Statement) { v.Device = strings.Replace(v.Device, "im:", "im:wxyz=", 1) }), "tokens[0]", nested.CodeBinding},
	} {
		t.Run(test.name, func(t *testing.T) {
			// A device that is none has nothing else to ask with the same proof: Alice's phone has.
			spare := url.Values(nil)
			e := embedding{c: accounts, d: test.d, inside: []inside{test.in}}
			if test.d == c.phone {
				spare = refreshForm(c.alice.refresh)
			}
			wantRefusedAt(t, c.without(t, e, asValue, spare), test.path, string(test.code))
		})
	}
	// The number and the key are still free.
	c.nested(t, embedding{c: accounts, d: laptop, inside: []inside{by(delegation, "07c", 3, nil)}}, asValue)
}

// brief is a delegation for a minute, wide one to any device.
func (c *cast) brief(t *testing.T, key *ecdsa.PrivateKey) string {
	limits := delegating(t, key)
	limits["expires_in"] = 60
	_, delegation := c.made(t, c.phone, c.alice, "delegations", limits)
	return delegation
}

func (c *cast) wide(t *testing.T, key *ecdsa.PrivateKey) string {
	limits := delegating(t, key)
	limits["devices"] = "*"
	_, delegation := c.made(t, c.phone, c.alice, "delegations", limits)
	return delegation
}

// stranger is the device of a user of another issuer's, which let her key take it in.
func (c *cast) stranger(t *testing.T, key *ecdsa.PrivateKey, jkt string) inside {
	delegation := c.school.states(t, nested.TypeDelegation, kim, c.issuer, func(v *nested.Statement) {
		v.JKT, v.Limits = thumbprint(t, key), &nested.Limits{Devices: "*", Count: 9, Lifetime: time.Hour, Depth: 1}
	})
	return c.device(t, key, claims.Set{Subject: kim}, delegation, jkt, "07c", 1, nil)
}

// TestSubdelegation holds that a key to which a user's key delegated further signs within all limits above it, as far as
// depth reaches. What it signs can be shown, and exchanged, by itself alone: with a token around it it lies too deep.
func TestSubdelegation(t *testing.T) {
	c := startCast(t)
	key, key2 := newKey(t), newKey(t)
	limits := delegating(t, key)
	limits["depth"], limits["statements"] = 2, []string{nested.TypeActor}
	id, delegation := c.made(t, c.phone, c.alice, "delegations", limits)
	sub := c.says(t, key, nested.TypeDelegation, c.alice.set.Subject, delegation, func(v *nested.Statement) {
		v.JKT, v.Limits = thumbprint(t, key2), &nested.Limits{Devices: "*", Count: 9, Lifetime: time.Hour, Depth: 1, Statements: []string{nested.TypeActor}}
	})
	statement := c.device(t, key2, c.alice.set, sub, newDevice(t).JKT(), "07c", 3, nil).token
	open := func() error {
		_, err := nested.Open(t.Context(), statement, nested.Options{
			Keys: c.offline(t), Audience: []string{c.issuer}, Types: []string{nested.TypeDevice}, Now: c.clock.now, Development: true,
		})
		return err
	}
	if err := open(); err != nil {
		t.Errorf("Open = %v, want the device by the second key", err)
	}
	beyond := c.device(t, key2, c.alice.set, sub, newDevice(t).JKT(), "a", 3, nil)
	wantRefusedAt(t, c.ask(t, embedding{c: accounts, d: newDevice(t), inside: []inside{beyond}}), "tokens[0].tokens[0].tokens[0]", string(nested.CodeDelegation))
	c.withdrawn(t, c.phone, c.alice, "delegations", id)
	wantRefusedAt(t, c.ask(t, embedding{c: accounts, d: newDevice(t), inside: []inside{{rel: "attested_by", token: statement}}}), "tokens[0].tokens[0].tokens[0]", string(nested.CodeRevoked))
}

// ask is embed by value, of which only the answer matters.
func (s *site) ask(t *testing.T, e embedding) answer {
	t.Helper()
	a, _ := s.embed(t, e, asValue)
	return a
}
