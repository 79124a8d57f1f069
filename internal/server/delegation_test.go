package server_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/nested"
)

// A user's own key takes a device in, without the issuer, under a delegation; the issuer countersigns when it is asked, and
// the device ends with the delegation.
func TestDelegation(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	alice := s.account(t, phone, "alice")
	key := newKey(t)
	id, delegation := s.made(t, phone, alice, "delegations", object{
		"jkt": thumbprint(t, key), "devices": "a*", "count": 2, "lifetime": 86400, "depth": 1,
	})

	laptop := newDevice(t)
	statement := deviceStatement(t, s, alice.set, key, delegation, laptop.JKT(), "a1", 1)
	embed := url.Values{"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "attested_by", statement))}}
	token := issued(t, s.token(t, accounts, laptop, embed))
	set := claimsOf(t, token)
	if set.Subject != alice.set.Subject || set.JKT != laptop.JKT() || set.SID != id || set.Handle != alice.set.Handle {
		t.Errorf("claims = %+v, want Alice's laptop", set)
	}
	a := s.introspect(t, peer, token)
	layers, _ := a.json["tokens"].([]any)
	if a.json["active"] != true || a.text("device") != set.Device || len(layers) != 2 {
		t.Errorf("introspection = %v, want the laptop, its statement and the delegation", a)
	}
	again := issued(t, s.token(t, accounts, laptop, embed)) // where others refresh
	s.wantActive(t, again)

	other := newDevice(t)
	for name, test := range map[string]struct {
		d         *device
		statement string
	}{
		"another key":        {newDevice(t), statement},
		"number taken":       {other, deviceStatement(t, s, alice.set, key, delegation, other.JKT(), "a2", 1)},
		"id taken":           {other, deviceStatement(t, s, alice.set, key, delegation, other.JKT(), "a1", 2)},
		"over the count":     {other, deviceStatement(t, s, alice.set, key, delegation, other.JKT(), "a2", 3)},
		"outside pattern":    {other, deviceStatement(t, s, alice.set, key, delegation, other.JKT(), "b2", 2)},
		"key of a device":    {phone, deviceStatement(t, s, alice.set, key, delegation, phone.JKT(), "a2", 2)},
		"not the user's key": {other, deviceStatement(t, s, alice.set, newKey(t), delegation, other.JKT(), "a2", 2)},
	} {
		t.Run(name, func(t *testing.T) {
			form := url.Values{"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "attested_by", test.statement))}}
			wantError(t, s.token(t, accounts, test.d, form), http.StatusBadRequest, "invalid_embedded_token")
		})
	}

	s.withdrawn(t, phone, alice, "delegations", id)
	s.wantInactive(t, token)
	s.wantInactive(t, again)
	wantError(t, s.token(t, accounts, laptop, embed), http.StatusBadRequest, "invalid_embedded_token")
	s.wantActive(t, alice.access) // the session that made the delegation is not touched
}

func thumbprint(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer.JKT()
}

// deviceStatement is what a user's own key says of a device.
func deviceStatement(t *testing.T, s *site, user claims.Set, key *ecdsa.PrivateKey, delegation, jkt, id string, number int) string {
	t.Helper()
	tokens, err := nested.Build(nested.Entry{Relation: nested.Cascade, Token: delegation})
	if err != nil {
		t.Fatal(err)
	}
	sign, err := nested.UserKey(key)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := claims.Parse(user.Subject)
	if err != nil {
		t.Fatal(err)
	}
	now := s.clock.now().Truncate(time.Second)
	statement, err := nested.Statement{
		Type: nested.TypeDevice, Issuer: user.Subject, Subject: user.Subject, Audience: []string{s.issuer},
		JTI: rand.Text(), IssuedAt: now, Expires: now.Add(time.Hour),
		Device: "im:" + uri.Local() + "/" + id + "@" + uri.Domain(), Number: number, JKT: jkt, Tokens: json.RawMessage(tokens),
	}.Sign(sign)
	if err != nil {
		t.Fatal(err)
	}
	return statement
}
