package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// Device returns the device of an id with its use, including a removed one. The error is [ErrNoDevice] if the domain has none.
func (a *Accounts) Device(ctx context.Context, domain, id string) (use storage.DeviceUse, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		use = storage.DeviceUse{}
		d, err := r.Device(ctx, domain, id)
		if errors.Is(err, storage.ErrNotFound) {
			return ErrNoDevice
		} else if err != nil {
			return err
		}
		use.Device = d
		if use.Active, err = r.DeviceActive(ctx, domain, id, a.now()); err != nil {
			return err
		}
		grants, err := r.Grants(ctx, domain, d.User) // oldest first
		for _, g := range grants {
			if g.Device != id {
				continue
			}
			use.Login = g
			for _, at := range []time.Time{g.CreatedAt, g.RotatedAt} {
				if at.After(use.SeenAt) {
					use.SeenAt = at
				}
			}
		}
		return err
	})
	if err != nil {
		return storage.DeviceUse{}, fmt.Errorf("account: find a device: %w", err)
	}
	return use, nil
}

// Sessions returns the live sessions of a user, in the order of their ids.
func (a *Accounts) Sessions(ctx context.Context, domain, user string) ([]storage.Grant, error) {
	grants, err := a.store.Grants(ctx, domain, user)
	if err != nil {
		return nil, fmt.Errorf("account: list sessions: %w", err)
	}
	now := a.now()
	live := slices.DeleteFunc(grants, func(g storage.Grant) bool {
		return !g.EndedAt.IsZero() || !now.Before(g.IdleAt) || !now.Before(g.ExpiresAt)
	})
	slices.SortFunc(live, func(a, b storage.Grant) int { return strings.Compare(a.ID, b.ID) })
	return live, nil
}

// EndedSessions returns the sessions of a user that ended or expired and are still stored, in the order of their ids: for some minutes, or
// for as long as the sweep keeps them (see [storage.Retention]). Of one that expired, EndedAt is when it did.
func (a *Accounts) EndedSessions(ctx context.Context, domain, user string) (list []storage.Grant, err error) {
	const page = 500
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		list = nil
		for after := ""; ; {
			kept, err := r.EndedGrants(ctx, domain, user, after, page)
			if err != nil {
				return err
			}
			list = append(list, kept...)
			if len(kept) < page {
				break
			}
			after = kept[page-1].ID
		}
		grants, err := r.Grants(ctx, domain, user)
		now := a.now()
		for _, g := range grants {
			if g.EndedAt.IsZero() {
				if g.EndedAt, g.EndedReason = earlier(g.IdleAt, g.ExpiresAt), "expired"; now.Before(g.EndedAt) {
					continue
				}
			}
			list = append(list, g)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("account: list sessions: %w", err)
	}
	slices.SortFunc(list, func(a, b storage.Grant) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// earlier returns the earlier one of two times.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// Handles returns the present and former handles of a user, in the order in which the user took them.
func (a *Accounts) Handles(ctx context.Context, u storage.User) ([]storage.Name, error) {
	names, err := a.store.Names(ctx, u.Domain, u.ID)
	if err != nil {
		return nil, fmt.Errorf("account: list handles: %w", err)
	}
	return handlesAmong(u, names), nil
}

// handlesAmong returns the names that are or were handles: the row of an id counts only if the id is or was the handle.
func handlesAmong(u storage.User, names []storage.Name) (handles []storage.Name) {
	for _, n := range names {
		if n.Local != u.ID || u.ID == u.Handle || !n.ReleasedAt.IsZero() {
			handles = append(handles, n)
		}
	}
	return handles
}

// EndSession ends a session of a domain, with its tokens. Its device stays. It returns the session, and reports whether it was live. The
// error is [ErrUnknownSession] if the domain has no such session.
func (a *Accounts) EndSession(ctx context.Context, domain, id, reason string) (ended storage.Grant, changed bool, err error) {
	var revoked []storage.Revocation
	err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		ended, changed, revoked = storage.Grant{}, false, nil
		g, _, _, err := tx.Session(ctx, id)
		if errors.Is(err, storage.ErrNotFound) || err == nil && g.Domain != domain {
			return ErrUnknownSession
		}
		if ended = g; err != nil || !g.EndedAt.IsZero() {
			return err
		}
		now := a.now()
		if err := tx.EndGrant(ctx, id, now, reason); err != nil {
			return err
		}
		ended.EndedAt, ended.EndedReason, changed = now, reason, true
		row := revocation.RevokeGrant(id, revocation.Cause{Reason: "revoked", At: now, TokenLife: a.tokenLife})
		if revoked, err = a.Revoke(ctx, tx, domain, g.User, row); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{
			Kind: audit.SessionEnded, Domain: domain, User: g.User, Device: g.Device, Client: g.Client, Session: id, Reason: reason,
		})
	})
	if err != nil {
		return storage.Grant{}, false, fmt.Errorf("account: end a session: %w", err)
	}
	if err := a.inForce(ctx, revoked); err != nil {
		return storage.Grant{}, false, err
	}
	return ended, changed, nil
}
