// Package cwt makes, reads and verifies CBOR Web Tokens (RFC 8392), the twins of two JSON objects of this service:
//
//   - the access token. [SignAccessToken] writes a [claims.Set] as a CWT, and a [Decoder] reads it back. The claims are those of the
//     JWT: same jti, sid, gen and exp. So a revocation of one is a revocation of both;
//   - the credential of a device, an SD-CWT without redaction (draft-ietf-spice-sd-cwt-07). An issuer fills a [VC] and signs it. The
//     holder reads it with [Parse] and presents it with [Token.Present], in a key binding token (KBT). A verifier calls [Verify] with
//     the bytes, and with the audience and nonce that it asked for.
//
// Both are COSE_Sign1 messages (RFC 9052 §4.2) with tag 18 and nothing around it. A message has one accepted spelling: CBOR in core
// deterministic encoding (RFC 8949 §4.2.1), which has definite lengths, and unique and sorted keys. Only the outside and the credential
// in a KBT have a tag. The unprotected header is empty, because nothing signs it.
//
// Algorithms are ES256 (-7) with P-256 and EdDSA (-8) with Ed25519. The fully-specified names of both, -9 and -19 (RFC 9864), are read,
// too, but not written, because libraries do not know them yet.
//
// The types of package cbor and cose end here: callers see bytes, claims and keys.
package cwt

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

// MaxSize is the size of the longest message that is read or written, in bytes. It is 16 KiB as text. The credential of a device has
// about 500 bytes, its presentation 700.
const MaxSize = 12 << 10

// Labels of claims (RFC 8392 §4, and the registry of CWT claims).
const (
	labelIss    uint64 = 1
	labelSub    uint64 = 2
	labelAud    uint64 = 3
	labelExp    uint64 = 4
	labelNbf    uint64 = 5
	labelIat    uint64 = 6
	labelCti    uint64 = 7
	labelCnf    uint64 = 8     // RFC 8747 §3.1
	labelScope  uint64 = 9     // RFC 8693 §4.2
	labelVct    uint64 = 11    // draft-ietf-spice-sd-cwt-07 §13
	labelCnonce uint64 = 39    // RFC 9200 §5.3.1
	labelStatus uint64 = 65535 // draft-ietf-oauth-status-list-20 §6.3
)

// Confirmation methods in cnf.
const (
	confirmKey        uint64 = 1 // COSE_Key (RFC 8747 §3.2)
	confirmThumbprint uint64 = 5 // ckt (RFC 9679 §5.6)
)

// numbered are the names of the claims that have numbers. A claim that is named by its text is refused: some reader might take it for
// the numbered one.
var numbered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "cti", "jti", "cnf", "scope", "vct", "cnonce", "status"}

// Text returns a message in base64url, as it is sent where only text can be.
func Text(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// ReadText returns the bytes of a message in base64url, without padding. It does not read the message. The error is a
// [*credential.Error] with [credential.CodeMalformed] or CodeTooLarge, or with CodeType for a JWT.
func ReadText(text string) ([]byte, error) {
	if len(text) > base64.RawURLEncoding.EncodedLen(MaxSize) {
		return nil, errTooLarge()
	}
	data, err := jose.DecodeBase64(text)
	switch {
	case err == nil:
		return data, nil
	case isJSON(text):
		return nil, errJSON()
	}
	return nil, refuse("", credential.CodeMalformed, "not base64url without padding")
}

// isJSON reports whether data looks like the text of a JWT or of a JSON object.
func isJSON[T string | []byte](data T) bool {
	return len(data) > 1 && (data[0] == '{' || data[0] == 'e' && data[1] == 'y')
}

func errJSON() error {
	return refuse("", credential.CodeType, "this is JSON or a JWT, not a CWT")
}

func errTooLarge() error {
	return refuse("", credential.CodeTooLarge, "longer than %d bytes", MaxSize)
}

// refuse returns a refusal of a part.
func refuse(part string, code credential.Code, format string, args ...any) *credential.Error {
	return &credential.Error{Part: part, Code: code, Err: fmt.Errorf(format, args...)}
}

// malformed returns err, which is about the form of a part, as a refusal.
func malformed(part string, err error) error {
	code := credential.CodeMalformed
	if errors.Is(err, errRedacted) {
		code = credential.CodeDisclosure
	}
	return &credential.Error{Part: part, Code: code, Err: err}
}
