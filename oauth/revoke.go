package oauth

import (
	"context"
	"errors"

	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// Revoke ends what token names (RFC 7009): a refresh token its whole session, an access token itself alone. A token
// that is none of ours, is another client's, or has ended is no error (§2.2): there is nothing left to revoke.
func (p *Provider) Revoke(ctx context.Context, client *Client, token string) error {
	if token == "" {
		return refuse(CodeInvalidRequest, "The parameter token is missing.")
	}
	if id, _, ok := p.refresh.parse(token); ok {
		g, _, _, err := p.store.Session(ctx, id)
		if errors.Is(err, storage.ErrNotFound) || (err == nil && g.Client != client.ID) {
			return nil
		} else if err != nil || !g.EndedAt.IsZero() {
			return err
		}
		return p.endGrant(ctx, g, "revoked")
	}
	set, ok := p.own(token)
	if now := p.now(); ok && set.ClientID == client.ID && now.Before(set.Expires) {
		cause := revocation.Cause{Reason: "revoked", At: now, TokenLife: set.Expires.Sub(now)}
		return p.revoke(ctx, revocation.RevokeToken(set.JTI, cause), nil)
	}
	return nil
}
