package sdjwt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/imidentity/issuer/internal/jose"
)

// A Disclosure is one claim of which the issuer signed only a digest (RFC 9901 §4.2).
type Disclosure struct {
	// Claim is the claim at the top level that it is, or is in.
	Claim string
	// Name is its name in the object that it belongs to; empty for an element of an array.
	Name string
	// Value is its value, in JSON. It contains digests if there are disclosures inside it.
	Value json.RawMessage
	// Text is the disclosure itself, in base64url, and Digest its digest.
	Text, Digest string

	element, used bool
}

// Reserved names of claims (RFC 9901 §4.1).
const (
	digestsName   = "_sd"
	elementName   = "..."
	algorithmName = "_sd_alg"
)

// parseDisclosure reads a disclosure: an array of salt, name and value, or of salt and value for an element of an array (RFC 9901
// §4.2.1, §4.2.2).
func parseDisclosure(text string) (Disclosure, error) {
	data, err := jose.DecodeBase64(text)
	if err != nil {
		return Disclosure{}, err
	}
	var parts []string
	if err := jose.ArrayText(data, func(value string) error { parts = append(parts, value); return nil }); err != nil {
		return Disclosure{}, err
	}
	if len(parts) != 2 && len(parts) != 3 {
		return Disclosure{}, errors.New("not an array of two or three elements")
	}
	if _, err := jose.String(parts[0]); err != nil {
		return Disclosure{}, fmt.Errorf("salt: %w", err)
	}
	d := Disclosure{Text: text, Digest: digest(text), Value: json.RawMessage(parts[len(parts)-1]), element: len(parts) == 2}
	if !d.element {
		if d.Name, err = jose.String(parts[1]); err != nil {
			return Disclosure{}, fmt.Errorf("name: %w", err)
		}
	}
	return d, nil
}

// newDisclosure makes the disclosure of a claim whose value is a string (RFC 9901 §4.2.1). The error is about rand.
func newDisclosure(rand io.Reader, name, value string) (text string, err error) {
	salt, err := newSalt(rand)
	if err != nil {
		return "", err
	}
	array := append(appendString([]byte{'['}, salt), ',')
	array = append(appendString(array, name), ',')
	array = append(appendString(array, value), ']')
	return base64.RawURLEncoding.EncodeToString(array), nil
}

// newSalt returns a salt of 128 random bits (RFC 9901 §9.3).
func newSalt(rand io.Reader) (string, error) {
	var salt [16]byte
	if _, err := io.ReadFull(rand, salt[:]); err != nil {
		return "", fmt.Errorf("sdjwt: make a salt: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(salt[:]), nil
}

// newDecoy returns a digest without a disclosure (RFC 9901 §4.2.5). The error is about rand.
func newDecoy(rand io.Reader) (string, error) {
	salt, err := newSalt(rand)
	return digest(salt), err
}

// appendString appends s as JSON.
func appendString(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		plain = plain && ' ' <= s[i] && s[i] < 0x7f && s[i] != '"' && s[i] != '\\'
	}
	if plain {
		return append(append(append(b, '"'), s...), '"')
	}
	text, _ := json.Marshal(s) // a string has no error
	return append(b, text...)
}

// disclosureName names the disclosure at an index, for errors.
func disclosureName(i int) string { return "disclosure " + strconv.Itoa(i+1) }
