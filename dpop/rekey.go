package dpop

import (
	"context"
	"crypto/subtle"
	"fmt"
	"net/netip"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// RekeyParams are the claims of the statement of a new key.
type RekeyParams struct {
	Audience string    // the issuer
	Device   string    // the URI of the device
	OldJKT   string    // the thumbprint of its present key
	Nonce    string    // the newest nonce of the issuer; "" if it sent none
	IssuedAt time.Time // zero: now
	JTI      string    // "": 128 random bits
}

// Rekey returns an `im-rekey+jwt`, which the new key of a device signs: the device is to have this key in place of its old one. The
// device sends it to the issuer in a request with a proof by the old key.
func (s *Signer) Rekey(p RekeyParams) (string, error) {
	jwk, err := jose.MarshalJWK(s.key.Public())
	if err != nil {
		return "", fmt.Errorf("dpop: %w", err)
	}
	header := fmt.Appendf(nil, `{"typ":%q,"alg":%q,"jwk":%s}`, jose.TypeRekey, s.alg, jwk)
	return s.sign(header, struct {
		JTI    string `json:"jti"`
		AUD    string `json:"aud"`
		IAT    int64  `json:"iat"`
		Nonce  string `json:"nonce,omitempty"`
		Device string `json:"device"`
		OldJKT string `json:"old_jkt"`
	}{newJTI(p.JTI), p.Audience, issuedAt(p.IssuedAt), p.Nonce, p.Device, p.OldJKT})
}

// A Rekey is the statement of a new key that [Verifier.CheckRekey] accepted.
type Rekey struct {
	JTI      string    // unique among the statements of one key, 1 to 255 bytes
	Audience string    // as expected
	Device   string    // the URI of the device, as the client wrote it
	OldJKT   string    // the thumbprint of the key to replace
	Nonce    string    // "" if there was none
	IssuedAt time.Time // by the client's clock, whole seconds
	JKT      string    // the thumbprint of the new key, which signed the statement
	Alg      string    // by which it did

	epoch Epoch
	until time.Time
}

// CheckRekey checks the statement of a new key: typ, algorithm, audience, nonce or time as in a proof, and the signature by the key in
// its header. The caller compares device and old key, and calls [Verifier.SpendRekey]. CheckRekey changes nothing.
//
// A refusal is a *[ProofError]; any other error means that the replay store failed.
func (v *Verifier) CheckRekey(ctx context.Context, statement, audience string) (*Rekey, error) {
	jws, key, err := readSigned(statement, jose.TypeRekey, v.cfg.Algorithms)
	if err != nil {
		return nil, err
	}
	k := &Rekey{JKT: key.JKT, Alg: jws.Header.Alg}
	if err := k.parseClaims(jws.Payload); err != nil {
		return nil, partOf("payload", err)
	}
	if subtle.ConstantTimeCompare([]byte(k.Audience), []byte(audience)) == 0 {
		return nil, refuse("aud", "not this issuer")
	}
	// Nonce and time are those of a proof that the same client makes at the same time.
	p := Proof{Nonce: k.Nonce, IssuedAt: k.IssuedAt}
	if p.epoch, err = v.cfg.Replay.Epoch(ctx); err != nil {
		return nil, fmt.Errorf("dpop: replay store: %w", err)
	}
	if err := v.checkTime(ctx, &p); err != nil {
		return nil, err
	}
	if err := verify(v.tables, jws, key.Public); err != nil { // last, as in [Verifier.Check]
		return nil, err
	}
	k.epoch, k.until = p.epoch, p.until
	return k, nil
}

// parseClaims reads the claims. All are required but the nonce, which checkTime requires if the server uses nonces.
func (k *Rekey) parseClaims(payload []byte) error {
	return jose.ReadMembers(payload,
		jose.Member{Name: "jti", Text: &k.JTI, Required: true, Max: maxName},
		jose.Member{Name: "aud", Text: &k.Audience, Required: true},
		jose.Member{Name: "nonce", Text: &k.Nonce, Max: maxName},
		jose.Member{Name: "device", Text: &k.Device, Required: true},
		jose.Member{Name: "old_jkt", Text: &k.OldJKT, Required: true},
		jose.Member{Name: "iat", Date: &k.IssuedAt, Required: true},
	)
}

// SpendRekey records that k was used. Call it last, before the first write. The errors are those of [Verifier.Spend].
func (v *Verifier) SpendRekey(ctx context.Context, k *Rekey, source netip.Addr) error {
	err := v.cfg.Replay.Spend(ctx, k.epoch, replayKey(kindRekey, v.cfg.Namespace, k.JKT, k.JTI), k.until, source)
	if err == nil {
		return nil
	}
	stale := refuse("iat", forgotten)
	if v.cfg.Nonces != nil {
		stale = useNonce(&Proof{Nonce: k.Nonce})
	}
	return notSpent(err, stale)
}
