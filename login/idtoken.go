package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/imidentity/issuer/internal/jose"
)

// leeway is how far the provider's clock may be from ours.
const leeway = time.Minute

// known are the claims read here and by go-oidc. encoding/json, which go-oidc uses, would take "SUB" for "sub".
var known = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash", "auth_time", "acr", "amr", "sid",
	"_claim_names", "_claim_sources"}

// members are the claims of an ID token or a userinfo answer, each as raw JSON.
type members map[string][]byte

func parseMembers(data []byte) (members, error) {
	m := members{}
	err := jose.Object(data, func(name string, value []byte) error {
		m[name] = value
		return jose.CheckCase(name, known)
	})
	return m, err
}

// text returns the claim's text; one that is absent, null or no text is empty.
func (m members) text(name string) string {
	s, _ := jose.String(m[name])
	return s
}

// checkIDToken verifies an ID token (OpenID Connect Core §3.1.3.7) and returns its claims.
func (p *Provider) checkIDToken(ctx context.Context, meta *metadata, pending Pending, raw, accessToken string) (members, error) {
	now := p.now()
	keys := &witness{KeySet: p.keys}
	verifier := oidc.NewVerifier(p.cfg.Issuer, keys, &oidc.Config{
		ClientID:             p.cfg.ClientID,
		SupportedSigningAlgs: meta.algs,
		Now:                  func() time.Time { return now.Add(-leeway) },
	})
	token, err := verifier.Verify(ctx, raw)
	if errors.Is(keys.err, ErrUnavailable) {
		return nil, keys.err
	}
	if err != nil {
		return nil, &Rejected{Part: "id_token", Err: err}
	}
	var payload json.RawMessage
	if err := token.Claims(&payload); err != nil {
		return nil, &Rejected{Part: "id_token", Err: err}
	}
	said, err := parseMembers(payload)
	if err != nil {
		return nil, &Rejected{Part: "id_token", Err: err}
	}
	azp, named := said["azp"]
	switch {
	case token.Subject == "" || len(token.Subject) > 255: // Core §2
		return nil, rejected("id_token", "sub is not 1 to 255 octets")
	case named && said.text("azp") != p.cfg.ClientID, len(azp) == 0 && len(token.Audience) > 1:
		return nil, rejected("id_token", "azp is not this client")
	case said["iat"] == nil || token.IssuedAt.After(now.Add(leeway)):
		return nil, rejected("id_token", "iat is missing or in the future")
	case pending.Nonce == "" || !equal(token.Nonce, pending.Nonce):
		return nil, rejected("nonce", "not the one of this login")
	}
	if token.AccessTokenHash != "" { // Core §3.1.3.8
		if err := token.VerifyAccessToken(accessToken); err != nil {
			return nil, &Rejected{Part: "id_token", Err: err}
		}
	}
	return said, p.checkAuthTime(said, pending, now)
}

// checkAuthTime holds auth_time to the max_age that was asked for (Core §3.1.3.7, number 13).
func (p *Provider) checkAuthTime(said members, pending Pending, now time.Time) error {
	raw, given := said["auth_time"]
	if !given {
		if !pending.AuthAfter.IsZero() {
			return rejected("auth_time", "missing, although max_age was asked for")
		}
		return nil
	}
	at, err := jose.NumericDate(raw)
	switch {
	case err != nil:
		return &Rejected{Part: "auth_time", Err: err}
	case at.After(now.Add(leeway)):
		return rejected("auth_time", "in the future")
	case at.Before(pending.AuthAfter.Add(-leeway)):
		return rejected("auth_time", "longer ago than max_age allows")
	}
	return nil
}

// witness keeps the error of a key set, which go-oidc makes text of.
type witness struct {
	oidc.KeySet
	err error
}

func (w *witness) VerifySignature(ctx context.Context, token string) (payload []byte, err error) {
	payload, w.err = w.KeySet.VerifySignature(ctx, token)
	return payload, w.err
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
}

// unreachable reports whether err says that there was no answer, not that there was a bad one.
func unreachable(err error) bool {
	var failed *url.Error
	return errors.As(err, &failed)
}
