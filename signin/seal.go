package signin

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
)

// sealText seals a text for storage, by AES-256-GCM with a random nonce in front. with is authenticated, and not stored.
func sealText(rand io.Reader, key [32]byte, text, with []byte) ([]byte, error) {
	aead, err := aeadOf(key)
	if err != nil {
		return nil, fmt.Errorf("signin: seal: %w", err)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(text)+aead.Overhead())
	if _, err := io.ReadFull(rand, nonce); err != nil {
		return nil, fmt.Errorf("signin: read random bits: %w", err)
	}
	return aead.Seal(nonce, nonce, text, with), nil
}

// openText returns the text that [sealText] sealed.
func openText(key [32]byte, raw, with []byte) ([]byte, error) {
	aead, err := aeadOf(key)
	if err != nil {
		return nil, err
	}
	if len(raw) < aead.NonceSize() {
		return nil, errors.New("too short")
	}
	return aead.Open(nil, raw[:aead.NonceSize()], raw[aead.NonceSize():], with)
}

func aeadOf(key [32]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
