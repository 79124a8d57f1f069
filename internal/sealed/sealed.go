// Package sealed seals secrets by a passphrase: argon2id (RFC 9106) makes a key of it, and AES-256-GCM encrypts with that key.
//
// A [Box] has its parameters with it, so that later releases can raise them. They have upper bounds: a box may come from a stranger, and
// opening it must not exhaust the machine. Each Seal takes another salt, so that no key encrypts twice.
package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// ErrPassphrase is returned by [Box.Open] if the passphrase is not that of the box, or if the box or its context was changed.
var ErrPassphrase = errors.New("sealed: the passphrase is wrong")

// A ParameterError says which parameter of a box is not acceptable.
type ParameterError struct {
	Parameter string
	Err       error
}

// Error says for example "sealed: memory_kib: not from 8192 to 1048576".
func (e *ParameterError) Error() string { return "sealed: " + e.Parameter + ": " + e.Err.Error() }

// Unwrap returns the fault.
func (e *ParameterError) Unwrap() error { return e.Err }

// The values of the parameters that Seal uses: the second choice of RFC 9106 §4, for machines without 2 GiB to spare.
const (
	version    = 1
	kdf        = "argon2id"
	aead       = "A256GCM"
	passes     = 3
	memoryKiB  = 64 << 10
	lanes      = 4
	saltBytes  = 16
	keyBytes   = 32
	nonceBytes = 12
)

// The bounds of what Open does for a box.
const (
	minMemoryKiB = 8 << 10
	maxMemoryKiB = 512 << 10
	maxWork      = 2 << 20 // passes times KiB
	maxLanes     = 16
	maxText      = 1 << 20
)

// A Box is a sealed secret, for JSON.
type Box struct {
	Version   int    `json:"version"`
	KDF       string `json:"kdf"`
	Passes    uint32 `json:"passes"`
	MemoryKiB uint32 `json:"memory_kib"`
	Lanes     uint8  `json:"lanes"`
	Salt      []byte `json:"salt"`
	AEAD      string `json:"aead"`
	Nonce     []byte `json:"nonce"`
	Text      []byte `json:"text"`
}

// Check returns a [*ParameterError] for a box that Open would refuse whatever the passphrase is.
func (b *Box) Check() error {
	wrong := func(parameter, format string, args ...any) error {
		return &ParameterError{parameter, fmt.Errorf(format, args...)}
	}
	switch {
	case b.Version != version:
		return wrong("version", "%d, and this release knows %d", b.Version, version)
	case b.KDF != kdf:
		return wrong("kdf", "not %s", kdf)
	case b.AEAD != aead:
		return wrong("aead", "not %s", aead)
	case b.MemoryKiB < minMemoryKiB || b.MemoryKiB > maxMemoryKiB:
		return wrong("memory_kib", "not from %d to %d", minMemoryKiB, maxMemoryKiB)
	case b.Passes < 1 || uint64(b.Passes)*uint64(b.MemoryKiB) > maxWork:
		return wrong("passes", "not from 1 to %d with this memory", maxWork/b.MemoryKiB)
	case b.Lanes < 1 || b.Lanes > maxLanes:
		return wrong("lanes", "not from 1 to %d", maxLanes)
	case len(b.Salt) != saltBytes:
		return wrong("salt", "not %d bytes", saltBytes)
	case len(b.Nonce) != nonceBytes:
		return wrong("nonce", "not %d bytes", nonceBytes)
	case len(b.Text) > maxText:
		return wrong("text", "more than %d bytes", maxText)
	}
	return nil
}

// cipher returns the cipher of a passphrase, and the header of the box, which is authenticated with the text.
func (b *Box) cipher(passphrase []byte) (cipher.AEAD, []byte, error) {
	key := argon2.IDKey(passphrase, b.Salt, b.Passes, b.MemoryKiB, b.Lanes, keyBytes)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	c, err := cipher.NewGCM(block)
	return c, fmt.Appendf(nil, "issuer sealed %d %s %d %d %d %s", b.Version, b.KDF, b.Passes, b.MemoryKiB, b.Lanes, b.AEAD), err
}

// Seal seals a secret by a passphrase.
func Seal(passphrase, secret []byte) (Box, error) {
	b := Box{
		Version: version, KDF: kdf, Passes: passes, MemoryKiB: memoryKiB, Lanes: lanes, AEAD: aead,
		Salt: make([]byte, saltBytes), Nonce: make([]byte, nonceBytes),
	}
	_, _ = rand.Read(b.Salt) // never fails
	_, _ = rand.Read(b.Nonce)
	c, header, err := b.cipher(passphrase)
	if err != nil {
		return Box{}, fmt.Errorf("sealed: %w", err)
	}
	b.Text = c.Seal(nil, b.Nonce, secret, header)
	return b, nil
}

// Open returns the secret of a box. The error is [ErrPassphrase] or a [*ParameterError].
func (b *Box) Open(passphrase []byte) ([]byte, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	c, header, err := b.cipher(passphrase)
	if err != nil {
		return nil, fmt.Errorf("sealed: %w", err)
	}
	secret, err := c.Open(nil, b.Nonce, b.Text, header)
	if err != nil {
		return nil, ErrPassphrase
	}
	return secret, nil
}
