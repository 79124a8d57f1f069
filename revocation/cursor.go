package revocation

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Errors of cursors. All but [ErrCursor] mean that the caller needs a fresh start, and so do [ErrGap] and [ErrAhead].
var (
	// ErrCursor means that a text is no cursor that this issuer gave to this caller.
	ErrCursor = errors.New("revocation: not a cursor of this issuer for this caller")
	// ErrCursorAge means that a cursor is older than [CursorLife].
	ErrCursorAge = errors.New("revocation: the cursor is too old")
	// ErrCursorDomains means that the caller had other domains when it was given the cursor.
	ErrCursorDomains = errors.New("revocation: the caller's domains have changed since the cursor")
)

// CursorLife is how long a cursor can be used. An access token that was valid when the cursor was made has expired by then, so
// what a caller still keeps from that time is worth nothing.
const CursorLife = LongestToken + skew

// A cursor is a position in the revocations for one caller. Its text is encrypted, since the distance of two numbers would tell
// how much happens in domains of others, and with a random nonce, since equal texts would tell that nothing did.
type cursor struct {
	after int64
	at    time.Time // whole seconds
}

// A sealer writes and reads the cursors of one caller.
type sealer struct {
	aead    cipher.AEAD
	bound   []byte  // authenticated with each cursor
	domains [8]byte // digest of the caller's domains
	random  io.Reader
}

const (
	cursorVersion = 1
	cursorSize    = 1 + 8 + 8 + 8 // version, number, seconds, domains
)

// openCursor reads the text of a cursor that was sealed under one of the keys that are accepted now.
func (f *Feed) openCursor(c Caller, text string) (cursor, error) {
	keys, err := f.cfg.CursorKeys()
	if err != nil {
		return cursor{}, err
	}
	for _, key := range keys {
		s, err := f.sealerOf(c, key)
		if err != nil {
			return cursor{}, err
		}
		if given, err := s.open(text, f.cfg.Now()); !errors.Is(err, ErrCursor) {
			return given, err
		}
	}
	return cursor{}, ErrCursor
}

// sealerOf returns the sealer of a caller under one of the keys of all.
func (f *Feed) sealerOf(c Caller, key [32]byte) (*sealer, error) {
	block, err := aes.NewCipher(keyed(key, c.ID))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	s := &sealer{aead: aead, bound: []byte(f.cfg.Issuer + "\n" + c.ID), random: f.cfg.Rand}
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(c.Domains)), " ")))
	copy(s.domains[:], sum[:])
	return s, nil
}

// seal returns the text of a cursor.
func (s *sealer) seal(c cursor) (string, error) {
	text := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+cursorSize+s.aead.Overhead())
	if _, err := io.ReadFull(s.random, text); err != nil {
		return "", fmt.Errorf("revocation: make a cursor: %w", err)
	}
	plain := append(make([]byte, 0, cursorSize), cursorVersion)
	plain = binary.BigEndian.AppendUint64(plain, uint64(c.after))
	plain = binary.BigEndian.AppendUint64(plain, uint64(c.at.Unix()))
	plain = append(plain, s.domains[:]...)
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(text, text, plain, s.bound)), nil
}

// open reads the text of a cursor at now.
func (s *sealer) open(text string, now time.Time) (cursor, error) {
	size := s.aead.NonceSize() + cursorSize + s.aead.Overhead()
	if len(text) != base64.RawURLEncoding.EncodedLen(size) {
		return cursor{}, ErrCursor
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sealed) != size {
		return cursor{}, ErrCursor
	}
	nonce, rest := sealed[:s.aead.NonceSize()], sealed[s.aead.NonceSize():]
	plain, err := s.aead.Open(nil, nonce, rest, s.bound)
	if err != nil || len(plain) != cursorSize || plain[0] != cursorVersion {
		return cursor{}, ErrCursor
	}
	c := cursor{
		after: int64(binary.BigEndian.Uint64(plain[1:])),
		at:    time.Unix(int64(binary.BigEndian.Uint64(plain[9:])), 0),
	}
	switch age := now.Sub(c.at); {
	case age > CursorLife:
		return cursor{}, ErrCursorAge
	case age < -skew:
		return cursor{}, ErrAhead
	case string(plain[17:]) != string(s.domains[:]):
		return cursor{}, ErrCursorDomains
	}
	return c, nil
}

// keyed returns the key of a caller, made from one for all.
func keyed(key [32]byte, caller string) []byte {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte(caller))
	return h.Sum(nil)
}
