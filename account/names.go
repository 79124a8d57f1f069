package account

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// ErrNoName is returned by [Accounts.ReleaseName] for a handle that nobody has or had.
var ErrNoName = errors.New("account: nobody has or had this handle")

// A HeldError is returned by [Accounts.ReleaseName] for a handle that cannot be released.
type HeldError struct {
	User storage.User
	// Name is what the user has or had: the handle itself, or one that looks like it.
	Name string
	// Held says that the user has Name now, and ID that it is the user's id or looks like it. If neither is set, Name is in
	// quarantine and looks like the handle, but is spelled in another way.
	Held, ID bool
}

func (e *HeldError) Error() string {
	return "account: user " + e.User.ID + " has or had " + e.Name
}

// ReleaseName ends the quarantine of a former handle, in any spelling: the next person who asks for it, or for a name that
// looks like it, can have it. It stays in the history of the user who had it. ReleaseName returns all spellings that are free
// now. For a handle that somebody has, one that is or resembles a user's id, and another spelling of one in quarantine, the
// error is a *[HeldError]; for one that nobody had it is [ErrNoName].
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
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("account: release a handle: %w", err)
	}
	return released, nil
}

// No collision key has a line feed in it, so that the key of a former name, which is for the history only, is never that of a
// name. One that begins with a line feed belongs to a name that anybody can take.
const freePrefix = "\n"

func isFree(n storage.Name) bool { return strings.HasPrefix(n.Key, freePrefix) }

func pastKey(n storage.Name) string {
	return n.Key + "\n" + n.Local + "\n" + strconv.FormatInt(n.TakenAt.UnixMilli(), 36)
}

// nameOf is the row of a name that a user takes.
func nameOf(u storage.User, name claims.ID, now time.Time) storage.Name {
	return storage.Name{
		Domain: u.Domain, Key: claims.CollisionKey(name), Tables: claims.CollisionTables(), Local: name.Local(), User: u.ID, TakenAt: now,
	}
}

// release puts the handle that a user has into quarantine.
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
			// It stays taken as the id; this is for the history.
			n.Key = pastKey(n) + "\n" + strconv.FormatInt(now.UnixMilli(), 36)
			return tx.InsertName(ctx, n)
		}
		there = there || n.Local == old.Local()
	}
	if there { // somebody else was found to hold it
		return nil
	}
	return fmt.Errorf("account: the handle of user %s has no row", u.ID)
}

// take gives a user a handle that nobody has, that the user has let go of, or that is the user's own id. Another spelling of
// it, with the same collision key, stays in the history under a key of its own, and in quarantine by the key that both share.
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
	if errors.Is(err, storage.ErrNotFound) { // held under a key of other tables
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

// takeBack gives a user's id, which has a row under another key, its own key again.
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

// takeID keeps others from taking the id of a new user as a handle. Ids are compared with each other exactly, which
// [storage.Tx.InsertUser] does: one that only looks like another id needs no row, since the other's guards both.
func takeID(ctx context.Context, tx storage.Tx, n storage.Name) error {
	err := tx.InsertName(ctx, n)
	if !errors.Is(err, storage.ErrConflict) {
		return err
	}
	held, err := tx.Name(ctx, n.Domain, n.Key)
	switch {
	case errors.Is(err, storage.ErrNotFound): // held under a key of other tables
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
