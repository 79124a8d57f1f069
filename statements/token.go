package statements

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/storage"
)

// ErrInactive is returned for a token of this server that is not valid, or not any more.
var ErrInactive = errors.New("statements: expired, revoked, or not a token of this server")

// ErrChained is returned for a token of this server that was made by identity chaining for a user of another domain. It wraps
// [ErrInactive]: no token is made from such a token.
var ErrChained = fmt.Errorf("%w: made for a user of another domain", ErrInactive)

// A Token is an access token of this server that is active, with the rows that it depends on: those of its session, or of the
// delegation under which its device came. A service's token has none.
type Token struct {
	Claims claims.Set
	User   storage.User
	Device storage.Device
}

// ReadToken verifies the signature of an access token of this server, and returns its claims. It reports false for any other
// token. The token may be inactive. An error means that the keys of this server are not known now.
func (s *Service) ReadToken(ctx context.Context, token string) (claims.Set, bool, error) {
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil || jws.Header.Typ != jose.TypeAccessToken {
		return claims.Set{}, false, nil
	}
	set, err := claims.ParseSet(jws.Payload)
	if err != nil {
		return claims.Set{}, false, nil
	}
	return s.verified(ctx, set, jws.Header.Kid, jws.Verify)
}

// An UnverifiedToken is an access token in some form, of which no signature was verified.
type UnverifiedToken interface {
	Set() claims.Set
	// KID returns the name of the key that the token claims to be signed with.
	KID() string
	// Verify verifies the signature with a key and its JOSE algorithm.
	Verify(alg string, key crypto.PublicKey) error
}

// VerifyToken is [Service.ReadToken] for a token that was read already.
func (s *Service) VerifyToken(ctx context.Context, t UnverifiedToken) (claims.Set, bool, error) {
	return s.verified(ctx, t.Set(), t.KID(), t.Verify)
}

// verified returns the claims of a token if this server signed it.
func (s *Service) verified(
	ctx context.Context, set claims.Set, kid string, verify func(alg string, key crypto.PublicKey) error,
) (claims.Set, bool, error) {
	if set.Issuer != s.cfg.Issuer {
		return claims.Set{}, false, nil
	}
	key, alg, ok := s.cfg.Keys.Public(kid)
	if !ok {
		if err := s.cfg.Keys.Await(ctx, kid); err != nil { // another node may have made it just before
			return claims.Set{}, false, fmt.Errorf("statements: %w", err)
		}
		key, alg, ok = s.cfg.Keys.Public(kid)
	}
	if !ok || verify(alg, key) != nil {
		return claims.Set{}, false, nil
	}
	return set, true, nil
}

// OpenToken returns an active access token of this server. The error is [ErrInactive] or [ErrChained], or means that this cannot be
// known.
func (s *Service) OpenToken(ctx context.Context, token string) (*Token, error) {
	set, ok, err := s.ReadToken(ctx, token)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, ErrInactive
	}
	return s.active(ctx, set)
}

// active checks time and rows of a token whose signature was verified.
func (s *Service) active(ctx context.Context, set claims.Set) (*Token, error) {
	if set.HomeIss != "" {
		return nil, ErrChained
	}
	t, now := &Token{Claims: set}, s.cfg.Now()
	if !now.Before(set.Expires) {
		return nil, ErrInactive
	}
	for kind, key := range map[storage.RevocationKind]string{storage.RevokeToken: set.JTI, storage.RevokeClient: set.ClientID} {
		if revoked, err := s.revoked(ctx, kind, key); err != nil {
			return nil, err
		} else if revoked {
			return nil, ErrInactive
		}
	}
	if set.Service() {
		if _, ok := s.cfg.Clients.Client(set.ClientID); !ok {
			return nil, ErrInactive
		}
		return t, nil
	}
	// A token for an actor ends with the session of each actor, too.
	for act := set.Actor; act != nil; act = act.Actor {
		if act.SID == "" {
			continue
		}
		g, u, d, err := s.cfg.Store.Session(ctx, act.SID)
		if err != nil {
			return nil, inactive(err)
		}
		if !LiveSession(g, now) || !u.DisabledAt.IsZero() || !d.RemovedAt.IsZero() {
			return nil, ErrInactive
		}
	}
	g, u, d, err := s.cfg.Store.Session(ctx, set.SID)
	if errors.Is(err, storage.ErrNotFound) {
		return s.activeByStatement(ctx, t)
	} else if err != nil {
		return nil, fmt.Errorf("statements: read a session: %w", err)
	}
	if !LiveSession(g, now) || !d.RemovedAt.IsZero() || !sameGen(u, set) {
		return nil, ErrInactive
	}
	t.User, t.Device = u, d
	return t, nil
}

// activeByStatement checks the rows of a token that was issued by a statement, whose jti is the token's sid: a token of an actor
// by a grant, or of a device under a delegation.
func (s *Service) activeByStatement(ctx context.Context, t *Token) (*Token, error) {
	row, err := s.activeRow(ctx, t.Claims.SID)
	if err != nil {
		return nil, err
	}
	if t.User, err = s.cfg.Store.User(ctx, row.Domain, row.User); err != nil {
		return nil, inactive(err)
	}
	if !sameGen(t.User, t.Claims) {
		return nil, ErrInactive
	}
	if t.Claims.Actor != nil || row.Type != nested.TypeDelegation {
		return t, nil
	}
	if t.Device, err = s.cfg.Store.DeviceByKey(ctx, row.Domain, t.Claims.JKT); err != nil {
		return nil, inactive(err)
	}
	if t.Device.Delegation != row.JTI || !t.Device.RemovedAt.IsZero() || t.Device.JKT != t.Claims.JKT {
		return nil, ErrInactive
	}
	return t, nil
}

// sameGen reports whether a user is as when a token about them was made.
func sameGen(u storage.User, set claims.Set) bool { return u.DisabledAt.IsZero() && u.Gen == set.Gen }

// activeRow returns the row of a statement of this server that is active.
func (s *Service) activeRow(ctx context.Context, jti string) (storage.Statement, error) {
	row, err := s.cfg.Store.Statement(ctx, jti)
	if err != nil {
		return storage.Statement{}, inactive(err)
	}
	if !account.Stands(row, s.cfg.Now()) {
		return storage.Statement{}, ErrInactive
	}
	return row, nil
}

// revoked reports whether a revocation of a kind and key is live.
func (s *Service) revoked(ctx context.Context, kind storage.RevocationKind, key string) (bool, error) {
	r, err := s.cfg.Store.Revocation(ctx, kind, key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("statements: read a revocation: %w", err)
	}
	return s.cfg.Now().Before(r.ExpiresAt), nil
}

// inactive turns the absence of a row into [ErrInactive].
func inactive(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return ErrInactive
	}
	return fmt.Errorf("statements: read the rows of a token: %w", err)
}

// Options returns the options to open tokens of some types that a client sent to this server.
func (s *Service) Options(types ...string) nested.Options {
	return nested.Options{
		Keys: s.cfg.Authority, Audience: s.names(), Types: types, Revoked: s.revokedLayer, Status: s.ownStatus, Now: s.cfg.Now,
		Development: s.cfg.Development,
	}
}

// ownStatus tells package nested about the status of an enclosed token: a token of this server is valid if [Service.revokedLayer] says
// so. The lists of other issuers are not read.
func (s *Service) ownStatus(_ context.Context, l *nested.Layer) (bool, error) {
	if l.Issuer != s.cfg.Issuer {
		return false, nested.ErrNotAsked
	}
	return true, nil
}

// revokedLayer tells package nested whether an enclosed token was revoked. Only their issuers know that of foreign tokens. A
// delegation to a key that a device had until it was removed or got another key is revoked, whoever signed it.
func (s *Service) revokedLayer(ctx context.Context, l *nested.Layer) (bool, error) {
	if l.Statement != nil && l.Type == nested.TypeDelegation {
		if ended, err := s.endedKey(ctx, l.Statement.JKT); err != nil || ended {
			return ended, err
		}
	}
	var err error
	switch {
	case l.Statement != nil && l.Issuer == l.Subject: // signed by a user's key; whether its delegation is active is asked with that
		return s.revoked(ctx, storage.RevokeToken, l.RevocationKey())
	case l.Issuer != s.cfg.Issuer:
		return false, nested.ErrNotAsked
	case l.Access != nil:
		_, err = s.active(ctx, *l.Access)
	default:
		err = s.activeStatement(ctx, l.JTI())
	}
	if errors.Is(err, ErrInactive) {
		return true, nil
	}
	return false, err
}

// endedKey reports whether a key was that of a device that was removed or has another key now.
func (s *Service) endedKey(ctx context.Context, jkt string) (bool, error) {
	for domain := range s.domains {
		d, err := s.cfg.Store.DeviceByKey(ctx, domain, jkt)
		if err == nil && (!d.RemovedAt.IsZero() || d.JKT != jkt) {
			return true, nil
		} else if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return false, fmt.Errorf("statements: read the device of a key: %w", err)
		}
	}
	return false, nil
}

// activeStatement checks the rows of a statement of this server.
func (s *Service) activeStatement(ctx context.Context, jti string) error {
	row, err := s.activeRow(ctx, jti)
	if err != nil || row.User == "" {
		return err
	}
	u, err := s.cfg.Store.User(ctx, row.Domain, row.User)
	if err != nil {
		return inactive(err)
	}
	if !u.DisabledAt.IsZero() {
		return ErrInactive
	}
	return nil
}

// names returns the audiences of a statement for this server: its URL, and the URIs of its domains.
func (s *Service) names() []string {
	names := []string{s.cfg.Issuer}
	for domain := range s.domains {
		names = append(names, claims.DomainURIs(domain)...)
	}
	return names
}
