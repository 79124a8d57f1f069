package dpop

import (
	"context"
	"crypto"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

const (
	// WireProofLife is the longest time until a Wire proof expires: step-ca accepts no longer one.
	WireProofLife = time.Hour
	// maxWireName is how many bytes a display name, a team and the token of a challenge may have.
	maxWireName = 255
)

// WireProofParams are the claims of a Wire proof.
type WireProofParams struct {
	Target    string    // htu: the URL to which the proof is sent
	Audience  string    // the URL of the ACME challenge
	Challenge string    // the token of the challenge
	Device    string    // the wireapp: URI of the device
	Handle    string    // the wireapp: URI of the handle
	Name      string    // the display name
	Team      string    // "": null
	Nonce     string    // the newest nonce for Wire proofs of the issuer
	IssuedAt  time.Time // zero: now
	Expires   time.Time // zero: five minutes after IssuedAt
	JTI       string    // "": 128 random bits
}

// WireProof returns a Wire proof: the holder of the key, which is that of an account at an ACME server, says which device it is. It is a
// DPoP proof with further claims, as the clients of Wire write it.
func (s *Signer) WireProof(p WireProofParams) (string, error) {
	iat := issuedAt(p.IssuedAt)
	exp := iat + int64(5*time.Minute/time.Second)
	if !p.Expires.IsZero() {
		exp = p.Expires.Unix()
	}
	var team *string
	if p.Team != "" {
		team = &p.Team
	}
	return s.sign(s.proof, struct {
		JTI       string  `json:"jti"`
		HTM       string  `json:"htm"`
		HTU       string  `json:"htu"`
		IssuedAt  int64   `json:"iat"`
		NotBefore int64   `json:"nbf"`
		Expires   int64   `json:"exp"`
		Nonce     string  `json:"nonce"`
		Device    string  `json:"sub"`
		Audience  string  `json:"aud"`
		Challenge string  `json:"chal"`
		Handle    string  `json:"handle"`
		Name      string  `json:"name"`
		Team      *string `json:"team"`
	}{
		newJTI(p.JTI), http.MethodPost, p.Target, iat, iat, exp, p.Nonce, p.Device, p.Audience, p.Challenge, p.Handle, p.Name, team,
	})
}

// A WireProof is a Wire proof that [UnverifiedWireProof.Verify] accepted.
type WireProof struct {
	JTI       string
	Audience  string // the URL of the ACME challenge, not checked
	Challenge string // the token of the challenge
	Device    string // the wireapp: URI of the device, not checked
	Handle    string // the same of the handle
	Name      string // the display name
	Team      string // "" if it was null or absent
	Nonce     string
	IssuedAt  time.Time // by the client's clock
	Expires   time.Time
	Key       crypto.PublicKey
	JKT       string // the thumbprint of the key
	Alg       string

	epoch Epoch
	until time.Time
}

// An UnverifiedWireProof is a Wire proof that [Verifier.ReadWireProof] accepted. Its signature is not verified, so anybody may have
// written it.
type UnverifiedWireProof struct {
	// Claimed are the claims, which nobody has shown to be those of the key.
	Claimed WireProof

	jws    *jose.JWS
	tables *jose.Tables
}

// Verify verifies the signature and returns the proof. The error is a *[ProofError].
func (u *UnverifiedWireProof) Verify() (*WireProof, error) {
	if err := verify(u.tables, u.jws, u.Claimed.Key); err != nil {
		return nil, err
	}
	return &u.Claimed, nil
}

// ReadWireProof makes every check of a Wire proof but that of its signature, and that it is used once: typ, algorithm, a public key in
// jwk and neither kid nor x5c, htm, htu byte by byte, times, nonce, and no claim that is not a field of [WireProof]. The caller compares
// the other claims: step-ca believes all of them. The [Nonces] of the verifier are those for Wire proofs, so it is not the verifier of
// DPoP proofs. Clients of Wire date iat back by an hour; with the nonce, it may be a day old.
//
// A refusal is a *[ProofError], with [ErrUseNonce] if the nonce is not one that is valid now or there is none. Any other error means that
// the replay store failed.
func (v *Verifier) ReadWireProof(ctx context.Context, text, target string) (*UnverifiedWireProof, error) {
	if v.cfg.Nonces == nil {
		return nil, errors.New("dpop: Wire proofs need nonces")
	}
	jws, key, err := readSigned(text, jose.TypeProof, v.cfg.Algorithms)
	if err != nil {
		return nil, err
	}
	switch h := jws.Header; { // step-ca would take the key from kid
	case h.Kid != "":
		return nil, refuse("kid", "it does not go with jwk")
	case h.X5C != nil:
		return nil, refuse("x5c", "it does not go with jwk")
	}
	u := &UnverifiedWireProof{Claimed: WireProof{Key: key.Public, JKT: key.JKT, Alg: jws.Header.Alg}, jws: jws, tables: v.tables}
	w := &u.Claimed
	var htm, htu string
	var notBefore time.Time
	members := []jose.Member{
		{Name: "jti", Text: &w.JTI, Required: true, Max: maxName},
		{Name: "htm", Text: &htm, Required: true},
		{Name: "htu", Text: &htu, Required: true},
		{Name: "iat", Date: &w.IssuedAt, Required: true},
		{Name: "exp", Date: &w.Expires, Required: true},
		{Name: "nbf", Date: &notBefore},
		{Name: "nonce", Text: &w.Nonce, Max: maxName},
		{Name: "sub", Text: &w.Device, Required: true},
		{Name: "aud", Text: &w.Audience, Required: true},
		{Name: "chal", Text: &w.Challenge, Required: true, Max: maxWireName},
		{Name: "handle", Text: &w.Handle, Required: true},
		{Name: "name", Text: &w.Name, Required: true, Max: maxWireName},
		{Name: "team", Read: w.readTeam},
	}
	if err := onlyMembers(jws.Payload, members); err != nil {
		return nil, err
	}
	if err := jose.ReadMembers(jws.Payload, members...); err != nil {
		return nil, partOf("payload", err)
	}
	if htm != http.MethodPost {
		return nil, refuse("htm", "the proof is for "+named(htm)+", the request is "+http.MethodPost)
	}
	if subtle.ConstantTimeCompare([]byte(htu), []byte(target)) == 0 { // step-ca compares bytes, too
		return nil, refuse("htu", "the proof is for "+named(bare(htu))+", the request is for "+target)
	}
	p := Proof{Nonce: w.Nonce, IssuedAt: w.IssuedAt}
	if p.epoch, err = v.cfg.Replay.Epoch(ctx); err != nil {
		return nil, fmt.Errorf("dpop: replay store: %w", err)
	}
	if err := v.checkTime(ctx, &p); err != nil {
		return nil, err
	}
	now := v.cfg.Now()
	switch { // RFC 7519 §4.1.4 to §4.1.6, with the leeway of step-ca
	case w.IssuedAt.After(now.Add(maxSkew)):
		return nil, &ProofError{"iat", &ClockError{Server: now, Client: w.IssuedAt}}
	case !now.Before(w.Expires.Add(maxSkew)):
		return nil, refuse("exp", "the proof has expired")
	case w.Expires.After(now.Add(WireProofLife)):
		return nil, refuse("exp", "more than an hour ahead")
	case notBefore.After(now.Add(maxSkew)):
		return nil, refuse("nbf", "the proof is not valid yet")
	}
	w.epoch, w.until = p.epoch, p.until
	return u, nil
}

// readTeam reads the team, which is null for a user without one.
func (w *WireProof) readTeam(raw []byte) (err error) {
	if string(raw) == "null" {
		return nil
	}
	if w.Team, err = jose.String(string(raw)); err == nil && len(w.Team) > maxWireName {
		err = fmt.Errorf("longer than %d bytes", maxWireName)
	}
	return err
}

// onlyMembers refuses a payload with another member than those. The proof goes into a token of the issuer, which must not speak for a
// claim that it does not know.
func onlyMembers(payload []byte, members []jose.Member) error {
	err := jose.ObjectText(payload, func(name, _ string) error {
		if !slices.ContainsFunc(members, func(m jose.Member) bool { return m.Name == name }) {
			return refuse("payload", "it has the claim "+named(name)+", which is not one of a Wire proof")
		}
		return nil
	})
	if err != nil {
		return partOf("payload", err)
	}
	return nil
}

// SpendWireProof records that w was used. Call it after all other checks that can refuse the request, and before the first write. The
// errors are those of [Verifier.Spend].
func (v *Verifier) SpendWireProof(ctx context.Context, w *WireProof, source netip.Addr) error {
	err := v.cfg.Replay.Spend(ctx, w.epoch, replayKey(kindWireProof, v.cfg.Namespace, w.JKT, w.JTI), w.until, source)
	if err == nil {
		return nil
	}
	return notSpent(err, useNonce(&Proof{Nonce: w.Nonce}))
}
