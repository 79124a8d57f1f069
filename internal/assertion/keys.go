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

// Algorithms are the algorithms that a client may sign with. EdDSA and Ed25519 are two names of the same one.
var Algorithms = []string{jose.ES256, jose.EdDSA, jose.Ed25519, jose.RS256}

// A Key is a public key that a client is registered with.
type Key struct {
	Kid    string // "" if it has none
	Alg    string // the only algorithm that it may be used with (RFC 8725 §3.1)
	Public crypto.PublicKey
}

// ParseKeys reads the JWK Set that is registered for a client. No key in it is skipped: each must be a public key for signatures by
// one of [Algorithms]. If there are several keys, each must have a different kid, so that an assertion can name its key.
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

// ReadKeys reads the JWK Set that a client publishes. Keys that cannot verify an assertion are skipped (RFC 7517 §5), and so are
// keys that share a kid. If no key of a well-formed set is left, the result is empty: the client has withdrawn all keys.
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
		return Key{}, errors.Unwrap(err) // without the prefix "jwk", because the caller names the key
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

// AlgorithmFor returns the default algorithm of a key, one of [Algorithms], and "" if there is none.
func AlgorithmFor(pub crypto.PublicKey) string {
	for _, alg := range Algorithms {
		if jose.FitsKey(alg, pub) {
			return alg
		}
	}
	return ""
}

// Choose returns the key that the assertion's header names: the key with its kid or, if the header or the key has no kid, the only
// key for its algorithm.
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

// VerifyAny reports whether the key that [Assertion.Choose] returns signed the assertion. A second call that finds the same key
// costs nothing.
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

// VerifyNone takes as long as [Assertion.Verify]. It is called if there is no key, so that the time of the answer does not reveal
// that there is no such client.
func (a *Assertion) VerifyNone() {
	for _, pub := range nobody {
		if alg := a.jws.Header.Alg; jose.FitsKey(alg, pub) {
			_ = a.jws.Verify(alg, pub) // the result does not matter
			return
		}
	}
}

// nobody holds well-formed keys of no client. It does not matter if a signature verifies with one of them.
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
