// Package keys holds the issuer's secrets: the keys that it signs with, the cluster secret that other secrets are
// derived from, and the key-encryption key that both are kept under.
//
// [OpenRing] opens the signing keys of a database and makes the first one. The [Ring] signs, finds the public key of a
// kid, and publishes all of them as a JWK Set (RFC 7517 §5); [Ring.Run] has each key published before it signs, and
// follows what others do to the keys. A kid is the RFC 7638 thumbprint of its key.
//
// What a reader would get wrong: which key signs is nowhere written down. Each row says from when to when its key signs,
// and the clock tells the rest, so that all nodes change over at the same moment and a node without its database does too.
//
// What the database holds is sealed by a [Sealer] under a key that lies elsewhere, so that a copy of the database
// alone signs nothing. The package knows nothing of tokens or HTTP.
package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// ErrWrongKey is returned for a sealed secret that does not open: the key-encryption key is not the one that it was
// sealed under, or somebody changed what the database holds.
var ErrWrongKey = errors.New("keys: sealed under another key-encryption key, or changed since")

// sealVersion is the first octet of what a [Sealer] returns: AES-256-GCM, then a random nonce of 12 octets,
// ciphertext and tag.
const sealVersion = 1

// A Sealer encrypts secrets for the database. It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// NewSealer returns a Sealer under the key-encryption key kek.
func NewSealer(kek [32]byte) *Sealer {
	block, err := aes.NewCipher(kek[:])
	if err != nil {
		panic(err) // 32 octets are a key of AES-256
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return &Sealer{aead}
}

// Seal encrypts plain as the secret called name: it opens under that name only.
func (s *Sealer) Seal(name string, plain []byte) ([]byte, error) {
	return s.aead.Seal([]byte{sealVersion}, nil, plain, []byte(name)), nil
}

// Open decrypts what [Sealer.Seal] returned for name, or returns [ErrWrongKey].
func (s *Sealer) Open(name string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, fmt.Errorf("keys: open %s: sealed in a form that this release does not know", name)
	}
	plain, err := s.aead.Open(nil, nil, sealed[1:], []byte(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrWrongKey, name)
	}
	return plain, nil
}
