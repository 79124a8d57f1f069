package oauth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	hashes "hash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// Refusals of a refresh token.
var (
	errRefresh    = refuse(CodeInvalidGrant, "The refresh token is unknown, was replaced, or its session has ended: begin a new login.")
	errRefreshKey = refuse(CodeInvalidGrant, "The refresh token is bound to another key: send a proof by the key that it was issued for.")
)

// refreshTokens writes and reads refresh tokens. A token is base64url of
//
//	version (1 byte) | grant id (16) | generation (8, big-endian) | HMAC-SHA-256 of all that (32)
//
// so it names the row of its grant, and a repeated refresh derives the same successor. It is derived from the first of the keys, and a
// token of any of them is accepted.
type refreshTokens struct {
	keys func() ([][32]byte, error)
	macs atomic.Pointer[refreshMACs]
}

// refreshMACs hold a pool of MACs for each of some keys.
type refreshMACs struct {
	keys  *[32]byte // the first of the slice, by which slices are told apart
	pools []*sync.Pool
}

func newRefreshTokens(keys func() ([][32]byte, error)) *refreshTokens {
	return &refreshTokens{keys: keys}
}

// pools returns the pools of the present keys.
func (t *refreshTokens) pools() ([]*sync.Pool, error) {
	keys, err := t.keys()
	if err != nil {
		return nil, fmt.Errorf("oauth: keys of refresh tokens: %w", err)
	}
	if m := t.macs.Load(); m != nil && m.keys == &keys[0] {
		return m.pools, nil
	}
	m := &refreshMACs{keys: &keys[0]}
	for _, key := range keys {
		m.pools = append(m.pools, &sync.Pool{New: func() any { return hmac.New(sha256.New, key[:]) }})
	}
	t.macs.Store(m)
	return m.pools, nil
}

const (
	refreshVersion = 1
	grantIDSize    = 16
	refreshHead    = 1 + grantIDSize + 8
	refreshSize    = refreshHead + sha256.Size
)

// derive returns the refresh token of a grant and generation.
func (t *refreshTokens) derive(grant string, gen int64) (string, error) {
	raw := append(make([]byte, 0, refreshSize), refreshVersion)
	raw, err := base64.RawURLEncoding.AppendDecode(raw, []byte(grant))
	if err != nil || len(raw) != 1+grantIDSize {
		return "", fmt.Errorf("oauth: grant id is not %d bytes of base64url", grantIDSize)
	}
	pools, err := t.pools()
	if err != nil {
		return "", err
	}
	raw = binary.BigEndian.AppendUint64(raw, uint64(gen))
	return base64.RawURLEncoding.EncodeToString(appendMAC(pools[0], raw)), nil
}

// parse returns the grant and the generation of a refresh token of this server. The error means that its keys are not known now.
func (t *refreshTokens) parse(token string) (grant string, gen int64, ok bool, err error) {
	raw, err := jose.DecodeBase64(token)
	if err != nil || len(raw) != refreshSize || raw[0] != refreshVersion {
		return "", 0, false, nil
	}
	pools, err := t.pools()
	if err != nil {
		return "", 0, false, err
	}
	for _, pool := range pools {
		ok = hmac.Equal(raw, appendMAC(pool, raw[:refreshHead:refreshHead])) || ok
	}
	if !ok {
		return "", 0, false, nil
	}
	return base64.RawURLEncoding.EncodeToString(raw[1 : 1+grantIDSize]), int64(binary.BigEndian.Uint64(raw[1+grantIDSize:])), true, nil
}

// appendMAC appends to head its MAC.
func appendMAC(pool *sync.Pool, head []byte) []byte {
	m := pool.Get().(hashes.Hash)
	defer pool.Put(m)
	m.Reset()
	m.Write(head)
	return m.Sum(head)
}

// lostRotations is by how many generations a refresh token may be ahead of its session. Only this server makes refresh tokens, and only
// for a rotation that was committed: a token that is ahead says that the database has lost its last commits. Then the session goes on
// from the token, and the client need not log in again.
const lostRotations = 100

// A refreshGrant continues a session by its refresh token (RFC 6749 §6). A token of the newest generation is rotated. A token of
// the generation before gets the same successor again, until that is used. An older one is refused, and ends the session if it
// must be a copy.
type refreshGrant struct {
	*Provider
	r *tokenRequest

	id      string  // of the session that the refresh token names; empty if it was not read yet
	gen     int64   // of the refresh token
	from    int64   // the generation of the session, below that of the token if the database has lost rotations
	session session // after the rotation
}

// readToken reads the refresh token of the request.
func (g *refreshGrant) readToken() error {
	if g.id != "" {
		return nil
	}
	if g.r.proof == nil {
		return dpop.ErrNoProof
	}
	text := g.r.Form.Get("refresh_token")
	if text == "" {
		return refuse(CodeInvalidRequest, "The parameter refresh_token is missing.")
	}
	id, gen, ok, err := g.refresh.parse(text)
	if err != nil {
		return err
	}
	if !ok {
		return errRefresh
	}
	g.id, g.gen = id, gen
	return nil
}

func (g *refreshGrant) check(ctx context.Context, db Reader) (*token, error) {
	if err := g.readToken(); err != nil {
		return nil, err
	}
	r := g.r
	var s session
	var err error
	if s.grant, s.user, s.device, err = db.Session(ctx, g.id); err != nil {
		return nil, notFound(err, errRefresh)
	}
	if s.grant.Client != r.client.ID {
		return nil, errRefresh
	}
	if s.grant.JKT != r.proof.JKT {
		return nil, errRefreshKey
	}
	if !statements.LiveSession(s.grant, r.at) || !s.user.DisabledAt.IsZero() || !s.device.RemovedAt.IsZero() {
		return nil, errRefresh
	}
	repeated := g.gen == s.grant.Gen-1
	switch {
	case g.gen == s.grant.Gen, g.gen > s.grant.Gen && g.gen-s.grant.Gen <= lostRotations:
		g.from, s.grant.Gen = s.grant.Gen, g.gen+1
		s.grant.IdleAt = earliest(r.at.Add(g.lifetimes.RefreshIdle), s.grant.ExpiresAt)
	case !repeated:
		return nil, g.replaced(s.grant)
	}
	g.session = s
	t, err := g.sessionToken(r, s)
	if err != nil {
		return nil, err
	}
	t.writes, t.session = !repeated, &g.session.grant
	return t, nil
}

// commit rotates the session, and stores the entry of a status list that it got.
func (g *refreshGrant) commit(ctx context.Context, tx storage.Tx) error {
	if err := g.succeed(ctx, tx); err != nil || !g.r.token.entered {
		return err
	}
	err := tx.SetGrantStatus(ctx, g.id, g.session.grant.Status)
	if errors.Is(err, storage.ErrConflict) {
		return errStatusRaced
	}
	return err
}

// succeed rotates the session, by one compare-and-set. If another request with the same token was first, the row is already as
// this request would write it, and both get the same successor.
func (g *refreshGrant) succeed(ctx context.Context, tx storage.Tx) error {
	var err error
	for gen := g.from; gen <= g.gen && err == nil; gen++ {
		err = tx.RotateGrant(ctx, g.id, gen, g.r.at, g.session.grant.IdleAt)
	}
	if !errors.Is(err, storage.ErrConflict) {
		return notFound(err, errRefresh)
	}
	now, _, _, err := tx.Session(ctx, g.id)
	if err != nil {
		return notFound(err, errRefresh)
	}
	if !statements.LiveSession(now, g.r.at) || now.Gen != g.session.grant.Gen {
		return errRefresh
	}
	return nil
}

// replaced refuses a token of an older generation. The session ends if the request has the right key and a nonce that was issued
// after the token was replaced: then somebody used a copy of the token, or restored one. Otherwise it is an old request that
// arrives late, and the session goes on.
func (g *refreshGrant) replaced(now storage.Grant) error {
	// RotatedAt is of the clock of one node, and the nonce of that of another one.
	if g.gen > now.Gen || !madeAfter(g.r.proof, now.RotatedAt.Add(g.skew)) {
		return errRefresh
	}
	return &reuse{now, audit.RefreshReused, "refresh_reused", errRefresh}
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

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
