package assertion

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"

	"github.com/imidentity/issuer/internal/jose"
)

// Algorithms are those that a client may sign with. EdDSA and Ed25519 are two names of one.
var Algorithms = []string{jose.ES256, jose.EdDSA, jose.Ed25519, jose.RS256}

// A Key is a public key that a client is registered with.
type Key struct {
	Kid    string // "" if it has none
	Alg    string // the one algorithm that it is good for (RFC 8725 §3.1)
	Public crypto.PublicKey
}

// ParseKeys reads the JWK Set that is registered for a client. No key in it is skipped: each must be public, for
// signatures by one of [Algorithms], and several have kids of their own, so that an assertion can say which is meant.
func ParseKeys(jwks []byte) ([]Key, error) {
	list, err := jose.SplitJWKS(jwks)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("no key")
	}
	var keys []Key
	kids := make(map[string]bool)
	for i, raw := range list {
		key, err := parseKey(raw)
		switch {
		case err != nil:
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		case len(list) > 1 && key.Kid == "":
			return nil, fmt.Errorf("keys[%d]: kid is missing: of several keys each needs one", i)
		case kids[key.Kid]:
			return nil, fmt.Errorf("keys[%d]: another key has its kid", i)
		}
		kids[key.Kid] = true
		keys = append(keys, key)
	}
	return keys, nil
}

// ReadKeys reads the JWK Set that a client publishes. Keys that cannot verify an assertion are passed over (RFC 7517 §5), and
// a kid that two keys have names neither. A well-formed set without a key that can is empty: the client has withdrawn all keys.
func ReadKeys(jwks []byte) ([]Key, error) {
	list, err := jose.SplitJWKS(jwks)
	if err != nil {
		return nil, err
	}
	kids := make(map[string]int)
	var all, keys []Key
	for _, raw := range list {
		if key, err := parseKey(raw); err == nil {
			kids[key.Kid]++
			all = append(all, key)
		}
	}
	for _, key := range all {
		if key.Kid == "" || kids[key.Kid] == 1 {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func parseKey(raw []byte) (Key, error) {
	jwk, err := jose.ParseJWK(raw)
	if err != nil {
		return Key{}, errors.Unwrap(err) // it says "jwk", and so do we
	}
	key := Key{Kid: jwk.Kid, Alg: jwk.Alg, Public: jwk.Public}
	if key.Alg == "" {
		key.Alg = AlgorithmFor(jwk.Public)
	}
	if !jose.Allows(Algorithms, key.Alg) {
		return Key{}, errors.New("not a key for ES256, EdDSA or RS256")
	}
	return key, nil
}

// AlgorithmFor returns the one of [Algorithms] that a key signs with unless told otherwise; "" if there is none.
func AlgorithmFor(pub crypto.PublicKey) string {
	for _, alg := range Algorithms {
		if jose.FitsKey(alg, pub) {
			return alg
		}
	}
	return ""
}

// Choose returns the key that the assertion's header means: the one of its kid or, where the header or the key has none,
// the only one for its algorithm.
func (a *Assertion) Choose(keys []Key) (Key, bool) {
	kid, alg := a.jws.Header.Kid, a.jws.Header.Alg
	var found []Key
	for _, key := range keys {
		switch {
		case !jose.Allows([]string{key.Alg}, alg):
		case kid != "" && kid == key.Kid:
			return key, true
		case kid == "" || key.Kid == "":
			found = append(found, key)
		}
	}
	if len(found) != 1 {
		return Key{}, false
	}
	return found[0], true
}

// Verify reports whether key signed the assertion.
func (a *Assertion) Verify(key Key) bool { return a.jws.Verify(key.Alg, key.Public) == nil }

// VerifyAny reports whether one of keys, the one that the assertion's header means, signed it. A second call that finds the
// same key costs nothing.
func (a *Assertion) VerifyAny(keys []Key) bool {
	key, ok := a.Choose(keys)
	if !ok {
		return false
	}
	if public, ok := key.Public.(interface{ Equal(crypto.PublicKey) bool }); !ok || a.tried == nil || !public.Equal(a.tried) {
		a.tried, a.verified = key.Public, a.Verify(key)
	}
	return a.verified
}

// VerifyNone takes the time of [Assertion.Verify] where there is no key, so that an answer does not tell by its delay that
// there is no such client.
func (a *Assertion) VerifyNone() {
	for _, pub := range nobody {
		if alg := a.jws.Header.Alg; jose.FitsKey(alg, pub) {
			_ = a.jws.Verify(alg, pub) // whatever it says
			return
		}
	}
}

// nobody are keys of the right form. That some signature verifies with them is of no consequence.
var nobody = func() []crypto.PublicKey {
	one, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), append(make([]byte, 31), 1))
	if err != nil {
		panic("assertion: " + err.Error())
	}
	n := new(big.Int).Lsh(big.NewInt(1), 2048)
	point := make([]byte, ed25519.PublicKeySize)
	for i := range point {
		point[i] = 0x66 // the base point of the curve
	}
	point[0] = 0x58
	return []crypto.PublicKey{
		&one.PublicKey,
		ed25519.PublicKey(point),
		&rsa.PublicKey{N: n.Sub(n, big.NewInt(1)), E: 65537},
	}
}()
