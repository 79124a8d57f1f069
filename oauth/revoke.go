package oauth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

var errRevokeKey = refuse(CodeInvalidRequest, "The access token is bound to another key: send a proof by the key that it was issued for.")

// Revoke ends what the token of a request names (RFC 7009): the whole session for a refresh token, the token alone for an
// access token. A token that is unknown, belongs to another client or has ended is no error (§2.2): there is nothing left
// to revoke.
//
// An access token of a public client needs a proof by its key. Access tokens are shown to others, and all that a public
// client authenticates with, its id, is a claim inside them: without a proof, everybody who is shown a token could revoke
// it. (RFC 7009 §5 assumes that a holder could do worse with the token; the holder of a key-bound one cannot.) Errors are
// those of [Provider.Token].
func (p *Provider) Revoke(ctx context.Context, r TokenRequest) error {
	client, once, err := p.clients.Authenticate(ctx, r.Header, r.Form)
	if err != nil {
		return err
	}
	token := r.Form.Get("token")
	if token == "" {
		return refuse(CodeInvalidRequest, "The parameter token is missing.")
	}
	id, _, ok, err := p.refresh.parse(token)
	if err != nil {
		return err
	}
	if ok {
		g, _, _, err := p.store.Session(ctx, id)
		switch {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return err
		case g.Client == client.ID && g.EndedAt.IsZero():
			return p.endGrant(ctx, g, "revoked", once, sessionEvent(audit.SessionRevoked, g, r.Source))
		case g.Client == client.ID && p.catchUp != nil:
			// Another node may have ended the session just before, or this one without an answer of the store. The answer says that
			// its tokens are revoked.
			if err := p.catchUp(ctx); err != nil {
				return fmt.Errorf("oauth: catch up with the revocations: %w", err)
			}
		}
	} else if set, ok, err := p.readToken(ctx, token); err != nil {
		return err
	} else if ok && set.ClientID == client.ID {
		if now := p.now(); now.Before(set.Expires) {
			if client.Public() {
				if err := p.proveKey(ctx, r, "/revoke", set.JKT); err != nil {
					return err
				}
			}
			cause := revocation.Cause{Reason: "revoked", At: now, TokenLife: set.Expires.Sub(now)}
			event := audit.Event{Kind: audit.TokenRevoked, Actor: audit.ActorClient, Client: client.ID, Address: r.Source}
			if set.Actor == nil { // an actor's token has no session: its sid is the statement that it was issued by
				event.Session = set.SID
			}
			if !set.Service() {
				id, err := set.Identity()
				if err != nil {
					return err
				}
				event.Domain, event.User = id.User.Domain(), id.User.Local()
				event.Device = id.Device.Device()
			}
			row := revocation.RevokeToken(set.JTI, cause)
			domain, user := event.Domain, event.User
			if set.Service() || set.HomeIss != "" { // the user of another domain has no row here
				domain, user = "", ""
				row.Domain = strings.Join(client.Domains, " ")
			}
			return p.revoke(ctx, domain, user, row, event, once.Spend)
		}
	}
	return p.clients.Spend(ctx, once)
}

// readToken returns the claims of an access token of this server, a JWT or a CWT, which may be inactive. It reports false for any other
// text.
func (p *Provider) readToken(ctx context.Context, text string) (claims.Set, bool, error) {
	if strings.Contains(text, ".") { // no CWT in base64url has one, and each JWT has
		return p.statements.ReadToken(ctx, text)
	}
	if t, ok := p.cwts.Parse(text); ok {
		return p.statements.VerifyToken(ctx, t)
	}
	return claims.Set{}, false, nil
}

// proveKey checks and spends the proof of a request to an endpoint of the server, which must be by the key of jkt.
func (p *Provider) proveKey(ctx context.Context, r TokenRequest, path, jkt string) error {
	claimed, err := p.readProof(ctx, r, path)
	switch {
	case err != nil:
		return err
	case claimed == nil:
		return dpop.ErrNoProof
	case claimed.JKT() != jkt:
		return errRevokeKey
	}
	proof, err := claimed.Verify()
	if err != nil {
		return err
	}
	return p.proofs.Spend(ctx, proof, r.Source)
}
