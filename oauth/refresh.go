package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

// Refusals of a refresh token.
var (
	errRefresh    = refuse(CodeInvalidGrant, "The refresh token is unknown, was replaced, or its session has ended: begin a new login.")
	errRefreshKey = refuse(CodeInvalidGrant, "The refresh token is bound to another key: send a proof by the key that it was issued for.")
)

// refreshTokens writes and reads refresh tokens. A token is base64url of
//
//	version (1 octet) | grant id (16) | generation (8, big-endian) | HMAC-SHA-256 of all that (32)
//
// so it names its grant's row, and every repeat of a refresh derives the same successor.
type refreshTokens struct{ key [32]byte }

const (
	refreshVersion = 1
	grantIDSize    = 16
	refreshHead    = 1 + grantIDSize + 8
	refreshSize    = refreshHead + sha256.Size
)

// derive returns the refresh token of a grant and generation.
func (t refreshTokens) derive(grant string, gen int64) (string, error) {
	raw := make([]byte, refreshHead, refreshSize)
	raw[0] = refreshVersion
	if n, err := base64.RawURLEncoding.Decode(raw[1:], []byte(grant)); err != nil || n != grantIDSize {
		return "", fmt.Errorf("oauth: grant id is not %d bytes of base64url", grantIDSize)
	}
	binary.BigEndian.PutUint64(raw[1+grantIDSize:], uint64(gen))
	return base64.RawURLEncoding.EncodeToString(t.mac(raw)), nil
}

// parse returns what a refresh token of ours names.
func (t refreshTokens) parse(token string) (grant string, gen int64, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(raw) != refreshSize || raw[0] != refreshVersion {
		return "", 0, false
	}
	if !hmac.Equal(raw, t.mac(raw[:refreshHead:refreshHead])) {
		return "", 0, false
	}
	return base64.RawURLEncoding.EncodeToString(raw[1 : 1+grantIDSize]), int64(binary.BigEndian.Uint64(raw[1+grantIDSize:])), true
}

// mac appends to head its MAC.
func (t refreshTokens) mac(head []byte) []byte {
	m := hmac.New(sha256.New, t.key[:])
	m.Write(head)
	return m.Sum(head)
}

// resume looks up the session of a refresh token and fills the flow with it (RFC 6749 §6). The newest generation is
// rotated; the one before it is answered with the same successor again, for as long as that has not been used; an
// older one is refused, and ends the session where it can only be a copy.
func (p *Provider) resume(ctx context.Context, f *flow, token string) error {
	if f.proof == nil {
		return dpop.ErrNoProof
	}
	if token == "" {
		return refuse(CodeInvalidRequest, "The parameter refresh_token is missing.")
	}
	id, gen, ok := p.refresh.parse(token)
	if !ok {
		return errRefresh
	}
	g, u, d, err := p.store.Session(ctx, id)
	if err != nil {
		return notFound(err, errRefresh)
	}
	if g.Client != f.client.ID {
		return errRefresh
	}
	if g.JKT != f.proof.JKT {
		return errRefreshKey
	}
	if !live(g, f.now) || !u.DisabledAt.IsZero() || !d.RemovedAt.IsZero() {
		return errRefresh
	}
	switch gen {
	case g.Gen:
		f.rotate = true
		g.Gen++
		g.IdleAt = earliest(f.now.Add(p.lifetimes.RefreshIdle), g.ExpiresAt)
	case g.Gen - 1:
	default:
		return p.replaced(ctx, f, g, gen)
	}
	f.grant, f.user, f.device = g, u, d
	return nil
}

// rotateGrant is the unit of work of a refresh: one compare-and-set. When another request with the same token was
// first, the row stands where this one would have put it, and both were given the same successor.
func (f *flow) rotateGrant(ctx context.Context, tx storage.Tx) error {
	err := tx.RotateGrant(ctx, f.grant.ID, f.grant.Gen-1, f.now, f.grant.IdleAt)
	if !errors.Is(err, storage.ErrConflict) {
		return notFound(err, errRefresh)
	}
	g, _, _, err := tx.Session(ctx, f.grant.ID)
	if err != nil {
		return notFound(err, errRefresh)
	}
	if !live(g, f.now) || g.Gen != f.grant.Gen {
		return errRefresh
	}
	return nil
}

// replaced answers a token of a generation that was replaced for good. It ends the session if it comes by the right
// key with a nonce that was issued after the replacement: whoever refreshed since then had a copy, or the token was
// restored from one. Otherwise it is an old request that arrives late, and the session lives.
func (p *Provider) replaced(ctx context.Context, f *flow, g storage.Grant, gen int64) error {
	if gen > g.Gen || !madeAfter(f.proof, g.RotatedAt) {
		return errRefresh
	}
	if err := p.spend(ctx, f); err != nil {
		return err
	}
	if err := p.endGrant(ctx, g, "refresh_reused", f.once); err != nil {
		return err
	}
	p.log.WarnContext(ctx, "audit: replaced refresh token used again: session ended",
		slog.String("sid", g.ID), slog.String("client", g.Client), slog.String("domain", g.Domain))
	return errRefresh
}

// clockAhead is more than the iat of a proof may run ahead of the server's clock.
const clockAhead = time.Minute

// madeAfter reports whether a proof was certainly made after t: by its nonce, which is no older than the step it was
// issued in, or, with nonces off, by its iat, which may run ahead as far as the check allows.
func madeAfter(proof *dpop.Proof, t time.Time) bool {
	if !proof.NonceTime.IsZero() {
		return proof.NonceTime.After(t)
	}
	return proof.IssuedAt.Add(-clockAhead).After(t)
}

// live reports whether a grant can be refreshed at now.
func live(g storage.Grant, now time.Time) bool {
	return g.EndedAt.IsZero() && now.Before(g.IdleAt) && now.Before(g.ExpiresAt)
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
