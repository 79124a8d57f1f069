package xsign_test

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/verdict"
	"github.com/imidentity/issuer/xsign"
)

// FuzzStatement: a payload that is accepted, signed by the right key, says the same to encoding/json, and is signed and read again as the
// same statement; with another type, key or signature it is refused.
func FuzzStatement(f *testing.F) {
	types := []string{keysType, successionType, devicesType, vouchType, distrustType}
	for _, c := range statementCases {
		for i, typ := range types {
			if typ == c.typ {
				_, payload, _ := accepted(c.typ)
				if c.payload != nil {
					payload = c.payload(payload)
				}
				f.Add(uint8(i), payload)
			}
		}
	}
	_, payload, _ := accepted(distrustType)
	f.Add(uint8(4), put(`"public"`, `"how":"qr","seq":7,"public"`)(payload))
	f.Fuzz(func(t *testing.T, n uint8, payload string) {
		typ := types[int(n)%len(types)]
		header, _, signer := accepted(typ)
		text := must(jose.Sign(signer, jose.AlgorithmFor(signer.Public()), []byte(header), []byte(payload)))
		var key crypto.PublicKey
		if s := keyFor(typ); s != nil {
			key = s.Public()
		}
		got, sign, err := parseStatement(typ, text, key)
		if err != nil {
			if refused := (*xsign.Error)(nil); !errors.As(err, &refused) {
				t.Fatalf("error %v, which is no refusal", err)
			}
			return
		}
		again, err := sign(signer)
		if err != nil {
			t.Fatalf("an accepted statement cannot be signed again: %v", err)
		}
		second, _, err := parseStatement(typ, again, key)
		if err != nil || !reflect.DeepEqual(plain(t, typ, again), plain(t, typ, text)) {
			t.Fatalf("signed again: %v, %+v, want %+v", err, second, got)
		}
		for _, other := range types {
			if _, _, err := parseStatement(other, text, key); other != typ && err == nil {
				t.Fatalf("a statement of the type %s is accepted as %s", typ, other)
			}
		}
		if key != nil {
			if _, _, err := parseStatement(typ, text, mallory.master.Public()); err == nil {
				t.Fatal("accepted with another key")
			}
		}
		flipped := "A"
		if strings.HasSuffix(text[:len(text)-1], "A") {
			flipped = "B"
		}
		if _, _, err := parseStatement(typ, text[:len(text)-2]+flipped+text[len(text)-1:], key); err == nil {
			t.Fatal("accepted with another signature")
		}
	})
}

var ofType = map[string][]string{
	keysType: {"seq", "keys", "succeeds"}, successionType: {"master"}, devicesType: {"seq", "devices"},
	vouchType: {"master", "how", "handle", "public"}, distrustType: {"master", "handle", "public"},
}

// plain reads the claims of a statement of a type with encoding/json.
func plain(t *testing.T, typ, text string) any {
	t.Helper()
	var c struct {
		ISS, SUB, JTI, Master, How, Handle, Succeeds string
		Public                                       bool
		Seq                                          int64
		IAT, EXP                                     float64
		Devices                                      []struct {
			Device string
			Keys   []string
		}
		Keys struct {
			DeviceSigning map[string]any `json:"device_signing"`
			UserSigning   map[string]any `json:"user_signing"`
		}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	// Members of other types are not known, and ignored.
	members := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(payload, &members)
	}
	known := []string{"iss", "sub", "jti", "iat", "exp"}
	for name := range members {
		if !slices.Contains(append(known, ofType[typ]...), name) {
			delete(members, name)
		}
	}
	if err == nil {
		payload, err = json.Marshal(members)
	}
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if err != nil {
		t.Fatalf("encoding/json: %v", err)
	}
	c.IAT, c.EXP = float64(int64(c.IAT)), float64(int64(c.EXP))
	for _, key := range []map[string]any{c.Keys.DeviceSigning, c.Keys.UserSigning} {
		for name := range key {
			if !strings.Contains("kty crv x y", name) {
				delete(key, name)
			}
		}
	}
	if len(c.Devices) == 0 {
		c.Devices = nil
	}
	return c
}

// FuzzVerify: no texts that a server shows make a device of a pinned user good, or a matter on which nothing is said, unless the user's own
// keys have listed it; and none changes the pinned master key.
func FuzzVerify(f *testing.F) {
	second := alice.again("second alice")
	f.Add(alice.keys(3), "", list(7))
	f.Add(alice.keys(3), alice.succession(jkt(mallory.master)), list(7))
	f.Add((&person{alice.id, mallory.master, mallory.device, mallory.user}).keys(9), second.succession(jkt(mallory.master)), list(7))
	f.Add(list(7), list(7), alice.keys(3))
	for _, c := range bundleCases() {
		if c.masters == nil { // refused
			f.Add(c.bundle.Keys, strings.Join(c.bundle.Succession, " "), c.bundle.Devices)
		}
	}
	f.Fuzz(func(t *testing.T, keys, succession, devices string) {
		b := &xsign.Bundle{Keys: keys, Succession: strings.Fields(succession), Devices: devices}
		v, pins := verify(t, xsign.Query{About: aboutLaptop(), Bundle: b, Pins: byHand()})
		if v.Device.Result != verdict.Bad && v.Device.Result != verdict.Unknown || !v.Pinned {
			t.Fatalf("device %+v, pinned %t", v.Device, v.Pinned)
		}
		if pin, _ := pins.Of(alice.id); pin.Master != jkt(alice.master) || pin.How != xsign.ByHand {
			t.Fatalf("pin %+v", pin)
		}
		if d := decide(t, v); d.Outcome.Yes() {
			t.Fatalf("Decide = %s", d.Explain(now))
		}
	})
}
