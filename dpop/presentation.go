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

// PresentationParams is what a presentation says.
type PresentationParams struct {
	Audience    string    // whom it is shown to: the verifier's domain, device or room URI
	Nonce       string    // the verifier's, 1 to 255 bytes
	AccessToken string    // the token that it belongs to
	IssuedAt    time.Time // zero: now
	JTI         string    // "": 128 random bits
}

// Presentation returns an `im-presentation+jwt`: it shows a peer outside HTTP (an XMPP stream, a SASL exchange, a
// room) who holds the access token that goes along. A token alone shows nothing, as whoever saw it can show it
// again. The error is about an audience, nonce or token that is empty, or comes from the key.
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

// A Presentation is one that [Verifier.CheckPresentation] accepted.
type Presentation struct {
	JTI      string    // unique among the presentations of one key, 1 to 255 bytes
	Audience string    // the one of [PresentationRequest.Audiences] that it is for
	Nonce    string    // the verifier's
	ATH      string    // the hash of the access token, see [ATH]
	IssuedAt time.Time // by the client's clock, whole seconds
	JKT      string    // the key's thumbprint
	Key      crypto.PublicKey
	Alg      string

	epoch Epoch
	until time.Time
}

// A PresentationRequest is what a presentation is held against. All of it is required.
type PresentationRequest struct {
	Presentation string
	// Audiences are the verifier's own names, as canonical URIs: `aud` is one of them, byte for byte.
	Audiences []string
	// Nonce is what the verifier gave to this peer: unpredictable, 1 to 255 bytes, for one attempt.
	Nonce string
	// AccessToken is the token that came along, which the verifier checks by itself, and JKT its `cnf.jkt`.
	AccessToken string
	JKT         string
}

// CheckPresentation holds a presentation to all rules but that it counts once, which is for
// [Verifier.SpendPresentation]: typ, signature by the key that the token is bound to, audience, nonce, token, and
// an `iat` from 60 s ago to 15 s ahead, whether the verifier's proofs need nonces or not. It changes nothing.
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
	if err := verify(jws, key.Public); err != nil { // last, as in [Verifier.Check]
		return nil, err
	}
	p.until = p.IssuedAt.Add(maxAge + maxSkew)
	return p, nil
}

// parseClaims reads the claims. None may be missing.
func (p *Presentation) parseClaims(payload []byte) error {
	return jose.ReadMembers(payload,
		jose.Member{Name: "jti", Text: &p.JTI, Required: true, Max: maxName},
		jose.Member{Name: "aud", Text: &p.Audience, Required: true},
		jose.Member{Name: "nonce", Text: &p.Nonce, Required: true, Max: maxName},
		jose.Member{Name: "ath", Text: &p.ATH, Required: true},
		jose.Member{Name: "iat", Date: &p.IssuedAt, Required: true},
	)
}

// SpendPresentation records that p was used, see [Verifier.Spend]: call it last. The error is [ErrReplayed] if p
// was spent before, another ErrInvalidProof if the store may have forgotten that since the check,
// [ErrReplayFull], or "cannot know".
func (v *Verifier) SpendPresentation(ctx context.Context, p *Presentation, source netip.Addr) error {
	key := replayKey(kindPresentation, v.cfg.Namespace, p.JKT, p.JTI)
	err := v.cfg.Replay.Spend(ctx, p.epoch, key, p.until, source)
	if err == nil {
		return nil
	}
	return notSpent(err, refuse("iat", forgotten))
}
