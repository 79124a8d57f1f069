package nested_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// An anyKey signs as a user whose key is of any kind.
type anyKey struct{ crypto.Signer }

func (k anyKey) sign(typ string, payload []byte) (string, error) {
	jwk, err := jose.MarshalJWK(k.Public())
	if err != nil {
		return "", err
	}
	alg := jose.AlgorithmFor(k.Public())
	return jose.Sign(k, alg, fmt.Appendf(nil, `{"typ":%q,"alg":%q,"jwk":%s}`, typ, alg, json.RawMessage(jwk)), payload)
}

// signedBy is a device statement by any key, and the delegation of that key.
func signedBy(t *testing.T, key crypto.Signer) string {
	t.Helper()
	jkt, err := jose.Thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := nested.Build(nested.Entry{Relation: nested.Cascade, Token: delegation(func(d *draft) { d.st.JKT = jkt })})
	if err != nil {
		t.Fatal(err)
	}
	token, err := nested.Statement{
		Type: nested.TypeDevice, Issuer: alice, Subject: alice, Audience: []string{verifier}, JTI: "device", IssuedAt: at(-60), Expires: at(30),
		Device: aliceDevice, Number: 1, JKT: deviceKey.jkt(), Tokens: tokens,
	}.Sign(anyKey{key}.sign)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestReviewA3UserKeysAreCheap: users sign by keys whose signatures are cheap to verify. Other keys are refused before any
// signature is verified, and are not accepted for signing.
func TestReviewA3UserKeysAreCheap(t *testing.T) {
	o := options()
	o.Types = []string{nested.TypeDevice}
	for name, test := range map[string]struct {
		key crypto.Signer
		ok  bool
	}{
		"P-256": {ecKey(t, elliptic.P256()), true}, "P-384": {ecKey(t, elliptic.P384()), true}, "Ed25519": {aliceKey.key, true},
		"RSA 2048": {rsaKey(t), true}, "P-521": {ecKey(t, elliptic.P521()), false},
		"RSA 4104":       {publicOnly{&rsa.PublicKey{N: odd(4104), E: 65537}}, false},
		"large exponent": {publicOnly{&rsa.PublicKey{N: odd(2048), E: 1<<31 - 1}}, false},
	} {
		n, err := nested.OpenCounting(t.Context(), signedBy(t, test.key), o)
		var refused *nested.Error
		switch {
		case test.ok && (err != nil || n != 2):
			t.Errorf("%s: Open = %v after %d signatures, want nil after 2", name, err, n)
		case !test.ok && (!errors.As(err, &refused) || refused.Code != nested.CodeMalformed || refused.Path != "" || n != 0):
			t.Errorf("%s: Open = %v after %d signatures, want %s after none", name, err, n, nested.CodeMalformed)
		}
		if _, err := nested.UserKey(test.key); (err == nil) != test.ok {
			t.Errorf("%s: UserKey = %v, want success %v", name, err, test.ok)
		}
	}
}

// odd is an odd number of so many bits.
func odd(bits int) *big.Int { return new(big.Int).SetBit(big.NewInt(1), bits-1, 1) }

// A publicOnly key makes signatures that are none: what it signs is to be refused before they are looked at.
type publicOnly struct{ key *rsa.PublicKey }

func (k publicOnly) Public() crypto.PublicKey { return k.key }

func (k publicOnly) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return make([]byte, k.key.Size()), nil
}

// TestReviewA3DelegationBeforeSignature: a statement under a delegation of another key or another user, or under none, is refused
// before any signature is verified, also where it is not the outermost token.
func TestReviewA3DelegationBeforeSignature(t *testing.T) {
	under := func(changes ...change) change { return inside(value(nested.Cascade, delegation(changes...))) }
	o := options()
	o.Types = []string{nested.TypeDevice, nested.TypeAccessToken}
	for name, token := range map[string]string{
		"another key":  deviceStatement(by(otherKey)),
		"another user": deviceStatement(under(func(d *draft) { d.st.Subject, d.st.Handle = mallory, "" })),
		"none":         deviceStatement(func(d *draft) { d.st.Tokens = nil }),
		"an enclosed one": botToken(expires(4), inside(value(nested.ActsFor, grant(by(otherKey), func(d *draft) {
			d.st.Issuer, d.st.Handle = alice, ""
		}, under())))),
	} {
		n, err := nested.OpenCounting(t.Context(), token, o)
		var refused *nested.Error
		if !errors.As(err, &refused) || refused.Code != nested.CodeBinding || n != 0 {
			t.Errorf("%s: Open = %v after %d signatures, want %s after none", name, err, n, nested.CodeBinding)
		}
	}
}
