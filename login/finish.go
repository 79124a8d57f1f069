package login

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/published"
)

// An Identity describes the user who logged in, by the claims of the provider. Absent claims are empty.
type Identity struct {
	// Issuer and Subject together identify the user and never change (OpenID Connect Core §5.7). Issuer is the configured
	// issuer, Subject the value of [Config.SubjectClaim].
	Issuer, Subject string
	// Sub is the claim sub if Subject is another claim, and empty otherwise. Earlier logins may have been known by it.
	Sub string
	// Handle is the value of the claim that proposes a handle, unchanged.
	Handle string
	// User is the value of the claim with the user's id. It is never empty if that claim is configured.
	User string
	// SID identifies the session at the provider.
	SID string
	// IssuedAt is when the provider issued the ID token: a logout that it reports for a later time ends this login.
	IssuedAt time.Time
	AuthTime time.Time // whole seconds, UTC
	ACR      string
	AMR      []string
	// Refresh asks later whether the login still stands. It is zero if the provider gave no refresh token, or if none is wanted.
	Refresh RefreshToken `json:"-"`
	// Ignored names the optional claims among sid, acr, amr and auth_time that the provider sent in a form that cannot be
	// used. They are absent above.
	Ignored []string `json:"-"`
}

// Finish finishes a login with the query of its callback. The error is a *[Refused], a *[Rejected], or wraps [ErrUnavailable]. It
// also wraps [ErrCodeSent] if this callback can no longer finish the login.
func (p *Provider) Finish(ctx context.Context, pending Pending, callback url.Values) (Identity, error) {
	meta, err := get(ctx, p.meta, published.Any)
	if err != nil {
		return Identity{}, err
	}
	code, err := p.checkCallback(meta, pending, callback)
	if err != nil {
		return Identity{}, err
	}
	answer, err := p.exchange(ctx, meta, code, pending.Verifier)
	if err != nil {
		return Identity{}, err
	}
	id, err := p.read(ctx, meta, pending, answer)
	if errors.Is(err, ErrUnavailable) {
		err = fmt.Errorf("%w: %w", ErrCodeSent, err)
	}
	return id, err
}

// read reads the identity from the token endpoint's answer and, if claims are missing, from userinfo.
func (p *Provider) read(ctx context.Context, meta *metadata, pending Pending, answer members) (Identity, error) {
	raw, access := answer.text("id_token"), answer.text("access_token")
	if raw == "" {
		return Identity{}, rejected("id_token", "missing from the token endpoint's answer")
	}
	said, err := p.checkIDToken(ctx, pending, raw, access)
	if err != nil {
		return Identity{}, err
	}
	refresh := RefreshToken{Token: answer.text("refresh_token"), Subject: said.text("sub"), Nonce: pending.Nonce}
	id, err := p.identify(ctx, meta, said, access)
	if err == nil && p.cfg.Refresh && refresh.Token != "" {
		id.Refresh = refresh
	}
	return id, err
}

// checkCallback returns the code after checking that this provider sent it for this login.
func (p *Provider) checkCallback(meta *metadata, pending Pending, callback url.Values) (code string, err error) {
	for name, values := range callback {
		if len(values) != 1 { // RFC 6749 §3.1
			return "", rejected("callback", "parameter %.32q appears %d times", name, len(values))
		}
	}
	if pending.State == "" || !equal(callback.Get("state"), pending.State) {
		return "", rejected("state", "not the state of this login")
	}
	// RFC 9207 §2.4: iss is checked before anything else in the response is used, even an error.
	switch iss := callback.Get("iss"); {
	case iss == "" && (meta.sendsIss || callback.Has("iss")):
		return "", rejected("iss", "missing, although the provider announces that it sends it")
	case iss != "" && iss != p.cfg.Issuer:
		return "", rejected("iss", "the response comes from another provider")
	}
	if callback.Has("error") {
		return "", &Refused{
			Code:        printable(callback.Get("error"), 64),
			Description: printable(callback.Get("error_description"), 200),
		}
	}
	if code = callback.Get("code"); code == "" {
		return "", rejected("code", "missing")
	}
	return code, nil
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// printable returns the first bytes of s without the characters that RFC 6749 §4.1.2.1 excludes from error codes and
// descriptions.
func printable(s string, max int) string {
	kept := errtext.Strip(s)
	return kept[:min(len(kept), max)]
}
