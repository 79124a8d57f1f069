package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// Refusals of a code. The client gets the same answer for a code that is unknown, spent or expired.
var (
	errCode     = refuse(CodeInvalidGrant, "The authorization code is unknown, spent or expired: begin a new login.")
	errCodeKey  = refuse(CodeInvalidGrant, "The authorization code is bound to another key: send a proof by the key named in dpop_jkt.")
	errVerifier = refuse(CodeInvalidGrant, "The code_verifier is missing or does not fit the code_challenge.")
	errRedirect = refuse(CodeInvalidGrant, "The redirect_uri is not the one of the authorization request.")
	errKeyInUse = refuse(CodeInvalidGrant,
		"The key belongs to another device or to one that was removed: make a new key and log in again.")
	errDevices  = refuse(CodeInvalidGrant, "The user has as many devices as allowed: sign out on one of them, then begin a new login.")
	errDisabled = refuse(CodeInvalidGrant, "The account is disabled.")
)

// A codeGrant redeems an authorization code (RFC 6749 §4.1.3, RFC 7636 §4.6, RFC 9449 §10).
type codeGrant struct {
	*Provider
	r *tokenRequest

	code    storage.Code
	session session // that the code becomes
}

func (g *codeGrant) check(ctx context.Context, db Reader) (*token, error) {
	r := g.r
	if r.proof == nil {
		return nil, dpop.ErrNoProof
	}
	code := r.Form.Get("code")
	if code == "" {
		return nil, refuse(CodeInvalidRequest, "The parameter code is missing.")
	}
	c, err := db.Code(ctx, hash(code))
	if err != nil {
		return nil, notFound(err, errCode)
	}
	if c.Client != r.client.ID {
		return nil, errCode
	}
	if given := r.Form.Get("redirect_uri"); given != c.RedirectURI && (given != "" || c.RedirectGiven) {
		return nil, errRedirect
	}
	if !verifies(r.Form.Get("code_verifier"), c.Challenge) {
		return nil, errVerifier
	}
	if !c.SpentAt.IsZero() {
		return nil, g.spentBefore(ctx, db, c)
	}
	if !r.at.Add(-g.skew).Before(c.ExpiresAt) {
		return nil, errCode
	}
	if c.JKT != "" && c.JKT != r.proof.JKT {
		return nil, errCodeKey
	}
	g.code = c
	if g.session, err = g.newSession(ctx, db); err != nil {
		return nil, err
	}
	return g.firstToken(r, &g.session)
}

// newSession returns the session of a code.
func (g *codeGrant) newSession(ctx context.Context, db Reader) (session, error) {
	c := g.code
	user, err := db.User(ctx, c.Domain, c.User)
	if err != nil {
		return session{}, notFound(err, errCode)
	}
	if !user.DisabledAt.IsZero() {
		return session{}, errDisabled
	}
	return g.loginSession(ctx, g.r, user, storage.Device{Name: c.DeviceName, Platform: c.Platform}, storage.Grant{
		Scopes: c.Scopes, Audience: c.Audience,
		Issuer: c.Issuer, UpstreamSID: c.UpstreamSID, AuthTime: c.AuthTime, ACR: c.ACR, AMR: c.AMR,
		UpstreamToken: c.UpstreamToken,
	})
}

// commit spends the code, once, and stores its device and its session.
func (g *codeGrant) commit(ctx context.Context, tx storage.Tx) error {
	err := tx.SpendCode(ctx, g.code.Hash, g.r.at, g.session.grant.ID)
	switch {
	case errors.Is(err, storage.ErrConflict): // another request was faster; this one is checked as if it had come later
		c, err := tx.Code(ctx, g.code.Hash)
		if err != nil {
			return err
		}
		return g.spentBefore(ctx, tx, c)
	case err != nil:
		return notFound(err, errCode)
	}
	return g.storeSession(ctx, tx, g.r, g.session)
}

// spentBefore checks a spent code that comes with the right verifier. With the same key, or one that the same device had before, a
// client repeats its request, and its session goes on. With another key, two parties have the code and the verifier, so one of them
// is a thief: the session ends. (RFC 6749 §4.1.2 would always end it. Then anybody who sees the redirect could log the user out.)
func (g *codeGrant) spentBefore(ctx context.Context, db Reader, c storage.Code) error {
	session, _, _, err := db.Session(ctx, c.Grant)
	if err != nil {
		return notFound(err, errCode)
	}
	if session.JKT == g.r.proof.JKT {
		return errCode
	}
	switch device, err := db.DeviceByKey(ctx, session.Domain, g.r.proof.JKT); {
	case err == nil && device.ID == session.Device:
		return errCode
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return &reuse{session, audit.CodeReused, "code_reused", errCode}
}

// endGrant ends a session and all its tokens. The client's assertion is spent in the same transaction, which records the event.
func (p *Provider) endGrant(ctx context.Context, g storage.Grant, reason string, o *clients.Assertion, e audit.Event) error {
	now := p.now()
	return p.revoke(ctx, g.Domain, g.User, revocation.RevokeGrant(g.ID, p.cause(reason, now)), e,
		func(ctx context.Context, tx storage.Tx) error {
			if err := o.Spend(ctx, tx); err != nil {
				return err
			}
			return tx.EndGrant(ctx, g.ID, now, reason)
		})
}

func (p *Provider) cause(reason string, now time.Time) revocation.Cause {
	return revocation.Cause{Reason: reason, At: now, TokenLife: p.lifetimes.Access}
}

// revoke writes a revocation that ends tokens of a user, or of nobody if user is empty, after a step in the same transaction,
// records the event with it, and calls Revoked once it is durable. The revocation counts as [account.Accounts.Revoke] says.
func (p *Provider) revoke(
	ctx context.Context, domain, user string, r storage.Revocation, e audit.Event, first func(context.Context, storage.Tx) error,
) error {
	var rows []storage.Revocation
	err := p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		if err := first(ctx, tx); err != nil {
			return err
		}
		if rows, err = p.accounts.Revoke(ctx, tx, domain, user, r); err != nil {
			return err
		}
		return audit.Append(ctx, tx, e)
	})
	if err != nil {
		return fmt.Errorf("oauth: revoke: %w", err)
	}
	p.revoked(rows...)
	return nil
}

// verifies compares a PKCE verifier with its S256 challenge (RFC 7636 §4.6).
func verifies(verifier, challenge string) bool {
	if !validVerifier(verifier) {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(got), []byte(challenge)) == 1
}

// validVerifier checks the form of a verifier (RFC 7636 §4.1): 43 to 128 unreserved characters.
func validVerifier(v string) bool {
	return len(v) >= 43 && len(v) <= 128 && strings.Trim(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") == ""
}
