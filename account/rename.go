package account

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// ErrNoUser is returned for a user that the domain does not know.
var ErrNoUser = errors.New("account: no such user")

// ErrNoRename is returned for a domain in which the handle is the user (XMPP): another handle would be another user.
var ErrNoRename = errors.New("account: handles of this domain cannot change")

const reasonRenamed = "handle_changed"

// Rename gives a user another handle, by the rules of a first login. She keeps her id, devices and sessions; tokens that
// carry the old handle are inactive at once, and the next refresh brings the new one. Statements that carry it end, with what
// rests on them, or whoever is shown them would go on learning it. The old handle stays hers in quarantine: nobody else can
// take it, and she may take it back. To the errors of [Accounts.SignIn] it adds [ErrNoUser] and [ErrNoRename].
func (a *Accounts) Rename(ctx context.Context, domain, user, handle string) (storage.User, error) {
	d, ok := a.domains[domain]
	if !ok {
		return storage.User{}, ErrNoUser
	}
	if d.Names.System() == claims.SystemXMPP {
		return storage.User{}, ErrNoRename
	}
	name, err := d.Names.Handle(handle)
	if err != nil {
		return storage.User{}, err
	}
	if err := d.Policy.Check(name); err != nil {
		return storage.User{}, err
	}
	var (
		renamed storage.User
		revoked []storage.Revocation
		more    bool
	)
	err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		revoked, more = nil, false
		u, err := tx.User(ctx, domain, user)
		if errors.Is(err, storage.ErrNotFound) {
			return ErrNoUser
		} else if err != nil {
			return err
		}
		if renamed = u; u.Handle == name.Local() {
			return nil
		}
		now := a.now()
		if err := a.release(ctx, tx, d, u, now); err != nil {
			return err
		}
		if err := take(ctx, tx, u, name, now); err != nil {
			return err
		}
		u.Handle, u.Gen = name.Local(), u.Gen+1
		if err := tx.UpdateUser(ctx, u); err != nil {
			return err
		}
		cause := revocation.Cause{Reason: reasonRenamed, At: now, TokenLife: a.tokenLife}
		row, err := tx.Revoke(ctx, revocation.RevokeBelow(domain, u.ID, u.Gen, cause))
		if err != nil {
			return err
		}
		var withdrawn []storage.Revocation
		more, withdrawn, err = a.withdraw(ctx, tx, storage.Withdrawal{
			Domain: domain, User: u.ID, TellsHandle: true, Below: u.Gen, Reason: reasonRenamed, At: now,
		})
		renamed, revoked = u, append(withdrawn, row)
		return err
	})
	if err != nil {
		return storage.User{}, fmt.Errorf("account: rename: %w", err)
	}
	a.revoked(revoked...)
	a.finish(ctx, more)
	return renamed, nil
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
			n.ReleasedAt = now
			return tx.UpdateName(ctx, n)
		}
		there = there || n.Local == old.Local()
	}
	if there { // somebody else was found to hold it
		return nil
	}
	return fmt.Errorf("account: the handle of user %s has no row", u.ID)
}

// nameOf is the row of a name that a user takes.
func nameOf(u storage.User, name claims.ID, now time.Time) storage.Name {
	return storage.Name{
		Domain: u.Domain, Key: claims.CollisionKey(name), Tables: claims.CollisionTables(), Local: name.Local(), User: u.ID, TakenAt: now,
	}
}

// take gives a user a handle that nobody has, or that the user has let go of. Another spelling of it, with the same collision
// key, stays in the history under a key of its own, and in quarantine by the key that both share.
func take(ctx context.Context, tx storage.Tx, u storage.User, name claims.ID, now time.Time) error {
	n := nameOf(u, name, now)
	err := tx.InsertName(ctx, n)
	if !errors.Is(err, storage.ErrConflict) {
		return err
	}
	held, err := tx.Name(ctx, n.Domain, n.Key)
	if err != nil {
		return err
	}
	if held.User != u.ID || held.ReleasedAt.IsZero() { // somebody else's, or her own id
		return ErrHandleTaken
	}
	if held.Local == n.Local {
		return tx.UpdateName(ctx, n)
	}
	// No collision key has a line feed in it.
	past := held.Key + "\n" + held.Local + "\n" + strconv.FormatInt(held.TakenAt.UnixMilli(), 36)
	if err := tx.RenameKey(ctx, held, past); err != nil {
		return err
	}
	return tx.InsertName(ctx, n)
}
