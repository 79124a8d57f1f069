package dpop

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// A Signer makes proofs with one key. It may be used by several goroutines if its key may.
type Signer struct {
	key          crypto.Signer
	alg          string
	jkt          string
	proof        []byte // the header of proofs
	presentation []byte // the header of presentations
}

// NewSigner returns a signer for key, whose public key is an *ecdsa.PublicKey, an ed25519.PublicKey or an *rsa.PublicKey.
// The private key may be in hardware. An empty alg means the usual one of the key: ES256, ES384 or ES512 by its curve,
// EdDSA, PS256. The error is about an alg that does not fit the key.
func NewSigner(key crypto.Signer, alg string) (*Signer, error) {
	if alg == "" {
		alg = jose.AlgorithmFor(key.Public())
	}
	if !jose.FitsKey(alg, key.Public()) {
		return nil, fmt.Errorf("dpop: a %T cannot sign proofs with %q", key.Public(), alg)
	}
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		return nil, fmt.Errorf("dpop: %w", err)
	}
	jkt, err := jose.Thumbprint(key.Public())
	if err != nil {
		return nil, fmt.Errorf("dpop: %w", err)
	}
	header := func(typ string) []byte { return fmt.Appendf(nil, `{"typ":%q,"alg":%q,"jwk":%s}`, typ, alg, jwk) }
	return &Signer{key, alg, jkt, header(jose.TypeProof), header(jose.TypePresentation)}, nil
}

// JKT returns the thumbprint of the key, the value of `dpop_jkt` and `cnf.jkt`.
func (s *Signer) JKT() string { return s.jkt }

// ProofParams are the claims of a proof.
type ProofParams struct {
	Method      string    // the request's method
	URL         string    // the request's URL; the proof omits its query and fragment
	Nonce       string    // the newest nonce of the URL's origin; "" if it sent none
	AccessToken string    // the access token of the request; "" if it has none
	IssuedAt    time.Time // zero: now
	JTI         string    // "": 128 random bits
}

// Proof returns a proof for one request: the value of its DPoP header (RFC 9449 §4.1). The error is about a URL
// that [NormalizeHTU] refuses, or comes from the key.
func (s *Signer) Proof(p ProofParams) (string, error) {
	if _, err := NormalizeHTU(p.URL); err != nil {
		return "", fmt.Errorf("dpop: htu: %w", err)
	}
	if i := strings.IndexAny(p.URL, "?#"); i >= 0 {
		p.URL = p.URL[:i]
	}
	claims := struct {
		JTI   string `json:"jti"`
		HTM   string `json:"htm"`
		HTU   string `json:"htu"`
		IAT   int64  `json:"iat"`
		ATH   string `json:"ath,omitempty"`
		Nonce string `json:"nonce,omitempty"`
	}{JTI: newJTI(p.JTI), HTM: p.Method, HTU: p.URL, IAT: issuedAt(p.IssuedAt), Nonce: p.Nonce}
	if p.AccessToken != "" {
		claims.ATH = ATH(p.AccessToken)
	}
	return s.sign(s.proof, claims)
}

// sign returns the compact JWS of header and claims.
func (s *Signer) sign(header []byte, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("dpop: %w", err)
	}
	text, err := jose.Sign(s.key, s.alg, header, payload)
	if err != nil {
		return "", fmt.Errorf("dpop: %w", err)
	}
	return text, nil
}

// newJTI returns jti, or 128 random bits if it is empty.
func newJTI(jti string) string {
	if jti == "" {
		return rand.Text()
	}
	return jti
}

// issuedAt returns t, or the current time if t is zero, in the form of `iat`.
func issuedAt(t time.Time) int64 {
	if t.IsZero() {
		t = time.Now()
	}
	return t.Unix()
}
