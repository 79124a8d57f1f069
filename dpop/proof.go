package dpop

import (
	"crypto"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// A Proof is a proof that [Verifier.Check] accepted.
type Proof struct {
	JTI      string    // unique among the proofs of one key, 1 to 255 octets
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

// maxProof is how long a proof may be. One with an RSA key of 8192 bits has 3 KiB.
const maxProof = 8 << 10

// maxName is how many octets jti and nonce may have (RFC 9449 §11.1 asks for some bound).
const maxName = 255

// claimNames are the claims that must not come in another case.
var claimNames = []string{"jti", "htm", "htu", "iat", "nonce", "ath"}

// parseProof reads text and checks all that can be checked without the request: RFC 9449 §4.3, checks 2 to 7.
func parseProof(text string, algorithms []string) (*Proof, error) {
	jws, key, err := openSigned(text, jose.TypeProof, algorithms)
	if err != nil {
		return nil, err
	}
	p := &Proof{JKT: key.JKT, Key: key.Public, Alg: jws.Header.Alg}
	if err := p.parseClaims(jws.Payload); err != nil {
		return nil, partOf("payload", err)
	}
	return p, nil
}

// openSigned reads text, a JWS of that type, and verifies it with the key in its header. What is cheap and what
// chooses the key and the algorithm comes before the signature; the claims are for later.
func openSigned(text, typ string, algorithms []string) (*jose.JWS, jose.Key, error) {
	jws, err := jose.ParseCompact(text, jose.Limits{Total: maxProof, Header: maxProof})
	if err != nil {
		return nil, jose.Key{}, partOf("form", err)
	}
	h := jws.Header
	if h.Typ != typ { // check 4
		return nil, jose.Key{}, refuse("typ", "not "+typ)
	}
	if !jose.Allows(algorithms, h.Alg) { // check 5
		return nil, jose.Key{}, refuse("alg", "not one that this server lists")
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
	if err := jws.Verify(h.Alg, key.Public); err != nil { // check 6
		return nil, jose.Key{}, refuse("signature", "does not verify with the key in jwk")
	}
	return jws, key, nil
}

// parseClaims reads the claims and checks 3, that none is missing.
func (p *Proof) parseClaims(payload []byte) error {
	err := jose.Object(payload, func(name string, value []byte) error {
		var err error
		switch name {
		case "jti":
			p.JTI, err = jose.String(value)
		case "htm":
			p.HTM, err = jose.String(value)
		case "htu":
			p.HTU, err = jose.String(value)
		case "nonce":
			p.Nonce, err = jose.String(value)
		case "ath":
			p.ATH, err = jose.String(value)
		case "iat":
			p.IssuedAt, err = jose.NumericDate(value)
		default:
			return jose.CheckCase(name, claimNames)
		}
		if err != nil {
			return &ProofError{name, err}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case p.JTI == "":
		return refuse("jti", "missing")
	case len(p.JTI) > maxName:
		return refuse("jti", "longer than 255 octets")
	case len(p.Nonce) > maxName:
		return refuse("nonce", "longer than 255 octets")
	case p.HTM == "":
		return refuse("htm", "missing")
	case p.HTU == "":
		return refuse("htu", "missing")
	case p.IssuedAt.IsZero():
		return refuse("iat", "missing")
	}
	return nil
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

// defaultAlgorithms are those of [Config.Algorithms].
var defaultAlgorithms = []string{jose.ES256, jose.EdDSA, jose.Ed25519, jose.ES384, jose.ES512, jose.PS256}

// checkAlgorithms returns list, or the default for nil, if every name in it is known.
func checkAlgorithms(list []string) ([]string, error) {
	if list == nil {
		return defaultAlgorithms, nil
	}
	known := append(slices.Clone(defaultAlgorithms), jose.RS256)
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
