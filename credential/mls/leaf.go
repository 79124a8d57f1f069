package mls

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/credential"
)

// A CipherSuite is a cipher suite of MLS (RFC 9420 §17.1). Here it tells how a signature key is written.
type CipherSuite uint16

// curve returns the curve of the suite's signatures, nil for Ed25519, and false for a suite whose signatures are not supported: Ed448 is
// not, because no credential can be issued for such a key.
func (s CipherSuite) curve() (c elliptic.Curve, ok bool) {
	switch s {
	case 1, 3:
		return nil, true
	case 2:
		return elliptic.P256(), true
	case 5:
		return elliptic.P521(), true
	case 7:
		return elliptic.P384(), true
	}
	return nil, false
}

var (
	errSuite = errors.New("a cipher suite whose signatures are not supported: 1, 2, 3, 5 and 7 are")
	errCurve = errors.New("a key of another algorithm or curve than that of the cipher suite")
)

// SignatureKey returns key as a leaf contains it (RFC 9420 §5.1.1): the 32 bytes of an Ed25519 key, or the uncompressed point of an ECDSA
// key. The error is a *[credential.Error] with [credential.CodeAlgorithm] for a suite that is not supported, or [credential.CodeKey] for
// a key that is not one of the suite.
func (s CipherSuite) SignatureKey(key crypto.PublicKey) ([]byte, error) {
	curve, ok := s.curve()
	if !ok {
		return nil, fault("cipher_suite", credential.CodeAlgorithm, errSuite)
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		if curve == nil && len(key) == ed25519.PublicKeySize {
			return bytes.Clone(key), nil
		}
	case *ecdsa.PublicKey:
		if curve != nil && key.Curve == curve {
			b, err := key.Bytes()
			if err != nil {
				return nil, fault("signature_key", credential.CodeKey, err)
			}
			return b, nil
		}
	}
	return nil, fault("signature_key", credential.CodeKey, errCurve)
}

// Nonce returns the nonce of the key binding in a credential for a leaf: the SHA-256 of its signature_key in base64url.
func Nonce(signatureKey []byte) string {
	sum := sha256.Sum256(signatureKey)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A Leaf is the LeafNode that contains a credential (RFC 9420 §7.2). Its signature is checked by the caller's implementation of MLS.
type Leaf struct {
	CipherSuite CipherSuite
	// SignatureKey is its signature_key.
	SignatureKey []byte
	// Lifetime is that of a leaf of the source key_package: its credential is bound to the domain of the device. Nil for all others:
	// their credential is bound to the room.
	Lifetime *Lifetime
	// Room is the URI of the room that the group belongs to. Not used if there is a Lifetime.
	Room string
	// FromKeyPackage also accepts, without a Lifetime, a credential that is bound to the domain of the device: a member keeps the
	// credential of its KeyPackage as long as its commits bring no new one.
	FromKeyPackage bool
	// Time is when the leaf was sent, as far as the caller can trust that. The credential must be valid then, and its status must be
	// good now (RFC 9420 §5.3.2). Zero, or a time to come, means now.
	Time time.Time
}

// A Lifetime says when a KeyPackage is valid, in seconds since 1970 (RFC 9420 §7.2).
type Lifetime struct{ NotBefore, NotAfter uint64 }

// MaxLifetime is the longest lifetime of a KeyPackage that [Validate] accepts (RFC 9420 §7.2).
const MaxLifetime = 120 * 24 * time.Hour

var errLifetime = fmt.Errorf("must end after it begins, by at most %d days", MaxLifetime/(24*time.Hour))

// check checks a lifetime, which may be nil, at a time. The first error is a refusal. The second one means that the lifetime is over, and
// is right in itself.
func (l *Lifetime) check(at time.Time, leeway time.Duration) (refused, over error) {
	switch {
	case l == nil:
		return nil, nil
	case l.NotAfter <= l.NotBefore, l.NotAfter-l.NotBefore > uint64(MaxLifetime/time.Second):
		return fault("lifetime", credential.CodeAge, errLifetime), nil
	case seconds(at.Add(leeway)) < l.NotBefore:
		return fault("lifetime", credential.CodeNotYetValid, nil), nil
	case seconds(at.Add(-leeway)) > l.NotAfter:
		return nil, fault("lifetime", credential.CodeExpired, nil)
	}
	return nil, nil
}

// seconds returns the whole seconds of t since 1970, 0 for earlier times.
func seconds(t time.Time) uint64 { return uint64(max(t.Unix(), 0)) }
