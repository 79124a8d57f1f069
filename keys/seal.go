// Package keys manages the issuer's secrets: the signing keys, the cluster secret from which other secrets are derived, and the
// key-encryption key under which both are sealed.
//
// [OpenRing] opens the signing keys of a database and makes the first one. The [Ring] signs, looks up public keys by kid, and
// publishes the public keys as a JWK Set (RFC 7517 §5). [Ring.Run] publishes each key before it signs, and reads the changes
// that other processes make. A kid is the RFC 7638 thumbprint of its key.
//
// Note that no row says which key signs now. Each row holds the time from which its key signs and the time at which it
// retires; the signing key follows from the clock. So all nodes switch at the same moment, even a node that has lost its
// database.
//
// The database holds only sealed secrets, and the key-encryption key is stored elsewhere: a copy of the database alone cannot
// sign. The package knows nothing of tokens or HTTP.
package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
)

// ErrWrongKey is returned for a sealed secret that does not open: it was sealed under another key-encryption key, or was changed
// in the database.
var ErrWrongKey = errors.New("keys: sealed under another key-encryption key, or changed since")

// sealVersion is the first byte of a sealed secret. AES-256-GCM follows: a random nonce of 12 bytes, the ciphertext and the tag.
const sealVersion = 1

// A Sealer encrypts secrets for the database. It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// NewSealer returns a Sealer under the key-encryption key kek.
func NewSealer(kek [32]byte) *Sealer {
	block, err := aes.NewCipher(kek[:])
	if err != nil {
		panic(err) // an AES-256 key has 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return &Sealer{aead}
}

// Seal encrypts plain as the secret called name. It opens under that name only.
func (s *Sealer) Seal(name string, plain []byte) ([]byte, error) {
	return s.aead.Seal([]byte{sealVersion}, nil, plain, []byte(name)), nil
}

// Open decrypts the secret that [Sealer.Seal] sealed under name, or returns [ErrWrongKey].
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
