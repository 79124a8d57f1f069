package oauth

import (
	"context"
	"errors"

	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// Revoke ends what the token of a request names (RFC 7009): a refresh token its whole session, an access token itself
// alone. A token that is none of ours, is another client's, or has ended is no error (§2.2): there is nothing left to
// revoke. No proof is asked for. Errors are those of [Provider.Token].
func (p *Provider) Revoke(ctx context.Context, r TokenRequest) error {
	client, once, err := p.identify(ctx, r.Header, r.Form)
	if err != nil {
		return err
	}
	token := r.Form.Get("token")
	if token == "" {
		return refuse(CodeInvalidRequest, "The parameter token is missing.")
	}
	if id, _, ok := p.refresh.parse(token); ok {
		g, _, _, err := p.store.Session(ctx, id)
		switch {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return err
		case g.Client == client.ID && g.EndedAt.IsZero():
			return p.endGrant(ctx, g, "revoked", once)
		}
	} else if set, ok := p.own(token); ok && set.ClientID == client.ID {
		if now := p.now(); now.Before(set.Expires) {
			cause := revocation.Cause{Reason: "revoked", At: now, TokenLife: set.Expires.Sub(now)}
			return p.revoke(ctx, revocation.RevokeToken(set.JTI, cause), once.spend)
		}
	}
	return p.spendOnce(ctx, once)
}
