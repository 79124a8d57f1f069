package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

// Find returns the user who has a handle now, in any spelling, and lets others find it. The error is [ErrNoUser] if no user has the handle,
// or if the user is disabled or does not want to be found. Each of these costs the same: a name is looked up, and a user.
func (a *Accounts) Find(ctx context.Context, domain, handle string) (storage.User, error) {
	d, ok := a.domains[domain]
	if !ok {
		return storage.User{}, ErrNoUser
	}
	name, err := d.Names.Handle(handle)
	if err != nil {
		return storage.User{}, ErrNoUser
	}
	n, err := a.store.Name(ctx, domain, claims.CollisionKey(name))
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return storage.User{}, fmt.Errorf("account: find: %w", err)
	}
	u, err := a.store.User(ctx, domain, n.User) // no user has the id ""
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return storage.User{}, fmt.Errorf("account: find: %w", err)
	}
	// A name that only looks like the handle finds no user, and neither does a former handle.
	if u.ID == "" || !u.Findable || !u.DisabledAt.IsZero() ||
		n.Local != name.Local() || u.Handle != name.Local() || !n.ReleasedAt.IsZero() {
		return storage.User{}, ErrNoUser
	}
	return u, nil
}

// SetFindable stores whether others can find a user by their handle, and returns false if it was so already. The session must be live and
// that of the user, else the error is [ErrEnded].
func (a *Accounts) SetFindable(ctx context.Context, domain, user, session string, findable bool) (changed bool, err error) {
	return a.setFindable(ctx, findable, func(ctx context.Context, tx storage.Tx) (storage.User, error) {
		return a.sessionUser(ctx, tx, domain, user, session)
	})
}

// SetOwnFindable is [Accounts.SetFindable] for the session of a device or of a browser. The errors are those of [Accounts.OwnDevices].
func (a *Accounts) SetOwnFindable(ctx context.Context, by Owner, findable bool) (changed bool, err error) {
	return a.setFindable(ctx, findable, func(ctx context.Context, tx storage.Tx) (storage.User, error) {
		u, _, err := a.owner(ctx, tx, by)
		return u, err
	})
}

// setFindable stores it for the user that of returns, and records it.
func (a *Accounts) setFindable(ctx context.Context, findable bool,
	of func(ctx context.Context, tx storage.Tx) (storage.User, error)) (changed bool, err error) {
	err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		changed = false
		u, err := of(ctx, tx)
		if err != nil || u.Findable == findable {
			return err
		}
		changed, u.Findable = true, findable
		if err := tx.UpdateUser(ctx, u); err != nil {
			return err
		}
		by := "nobody"
		if findable {
			by = "handle"
		}
		return audit.Append(ctx, tx, audit.Event{Kind: audit.UserFindable, Domain: u.Domain, User: u.ID, Reason: by})
	})
	if err != nil {
		return false, fmt.Errorf("account: set who finds a user: %w", err)
	}
	return changed, nil
}

// Findable reports whether others can find a user by their handle. The errors are those of [Accounts.SetFindable].
func (a *Accounts) Findable(ctx context.Context, domain, user, session string) (bool, error) {
	var u storage.User
	err := a.store.View(ctx, func(ctx context.Context, r storage.Reader) (err error) {
		u, err = a.sessionUser(ctx, r, domain, user, session)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("account: who finds a user: %w", err)
	}
	return u.Findable, nil
}

// sessionUser returns the user of a live session.
func (a *Accounts) sessionUser(ctx context.Context, r storage.Reader, domain, user, session string) (storage.User, error) {
	g, u, d, err := r.Session(ctx, session)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.User{}, ErrEnded
	} else if err != nil {
		return storage.User{}, err
	}
	if u.Domain != domain || u.ID != user || !a.goesOn(g, u, d) {
		return storage.User{}, ErrEnded
	}
	return u, nil
}
