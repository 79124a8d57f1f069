package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes that algorithms name
	_ "crypto/sha512"
	"slices"
)

// The signature algorithms that this package knows (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2). It does not know HMAC and
// "none", not even their names. EdDSA and Ed25519 are two names of one algorithm here, because Ed448 is not supported.
const (
	ES256   = "ES256"
	ES384   = "ES384"
	ES512   = "ES512"
	EdDSA   = "EdDSA"
	Ed25519 = "Ed25519"
	PS256   = "PS256"
	RS256   = "RS256"
)

// RSA keys have at least 2048 bits (RFC 7518 §3.3) and at most 8192, because the cost of verification grows with the square of the
// size.
const (
	minRSA = 2048
	maxRSA = 8192
)

// An algorithm describes how a signature is made. Its curve is nil except for ECDSA.
type algorithm struct {
	hash  crypto.Hash // 0: the message itself is signed
	curve elliptic.Curve
	size  int // bytes of one coordinate, ECDSA only
	rsa   bool
	pss   bool
}

// lookup returns the algorithm called name, and false if there is none. It runs for every request, and a switch allocates nothing.
func lookup(name string) (algorithm, bool) {
	switch name {
	case ES256:
		return algorithm{hash: crypto.SHA256, curve: elliptic.P256(), size: 32}, true
	case ES384:
		return algorithm{hash: crypto.SHA384, curve: elliptic.P384(), size: 48}, true
	case ES512:
		return algorithm{hash: crypto.SHA512, curve: elliptic.P521(), size: 66}, true
	case EdDSA, Ed25519:
		return algorithm{}, true
	case PS256:
		return algorithm{hash: crypto.SHA256, rsa: true, pss: true}, true
	case RS256:
		return algorithm{hash: crypto.SHA256, rsa: true}, true
	}
	return algorithm{}, false
}

// fits reports whether pub is a key for this algorithm.
func (a algorithm) fits(pub crypto.PublicKey) bool {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		return pub != nil && a.curve != nil && pub.Curve == a.curve
	case ed25519.PublicKey:
		return a == algorithm{} && len(pub) == ed25519.PublicKeySize
	case *rsa.PublicKey:
		return pub != nil && a.rsa && pub.N != nil && pub.N.BitLen() >= minRSA && pub.N.BitLen() <= maxRSA
	}
	return false
}

// FitsKey reports whether alg is known and pub, a *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey, is a
// key of its type, curve and size.
func FitsKey(alg string, pub crypto.PublicKey) bool {
	a, ok := lookup(alg)
	return ok && a.fits(pub)
}

// AlgorithmFor returns the default algorithm of pub: PS256 for RSA, EdDSA for Ed25519, the one of the curve for ECDSA. It returns
// "" for a key that no algorithm fits.
func AlgorithmFor(pub crypto.PublicKey) string {
	for _, alg := range [...]string{ES256, ES384, ES512, EdDSA, PS256} {
		if FitsKey(alg, pub) {
			return alg
		}
	}
	return ""
}

// Allows reports whether alg, the `alg` of a header, is in list. EdDSA and Ed25519 count as the same name.
func Allows(list []string, alg string) bool {
	switch alg {
	case EdDSA, Ed25519:
		return slices.Contains(list, EdDSA) || slices.Contains(list, Ed25519)
	}
	return slices.Contains(list, alg)
}
