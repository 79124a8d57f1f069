package recheck

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// ErrUnavailable is returned by [Checker.Check] if a provider must be asked and cannot be.
var ErrUnavailable = errors.New("recheck: the OpenID provider cannot be asked")

// The reasons that are stored with sessions that end.
const (
	reasonRefused = "recheck_refused"
	reasonLost    = "recheck_lost"
	reasonNoToken = "recheck_no_token"
)

// A session is one that is about to be refreshed, and the address of the request.
type session struct {
	storage.Grant
	from netip.Addr
}

// Check checks a session if that is due, and reports whether it may be refreshed. If not, it has ended. The caller has made sure that the
// request is one of the session's own device. Begin is called before anything is asked or written, and not at all if no check is due; if
// it fails, Check returns its error. From is the address of the request, for the audit event.
//
// The error wraps [ErrUnavailable] if the provider cannot be asked and the grace is over. With any error, the session is as it was. Check
// must not be called in a transaction, because it waits for the provider.
func (c *Checker) Check(ctx context.Context, g storage.Grant, from netip.Addr, begin func() error) (alive bool, err error) {
	s := session{g, from}
	if s.UpstreamToken == "" {
		return c.withoutToken(ctx, s, begin)
	}
	u, err := c.cfg.Store.UpstreamToken(ctx, s.UpstreamToken)
	if errors.Is(err, storage.ErrNotFound) { // the session has just ended
		return c.withoutToken(ctx, s, begin)
	} else if err != nil {
		return false, fmt.Errorf("recheck: %w", err)
	}
	if u.Domain != s.Domain || u.User != s.User {
		return false, errors.New("recheck: a session names the upstream token of another user")
	}
	if _, checked := c.cfg.Policies[u.Provider]; !checked { // the settings call the provider by another id, or do not check it any more
		return c.withoutToken(ctx, s, begin)
	}
	if !c.due(u) {
		return true, nil
	}
	if err := begin(); err != nil {
		return false, err
	}
	return c.share(ctx, u.ID, s)
}

// withoutToken ends a session of a login that cannot be checked, if a policy says so.
func (c *Checker) withoutToken(ctx context.Context, s session, begin func() error) (alive bool, err error) {
	id, required := c.required[[2]string{s.Domain, s.Issuer}]
	if !required || c.cfg.Now().Before(s.CreatedAt.Add(c.cfg.Policies[id].Every)) {
		return true, nil
	}
	if err := begin(); err != nil {
		return false, err
	}
	err = c.end(ctx, s, audit.SessionEnded, audit.ActorIssuer, reasonNoToken,
		func(ctx context.Context, tx storage.Tx, now time.Time) ([]storage.Grant, error) {
			return []storage.Grant{s.Grant}, tx.EndGrant(ctx, s.ID, now, reasonNoToken)
		})
	return false, err
}

// due reports whether the provider of a token has to be asked.
func (c *Checker) due(u storage.UpstreamToken) bool {
	policy, checked := c.cfg.Policies[u.Provider]
	return checked && !c.cfg.Now().Before(u.CheckedAt.Add(policy.Every))
}

// inGrace reports whether sessions may go on although the provider of a token was not asked.
func (c *Checker) inGrace(u storage.UpstreamToken) bool {
	policy := c.cfg.Policies[u.Provider]
	return c.cfg.Now().Before(u.CheckedAt.Add(policy.Every + policy.Grace))
}

// unasked is the outcome of a check without an answer: nil within the grace.
func (c *Checker) unasked(u storage.UpstreamToken, cause error) error {
	if c.inGrace(u) {
		return nil
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, u.Provider, cause)
}

// endLogin ends everything that came from the login of a token. The error is [storage.ErrConflict] if the record has changed.
func (c *Checker) endLogin(ctx context.Context, s session, u storage.UpstreamToken, kind audit.Kind, by audit.Actor, reason string) error {
	return c.end(ctx, s, kind, by, reason, func(ctx context.Context, tx storage.Tx, now time.Time) ([]storage.Grant, error) {
		if err := tx.UpdateUpstreamToken(ctx, u); err != nil {
			return nil, err
		}
		return tx.EndUpstreamToken(ctx, u.ID, now, reason)
	})
}

// end ends sessions of the user of s, which do returns, and their tokens.
func (c *Checker) end(
	ctx context.Context, s session, kind audit.Kind, by audit.Actor, reason string,
	do func(ctx context.Context, tx storage.Tx, now time.Time) ([]storage.Grant, error),
) error {
	var rows []storage.Revocation
	err := c.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		now := c.cfg.Now()
		ended, err := do(ctx, tx, now)
		if err != nil {
			return err
		}
		cause := revocation.Cause{Reason: reason, At: now, TokenLife: c.cfg.TokenLife}
		var all []storage.Revocation
		for _, g := range ended {
			all = append(all, revocation.RevokeGrant(g.ID, cause))
		}
		if rows, err = c.cfg.Accounts.Revoke(ctx, tx, s.Domain, s.User, all...); err != nil {
			return err
		}
		event := audit.Event{
			Kind: kind, Actor: by, Domain: s.Domain, User: s.User, Device: s.Device, Client: s.Client, Session: s.ID,
			Address: s.from, Reason: reason,
		}
		if by == audit.ActorProvider {
			event.Peer = s.Issuer
		}
		return audit.Append(ctx, tx, event)
	})
	if err != nil {
		return fmt.Errorf("recheck: end a login: %w", err)
	}
	c.cfg.Revoked(rows...)
	return nil
}
