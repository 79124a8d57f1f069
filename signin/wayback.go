package signin

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// The query of the path that a browser comes back to may hold a user code, with which another device is linked. So storage has it only
// sealed, under a key that is not in storage.

// sealQuery seals a query that belongs to a path.
func (s *Logins) sealQuery(path, query string) (string, error) {
	aead, err := s.queryCipher()
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := io.ReadFull(s.rand, nonce); err != nil {
		return "", fmt.Errorf("signin: read random bits: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, []byte(query), []byte(path))), nil
}

// openQuery returns what [Logins.sealQuery] sealed for the path. The error is errOver if that was under another key.
func (s *Logins) openQuery(path, sealed string) (string, error) {
	aead, err := s.queryCipher()
	if err != nil {
		return "", err
	}
	text, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(text) < aead.NonceSize() {
		return "", errOver
	}
	query, err := aead.Open(nil, text[:aead.NonceSize()], text[aead.NonceSize():], []byte(path))
	if err != nil {
		return "", errOver
	}
	return string(query), nil
}

func (s *Logins) queryCipher() (cipher.AEAD, error) {
	block, err := aes.NewCipher(s.queryKey[:])
	if err != nil {
		return nil, fmt.Errorf("signin: seal a query: %w", err)
	}
	return cipher.NewGCM(block)
}

// wayBack splits a path into what is stored of it: the path alone, and its query, sealed; empty if there is none.
func (s *Logins) wayBack(path string) (alone, sealed string, err error) {
	alone, query, found := strings.Cut(path, "?")
	if !found {
		return alone, "", nil
	}
	sealed, err = s.sealQuery(alone, query)
	return alone, sealed, err
}
