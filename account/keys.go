package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// RenewKeys makes the collision keys anew of names whose keys were made by other tables than those of this program, which is
// so after an upgrade: or a name that looks like one of them could be taken. It is to be called before anybody logs in, and
// does nothing where all keys are of these tables.
//
// Clashes are names that look like another one by the new tables only. They keep their old keys and their users, and nobody
// can take a third one that looks like them; whether one of them deceives people is for the operator to see. A name whose new
// key was only taken by one that was still to be renewed itself is no clash. All is done in one transaction, before which and
// after which every name has one user.
func (a *Accounts) RenewKeys(ctx context.Context) (renewed int, clashes []storage.Name, err error) {
	tables := claims.CollisionTables()
	if old, err := a.store.OldNames(ctx, tables, 1); err != nil || len(old) == 0 {
		return 0, nil, wrapped(err)
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		var waiting []storage.Name
		if renewed, waiting, err = renewAll(ctx, tx, tables); err != nil {
			return err
		}
		clashes, err = retry(ctx, tx, waiting)
		return err
	})
	if err != nil {
		return 0, nil, wrapped(err)
	}
	return renewed, clashes, nil
}

// renewAll renews each key that is not taken, and returns the names that wait for theirs, under the old key.
func renewAll(ctx context.Context, tx storage.Tx, tables string) (renewed int, waiting []storage.Name, err error) {
	const page = 500
	for {
		old, err := tx.OldNames(ctx, tables, page)
		if err != nil || len(old) == 0 {
			return renewed, waiting, err
		}
		for _, n := range old {
			n.Tables = tables
			if isFree(n) {
				if err := tx.RenameKey(ctx, n, n.Key); err != nil {
					return renewed, nil, err
				}
				renewed++
				continue
			}
			err := tx.RenameKey(ctx, n, claims.CollisionKeyOf(n.Local))
			if errors.Is(err, storage.ErrConflict) {
				waiting = append(waiting, n)
				err = tx.RenameKey(ctx, n, n.Key)
			}
			if err != nil {
				return renewed, nil, err
			}
			renewed++
		}
	}
}

// retry gives waiting names their keys, in whatever order they become free, and returns those whose keys another user has.
func retry(ctx context.Context, tx storage.Tx, waiting []storage.Name) ([]storage.Name, error) {
	for {
		var left []storage.Name
		for _, n := range waiting {
			err := tx.RenameKey(ctx, n, claims.CollisionKeyOf(n.Local))
			if errors.Is(err, storage.ErrConflict) {
				left = append(left, n)
			} else if err != nil {
				return nil, err
			}
		}
		if len(left) == len(waiting) {
			return others(ctx, tx, left)
		}
		waiting = left
	}
}

// others leaves out the names whose keys the same user has: earlier spellings of a handle.
func others(ctx context.Context, tx storage.Tx, names []storage.Name) (clashes []storage.Name, err error) {
	for _, n := range names {
		held, err := tx.Name(ctx, n.Domain, claims.CollisionKeyOf(n.Local))
		if err != nil {
			return nil, err
		}
		if held.User != n.User {
			clashes = append(clashes, n)
		}
	}
	return clashes, nil
}

func wrapped(err error) error {
	if err != nil {
		return fmt.Errorf("account: renew the collision keys: %w", err)
	}
	return nil
}
