package mls_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/statuslist"
)

// sdcwt returns the SD-CWT of the device for a key, whose status is the entry of that index.
func sdcwt(t testing.TB, key crypto.PublicKey, index uint64) []byte {
	t.Helper()
	s, err := cwt.NewSigner("k1", "EdDSA", ed25519Key("issuer"))
	if err != nil {
		t.Fatal(err)
	}
	v := cwt.VC{
		Issuer: issuer, ID: "c1", Device: device, User: user, Handle: handle, Key: key, IssuedAt: issued, Expires: expires,
		Status: &statuslist.Reference{Index: index, URI: list},
	}
	data, err := v.Sign(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A device binds its SD-CWT to a leaf, and another member validates it, in a room and in a KeyPackage, as the type 5 on the wire.
func TestSDCWT(t *testing.T) {
	a := newAuthority(t)
	o := a.options()
	o.Verifiers = map[mls.Type]mls.Verifier{mls.SDCWT: mls.VerifySDCWT}
	for suite, holder := range map[mls.CipherSuite]crypto.Signer{1: ed25519Key("alice"), 2: ecdsaKey(elliptic.P256(), "alice"), 3: ed25519Key("alice")} {
		key, err := suite.SignatureKey(holder.Public())
		if err != nil {
			t.Fatal(err)
		}
		for _, leaf := range []mls.Leaf{
			{CipherSuite: suite, SignatureKey: key, Room: room},
			{CipherSuite: suite, SignatureKey: key, Lifetime: &mls.Lifetime{NotBefore: uint64(issued.Unix()), NotAfter: uint64(expires.Unix())}},
		} {
			for index, want := range []error{nil, credential.CodeEnded, credential.CodeStatus, nil} {
				own, err := mls.BindSDCWT(sdcwt(t, holder.Public(), uint64(index)), holder, suite, leaf.Room, bound)
				if err != nil {
					t.Fatal(err)
				}
				wire, err := own.Marshal()
				if err != nil || wire[0] != 0 || wire[1] != 5 {
					t.Fatalf("Marshal = %x, %v, want the type 5", wire, err)
				}
				c, err := mls.Parse(wire)
				if err != nil {
					t.Fatal(err)
				}
				got, err := mls.Validate(t.Context(), c, leaf, o)
				if !errors.Is(err, want) || want == nil && err != nil {
					t.Errorf("suite %d, status %d: Validate = %v, want %v", suite, index, err, want)
				}
				if credential.Stands(err) && (got.Identity.Device.String() != device || got.Format != credential.SDCWT || got.HandleEnded != (index == 3)) {
					t.Errorf("suite %d, status %d: Validate = %+v", suite, index, got)
				}
			}
		}
	}
}

func TestSDCWTRefused(t *testing.T) {
	a := newAuthority(t)
	o := a.options()
	o.Verifiers = map[mls.Type]mls.Verifier{mls.SDCWT: mls.VerifySDCWT}
	alice, mallory := ed25519Key("alice"), ed25519Key("mallory")
	leaf := mls.Leaf{CipherSuite: 1, SignatureKey: alice.Public().(ed25519.PublicKey), Room: room}
	vc := sdcwt(t, alice.Public(), 0)
	present := func(holder crypto.Signer, audience string, nonce []byte, at time.Time) []byte {
		t.Helper()
		token, err := cwt.Parse(sdcwt(t, holder.Public(), 0))
		if err != nil {
			t.Fatal(err)
		}
		data, err := token.Present(holder, cwt.Binding{Audience: audience, Nonce: nonce}, at)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	sum := sha256.Sum256(leaf.SignatureKey)
	nonce := sum[:]
	good := present(alice, room, nonce, bound)
	flipped := slices.Clone(good)
	flipped[len(flipped)-1] ^= 1
	late := leaf
	late.Time = bound.Add(-2 * time.Minute)
	for name, c := range map[string]struct {
		cwt  []byte
		leaf mls.Leaf
		part string
		code credential.Code
	}{
		"no key binding":     {vc, leaf, "key binding", credential.CodeNoBinding},
		"another key":        {present(mallory, room, nonce, bound), leaf, "signature_key", credential.CodeKey},
		"another room":       {present(alice, room+"2", nonce, bound), leaf, "key binding", credential.CodeAudience},
		"of a KeyPackage":    {present(alice, "mimi://example.com", nonce, bound), leaf, "key binding", credential.CodeAudience},
		"another nonce":      {present(alice, room, nonce[:31], bound), leaf, "key binding", credential.CodeNonce},
		"the text as nonce":  {present(alice, room, []byte(mls.Nonce(leaf.SignatureKey)), bound), leaf, "key binding", credential.CodeNonce},
		"signature":          {flipped, leaf, "key binding", credential.CodeKey},
		"made after":         {good, late, "key binding", credential.CodeAge},
		"a JWT":              {[]byte("eyJhbGciOiJub25lIn0.e30."), leaf, "", credential.CodeType},
		"of the wrong suite": {good, mls.Leaf{CipherSuite: 2, SignatureKey: leaf.SignatureKey, Room: room}, "signature_key", credential.CodeKey},
	} {
		got, err := mls.Validate(t.Context(), &mls.Credential{Type: mls.SDCWT, CWT: c.cwt}, c.leaf, o)
		refused(t, fmt.Sprintf("%s: Validate", name), err, c.part, c.code)
		if got.Key != nil {
			t.Errorf("%s: Validate returns %+v", name, got)
		}
	}
	for name, c := range map[string]struct {
		issued []byte
		holder crypto.Signer
		code   credential.Code
	}{
		"no credential":  {[]byte("x"), alice, credential.CodeType},
		"another key":    {vc, mallory, credential.CodeKey},
		"another suite":  {vc, ecdsaKey(elliptic.P256(), "alice"), credential.CodeKey},
		"a presentation": {good, alice, credential.CodeBinding},
	} {
		if _, err := mls.BindSDCWT(c.issued, c.holder, 1, room, bound); !errors.Is(err, c.code) {
			t.Errorf("%s: BindSDCWT = %v, want %v", name, err, c.code)
		}
	}
}
