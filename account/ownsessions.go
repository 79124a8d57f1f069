package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// ErrUnknownSession is returned for a session that the user does not have.
var ErrUnknownSession = errors.New("account: no such session")

// reasonUser is stored with the sessions that their user ended.
const reasonUser = "user_ended"

// An OwnSession is a live session as its user sees it.
type OwnSession struct {
	storage.Grant
	DeviceURI string
	// Current marks the session that asks.
	Current bool
}

// OwnSessions returns at most limit live sessions of a user, in the order of their ids, from the one that follows after. A page that
// is not full is the last one. The error is [ErrNoSession] if the session of by has ended.
func (a *Accounts) OwnSessions(ctx context.Context, by Owner, after string, limit int) (list []OwnSession, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		list = nil
		u, _, err := a.owner(ctx, r, by)
		if err != nil {
			return err
		}
		page, err := r.LiveGrants(ctx, u.Domain, u.ID, after, a.now(), limit)
		if err != nil {
			return err
		}
		for _, g := range page {
			id, err := a.Identify(u, storage.Device{ID: g.Device})
			if err != nil {
				return err
			}
			list = append(list, OwnSession{g, id.Device, g.ID == by.SID})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("account: list sessions: %w", err)
	}
	return list, nil
}

// EndOwnSession ends a session of the user, which may be the one that asks, with its tokens. Its device stays. Ending it again changes
// nothing. The errors are [ErrNoSession] if the session of by has ended, and [ErrUnknownSession] if the user has no such session.
func (a *Accounts) EndOwnSession(ctx context.Context, by Owner, id string) error {
	err := a.endSessions(ctx, func(ctx context.Context, tx storage.Tx) ([]storage.Grant, error) {
		if _, _, err := a.owner(ctx, tx, by); err != nil {
			return nil, err
		}
		g, _, _, err := tx.Session(ctx, id)
		if errors.Is(err, storage.ErrNotFound) || err == nil && (g.Domain != by.Domain || g.User != by.User) {
			return nil, ErrUnknownSession
		}
		if err != nil || !g.EndedAt.IsZero() {
			return nil, err
		}
		return []storage.Grant{g}, nil
	})
	if err != nil {
		return fmt.Errorf("account: end a session: %w", err)
	}
	return nil
}

// EndOtherSessions ends the live sessions of a user but that of by, at most [MaxRemovals] of them. It returns how many it ended, and
// reports whether there are more. The error is [ErrNoSession] if the session of by has ended.
func (a *Accounts) EndOtherSessions(ctx context.Context, by Owner) (n int, more bool, err error) {
	err = a.endSessions(ctx, func(ctx context.Context, tx storage.Tx) ([]storage.Grant, error) {
		var ended []storage.Grant
		n, more = 0, false
		u, _, err := a.owner(ctx, tx, by)
		if err != nil {
			return nil, err
		}
		page, err := tx.LiveGrants(ctx, u.Domain, u.ID, "", a.now(), MaxRemovals+2) // one of them may be that of by
		if err != nil {
			return nil, err
		}
		for _, g := range page {
			switch {
			case g.ID == by.SID:
			case len(ended) == MaxRemovals:
				more = true
			default:
				ended = append(ended, g)
			}
		}
		n = len(ended)
		return ended, nil
	})
	if err != nil {
		return 0, false, fmt.Errorf("account: end sessions: %w", err)
	}
	return n, more, nil
}

// endSessions ends the live sessions of a user that choose returns, in its transaction, with their tokens.
func (a *Accounts) endSessions(ctx context.Context,
	choose func(ctx context.Context, tx storage.Tx) ([]storage.Grant, error)) error {
	var revoked []storage.Revocation
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		revoked = nil
		sessions, err := choose(ctx, tx)
		if err != nil || len(sessions) == 0 {
			return err
		}
		now := a.now()
		cause := revocation.Cause{Reason: reasonUser, At: now, TokenLife: a.tokenLife}
		rows := make([]storage.Revocation, len(sessions))
		for i, g := range sessions {
			if err := tx.EndGrant(ctx, g.ID, now, reasonUser); err != nil {
				return err
			}
			rows[i] = revocation.RevokeGrant(g.ID, cause)
			err := audit.Append(ctx, tx, audit.Event{
				Kind: audit.SessionEnded, Domain: g.Domain, User: g.User, Device: g.Device, Client: g.Client, Session: g.ID,
			})
			if err != nil {
				return err
			}
		}
		revoked, err = a.Revoke(ctx, tx, sessions[0].Domain, sessions[0].User, rows...)
		return err
	})
	if err != nil {
		return err
	}
	return a.inForce(ctx, revoked)
}
