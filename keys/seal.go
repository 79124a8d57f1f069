package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// ErrWrongKey is returned for a sealed secret that does not open: it was sealed under another key-encryption key, or was changed
// in the database.
var ErrWrongKey = errors.New("keys: sealed under another key-encryption key, or changed since")

// The first byte of a sealed secret is the version of its form. In form 2, the id of the key-encryption key follows. AES-256-GCM follows:
// a random nonce of 12 bytes, the ciphertext and the tag. The id is in clear, and a secret opens under no other key.
const (
	sealUnnamed = 1 // the form of earlier releases
	sealNamed   = 2
)

// kekIDSize is how many bytes of the id of a key-encryption key there are.
const kekIDSize = 8

// A kek is a key-encryption key.
type kek struct {
	id   string // in hexadecimal
	aead cipher.AEAD
}

// KEKID returns the id of a key-encryption key: 16 hexadecimal digits that tell nothing about it.
func KEKID(key [32]byte) string {
	id := Derive(key, "id of a key-encryption key")
	return hex.EncodeToString(id[:kekIDSize])
}

func newKEK(key [32]byte) kek {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // an AES-256 key has 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size of GCM
	}
	return kek{KEKID(key), aead}
}

// A Sealer encrypts secrets for the database. It is safe for concurrent use.
type Sealer struct {
	keys []kek
	used atomic.Pointer[sealing]
}

// A sealing says how a Sealer seals: under the key with an id, in a form.
type sealing struct {
	form byte
	id   string
}

// NewSealer returns a Sealer that opens what is sealed under key or one of others. It seals under key, in the form that all releases know,
// until a [Cluster] has it do as the database says.
func NewSealer(key [32]byte, others ...[32]byte) *Sealer {
	s := new(Sealer)
	for _, k := range append([][32]byte{key}, others...) {
		s.keys = append(s.keys, newKEK(k))
	}
	s.used.Store(&sealing{sealUnnamed, s.keys[0].id})
	return s
}

// find returns the key of an id.
func (s *Sealer) find(id string) (kek, bool) {
	i := slices.IndexFunc(s.keys, func(k kek) bool { return k.id == id })
	if i < 0 {
		return kek{}, false
	}
	return s.keys[i], true
}

// unknown is the error for a key that the Sealer does not have.
func (s *Sealer) unknown(name, id string) error {
	var have []string
	for _, k := range s.keys {
		have = append(have, k.id)
	}
	return fmt.Errorf("%w: %s belongs to the key with the id %s, and this issuer has %s", ErrWrongKey, name, id,
		strings.Join(have, " and "))
}

// Seal encrypts plain as the secret called name. It opens under that name only. The error is [ErrWrongKey] if the secrets of the database
// are sealed under a key that the Sealer does not have.
func (s *Sealer) Seal(name string, plain []byte) ([]byte, error) {
	u := s.used.Load()
	key, ok := s.find(u.id)
	if !ok {
		return nil, s.unknown("what is sealed now", u.id)
	}
	return key.seal(u.form, name, plain), nil
}

func (k kek) seal(form byte, name string, plain []byte) []byte {
	head := []byte{form}
	if form == sealNamed {
		id, err := hex.DecodeString(k.id)
		if err != nil {
			panic(err) // newKEK wrote it
		}
		head = append(head, id...)
	}
	return k.aead.Seal(head, nil, plain, []byte(name))
}

// Open decrypts the secret that [Sealer.Seal] sealed under name, or returns [ErrWrongKey].
func (s *Sealer) Open(name string, sealed []byte) ([]byte, error) {
	plain, _, err := s.open(name, sealed)
	return plain, err
}

// open is Open, and returns the id of the key.
func (s *Sealer) open(name string, sealed []byte) (plain []byte, id string, err error) {
	form, id, text := parseSealed(sealed)
	switch form {
	case sealUnnamed:
		for _, k := range s.keys {
			if plain, err := k.aead.Open(nil, nil, text, []byte(name)); err == nil {
				return plain, k.id, nil
			}
		}
		return nil, "", fmt.Errorf("%w: %s", ErrWrongKey, name)
	case sealNamed:
		k, ok := s.find(id)
		if !ok {
			return nil, id, s.unknown(name, id)
		}
		plain, err := k.aead.Open(nil, nil, text, []byte(name))
		if err != nil {
			return nil, id, fmt.Errorf("%w: %s", ErrWrongKey, name)
		}
		return plain, id, nil
	}
	return nil, "", fmt.Errorf("keys: open %s: sealed in a form that this release does not know", name)
}

// parseSealed returns the form of a sealed secret, the id of its key if the form has one, and the rest. The form is 0 if it is not known.
func parseSealed(sealed []byte) (form byte, id string, text []byte) {
	switch {
	case len(sealed) > 0 && sealed[0] == sealUnnamed:
		return sealUnnamed, "", sealed[1:]
	case len(sealed) > kekIDSize && sealed[0] == sealNamed:
		return sealNamed, hex.EncodeToString(sealed[1 : 1+kekIDSize]), sealed[1+kekIDSize:]
	}
	return 0, "", nil
}

// current reports whether a secret is sealed as new ones are.
func (s *Sealer) current(sealed []byte) bool {
	u := s.used.Load()
	form, id, _ := parseSealed(sealed)
	return form == u.form && (form == sealUnnamed || id == u.id)
}

// follow has new secrets sealed as the lasting secret is: under its key, in its form. So all nodes change the key at once.
func (s *Sealer) follow(sealed []byte) {
	form, id, _ := parseSealed(sealed)
	if u := s.used.Load(); form == 0 || form == u.form && (form == sealUnnamed || id == u.id) {
		return
	}
	if form == sealUnnamed { // the rotation back to an unnamed form does not exist: a backup was restored
		_, id, _ = s.open(clusterSecret, sealed)
	}
	s.used.Store(&sealing{form, id})
}
