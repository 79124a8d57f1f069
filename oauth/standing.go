package oauth

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/storage"
)

// errInactive is about a token of this server that is not good, or no longer.
var errInactive = errors.New("expired, revoked, or not a token of this server")

// An ownToken is an access token of this server that is good now, with the rows that it stands on: those of its session,
// or of the delegation that its device came under. A service's has none.
type ownToken struct {
	claims.Set
	grant  storage.Grant
	user   storage.User
	device storage.Device
}

// openOwn reads an access token of this server and looks at the rows themselves, never at the mirror: what is issued on
// the ground of a token must not outlive it by the time that a revocation takes to get around. The error is [errInactive],
// or means that this cannot be known.
func (p *Provider) openOwn(ctx context.Context, token string) (*ownToken, error) {
	set, ok := p.own(token)
	if !ok {
		return nil, errInactive
	}
	return p.stand(ctx, set)
}

// stand checks time and rows of a token whose signature was checked.
func (p *Provider) stand(ctx context.Context, set claims.Set) (*ownToken, error) {
	t := &ownToken{Set: set}
	now := p.now()
	if !now.Before(set.Expires) {
		return nil, errInactive
	}
	for kind, key := range map[storage.RevocationKind]string{storage.RevokeToken: set.JTI, storage.RevokeClient: set.ClientID} {
		revoked, err := p.store.Revocation(ctx, kind, key)
		if err == nil && now.Before(revoked.ExpiresAt) {
			return nil, errInactive
		} else if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, fmt.Errorf("oauth: look at a revocation: %w", err)
		}
	}
	if set.Service() {
		if _, ok := p.clients.Client(set.ClientID); !ok {
			return nil, errInactive
		}
		return t, nil
	}
	for act := set.Actor; act != nil; act = act.Actor { // what she lets somebody do ends with the actor's session, too
		if act.SID == "" {
			continue
		}
		g, u, d, err := p.store.Session(ctx, act.SID)
		if err != nil {
			return nil, inactive(err)
		}
		if !live(g, now) || !u.DisabledAt.IsZero() || !d.RemovedAt.IsZero() {
			return nil, errInactive
		}
	}
	var err error
	t.grant, t.user, t.device, err = p.store.Session(ctx, set.SID)
	if errors.Is(err, storage.ErrNotFound) {
		return t, p.standByStatement(ctx, t)
	} else if err != nil {
		return nil, fmt.Errorf("oauth: look at a session: %w", err)
	}
	if !live(t.grant, now) || !t.device.RemovedAt.IsZero() || !unchanged(t.user, set) {
		return nil, errInactive
	}
	return t, nil
}

// standByStatement checks the rows of a token that was issued by a statement: an actor's, by a grant, or that of a device
// under a delegation. Its sid is the statement's jti.
func (p *Provider) standByStatement(ctx context.Context, t *ownToken) error {
	s, err := p.statement(ctx, t.SID)
	if err != nil {
		return err
	}
	if t.user, err = p.store.User(ctx, s.Domain, s.User); err != nil {
		return inactive(err)
	}
	if !unchanged(t.user, t.Set) {
		return errInactive
	}
	if t.Actor != nil || s.Type != nested.TypeDelegation {
		return nil
	}
	if t.device, err = p.store.DeviceByKey(ctx, s.Domain, t.JKT); err != nil {
		return inactive(err)
	}
	if t.device.Delegation != s.JTI || !t.device.RemovedAt.IsZero() {
		return errInactive
	}
	return nil
}

// statement returns a statement of this server that stands.
func (p *Provider) statement(ctx context.Context, jti string) (storage.Statement, error) {
	s, err := p.store.Statement(ctx, jti)
	if err != nil {
		return storage.Statement{}, inactive(err)
	}
	if !account.Stands(s, p.now()) {
		return storage.Statement{}, errInactive
	}
	return s, nil
}

// inactive makes of the absence of a row that the token it stood for is not good.
func inactive(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return errInactive
	}
	return fmt.Errorf("oauth: look at what a token stands on: %w", err)
}

// unchanged reports whether a user is as she was when a token about her was made.
func unchanged(u storage.User, set claims.Set) bool { return u.DisabledAt.IsZero() && u.Gen == set.Gen }

// revokedLayer tells nested whether a token that is enclosed was revoked. Of foreign tokens only their issuers know. A
// delegation to the key of a removed device is revoked with the device, whoever signed it.
func (p *Provider) revokedLayer(ctx context.Context, l *nested.Layer) (bool, error) {
	if l.Statement != nil && l.Type == nested.TypeDelegation {
		if removed, err := p.removedKey(ctx, l.Statement.JKT); err != nil || removed {
			return removed, err
		}
	}
	var err error
	switch {
	case l.Statement != nil && l.Issuer == l.Subject:
		return p.withdrawnByUser(ctx, l)
	case l.Issuer != p.issuer:
		return false, nested.ErrNotAsked
	case l.Access != nil:
		_, err = p.stand(ctx, *l.Access)
	default:
		err = p.standStatement(ctx, l)
	}
	if errors.Is(err, errInactive) {
		return true, nil
	}
	return false, err
}

// removedKey reports whether a key was that of a device which was removed.
func (p *Provider) removedKey(ctx context.Context, jkt string) (bool, error) {
	for domain := range p.domains {
		d, err := p.store.DeviceByKey(ctx, domain, jkt)
		if err == nil && !d.RemovedAt.IsZero() {
			return true, nil
		} else if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return false, fmt.Errorf("oauth: look at the device of a key: %w", err)
		}
	}
	return false, nil
}

// standStatement checks the rows of a statement of this server.
func (p *Provider) standStatement(ctx context.Context, l *nested.Layer) error {
	s, err := p.statement(ctx, l.JTI())
	if err != nil || s.User == "" {
		return err
	}
	u, err := p.store.User(ctx, s.Domain, s.User)
	if err != nil {
		return inactive(err)
	}
	if !u.DisabledAt.IsZero() {
		return errInactive
	}
	return nil
}

// withdrawnByUser looks whether a statement by a user's own key was revoked here. That its delegation stands is asked with
// the delegation.
func (p *Provider) withdrawnByUser(ctx context.Context, l *nested.Layer) (bool, error) {
	r, err := p.store.Revocation(ctx, storage.RevokeToken, l.RevocationKey())
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("oauth: look at a revocation: %w", err)
	}
	return p.now().Before(r.ExpiresAt), nil
}

// opening are the options to open what a client sent, for this server to act upon.
func (p *Provider) opening(types ...string) nested.Options {
	return nested.Options{
		Keys: p.authority, Audience: p.names(), Types: types, Revoked: p.revokedLayer, Now: p.now, Development: p.reserved,
	}
}

// names are the audiences by which a statement is for this server: its URL, and the URIs of its domains.
func (p *Provider) names() []string {
	names := []string{p.issuer}
	for domain := range p.domains {
		names = append(names, claims.DomainURIs(domain)...)
	}
	return names
}

// own reads an access token that this server signed.
func (p *Provider) own(token string) (claims.Set, bool) {
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil || jws.Header.Typ != jose.TypeAccessToken {
		return claims.Set{}, false
	}
	key, alg, ok := p.keys.Public(jws.Header.Kid)
	if !ok || jws.Verify(alg, key) != nil {
		return claims.Set{}, false
	}
	set, err := claims.ParseSet(jws.Payload)
	return set, err == nil && set.Issuer == p.issuer
}
