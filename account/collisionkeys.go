package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// RenewKeys computes the collision keys of names again if other tables of look-alikes made them, as after an upgrade.
// Otherwise somebody could take a name that looks like one of them. It must be called before users sign in, and does nothing if
// all keys were made by the current tables.
//
// Clashes are names that look like the name of another user by the new tables only. They keep their old keys and their users,
// and nobody can take a third name that looks like them; an operator must decide whether one of them deceives people. The
// renewal is one transaction.
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

// renewAll renews every key, except of names whose new key is taken. It returns these; they keep their old keys.
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

// retry renews the keys of waiting names until no more of them become free. It returns the names whose keys another user has.
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

// others returns the names whose keys belong to another user. The rest are earlier spellings of the same user's handle.
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
