package dpop

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/netip"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// KeyProofParams are the claims of a key proof.
type KeyProofParams struct {
	Audience string    // the identifier of the credential issuer
	Client   string    // the client id, iss; "" for none
	Nonce    string    // the newest c_nonce of the credential issuer
	IssuedAt time.Time // zero: now
}

// KeyProof returns an `openid4vci-proof+jwt` (OpenID4VCI 1.0 appendix F.1): it proves to a credential issuer that its sender holds the
// key to which a credential is to be bound. It has a jti, so that two proofs for the same nonce in the same second differ: the issuer
// accepts each proof once.
func (s *Signer) KeyProof(p KeyProofParams) (string, error) {
	jwk, err := jose.MarshalJWK(s.key.Public())
	if err != nil {
		return "", fmt.Errorf("dpop: %w", err)
	}
	header := fmt.Appendf(nil, `{"typ":%q,"alg":%q,"jwk":%s}`, jose.TypeKeyProof, s.alg, jwk)
	return s.sign(header, struct {
		Client   string `json:"iss,omitempty"`
		Audience string `json:"aud"`
		IssuedAt int64  `json:"iat"`
		Nonce    string `json:"nonce,omitempty"`
		JTI      string `json:"jti"`
	}{p.Client, p.Audience, issuedAt(p.IssuedAt), p.Nonce, newJTI("")})
}

// A KeyProof is a key proof that [UnverifiedKeyProof.Verify] accepted.
type KeyProof struct {
	Client   string    // iss: a client id; "" if there was none
	Nonce    string    // the c_nonce
	IssuedAt time.Time // by the client's clock
	Key      crypto.PublicKey
	JKT      string // the thumbprint of the key
	Alg      string

	digest [sha256.Size]byte
	epoch  Epoch
	until  time.Time
}

// An UnverifiedKeyProof is a key proof that [Verifier.ReadKeyProof] accepted. Its signature is not verified, so anybody may have
// written it.
type UnverifiedKeyProof struct {
	proof  KeyProof
	jws    *jose.JWS
	tables *jose.Tables
}

// JKT returns the thumbprint of the key that the proof claims to be signed with.
func (u *UnverifiedKeyProof) JKT() string { return u.proof.JKT }

// Client returns the client id that the proof names in iss, "" if it names none.
func (u *UnverifiedKeyProof) Client() string { return u.proof.Client }

// Alg returns the algorithm that the proof states.
func (u *UnverifiedKeyProof) Alg() string { return u.proof.Alg }

// Verify verifies the signature and returns the proof. The error is a *[ProofError].
func (u *UnverifiedKeyProof) Verify() (*KeyProof, error) {
	if err := verify(u.tables, u.jws, u.proof.Key); err != nil {
		return nil, err
	}
	return &u.proof, nil
}

// ReadKeyProof makes every check of a key proof (OpenID4VCI 1.0 appendix F.4) but that of its signature, and that it is used once:
// typ, algorithm, a public key in jwk and neither kid nor x5c, audience, times, and nonce. The [Nonces] of the verifier make the
// c_nonce, so it is not the verifier of DPoP proofs; with the nonce, iat may be a day off.
//
// A refusal is a *[ProofError], with [ErrUseNonce] if the nonce is not one that is valid now, and with [ErrInvalidProof] if there is
// none. Any other error means that the replay store failed.
func (v *Verifier) ReadKeyProof(ctx context.Context, text, audience string) (*UnverifiedKeyProof, error) {
	jws, key, err := readSigned(text, jose.TypeKeyProof, v.cfg.Algorithms)
	if err != nil {
		return nil, err
	}
	switch h := jws.Header; { // appendix F.1: only one of the three
	case h.Kid != "":
		return nil, refuse("kid", "it does not go with jwk")
	case h.X5C != nil:
		return nil, refuse("x5c", "it does not go with jwk")
	}
	u := &UnverifiedKeyProof{
		proof: KeyProof{Key: key.Public, JKT: key.JKT, Alg: jws.Header.Alg, digest: keyProofDigest(text)}, jws: jws, tables: v.tables,
	}
	k := &u.proof
	var aud string
	var expires, notBefore time.Time
	err = jose.ReadMembers(jws.Payload,
		jose.Member{Name: "iss", Text: &k.Client, Max: maxName},
		jose.Member{Name: "aud", Text: &aud, Required: true},
		jose.Member{Name: "iat", Date: &k.IssuedAt, Required: true},
		jose.Member{Name: "nonce", Text: &k.Nonce, Required: true, Max: maxName},
		jose.Member{Name: "exp", Date: &expires},
		jose.Member{Name: "nbf", Date: &notBefore},
	)
	if err != nil {
		return nil, partOf("payload", err)
	}
	if subtle.ConstantTimeCompare([]byte(aud), []byte(audience)) == 0 {
		return nil, refuse("aud", "not this issuer, which is "+named(audience))
	}
	p := Proof{Nonce: k.Nonce, IssuedAt: k.IssuedAt}
	if p.epoch, err = v.cfg.Replay.Epoch(ctx); err != nil {
		return nil, fmt.Errorf("dpop: replay store: %w", err)
	}
	if err := v.checkTime(ctx, &p); err != nil {
		return nil, err
	}
	now := v.cfg.Now() // RFC 7519 §4.1.4 and §4.1.5
	switch {
	case !expires.IsZero() && !now.Before(expires.Add(maxSkew)):
		return nil, refuse("exp", "the proof has expired")
	case notBefore.After(now.Add(maxSkew)):
		return nil, refuse("nbf", "the proof is not valid yet")
	}
	k.epoch, k.until = p.epoch, p.until
	return u, nil
}

// keyProofDigest hashes what was signed, not the signature: anybody can make a second ECDSA signature of a first one.
func keyProofDigest(text string) [sha256.Size]byte {
	end := len(text)
	for end > 0 && text[end-1] != '.' {
		end--
	}
	return sha256.Sum256([]byte(text[:end]))
}

// SpendKeyProof records that k was used. Call it after all other checks that can refuse the request, and before the first write. The
// errors are those of [Verifier.Spend].
func (v *Verifier) SpendKeyProof(ctx context.Context, k *KeyProof, source netip.Addr) error {
	err := v.cfg.Replay.Spend(ctx, k.epoch, replayKey(kindKeyProof, v.cfg.Namespace, k.JKT, string(k.digest[:])), k.until, source)
	if err == nil {
		return nil
	}
	return notSpent(err, useNonce(&Proof{Nonce: k.Nonce}))
}
