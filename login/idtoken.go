package login

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// leeway is how far the provider's clock may differ from ours.
	leeway = time.Minute
	// rounding is how far two times of the provider may differ: they are whole seconds, perhaps of two machines.
	rounding = 5 * time.Second
)

// binding are the claims that bind an ID token to its issuer, its time and this login. They must have the expected values, and no
// other claim may differ from one of them only in case. Other claims only describe the login.
var binding = []string{"iss", "sub", "aud", "exp", "iat", "nbf", "nonce", "azp", "at_hash"}

// checkIDToken verifies an ID token (OpenID Connect Core §3.1.3.7) and returns its claims.
func (p *Provider) checkIDToken(ctx context.Context, pending Pending, raw, accessToken string) (members, error) {
	now := p.now()
	token, said, err := p.verify(ctx, raw, "id_token", p.cfg.ClientID, p.bound(binding), now)
	if err != nil {
		return nil, err
	}
	switch {
	case token.Subject == "" || len(token.Subject) > 255: // Core §2
		return nil, rejected("id_token", "sub is not 1 to 255 bytes")
	case said["azp"] != nil && said.text("azp") != p.cfg.ClientID, said["azp"] == nil && len(token.Audience) > 1:
		return nil, rejected("id_token", "azp is not this client")
	case said["iat"] == nil || token.IssuedAt.After(now.Add(leeway)):
		return nil, rejected("id_token", "iat is missing or in the future")
	case pending.Nonce == "" || !equal(token.Nonce, pending.Nonce):
		return nil, rejected("nonce", "not the nonce of this login")
	}
	if token.AccessTokenHash != "" { // Core §3.1.3.8
		if err := token.VerifyAccessToken(accessToken); err != nil {
			return nil, &Rejected{Part: "id_token", Err: err}
		}
	}
	return said, checkAuthTime(said, pending, token.IssuedAt, now)
}

// verify verifies a JWT of the provider for an audience: the signature, iss, aud and the times. Of the claims, those in bound are checked
// strictly; all are returned. The error is a *[Rejected] that names part, or wraps [ErrUnavailable].
func (p *Provider) verify(
	ctx context.Context, raw, part, audience string, bound []string, now time.Time,
) (*oidc.IDToken, members, error) {
	keys := &reader{keys: p.keys, bound: bound}
	verifier := oidc.NewVerifier(p.cfg.Issuer, keys, &oidc.Config{
		ClientID:             audience,
		SupportedSigningAlgs: algorithms, // the key set knows which of them the provider uses
		Now:                  func() time.Time { return now.Add(-leeway) },
	})
	token, err := verifier.Verify(ctx, raw)
	if errors.Is(keys.err, ErrUnavailable) {
		return nil, nil, keys.err
	}
	if keys.err != nil {
		err = keys.err // go-oidc calls every one of them a bad signature
	}
	if err != nil {
		return nil, nil, &Rejected{Part: part, Err: err}
	}
	return token, keys.said, nil
}

// checkAuthTime checks auth_time against the requested max_age (Core §3.1.3.7, number 13). Without max_age the claim is optional.
func checkAuthTime(said members, pending Pending, issued, now time.Time) error {
	if pending.AuthAfter.IsZero() {
		return nil
	}
	switch at := said.date("auth_time"); {
	case at.IsZero():
		return rejected("auth_time", "missing or not a number of seconds, although max_age was asked for")
	case at.After(now.Add(leeway)):
		return rejected("auth_time", "in the future")
	// By our clock, and more precisely by the provider's own: the token was issued after the login began.
	case at.Before(pending.AuthAfter.Add(-leeway)), issued.Sub(at) > now.Sub(pending.AuthAfter)+rounding:
		return rejected("auth_time", "longer ago than max_age allows")
	}
	return nil
}

// A reader passes only the claims to go-oidc that it checks: go-oidc would refuse the whole token for an optional claim of another
// type, and encoding/json, which it uses, reads "SUB" as "sub".
type reader struct {
	keys  *keySet
	bound []string // the names of those claims
	said  members  // all claims, once the signature was verified
	err   error    // of VerifySignature: go-oidc keeps only its text
}

func (r *reader) VerifySignature(ctx context.Context, token string) (payload []byte, err error) {
	defer func() { r.err = err }()
	if payload, err = r.keys.VerifySignature(ctx, token); err != nil {
		return nil, err
	}
	if r.said, err = parseMembers(payload, r.bound); err != nil {
		return nil, err
	}
	checked := append(make([]byte, 0, len(payload)), '{')
	for _, name := range r.bound {
		value, ok := r.said[name]
		if !ok {
			continue
		}
		if len(checked) > 1 {
			checked = append(checked, ',')
		}
		checked = append(append(append(append(checked, '"'), name...), `":`...), value...) // well-formed: the payload was parsed strictly
	}
	return append(checked, '}'), nil
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
}

// unreachable reports whether err means that there was no answer, rather than an invalid one.
func unreachable(err error) bool {
	var failed *url.Error
	return errors.As(err, &failed)
}
