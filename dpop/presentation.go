package dpop

import (
	"context"
	"crypto"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// PresentationParams are the claims of a presentation.
type PresentationParams struct {
	Audience    string    // the verifier: the URI of its domain, device or room
	Nonce       string    // the verifier's, 1 to 255 bytes
	AccessToken string    // the token that it belongs to
	IssuedAt    time.Time // zero: now
	JTI         string    // "": 128 random bits
}

// Presentation returns an `im-presentation+jwt`. It proves to a peer outside HTTP (an XMPP stream, a SASL exchange, a room)
// that its sender holds the key of the access token that is sent with it. A token alone proves nothing, because anybody
// who has seen it can send it. The error is about an audience, nonce or token that is empty, or comes from the key.
func (s *Signer) Presentation(p PresentationParams) (string, error) {
	if p.Audience == "" || p.Nonce == "" || p.AccessToken == "" {
		return "", errors.New("dpop: a presentation needs an audience, a nonce and an access token")
	}
	return s.sign(s.presentation, struct {
		JTI   string `json:"jti"`
		AUD   string `json:"aud"`
		IAT   int64  `json:"iat"`
		Nonce string `json:"nonce"`
		ATH   string `json:"ath"`
	}{newJTI(p.JTI), p.Audience, issuedAt(p.IssuedAt), p.Nonce, ATH(p.AccessToken)})
}

// A Presentation is a presentation that [Verifier.CheckPresentation] accepted.
type Presentation struct {
	JTI      string    // unique among the presentations of one key, 1 to 255 bytes
	Audience string    // one of [PresentationRequest.Audiences]
	Nonce    string    // the verifier's
	ATH      string    // the hash of the access token, see [ATH]
	IssuedAt time.Time // by the client's clock, whole seconds
	JKT      string    // the key's thumbprint
	Key      crypto.PublicKey
	Alg      string

	epoch Epoch
	until time.Time
}

// A PresentationRequest is a presentation with the values to check it against. All fields are required.
type PresentationRequest struct {
	Presentation string
	// Audiences are the verifier's own names, as canonical URIs. `aud` must be one of them, byte for byte.
	Audiences []string
	// Nonce is the nonce that the verifier sent to this peer: unpredictable, 1 to 255 bytes, for one attempt.
	Nonce string
	// AccessToken is the token that was sent with the presentation, and JKT its `cnf.jkt`. The caller checks the token.
	AccessToken string
	JKT         string
}

// CheckPresentation checks everything except that a presentation is used once, which [Verifier.SpendPresentation] does:
// typ, signature by the key that the token is bound to, audience, nonce, token, and an `iat` from 60 s ago to 15 s ahead,
// also if the verifier's proofs need nonces. It changes nothing.
//
// A refusal is a *[ProofError] and an [ErrInvalidProof], never an [ErrUseNonce]; any other error means that the
// replay store failed or that r is incomplete.
func (v *Verifier) CheckPresentation(ctx context.Context, r PresentationRequest) (*Presentation, error) {
	if len(r.Audiences) == 0 || slices.Contains(r.Audiences, "") || r.Nonce == "" || r.AccessToken == "" || r.JKT == "" {
		return nil, errors.New("dpop: a presentation is checked against audiences, a nonce, an access token and its key")
	}
	jws, key, err := readSigned(r.Presentation, jose.TypePresentation, v.cfg.Algorithms)
	if err != nil {
		return nil, err
	}
	p := &Presentation{JKT: key.JKT, Key: key.Public, Alg: jws.Header.Alg}
	if err := p.parseClaims(jws.Payload); err != nil {
		return nil, partOf("payload", err)
	}
	switch {
	case p.JKT != r.JKT:
		return nil, refuse("jwk", "not the key that the access token is bound to")
	case !slices.Contains(r.Audiences, p.Audience):
		return nil, refuse("aud", "not a name of this verifier")
	case subtle.ConstantTimeCompare([]byte(p.Nonce), []byte(r.Nonce)) == 0:
		return nil, refuse("nonce", "not the one that this verifier gave")
	case !isATH(p.ATH, r.AccessToken):
		return nil, refuse("ath", "not the hash of this access token")
	}
	if p.epoch, err = v.cfg.Replay.Epoch(ctx); err != nil {
		return nil, fmt.Errorf("dpop: replay store: %w", err)
	}
	if err := v.checkIssuedAt(p.IssuedAt, p.epoch); err != nil {
		return nil, err
	}
	if err := verify(v.tables, jws, key.Public); err != nil { // last, as in [Verifier.Check]
		return nil, err
	}
	p.until = p.IssuedAt.Add(maxAge + maxSkew)
	return p, nil
}

// parseClaims reads the claims. All are required.
func (p *Presentation) parseClaims(payload []byte) error {
	return jose.ReadMembers(payload,
		jose.Member{Name: "jti", Text: &p.JTI, Required: true, Max: maxName},
		jose.Member{Name: "aud", Text: &p.Audience, Required: true},
		jose.Member{Name: "nonce", Text: &p.Nonce, Required: true, Max: maxName},
		jose.Member{Name: "ath", Text: &p.ATH, Required: true},
		jose.Member{Name: "iat", Date: &p.IssuedAt, Required: true},
	)
}

// SpendPresentation records that p was used. Call it last, as [Verifier.Spend]. The error is [ErrReplayed] if p was spent
// before, another ErrInvalidProof if the store may have lost the record since the check, and [ErrReplayFull] if the store
// is full for source. Any other error means that the store cannot know.
func (v *Verifier) SpendPresentation(ctx context.Context, p *Presentation, source netip.Addr) error {
	key := replayKey(kindPresentation, v.cfg.Namespace, p.JKT, p.JTI)
	err := v.cfg.Replay.Spend(ctx, p.epoch, key, p.until, source)
	if err == nil {
		return nil
	}
	return notSpent(err, refuse("iat", forgotten))
}
