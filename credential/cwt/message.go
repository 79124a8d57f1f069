package cwt

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

// Labels of header parameters (RFC 9052 §3.1, and the registry of COSE header parameters).
const (
	headerAlg    uint64 = 1
	headerCrit   uint64 = 2
	headerKid    uint64 = 4
	headerKcwt   uint64 = 13 // RFC 9528 §3.5.3.1
	headerClaims uint64 = 15 // RFC 9597
	headerTyp    uint64 = 16 // RFC 9596
	headerSD     uint64 = 17 // draft-ietf-spice-sd-cwt-07 §17.1.1
)

// tagSign1 is the first byte of a message: tag 18.
const tagSign1 = 0xc0 | cose.CBORTagSign1Message

// headerPart is the name of the protected header in errors.
const headerPart = "protected header"

// A message is a COSE_Sign1 (RFC 9052 §4.2) of which nothing is verified.
type message struct {
	alg       int64 // one of those that [algorithmName] knows
	name      string
	kid       string // the text whose bytes are the key id; empty if there is none
	kcwt      []byte // the whole SD-CWT in a KBT
	protected []byte
	payload   []byte
	signature []byte
}

// A kind is a type of message: the values of typ (RFC 9596) that name it. The first one is written. The type is part of what is signed,
// so no message passes for one of another kind (RFC 8725 §3.11).
type kind []any

var (
	kindAccess     = kind{"application/at+cwt"}
	kindCredential = kind{uint64(293), "application/sd-cwt"}
	kindBinding    = kind{uint64(294), "application/kb+cwt"}
)

// readMessage reads a message of a kind. The error is a refusal.
func readMessage(data []byte, k kind) (*message, error) {
	m, header, err := readAny(data)
	if err != nil {
		return nil, err
	}
	if !k.is(header) {
		return nil, refuse("typ", credential.CodeType, "not %v", k[0])
	}
	return m, m.readHeader(header, k)
}

// is reports whether header names the kind.
func (k kind) is(header *object) bool {
	typ, ok := header.items[headerTyp]
	for _, name := range k {
		if ok && typ == name {
			return true
		}
	}
	return false
}

// readAny reads the form of a message of any kind, and its protected header.
func readAny(data []byte) (*message, *object, error) {
	if len(data) > MaxSize {
		return nil, nil, errTooLarge()
	}
	if err := checkTag(data); err != nil {
		return nil, nil, err
	}
	v, err := item(data[1:])
	if err != nil {
		return nil, nil, malformed("", err)
	}
	parts, _ := v.([]any)
	if len(parts) != 4 {
		return nil, nil, refuse("", credential.CodeMalformed, "not a COSE_Sign1, which has four parts")
	}
	m := &message{}
	for _, part := range []struct {
		name string
		v    any
		to   *[]byte
	}{{headerPart, parts[0], &m.protected}, {"payload", parts[2], &m.payload}, {"signature", parts[3], &m.signature}} {
		b, ok := part.v.([]byte)
		if !ok {
			return nil, nil, malformed(part.name, errBytes)
		}
		*part.to = b
	}
	unprotected, ok := parts[1].(map[any]any)
	switch _, disclosed := unprotected[headerSD]; {
	case !ok:
		return nil, nil, malformed("unprotected header", errMap)
	case disclosed:
		// An empty array is invalid by draft-ietf-spice-sd-cwt-07 §9, step 2, and any other discloses something that is not hidden here.
		return nil, nil, refuse("sd_claims", credential.CodeDisclosure, "there is nothing to disclose")
	case len(unprotected) > 0:
		return nil, nil, refuse("unprotected header", credential.CodeMalformed, "not empty: nothing signs it")
	}
	header, err := m.readProtected()
	return m, header, err
}

// checkTag checks the first byte.
func checkTag(data []byte) error {
	switch {
	case len(data) == 0:
		return malformed("", errTruncated)
	case data[0] == tagSign1:
		return nil
	case isJSON(data):
		return errJSON()
	case len(data) > 1 && data[0] == 0xd8 && data[1] == 61: // RFC 8392 §6
		return refuse("", credential.CodeType, "it has tag 61 (CWT): only tag 18 may be outside")
	case len(data) > 1 && data[0] == 0xd8 && data[1] == cose.CBORTagSignMessage:
		return refuse("", credential.CodeType, "it has tag 98 (COSE_Sign), not 18 (COSE_Sign1)")
	}
	return refuse("", credential.CodeType, "it does not begin with tag 18 (COSE_Sign1)")
}

// readProtected reads the protected header. The value of kcwt is the only one that may have a tag.
func (m *message) readProtected() (*object, error) {
	v, err := item(m.protected)
	items, ok := v.(map[any]any)
	if _, embeds := items[headerKcwt]; embeds || errors.Is(err, errTag) {
		items, err = m.readEmbedding()
	} else if err == nil && !ok {
		err = errMap
	}
	if err != nil {
		return nil, malformed(headerPart, err)
	}
	return &object{items: items, code: credential.CodeMalformed, part: headerPart}, nil
}

// readEmbedding reads a protected header that contains a CWT.
func (m *message) readEmbedding() (map[any]any, error) {
	var raw map[any]cbor.RawMessage
	if err := embedding.Unmarshal(m.protected, &raw); err != nil {
		return nil, fault(err)
	}
	items := make(map[any]any, len(raw))
	for label, value := range raw {
		if err := checkKey(label); err != nil {
			return nil, err
		}
		if label == headerKcwt {
			m.kcwt = value
			continue
		}
		v, err := item(value)
		if err != nil {
			return nil, err
		}
		items[label] = v
	}
	return items, canonical(m.protected, raw)
}

// readHeader takes the values from the protected header of a message of a kind.
func (m *message) readHeader(header *object, k kind) error {
	header.forbid(headerCrit, "crit", "not supported")                     // RFC 9052 §3.1: what is critical must be understood
	header.forbid(headerClaims, "CWT claims", "claims are in the payload") // draft-ietf-spice-sd-cwt-07 §6.3
	m.kid = header.id(headerKid, "kid")
	if header.err != nil {
		return header.err
	}
	m.name = algorithmName(header.items[headerAlg])
	if m.name == "" {
		return refuse("alg", credential.CodeAlgorithm, "neither ES256 nor EdDSA")
	}
	m.alg = header.items[headerAlg].(int64)
	binding := k.is(&object{items: map[any]any{headerTyp: kindBinding[0]}})
	switch {
	case binding && m.kcwt == nil:
		return refuse("kcwt", credential.CodeMalformed, "missing")
	case !binding && m.kcwt != nil:
		return refuse("kcwt", credential.CodeMalformed, "only a key binding contains a credential")
	case !binding && m.kid == "":
		return refuse("kid", credential.CodeMalformed, "missing")
	}
	return nil
}

// algorithmName returns the name in JOSE of an algorithm of COSE: of ES256 and EdDSA (RFC 9053 §2), and of ESP256 and Ed25519, their
// fully-specified names (RFC 9864 §2). It returns "" for any other.
func algorithmName(alg any) string {
	switch alg {
	case int64(-7), int64(-9):
		return jose.ES256
	case int64(-8), int64(-19):
		return jose.EdDSA
	}
	return ""
}

// algorithmNumber returns the algorithm of COSE that is written for one of JOSE, or zero.
func algorithmNumber(alg string) cose.Algorithm {
	switch alg {
	case jose.ES256:
		return cose.AlgorithmES256
	case jose.EdDSA, jose.Ed25519:
		return cose.AlgorithmEdDSA
	}
	return cose.AlgorithmReserved
}

// fits reports whether the algorithm of the message is that of a key.
func (m *message) fits(key crypto.PublicKey) bool { return jose.FitsKey(m.name, key) }

// verify verifies the signature with a key of which the caller knows the algorithm, by its name in JOSE.
func (m *message) verify(alg string, key crypto.PublicKey) error {
	if !jose.Allows([]string{alg}, m.name) || !m.fits(key) {
		return &credential.Error{Part: "alg", Code: credential.CodeAlgorithm}
	}
	protected, err := encoding.Marshal(m.protected)
	if err != nil {
		return fmt.Errorf("cwt: verify: %w", err)
	}
	number := cose.Algorithm(m.alg)
	signed := cose.Sign1Message{
		Headers: cose.Headers{RawProtected: protected, Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: number}},
		Payload: m.payload, Signature: m.signature,
	}
	if err := signed.Verify(nil, verifier{number, m.name, key}); err != nil {
		return &credential.Error{Code: credential.CodeSignature}
	}
	return nil
}

// A verifier is a cose.Verifier that also knows the fully-specified algorithms.
type verifier struct {
	number cose.Algorithm
	name   string
	key    crypto.PublicKey
}

func (v verifier) Algorithm() cose.Algorithm { return v.number }

// Verify verifies a signature, which has the same form in COSE and JOSE (RFC 9053 §2.1, §2.2).
func (v verifier) Verify(content, signature []byte) error {
	return jose.Verify(v.name, v.key, content, signature)
}

// A Signer signs with the key of an issuer.
type Signer struct {
	kid  string
	cose cose.Signer
}

// NewSigner returns a signer with the key that an issuer publishes under kid. The algorithm is its name in JOSE: these are the values
// that the key ring in package keys returns. The error is about a key or an algorithm other than ES256 and EdDSA.
func NewSigner(kid, alg string, key crypto.Signer) (*Signer, error) {
	if kid == "" || key == nil {
		return nil, errors.New("cwt: a signer needs a kid and a key")
	}
	signer, err := newSigner(alg, key)
	if err != nil {
		return nil, err
	}
	return &Signer{kid, signer}, nil
}

func newSigner(alg string, key crypto.Signer) (cose.Signer, error) {
	number := algorithmNumber(alg)
	if number == cose.AlgorithmReserved || !jose.FitsKey(alg, key.Public()) {
		return nil, errors.New("cwt: the key cannot sign a CWT: only ES256 with P-256 and EdDSA with Ed25519 can")
	}
	if alg == jose.ES256 {
		key = hashed{key}
	}
	signer, err := cose.NewSigner(number, key)
	if err != nil {
		return nil, fmt.Errorf("cwt: signer: %w", err)
	}
	return signer, nil
}

// hashed tells a key which hash the digest is of. Package cose passes no options, and keys in hardware may need them.
type hashed struct{ crypto.Signer }

func (h hashed) Sign(random io.Reader, digest []byte, _ crypto.SignerOpts) ([]byte, error) {
	return h.Signer.Sign(random, digest, crypto.SHA256)
}

// sign returns the signed message of a kind. The header has its parameters besides alg and typ.
func sign(s cose.Signer, k kind, header cose.ProtectedHeader, payload []byte) ([]byte, error) {
	header[headerTyp] = k[0]
	header.SetAlgorithm(s.Algorithm())
	data, err := cose.Sign1(rand.Reader, s, cose.Headers{Protected: header}, payload, nil)
	if err != nil {
		return nil, fmt.Errorf("cwt: sign: %w", err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("cwt: sign: longer than %d bytes", MaxSize)
	}
	return data, nil
}
