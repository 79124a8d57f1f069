package account

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

// ErrNoName is returned by [Accounts.ReleaseName] for a handle that no user has or had.
var ErrNoName = errors.New("account: nobody has or had this handle")

// A HeldError is returned by [Accounts.ReleaseName] for a handle that cannot be released.
type HeldError struct {
	User storage.User
	// Name is the name that the user has or had: the handle itself or a look-alike.
	Name string
	// Held means that Name is the user's handle now. ID means that Name is the user's id or looks like it. If neither is set,
	// Name is a former handle that looks like the handle to release, but is another spelling.
	Held, ID bool
}

func (e *HeldError) Error() string {
	return "account: user " + e.User.ID + " has or had " + e.Name
}

// ReleaseName ends the quarantine of a former handle: any user can take it now, or a name that looks like it. It stays in the
// history of the user who had it. ReleaseName returns every spelling that it released. The error is a *[HeldError] for the
// handle of a user, for a name that is or looks like a user id, and for a look-alike of a former handle. It is [ErrRemoved] for a
// name that is or looks like that of a removed user, [ErrForgotten] for one that was forgotten, and [ErrNoName] for a handle that no
// user had.
func (a *Accounts) ReleaseName(ctx context.Context, domain, handle string) (released []storage.Name, err error) {
	d, ok := a.domains[domain]
	if !ok {
		return nil, ErrNoName
	}
	name, err := d.Names.Handle(handle)
	if err != nil {
		return nil, ErrNoName
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		released = nil
		if err := a.ofNoRemoved(ctx, tx, domain, name); errors.Is(err, ErrHandleTaken) {
			return ErrRemoved
		} else if err != nil {
			return err
		}
		if err := a.notForgotten(ctx, tx, domain, name); errors.Is(err, ErrHandleTaken) {
			return ErrForgotten
		} else if err != nil {
			return err
		}
		key := claims.CollisionKey(name)
		last, err := tx.Name(ctx, domain, key)
		if errors.Is(err, storage.ErrNotFound) {
			return ErrNoName
		} else if err != nil {
			return err
		}
		u, err := a.user(ctx, tx, domain, last.User)
		if err != nil {
			return err
		}
		switch {
		case claims.CollisionKeyOf(u.Handle) == key:
			return &HeldError{User: u, Name: u.Handle, Held: true}
		case claims.CollisionKeyOf(u.ID) == key || last.ReleasedAt.IsZero():
			return &HeldError{User: u, Name: last.Local, ID: true}
		}
		names, err := tx.Names(ctx, domain, u.ID)
		if err != nil {
			return err
		}
		known := false
		for _, n := range names {
			if claims.CollisionKeyOf(n.Local) != key {
				continue
			}
			known = known || n.Local == name.Local()
			if isFree(n) {
				continue
			}
			if err := tx.RenameKey(ctx, n, freePrefix+pastKey(n)); err != nil {
				return err
			}
			released = append(released, n)
		}
		if !known {
			return &HeldError{User: u, Name: last.Local}
		}
		for _, n := range released {
			event := audit.Event{Kind: audit.HandleReleased, Domain: domain, User: n.User, Handle: n.Local}
			if err := audit.Append(ctx, tx, event); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("account: release a handle: %w", err)
	}
	return released, nil
}

// freePrefix begins the keys of released names, which any user can take. No collision key contains a line feed, so the key of a
// name in the history is never the key of another name.
const freePrefix = "\n"

// isFree reports whether a name was released.
func isFree(n storage.Name) bool { return strings.HasPrefix(n.Key, freePrefix) }

// pastKey returns the key under which a name stays in the history.
func pastKey(n storage.Name) string {
	return n.Key + "\n" + n.Local + "\n" + strconv.FormatInt(n.TakenAt.UnixMilli(), 36)
}

// nameOf returns the row of a name that a user takes.
func nameOf(u storage.User, name claims.ID, now time.Time) storage.Name {
	return storage.Name{
		Domain: u.Domain, Key: claims.CollisionKey(name), Tables: claims.CollisionTables(), Local: name.Local(), User: u.ID, TakenAt: now,
	}
}

// release puts the handle of a user into quarantine.
func (a *Accounts) release(ctx context.Context, tx storage.Tx, d Domain, u storage.User, now time.Time) error {
	old, err := d.Names.Handle(u.Handle)
	if err != nil {
		return err
	}
	names, err := tx.Names(ctx, u.Domain, u.ID)
	if err != nil {
		return err
	}
	there := false
	for _, n := range names {
		if n.Local == old.Local() && n.ReleasedAt.IsZero() {
			if n.ReleasedAt = now; n.Local != u.ID {
				return tx.UpdateName(ctx, n)
			}
			// The name stays taken as the user id; this row is for the history.
			n.Key = pastKey(n) + "\n" + strconv.FormatInt(now.UnixMilli(), 36)
			return tx.InsertName(ctx, n)
		}
		there = there || n.Local == old.Local()
	}
	if there { // another user was found to have it
		return nil
	}
	return fmt.Errorf("account: the handle of user %s has no row", u.ID)
}

// take gives a user a handle: a free one, a former handle of the user, or the user's id. Another spelling that the user had stays
// in the history under a key of its own; the collision key, which both spellings share, keeps it in quarantine.
func take(ctx context.Context, tx storage.Tx, u storage.User, name claims.ID, now time.Time) error {
	n := nameOf(u, name, now)
	if n.Local != u.ID {
		if _, err := tx.User(ctx, u.Domain, n.Local); err == nil {
			return ErrHandleTaken
		} else if !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	err := tx.InsertName(ctx, n)
	if !errors.Is(err, storage.ErrConflict) {
		return err
	}
	held, err := tx.Name(ctx, n.Domain, n.Key)
	if errors.Is(err, storage.ErrNotFound) { // its key was made by other tables
		return ErrHandleTaken
	} else if err != nil {
		return err
	}
	if held.User != u.ID || held.ReleasedAt.IsZero() && held.Local != u.ID {
		return ErrHandleTaken
	}
	if held.Local == n.Local {
		return tx.UpdateName(ctx, n)
	}
	if err := tx.RenameKey(ctx, held, pastKey(held)); err != nil {
		return err
	}
	err = tx.InsertName(ctx, n)
	if n.Local != u.ID || !errors.Is(err, storage.ErrConflict) {
		return err
	}
	return takeBack(ctx, tx, n)
}

// takeBack makes the user id the handle again when the row of the id has another key.
func takeBack(ctx context.Context, tx storage.Tx, n storage.Name) error {
	names, err := tx.Names(ctx, n.Domain, n.User)
	if err != nil {
		return err
	}
	for _, id := range names {
		if id.Local == n.Local && id.ReleasedAt.IsZero() {
			if err := tx.RenameKey(ctx, id, n.Key); err != nil {
				return err
			}
			return tx.UpdateName(ctx, n)
		}
	}
	return ErrHandleTaken
}

// takeID reserves the id of a new user, so that no user takes it as a handle. [storage.Tx.InsertUser] has checked that no user
// has the same id. An id that looks like another user's id needs no row of its own: the row of the other id reserves both.
func takeID(ctx context.Context, tx storage.Tx, n storage.Name) error {
	err := tx.InsertName(ctx, n)
	if !errors.Is(err, storage.ErrConflict) {
		return err
	}
	held, err := tx.Name(ctx, n.Domain, n.Key)
	switch {
	case errors.Is(err, storage.ErrNotFound): // its key was made by other tables
		return ErrUserTaken
	case err != nil:
		return err
	case held.User == n.User: // the user's own handle
		return nil
	case held.Local != held.User:
		return ErrUserTaken
	}
	other, err := tx.User(ctx, n.Domain, held.User)
	if err != nil {
		return err
	}
	if claims.CollisionKeyOf(other.Handle) == n.Key {
		return ErrUserTaken
	}
	names, err := tx.Names(ctx, n.Domain, held.User)
	if err != nil {
		return err
	}
	for _, past := range names {
		if past.Key != held.Key && claims.CollisionKeyOf(past.Local) == n.Key {
			return ErrUserTaken
		}
	}
	return nil
}
