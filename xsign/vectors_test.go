package xsign_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/vectortest"
	"github.com/imidentity/issuer/xsign"
)

// vectors is testdata/vectors.json, for other implementations. testdata/README.md describes the members.
type vectors struct {
	Statements []statementVector `json:"statements"`
	Bundles    []bundleVector    `json:"bundles"`
}

type statementVector struct {
	Name string          `json:"name"`
	Type string          `json:"type"`
	Key  json.RawMessage `json:"key,omitempty"`
	Text string          `json:"text"`
	Code xsign.Code      `json:"code,omitempty"`
	Part string          `json:"part,omitempty"`
}

type bundleVector struct {
	Name        string       `json:"name"`
	User        string       `json:"user"`
	Bundle      xsign.Bundle `json:"bundle"`
	Code        xsign.Code   `json:"code,omitempty"`
	DevicesCode xsign.Code   `json:"devices_code,omitempty"`
	Masters     []string     `json:"masters,omitempty"`
}

// parseStatement parses a statement of a type, and returns what it says and a function that signs that again.
func parseStatement(typ, text string, key crypto.PublicKey) (statement any, sign func(crypto.Signer) (string, error), err error) {
	switch typ {
	case keysType:
		s, err := xsign.ParseKeys(text)
		return s, s.Sign, err
	case successionType:
		s, err := xsign.ParseSuccession(text)
		return s, s.Sign, err
	case devicesType:
		s, err := xsign.ParseDevices(text, key)
		return s, s.Sign, err
	case vouchType:
		s, err := xsign.ParseVouch(text, key)
		return s, s.Sign, err
	}
	s, err := xsign.ParseDistrust(text, key)
	return s, s.Sign, err
}

// keyFor is the key that must sign a statement of a type; nil for the master key, which is in the statement.
func keyFor(typ string) crypto.Signer {
	switch typ {
	case devicesType:
		return alice.device
	case vouchType, distrustType:
		return bob.user
	}
	return nil
}

type bundleCase struct {
	name          string
	bundle        xsign.Bundle
	code, devices xsign.Code
	masters       []string
}

func bundleCases() []bundleCase {
	second, third := alice.again("second alice"), alice.again("third alice")
	one, two := alice.succession(jkt(second.master)), second.succession(jkt(third.master))
	back := third.succession(jkt(alice.master))
	succeeds := func(text string) func(*xsign.Keys) { return func(k *xsign.Keys) { k.Succeeds = text } }
	named := func(id string) func(*xsign.Devices) {
		return func(d *xsign.Devices) {
			d.Devices[0].ID = must(claims.Parse("im:3h3aNq0mWk2o1c8vXfYJrg/" + id + "@example.com"))
		}
	}
	keyed := func(key string) func(*xsign.Devices) {
		return func(d *xsign.Devices) { d.Devices[0].Keys = []string{key} }
	}
	first := []string{jkt(alice.master)}
	foreign := *alice
	foreign.id = mallory.id
	other := (&xsign.Succession{User: mallory.id, ID: "s", IssuedAt: now, Next: jkt(second.master)})
	return []bundleCase{
		{name: "whole", bundle: *bundle(), masters: first},
		{name: "third master key", bundle: xsign.Bundle{Keys: third.keys(1, succeeds(two)), Succession: []string{one}}, devices: xsign.CodeMissing, masters: []string{jkt(alice.master), jkt(second.master), jkt(third.master)}},
		{name: "no list", bundle: xsign.Bundle{Keys: alice.keys(3)}, devices: xsign.CodeMissing, masters: first},
		{name: "list by a former device-signing key", bundle: xsign.Bundle{Keys: alice.keys(4, func(k *xsign.Keys) { k.DeviceSigning = second.device.Public() }), Devices: list(7)}, devices: xsign.CodeKey, masters: first},
		{name: "device with the name of a key", bundle: xsign.Bundle{Keys: alice.keys(3), Devices: list(7, named(jkt(alice.user)))}, devices: xsign.CodeKey, masters: first},
		{name: "device with the master key", bundle: xsign.Bundle{Keys: alice.keys(3), Devices: list(7, keyed(jkt(alice.master)))}, devices: xsign.CodeKey, masters: first},
		{name: "keys of another user", bundle: xsign.Bundle{Keys: foreign.keys(3), Devices: list(7)}, code: xsign.CodeUser},
		{name: "list in place of keys", bundle: xsign.Bundle{Keys: list(7), Devices: list(7)}, code: xsign.CodeType},
		{name: "succession that the keys do not name", bundle: xsign.Bundle{Keys: second.keys(1), Succession: []string{one}}, code: xsign.CodeSuccession},
		{name: "succession to another key", bundle: xsign.Bundle{Keys: third.keys(1, succeeds(one))}, code: xsign.CodeSuccession},
		{name: "chain with a gap", bundle: xsign.Bundle{Keys: third.keys(1, succeeds(two)), Succession: []string{two}}, code: xsign.CodeSuccession},
		{name: "circle", bundle: xsign.Bundle{Keys: alice.keys(5, succeeds(back)), Succession: []string{one, two}}, code: xsign.CodeSuccession},
		{name: "succession of another user", bundle: xsign.Bundle{Keys: second.keys(1, succeeds(must(other.Sign(alice.master))))}, code: xsign.CodeUser},
		{name: "17 former keys", bundle: xsign.Bundle{Keys: second.keys(1, succeeds(one)), Succession: slices.Repeat([]string{one}, 16)}, code: xsign.CodeSuccession},
	}
}

// TestWriteVectors checks the file against the cases. Signatures are deterministic, so the bytes are the same each time.
func TestWriteVectors(t *testing.T) {
	var all vectors
	for _, c := range statementCases {
		v := statementVector{Name: c.name, Type: c.typ, Text: c.make(), Code: c.code, Part: c.part}
		if key := keyFor(c.typ); key != nil {
			v.Key = jwk(key)
		}
		all.Statements = append(all.Statements, v)
	}
	for _, c := range bundleCases() {
		all.Bundles = append(all.Bundles, bundleVector{c.name, alice.id.String(), c.bundle, c.code, c.devices, c.masters})
	}
	vectortest.WriteJSON(t, "testdata/vectors.json", all)
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	var all vectors
	vectortest.ReadJSON(t, "testdata/vectors.json", &all)
	if len(all.Statements)+len(all.Bundles) < 60 {
		t.Fatalf("%d vectors, want at least 60", len(all.Statements)+len(all.Bundles))
	}
	return all
}

func wantCode(t *testing.T, err error, code xsign.Code) {
	t.Helper()
	refused := (*xsign.Error)(nil)
	switch {
	case code == "" && err != nil:
		t.Errorf("refused: %v", err)
	case code != "" && (!errors.As(err, &refused) || refused.Code != code || !errors.Is(err, code)):
		t.Errorf("error %v, want %s", err, code)
	}
}

func TestVectors(t *testing.T) {
	all := readVectors(t)
	names := map[string]bool{}
	for _, v := range all.Statements {
		if names[v.Name] {
			t.Errorf("two vectors have the name %s", v.Name)
		}
		names[v.Name] = true
		t.Run(v.Name, func(t *testing.T) {
			var key crypto.PublicKey
			if v.Key != nil {
				key = must(jose.ParseJWK(v.Key)).Public
			}
			_, _, err := parseStatement(v.Type, v.Text, key)
			wantCode(t, err, v.Code)
			if refused := (*xsign.Error)(nil); errors.As(err, &refused) && (refused.Part != v.Part || refused.Statement != v.Type) {
				t.Errorf("error %v about %q of %q, want %q of %q", err, refused.Part, refused.Statement, v.Part, v.Type)
			}
		})
	}
	for _, v := range all.Bundles {
		t.Run("bundle: "+v.Name, func(t *testing.T) {
			c, err := v.Bundle.Open(must(claims.Parse(v.User)))
			wantCode(t, err, v.Code)
			if err != nil {
				return
			}
			wantCode(t, c.DevicesErr, v.DevicesCode)
			if (c.Devices == nil) != (v.DevicesCode != "") || !slices.Equal(c.Masters, v.Masters) {
				t.Errorf("devices %v, masters %v, want %v", c.Devices, c.Masters, v.Masters)
			}
		})
	}
}

// Sign makes nothing that is refused.
func TestSignRefuses(t *testing.T) {
	k := xsign.Keys{User: alice.id, IssuedAt: now, Expires: now.Add(day), Seq: 1, DeviceSigning: alice.device.Public(), UserSigning: alice.master.Public()}
	_, err := k.Sign(alice.master)
	wantCode(t, err, xsign.CodeKey)
	k.UserSigning = nil
	_, err = k.Sign(alice.master)
	wantCode(t, err, xsign.CodeKey)
	d := xsign.Devices{User: alice.id, IssuedAt: now, Expires: now.Add(91 * day), Seq: 1}
	_, err = d.Sign(alice.device)
	wantCode(t, err, xsign.CodeLife)
	v := xsign.Vouch{By: bob.id, User: bob.id, IssuedAt: now, Expires: now.Add(day), Master: jkt(bob.master), How: "qr"}
	_, err = v.Sign(bob.user)
	wantCode(t, err, xsign.CodeUser)
}

// TestSmallOrder: anyone can sign by a key of small order, so none is a key of a user, in whatever encoding.
func TestSmallOrder(t *testing.T) {
	neutral := append([]byte{1}, make([]byte, 31)...)
	if !ed25519.Verify(neutral, []byte("anything"), append(bytes.Clone(neutral), make([]byte, 32)...)) {
		t.Error("crypto/ed25519 refuses a key of small order itself now")
	}
	minus := bytes.Repeat([]byte{0xff}, 32)
	minus[0], minus[31] = 0xec, 0x7f // y = p-1
	for _, key := range []ed25519.PublicKey{neutral, make([]byte, 32), minus, append(append([]byte{1}, make([]byte, 30)...), 0x80)} {
		if text, err := xsign.Thumbprint(key); err == nil {
			t.Errorf("Thumbprint(%x) = %s, want an error", []byte(key), text)
		}
	}
}
