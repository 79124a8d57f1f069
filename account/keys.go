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
// can take a third one that looks like them; whether one of them deceives people is for the operator to see.
func (a *Accounts) RenewKeys(ctx context.Context) (renewed int, clashes []storage.Name, err error) {
	const batch = 500
	tables := claims.CollisionTables()
	for {
		old, err := a.store.OldNames(ctx, tables, batch)
		if err != nil || len(old) == 0 {
			return renewed, clashes, wrapped(err)
		}
		for _, n := range old {
			n.Tables = tables
			err := a.rekey(ctx, n, claims.CollisionKeyOf(n.Local))
			if errors.Is(err, storage.ErrConflict) {
				clashes = append(clashes, n)
				err = a.rekey(ctx, n, n.Key)
			}
			if err != nil && !errors.Is(err, storage.ErrNotFound) { // another process may have been there first
				return renewed, clashes, wrapped(err)
			}
			renewed++
		}
	}
}

func (a *Accounts) rekey(ctx context.Context, n storage.Name, key string) error {
	return a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { return tx.RenameKey(ctx, n, key) })
}

func wrapped(err error) error {
	if err != nil {
		return fmt.Errorf("account: renew the collision keys: %w", err)
	}
	return nil
}
