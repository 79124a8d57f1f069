package jose

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ErrSignature is returned by [JWS.Verify] and [Verify] for a signature that does not verify, for any reason.
var ErrSignature = errors.New("jose: signature does not verify")

// A ParseError names the part of a token that was refused. Its text contains nothing of the token.
type ParseError struct {
	Part string // "size", "form", "header", "payload", "signature", or the name of a header parameter or member
	Err  error
}

func (e *ParseError) Error() string { return "jose: " + e.Part + ": " + e.Err.Error() }

// Unwrap returns the fault itself.
func (e *ParseError) Unwrap() error { return e.Err }

// Limits are the largest sizes that [ParseCompact] accepts.
type Limits struct {
	// Total is how many bytes the token may have. Zero means 16 KiB.
	Total int
	// Header is how many bytes the decoded header may have. Zero means 8 KiB.
	Header int
}

// A Header holds the header parameters that this service reads (RFC 7515 §4.1). An absent parameter is empty; `alg` is never absent.
// Other parameters are ignored.
type Header struct {
	Typ, Alg, Kid, Cty string
	JWK                json.RawMessage // the raw public key, for [ParseJWK]; nil if absent
	X5C                json.RawMessage // the raw certificates; nil if absent
}

// headerNames are the parameters whose names are refused in another case.
var headerNames = []string{"typ", "alg", "kid", "cty", "jwk", "crit"}

// A JWS is a parsed compact JWS. Its author is unknown until [JWS.Verify] has returned nil.
type JWS struct {
	Header  Header
	Payload []byte

	header    []byte
	input     []byte // the signing input (RFC 7515 §5.1)
	signature []byte
}

// ParseCompact reads token, a JWS in compact serialization (RFC 7515 §3.1, §7.1), and checks its form: the sizes, three parts,
// canonical base64url, and a header that is one JSON object (see [Object]). The header has an `alg`, known parameters only in
// their own case and type, and no `crit`, because this package supports no extension (RFC 7515 §4.1.11). The payload may be any
// bytes. The error is a *[ParseError].
func ParseCompact(token string, limits Limits) (*JWS, error) {
	if limits.Total == 0 {
		limits.Total = 16 << 10
	}
	if limits.Header == 0 {
		limits.Header = 8 << 10
	}
	if len(token) > limits.Total {
		return nil, &ParseError{"size", fmt.Errorf("longer than %d bytes", limits.Total)}
	}
	header, rest, ok1 := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || strings.IndexByte(signature, '.') >= 0 {
		return nil, &ParseError{"form", errors.New("not three parts separated by dots")}
	}
	if b64.DecodedLen(len(header)) > limits.Header {
		return nil, &ParseError{"size", fmt.Errorf("header longer than %d bytes", limits.Header)}
	}

	// One buffer holds the signing input and the three decoded parts.
	signed := len(header) + 1 + len(payload)
	buf := make([]byte, signed, signed+b64.DecodedLen(len(token)))
	copy(buf, token)
	j := &JWS{input: buf[:signed:signed]}
	for _, part := range [...]struct {
		name string
		text string
		to   *[]byte
	}{{"header", header, &j.header}, {"payload", payload, &j.Payload}, {"signature", signature, &j.signature}} {
		from := len(buf)
		var err error
		if buf, err = appendBase64(buf, part.text); err != nil {
			return nil, &ParseError{part.name, err}
		}
		*part.to = buf[from:len(buf):len(buf)]
	}
	if err := j.Header.parse(j.header); err != nil {
		if _, named := err.(*ParseError); !named {
			err = &ParseError{"header", err}
		}
		return nil, err
	}
	return j, nil
}

func (h *Header) parse(data []byte) error {
	s := scanner{text: string(data)}
	err := s.whole(func(name string, from, to int) error {
		var err error
		value := s.text[from:to]
		switch name {
		case "typ":
			h.Typ, err = String(value)
		case "alg":
			h.Alg, err = String(value)
		case "kid":
			h.Kid, err = String(value)
		case "cty":
			h.Cty, err = String(value)
		case "jwk":
			h.JWK = data[from:to:to]
		case "x5c":
			h.X5C = data[from:to:to]
		case "crit":
			err = errors.New("no critical extension is supported")
		default:
			return CheckCase(name, headerNames)
		}
		if err != nil {
			return &ParseError{name, err}
		}
		return nil
	})
	if err == nil && h.Alg == "" {
		return &ParseError{"alg", errMissing}
	}
	return err
}

// Encode returns the compact serialization: exactly the token that [ParseCompact] was given.
func (j *JWS) Encode() string {
	return b64.EncodeToString(j.header) + "." + b64.EncodeToString(j.Payload) + "." + b64.EncodeToString(j.signature)
}

// Verify verifies the signature with key and alg, which the caller has chosen. It returns [ErrSignature] if the signature does not
// verify, if the header names another algorithm (EdDSA and Ed25519 are the same), or if the type, curve or size of key does not
// fit alg.
func (j *JWS) Verify(alg string, key crypto.PublicKey) error {
	return (*Tables)(nil).VerifyJWS(j, alg, key)
}

// Sign signs header and payload with alg and returns the compact serialization. Both are JSON; the caller puts alg into the header.
// The error is about a key that does not fit alg, or comes from signer.
func Sign(signer crypto.Signer, alg string, header, payload []byte) (string, error) {
	a, ok := lookup(alg)
	if !ok || !a.fits(signer.Public()) {
		return "", fmt.Errorf("jose: the key does not fit algorithm %q", alg)
	}
	size := b64.EncodedLen(len(header)) + b64.EncodedLen(len(payload)) + b64.EncodedLen(maxSignature(signer.Public())) + 2
	out := make([]byte, 0, size)
	out = b64.AppendEncode(out, header)
	out = append(out, '.')
	out = b64.AppendEncode(out, payload)

	signature, err := signer.Sign(rand.Reader, a.digest(nil, out), a.options())
	if err == nil && a.curve != nil {
		signature, err = rawSignature(signature, a.size)
	}
	if err != nil {
		return "", fmt.Errorf("jose: sign: %w", err)
	}
	out = append(out, '.')
	return string(b64.AppendEncode(out, signature)), nil
}
