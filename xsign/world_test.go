package xsign_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/verdict"
	"github.com/imidentity/issuer/xsign"
)

const day = 24 * time.Hour

// now is when everything happens.
var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// curveKey signs deterministically (RFC 6979), so that vectors stay as they are.
type curveKey struct{ *ecdsa.PrivateKey }

func (k curveKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, opts)
}

// newKey makes a key from a name: one for P-256 if its first byte is upper case, else one for Ed25519.
func newKey(name string) crypto.Signer {
	seed := sha256.Sum256([]byte(name))
	if name[0] < 'A' || name[0] > 'Z' {
		return ed25519.NewKeyFromSeed(seed[:])
	}
	d := new(big.Int).SetBytes(seed[:])
	d.Mod(d, new(big.Int).Sub(elliptic.P256().Params().N, big.NewInt(1))).Add(d, big.NewInt(1))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d.FillBytes(make([]byte, 32)))
	if err != nil {
		panic(err)
	}
	return curveKey{key}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func jkt(key crypto.Signer) string { return must(jose.Thumbprint(key.Public())) }

func jwk(key crypto.Signer) json.RawMessage { return must(jose.MarshalJWK(key.Public())) }

// A person has the three keys.
type person struct {
	id                   claims.ID
	master, device, user crypto.Signer
}

func newPerson(name, uri string) *person {
	return &person{must(claims.Parse(uri)), newKey(name + " master"), newKey(name + " device-signing"), newKey(name + " user-signing")}
}

var (
	alice   = newPerson("alice", "im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user")
	bob     = newPerson("Bob", "im:b0bb0bb0bb0bb0bb0bb0bg@example.org;id-type=user")
	carol   = newPerson("carol", "im:car0lcar0lcar0lcar0lcg@example.org;id-type=user")
	dave    = newPerson("Dave", "im:davedavedavedavedavedg@example.net;id-type=user")
	mallory = newPerson("Mallory", "im:ma110ryma110ryma110ryg@example.com;id-type=user")

	handle = must(claims.Parse("im:%40alice@example.com"))
	phone  = must(claims.Parse("im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com"))
	laptop = must(claims.Parse("im:3h3aNq0mWk2o1c8vXfYJrg/1a9c@example.com"))

	phoneKey, laptopKey = jkt(newKey("phone")), jkt(newKey("Laptop"))
)

// keys returns the keys of a person, number seq.
func (p *person) keys(seq int64, change ...func(*xsign.Keys)) string {
	k := &xsign.Keys{
		User: p.id, ID: fmt.Sprint("keys-", seq), IssuedAt: now.Add(-30 * day), Expires: now.Add(300 * day), Seq: seq,
		DeviceSigning: p.device.Public(), UserSigning: p.user.Public(),
	}
	for _, f := range change {
		f(k)
	}
	return must(k.Sign(p.master))
}

// list returns the list of Alice's devices, number seq.
func list(seq int64, change ...func(*xsign.Devices)) string {
	d := &xsign.Devices{
		User: alice.id, ID: fmt.Sprint("devices-", seq), IssuedAt: now.Add(-10 * day), Expires: now.Add(80 * day), Seq: seq,
		Devices: []xsign.Device{{ID: phone, Keys: []string{phoneKey, jkt(newKey("leaf"))}}},
	}
	for _, f := range change {
		f(d)
	}
	return must(d.Sign(alice.device))
}

func both(d *xsign.Devices) {
	d.Devices = append(d.Devices, xsign.Device{ID: laptop, Keys: []string{laptopKey}})
}

func (p *person) vouch(about *person, change ...func(*xsign.Vouch)) string {
	v := &xsign.Vouch{
		By: p.id, User: about.id, ID: "vouch", IssuedAt: now.Add(-5 * day), Expires: now.Add(100 * day), Master: jkt(about.master), How: "qr",
	}
	for _, f := range change {
		f(v)
	}
	return must(v.Sign(p.user))
}

func (p *person) distrust(about *person, change ...func(*xsign.Distrust)) string {
	d := &xsign.Distrust{By: p.id, User: about.id, ID: "distrust", IssuedAt: now.Add(-5 * day), Master: jkt(about.master)}
	for _, f := range change {
		f(d)
	}
	return must(d.Sign(p.user))
}

func (p *person) succession(next string) string {
	return must((&xsign.Succession{User: p.id, ID: "succession", IssuedAt: now.Add(-day), Next: next}).Sign(p.master))
}

// again returns a person with new keys.
func (p *person) again(name string) *person {
	return &person{p.id, newKey(name + " master"), newKey(name + " device-signing"), newKey(name + " user-signing")}
}

func bundle() *xsign.Bundle { return &xsign.Bundle{Keys: alice.keys(3), Devices: list(7)} }

func about() verdict.About {
	return verdict.About{User: alice.id, Device: phone, JKT: phoneKey, Handle: handle}
}

func aboutLaptop() verdict.About {
	return verdict.About{User: alice.id, Device: laptop, JKT: laptopKey}
}

// byHand is the memory of Bob, who compared Alice's master key.
func byHand() xsign.Pins { return xsign.Pins{}.ByHand(alice.id, jkt(alice.master), now.Add(-20*day)) }

func own(t testing.TB, statements ...string) *xsign.Own {
	t.Helper()
	o, err := xsign.ReadOwn(bob.id, bob.user.Public(), statements)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func verify(t testing.TB, q xsign.Query) (verdict.Verdict, xsign.Pins) {
	t.Helper()
	v, pins, err := xsign.Verify(q, now)
	if err != nil {
		t.Fatal(err)
	}
	return v, pins
}

// decide decides about what the issuer says is good.
func decide(t testing.TB, v verdict.Verdict) verdict.Decision {
	t.Helper()
	good := verdict.Finding{Result: verdict.Good, Checked: now}
	d, err := verdict.Decide(verdict.DefaultPolicy(), []verdict.Verdict{
		v, {Method: verdict.Hierarchy, About: v.About, User: good, Device: good, Handle: good},
	}, now)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
