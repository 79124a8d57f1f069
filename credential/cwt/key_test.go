package cwt_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/veraison/go-cose"

	"github.com/imidentity/issuer/credential/cwt"
)

// The example of RFC 9679 §6.
func TestThumbprintExample(t *testing.T) {
	data, err := os.ReadFile("testdata/rfc9679/section-6.json")
	if err != nil {
		t.Fatal(err)
	}
	var text struct{ Key, X, Y, Input, Thumbprint string }
	if err := json.Unmarshal(data, &text); err != nil {
		t.Fatal(err)
	}
	read := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, read(text.X), read(text.Y)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := cwt.Thumbprint(key)
	if err != nil || !bytes.Equal(got, read(text.Thumbprint)) {
		t.Errorf("Thumbprint = %x, %v, want %s", got, err, text.Thumbprint)
	}
	if sum := sha256.Sum256(read(text.Input)); !bytes.Equal(sum[:], read(text.Thumbprint)) {
		t.Errorf("the input has the hash %x, want %s", sum, text.Thumbprint)
	}
	// The key as it is printed is the same one, by go-cose.
	var printed cose.Key
	if err := printed.UnmarshalCBOR(read(text.Key)); err != nil {
		t.Fatal(err)
	}
	if public, err := printed.PublicKey(); err != nil || !key.Equal(public) {
		t.Errorf("the key is %v, %v, want %v", public, err, key)
	}
}

// Keys of go-cose without optional parameters have the bytes that are hashed.
func TestThumbprintOfEveryKey(t *testing.T) {
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()} {
		for range 40 { // among them some with leading zeros
			key, err := ecdsa.GenerateKey(curve, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			checkThumbprint(t, name, key.Public())
		}
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	checkThumbprint(t, "Ed25519", public)
}

func checkThumbprint(t *testing.T, name string, public crypto.PublicKey) {
	t.Helper()
	key, err := cose.NewKeyFromPublic(public)
	if err != nil {
		t.Fatal(err)
	}
	key.Algorithm = cose.AlgorithmReserved
	data, err := key.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(data)
	if got, err := cwt.Thumbprint(public); err != nil || !bytes.Equal(got, want[:]) {
		t.Errorf("%s: Thumbprint = %x, %v, want %x", name, got, err, want)
	}
}

// RFC 9679 §4.3 with RFC 8230 §4: n and e without leading zeros.
func TestThumbprintRSA(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	input := append([]byte{0xa3, 0x01, 0x03, 0x20, 0x59, 0x01, 0x00}, key.N.Bytes()...)
	want := sha256.Sum256(append(input, 0x21, 0x43, 0x01, 0x00, 0x01))
	if got, err := cwt.Thumbprint(key.Public()); err != nil || !bytes.Equal(got, want[:]) {
		t.Errorf("Thumbprint = %x, %v, want %x", got, err, want)
	}
}

func TestThumbprintOfNoKey(t *testing.T) {
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.PublicKey{nil, "key", p224.Public(), p224, ed25519.PublicKey{1}, (*ecdsa.PublicKey)(nil), (*rsa.PublicKey)(nil), &rsa.PublicKey{}} {
		if got, err := cwt.Thumbprint(key); err == nil {
			t.Errorf("Thumbprint(%T) = %x, want an error", key, got)
		}
	}
}
