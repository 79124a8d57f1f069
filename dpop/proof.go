package dpop

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// A Proof is a proof that [Verifier.Check] accepted.
type Proof struct {
	JTI      string    // unique among the proofs of one key, 1 to 255 bytes
	HTM      string    // the request's method
	HTU      string    // the request's URL, as the client wrote it
	Nonce    string    // "" if there was none
	ATH      string    // "" if there was none
	IssuedAt time.Time // by the client's clock, whole seconds
	JKT      string    // the key's thumbprint, to be compared with the token's `cnf.jkt`
	Key      crypto.PublicKey
	Alg      string

	// NonceTime is the start of the minute in which the server made the nonce, by the server's clock. The proof was made
	// later. It is zero with nonces off.
	NonceTime time.Time

	epoch Epoch     // in which it was checked
	until time.Time // from then on no node accepts it
}

// maxProof is how many bytes a proof may have. A proof with an RSA key of 4096 bits takes about 2 KiB.
const maxProof = 8 << 10

// maxName is how many bytes jti and nonce may have. RFC 9449 §11.1 asks for a limit.
const maxName = 255

// readProof reads text and makes the checks that need neither the request nor the signature: RFC 9449 §4.3, 2 to 5 and 7.
func readProof(text string, algorithms []string) (*Unverified, error) {
	jws, key, err := readSigned(text, jose.TypeProof, algorithms)
	if err != nil {
		return nil, err
	}
	u := &Unverified{proof: Proof{JKT: key.JKT, Key: key.Public, Alg: jws.Header.Alg}, jws: jws}
	if err := u.proof.parseClaims(jws.Payload); err != nil {
		return nil, partOf("payload", err)
	}
	return u, nil
}

// readSigned reads text, a JWS of the given type with its key in the header. It does not verify the signature. The caller
// does that with [verify] after all other checks, because the sender chooses the key, and so the cost.
func readSigned(text, typ string, algorithms []string) (*jose.JWS, jose.Key, error) {
	jws, err := jose.ParseCompact(text, jose.Limits{Total: maxProof, Header: maxProof})
	if err != nil {
		return nil, jose.Key{}, partOf("form", err)
	}
	h := jws.Header
	if h.Typ != typ { // check 4
		return nil, jose.Key{}, refuse("typ", "not "+typ)
	}
	if !jose.Allows(algorithms, h.Alg) { // check 5
		return nil, jose.Key{}, refuse("alg", "not an algorithm that this server accepts")
	}
	if h.JWK == nil {
		return nil, jose.Key{}, refuse("jwk", "missing")
	}
	key, err := jose.ParseJWK(h.JWK) // check 7
	if err != nil {
		return nil, jose.Key{}, partOf("jwk", err)
	}
	if key.Alg != "" && !jose.Allows([]string{key.Alg}, h.Alg) || !jose.FitsKey(h.Alg, key.Public) {
		return nil, jose.Key{}, refuse("jwk", "not a key for this alg")
	}
	if pub, ok := key.Public.(*rsa.PublicKey); ok && (pub.N.BitLen() > maxRSA || pub.E != 65537) {
		return nil, jose.Key{}, refuse("jwk", "an RSA key must have 2048 to 4096 bits and the exponent 65537")
	}
	return jws, key, nil
}

// maxRSA is how many bits an RSA key of a proof may have. [jose.ParseJWK] accepts larger keys and exponents, because its
// other callers read keys from trusted publishers.
const maxRSA = 4096

// verify is check 6. The contents of jws must not be relied on before it returns nil.
func verify(tables *jose.Tables, jws *jose.JWS, key crypto.PublicKey) error {
	if err := tables.VerifyJWS(jws, jws.Header.Alg, key); err != nil {
		return refuse("signature", "does not verify with the key in jwk")
	}
	return nil
}

// parseClaims reads the claims. Check 3: no required one is missing.
func (p *Proof) parseClaims(payload []byte) error {
	return jose.ReadMembers(payload,
		jose.Member{Name: "jti", Text: &p.JTI, Required: true, Max: maxName},
		jose.Member{Name: "nonce", Text: &p.Nonce, Max: maxName},
		jose.Member{Name: "htm", Text: &p.HTM, Required: true},
		jose.Member{Name: "htu", Text: &p.HTU, Required: true},
		jose.Member{Name: "iat", Date: &p.IssuedAt, Required: true},
		jose.Member{Name: "ath", Text: &p.ATH},
	)
}

// partOf returns err as a [ProofError] about part, or about the part that err names itself.
func partOf(part string, err error) error {
	if _, ok := err.(*ProofError); ok {
		return err
	}
	if parse, ok := err.(*jose.ParseError); ok {
		return &ProofError{parse.Part, parse.Err}
	}
	return &ProofError{part, err}
}

// defaultAlgorithms are the algorithms with cheap verification, see [Config.Algorithms].
var defaultAlgorithms = []string{jose.ES256, jose.EdDSA, jose.Ed25519, jose.ES384}

// checkAlgorithms returns list, or the default for nil. The error is about an unknown name or an empty list.
func checkAlgorithms(list []string) ([]string, error) {
	if list == nil {
		return defaultAlgorithms, nil
	}
	known := append(slices.Clone(defaultAlgorithms), jose.ES512, jose.PS256, jose.RS256)
	for _, alg := range list {
		if !slices.Contains(known, alg) {
			return nil, errors.New("dpop: unknown signature algorithm " + alg)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("dpop: no signature algorithm is listed")
	}
	return slices.Clone(list), nil
}
