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
	HTU      string    // as the client wrote it
	Nonce    string    // "" if there was none
	ATH      string    // "" if there was none
	IssuedAt time.Time // by the client's clock, whole seconds
	JKT      string    // the key's thumbprint, to compare with the token's `cnf.jkt`
	Key      crypto.PublicKey
	Alg      string

	// NonceTime is the start of the minute in which the server made the nonce: the proof was made after it, by
	// the server's clock. It is zero with nonces off.
	NonceTime time.Time

	epoch Epoch     // the one it was checked under
	until time.Time // when nobody will accept it any more
}

// maxProof bounds a proof in bytes. One with an RSA key of 4096 bits takes about 2 KiB.
const maxProof = 8 << 10

// maxName bounds jti and nonce in bytes (RFC 9449 §11.1 asks for some bound).
const maxName = 255

// readProof reads text and checks what needs neither the request nor the signature: RFC 9449 §4.3, checks 2 to 5 and 7.
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

// readSigned reads text, a JWS of that type with its key in the header. It verifies nothing: the caller does that with
// [verify] after all other checks, because the sender chooses the key and with it the cost.
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

// maxRSA bounds the RSA keys of proofs in bits. [jose.ParseJWK] admits larger keys and exponents, because its other
// callers read keys that somebody they trust has published.
const maxRSA = 4096

// verify is check 6. Nothing that jws says may be relied on before it returns nil.
func verify(jws *jose.JWS, key crypto.PublicKey) error {
	if err := jws.Verify(jws.Header.Alg, key); err != nil {
		return refuse("signature", "does not verify with the key in jwk")
	}
	return nil
}

// parseClaims reads the claims and checks 3, that none is missing.
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

// partOf makes a ProofError of err, which belongs to part unless it says better itself.
func partOf(part string, err error) error {
	if _, ok := err.(*ProofError); ok {
		return err
	}
	if parse, ok := err.(*jose.ParseError); ok {
		return &ProofError{parse.Part, parse.Err}
	}
	return &ProofError{part, err}
}

// defaultAlgorithms are the ones whose verification is cheap, see [Config.Algorithms].
var defaultAlgorithms = []string{jose.ES256, jose.EdDSA, jose.Ed25519, jose.ES384}

// checkAlgorithms returns list, or the default for nil, if every name in it is known.
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
