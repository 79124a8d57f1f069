package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/random"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// Refusals of a code. A code that never was, is spent or has expired is the same to the client.
var (
	errCode     = refuse(CodeInvalidGrant, "The authorization code is unknown, spent or expired: begin a new login.")
	errCodeKey  = refuse(CodeInvalidGrant, "The authorization code is bound to another key: send a proof by the key named in dpop_jkt.")
	errVerifier = refuse(CodeInvalidGrant, "The code_verifier is missing or does not fit the code_challenge.")
	errRedirect = refuse(CodeInvalidGrant, "The redirect_uri is not the one of the authorization request.")
	errKeyInUse = refuse(CodeInvalidGrant, "The key belongs to another device or to one that was removed: make a new key and log in again.")
	errDevices  = refuse(CodeInvalidGrant, "The user has as many devices as allowed: sign out on one of them, then begin a new login.")
	errDisabled = refuse(CodeInvalidGrant, "The account is disabled.")
)

// redeem looks an authorization code up and fills the flow with what its session will be (RFC 6749 §4.1.3,
// RFC 7636 §4.6, RFC 9449 §10). It writes nothing but the end of a session whose code was stolen.
func (p *Provider) redeem(ctx context.Context, f *flow, code string) error {
	if f.proof == nil {
		return dpop.ErrNoProof
	}
	if code == "" {
		return refuse(CodeInvalidRequest, "The parameter code is missing.")
	}
	c, err := p.store.Code(ctx, hash(code))
	if err != nil {
		return notFound(err, errCode)
	}
	if c.Client != f.client.ID {
		return errCode
	}
	if given := f.form.Get("redirect_uri"); given != c.RedirectURI && (given != "" || c.RedirectGiven) {
		return errRedirect
	}
	if !verifies(f.form.Get("code_verifier"), c.Challenge) {
		return errVerifier
	}
	if !c.SpentAt.IsZero() {
		return p.spentAgain(ctx, f, c)
	}
	if !f.now.Before(c.ExpiresAt) {
		return errCode
	}
	if c.JKT != "" && c.JKT != f.proof.JKT {
		return errCodeKey
	}
	f.user, err = p.store.User(ctx, c.Domain, c.User)
	if err != nil {
		return notFound(err, errCode)
	}
	if !f.user.DisabledAt.IsZero() {
		return errDisabled
	}
	f.device, err = p.accounts.DeviceFor(ctx, f.user, f.proof.JKT)
	if errors.Is(err, account.ErrKeyInUse) {
		return errKeyInUse
	} else if err != nil {
		return err
	}
	if f.device.Client == "" { // a new one
		f.device.Client, f.device.Name = f.client.ID, c.DeviceName
	}
	id, err := p.newGrantID()
	if err != nil {
		return err
	}
	f.code = c
	f.grant = storage.Grant{
		ID: id, Domain: c.Domain, Client: c.Client, User: c.User, Device: f.device.ID, JKT: f.proof.JKT,
		Scopes: c.Scopes, Audience: c.Audience,
		Issuer: c.Issuer, UpstreamSID: c.UpstreamSID, AuthTime: c.AuthTime, ACR: c.ACR, AMR: c.AMR,
		Gen: 1, CreatedAt: f.now,
		IdleAt: f.now.Add(p.lifetimes.RefreshIdle), ExpiresAt: f.now.Add(p.lifetimes.RefreshMax),
	}
	return nil
}

// spendCode is the unit of work of a redemption: the code is spent once, its device and its session come to be.
func (p *Provider) spendCode(ctx context.Context, tx storage.Tx, f *flow) error {
	err := tx.SpendCode(ctx, f.code.Hash, f.now, f.grant.ID)
	switch {
	case errors.Is(err, storage.ErrConflict):
		return errCodeRace
	case err != nil:
		return notFound(err, errCode)
	}
	switch _, err := p.accounts.BindDevice(ctx, tx, f.device); {
	case errors.Is(err, account.ErrKeyInUse):
		return errKeyInUse
	case errors.Is(err, account.ErrTooManyDevices):
		return errDevices
	case errors.Is(err, storage.ErrConflict):
		return refuse(CodeTemporarilyUnavailable, "The same device is logging in twice: send the request again with a new proof.")
	case err != nil:
		return err
	}
	return tx.InsertGrant(ctx, f.grant)
}

// errCodeRace means that another request spent the code after this one read it.
var errCodeRace = errors.New("oauth: another request has just spent the code")

// lostRace answers a request that was too late for its code by a moment. It showed all that the winner showed, so it is
// judged like one that comes later.
func (p *Provider) lostRace(ctx context.Context, f *flow) error {
	c, err := p.store.Code(ctx, f.code.Hash)
	if err != nil {
		return notFound(err, errCode)
	}
	return p.spentAgain(ctx, f, c)
}

// spentAgain answers a spent code that comes with the right verifier. With the same key, a client repeats itself, and its
// session lives. With another key, two parties hold code and verifier, so one of them is a thief: the session ends.
// (RFC 6749 §4.1.2 would always end it, and let anybody who has seen the redirect log the user out.)
func (p *Provider) spentAgain(ctx context.Context, f *flow, c storage.Code) error {
	g, _, _, err := p.store.Session(ctx, c.Grant)
	if err != nil {
		return notFound(err, errCode)
	}
	if g.JKT == f.proof.JKT {
		return errCode
	}
	if err := p.spend(ctx, f); err != nil {
		return err
	}
	if err := p.endGrant(ctx, g, "code_reused", f.once); err != nil {
		return err
	}
	p.log.WarnContext(ctx, "audit: authorization code used again by another key: session ended",
		slog.String("sid", g.ID), slog.String("client", g.Client), slog.String("domain", g.Domain))
	return errCode
}

// endGrant ends a session and every token that belongs to it, for a client whose assertion is spent with that.
func (p *Provider) endGrant(ctx context.Context, g storage.Grant, reason string, o *once) error {
	now := p.now()
	return p.revoke(ctx, g.Domain, g.User, revocation.RevokeGrant(g.ID, p.cause(reason, now)),
		func(ctx context.Context, tx storage.Tx) error {
			if err := o.spend(ctx, tx); err != nil {
				return err
			}
			return tx.EndGrant(ctx, g.ID, now, reason)
		})
}

func (p *Provider) cause(reason string, now time.Time) revocation.Cause {
	return revocation.Cause{Reason: reason, At: now, TokenLife: p.lifetimes.Access}
}

// revoke writes a revocation that ends tokens of a user, or of nobody if user is empty, after a step in the same transaction,
// and tells of it once durable. It counts as [account.Accounts.Revoke] says.
func (p *Provider) revoke(ctx context.Context, domain, user string, r storage.Revocation, first func(context.Context, storage.Tx) error) error {
	var rows []storage.Revocation
	err := p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		if err := first(ctx, tx); err != nil {
			return err
		}
		rows, err = p.accounts.Revoke(ctx, tx, domain, user, r)
		return err
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

// validVerifier holds a verifier to RFC 7636 §4.1: 43 to 128 unreserved characters.
func validVerifier(v string) bool {
	return len(v) >= 43 && len(v) <= 128 && strings.Trim(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~") == ""
}

// newGrantID makes 128 random bits in base64url: the id of a session, which tokens carry as sid.
func (p *Provider) newGrantID() (string, error) {
	id, err := random.Text(p.rand, grantIDSize)
	if err != nil {
		return "", fmt.Errorf("oauth: make a session id: %w", err)
	}
	return id, nil
}
