// Package sdjwt makes, reads, presents and verifies credentials of devices in the format SD-JWT VC (draft-ietf-oauth-sd-jwt-vc), on
// Selective Disclosure for JWTs (RFC 9901).
//
// An issuer fills a [VC] and signs it. The holder reads the text with [Parse] and makes a presentation of it with [Token.Present]: it
// shows the handle or not, and proves that it has the credential's key. A verifier calls [Verify] with the text, and with the audience
// and nonce that it asked for.
//
// Below that, [Token] is an SD-JWT of any content: its claims, disclosures and key binding. A program that uses it without [Verify] must
// also find the issuer's key and check the claims.
//
// The package is strict, so that a text has one meaning: canonical base64url, JSON without repeated members, and no digest, disclosure
// or reserved name in a place where RFC 9901 does not allow it. The only hash is SHA-256. The JSON serialization (RFC 9901 §8) is not
// supported.
package sdjwt

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

// Limits of a text that [Parse] accepts. The credential of a device has about 1000 bytes and at most one disclosure.
const (
	MaxSize        = 16 << 10 // of the whole text, in bytes; of other tokens, too
	MaxDisclosures = 64
	maxBinding     = 8 << 10 // of the key binding, in bytes
	maxDepth       = 32      // of the claims with all disclosures, as of every JSON text that package jose reads
)

// A Token is an SD-JWT, with a key binding or without (RFC 9901 §4). Its form was checked, and that its disclosures fit its digests.
// Its author is unknown until [Token.VerifySignature] has returned nil.
type Token struct {
	// Typ, Alg and Kid are of the header of the issuer-signed JWT. Typ and Kid may be empty.
	Typ, Alg, Kid string
	// KeyBinding is nil if there is none.
	KeyBinding *KeyBinding

	text        string
	jws         *jose.JWS
	disclosures []Disclosure
	claims      []member // the processed payload
	hiding      []string // top-level claims that contain digests
}

// Parse reads an SD-JWT in compact serialization, with a key binding or without, and processes its disclosures (RFC 9901 §7.1, steps 1,
// 2d, 3, 4 and 5). It verifies no signature and checks no claim. The error is a [*credential.Error] with [credential.CodeMalformed],
// CodeTooLarge, CodeAlgorithm, CodeDisclosure or CodeBinding.
func Parse(text string) (*Token, error) {
	if len(text) > MaxSize {
		return nil, refuse("", credential.CodeTooLarge, "longer than %d bytes", MaxSize)
	}
	signed, rest, ok := strings.Cut(text, "~")
	if !ok {
		return nil, refuse("", credential.CodeMalformed, "not an SD-JWT: it has no tilde") // a JWT
	}
	if strings.Count(rest, "~") > MaxDisclosures {
		return nil, refuse("", credential.CodeTooLarge, "more than %d disclosures", MaxDisclosures)
	}
	jws, err := jose.ParseCompact(signed, jose.Limits{Total: MaxSize})
	if err != nil {
		return nil, &credential.Error{Code: credential.CodeMalformed, Err: err}
	}
	t := &Token{Typ: jws.Header.Typ, Alg: jws.Header.Alg, Kid: jws.Header.Kid, text: text, jws: jws}
	parts := strings.Split(rest, "~")
	last := len(parts) - 1
	for i, part := range parts[:last] {
		d, err := parseDisclosure(part)
		if err != nil {
			return nil, &credential.Error{Part: disclosureName(i), Code: credential.CodeMalformed, Err: err}
		}
		t.disclosures = append(t.disclosures, d)
	}
	if err := t.process(); err != nil {
		return nil, err
	}
	if parts[last] != "" {
		if t.KeyBinding, err = parseBinding(parts[last]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// String returns the text that was parsed.
func (t *Token) String() string { return t.text }

// Payload returns the payload of the issuer-signed JWT: a JSON object with digests.
func (t *Token) Payload() []byte { return slices.Clone(t.jws.Payload) }

// Claims returns the processed payload: a JSON object of the clear claims and of those that are disclosed, without digests (RFC 9901
// §7.1, step 3).
func (t *Token) Claims() []byte { return object(t.claims) }

// Disclosures returns the disclosures in the order of the text.
func (t *Token) Disclosures() []Disclosure { return slices.Clone(t.disclosures) }

// VerifySignature verifies the issuer's signature with key and alg, which the caller has chosen. The error is a [*credential.Error] with
// [credential.CodeSignature].
func (t *Token) VerifySignature(alg string, key crypto.PublicKey) error {
	if err := t.jws.Verify(alg, key); err != nil {
		return &credential.Error{Code: credential.CodeSignature}
	}
	return nil
}

// unbound returns the text without the key binding: what a key binding is about (RFC 9901 §4.3.1).
func (t *Token) unbound() string { return t.text[:strings.LastIndexByte(t.text, '~')+1] }

// digest returns the base64url-encoded SHA-256 of a text: of a disclosure (RFC 9901 §4.2.3), or of an SD-JWT (§4.3.1).
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// refuse returns a refusal of a part.
func refuse(part string, code credential.Code, format string, args ...any) *credential.Error {
	return &credential.Error{Part: part, Code: code, Err: fmt.Errorf(format, args...)}
}

// malformed returns err as a refusal of a part, unless it is one already.
func malformed(part string, err error) error {
	if refused := (*credential.Error)(nil); err == nil || errors.As(err, &refused) {
		return err
	}
	return &credential.Error{Part: part, Code: credential.CodeMalformed, Err: err}
}
