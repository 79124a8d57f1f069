package login

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/imidentity/issuer/internal/published"
)

// A RefreshToken is the refresh token of a login, with what the answers to it are compared with. It is a secret.
type RefreshToken struct {
	Token string `json:"token"`
	// Subject is the sub of the ID token, whatever the settings call the subject.
	Subject string `json:"sub"`
	// Nonce is that of the login.
	Nonce string `json:"nonce"`
}

// endings are the error codes by which the provider says that it gives this user no tokens without them: the grant is invalid, expired or
// revoked (RFC 6749 §5.2), or the user must be there (OpenID Connect Core §3.1.2.6). All other codes are about this client or the request.
var endings = []string{"invalid_grant", "login_required", "interaction_required", "consent_required"}

// Refresh asks the provider whether a login still stands, by its refresh token (RFC 6749 §6, OpenID Connect Core §12). It returns the
// token to use from now on, which is the same if the provider did not replace it.
//
// The error is [ErrEnded] if the provider refuses the token, a *[Rejected] if the answer is not valid, or wraps [ErrUnavailable]. Both of
// the latter also wrap [ErrTokenSent] if the provider may have replaced the token: then a later [ErrEnded] may be about that alone.
func (p *Provider) Refresh(ctx context.Context, token RefreshToken) (RefreshToken, error) {
	meta, err := get(ctx, p.meta, published.Any)
	if err != nil {
		return RefreshToken{}, err
	}
	// Before the token is at stake: an answer that cannot be verified is as good as lost.
	if _, err := get(ctx, p.keys.published, published.Any); err != nil {
		return RefreshToken{}, err
	}
	// Not repeatable: sent twice, the token would be a replaced one that is used again.
	answer, err := p.askToken(ctx, meta, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token.Token}}, false)
	if err != nil {
		if answer.sent {
			err = fmt.Errorf("%w: %w", ErrTokenSent, err)
		}
		return RefreshToken{}, err
	}
	refusal := answer.status == http.StatusBadRequest || answer.status == http.StatusUnauthorized || answer.status == http.StatusForbidden
	if refusal && slices.Contains(endings, answer.text("error")) {
		return RefreshToken{}, ErrEnded
	}
	if err := answer.refused(); err != nil {
		return RefreshToken{}, &Rejected{Part: "refresh_token", Err: err}
	}
	if err := answer.check(); err != nil {
		return RefreshToken{}, fmt.Errorf("%w: %w", ErrTokenSent, &Rejected{Part: "refresh_token", Err: err})
	}
	if raw := answer.text("id_token"); raw != "" || answer.members["id_token"] != nil {
		if err := p.checkRefreshed(ctx, token, raw, answer.text("access_token")); err != nil {
			return RefreshToken{}, fmt.Errorf("%w: %w", ErrTokenSent, err)
		}
	}
	if next := answer.text("refresh_token"); next != "" {
		token.Token = next
	}
	return token, nil
}

// checkRefreshed verifies the ID token of an answer to a refresh (OpenID Connect Core §12.2). It is as that of the login, but for the
// nonce, which may be absent.
func (p *Provider) checkRefreshed(ctx context.Context, login RefreshToken, raw, accessToken string) error {
	now := p.now()
	token, said, err := p.verify(ctx, raw, "id_token", p.cfg.ClientID, binding, now)
	if err != nil {
		return err
	}
	switch {
	case login.Subject == "" || !equal(token.Subject, login.Subject):
		return rejected("id_token", "sub is another user than that of the login")
	case said["azp"] != nil && said.text("azp") != p.cfg.ClientID, said["azp"] == nil && len(token.Audience) > 1:
		return rejected("id_token", "azp is not this client")
	case said["iat"] == nil || token.IssuedAt.After(now.Add(leeway)):
		return rejected("id_token", "iat is missing or in the future")
	case said["nonce"] != nil && (login.Nonce == "" || !equal(token.Nonce, login.Nonce)):
		return rejected("nonce", "not the nonce of the login")
	}
	if token.AccessTokenHash != "" { // §3.1.3.8
		if err := token.VerifyAccessToken(accessToken); err != nil {
			return &Rejected{Part: "id_token", Err: err}
		}
	}
	return nil
}
