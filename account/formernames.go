package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// ErrForgotten is returned by [Accounts.ReleaseName] for a handle that is, or looks like, one that [Accounts.ForgetNames] has forgotten.
var ErrForgotten = errors.New("account: the handle was given up long ago, and nothing says whose it was")

// ForgetNames forgets the handles that were given up before a time: tombstones take the place of their rows, so that no user can take
// them, also not the user who had them. Those that an operator released leave nothing.
func (a *Accounts) ForgetNames(ctx context.Context, before time.Time) error {
	const page = 50
	for {
		names, err := a.store.FormerNames(ctx, before, 1) // most of the time there is none, and nothing is written
		if err == nil && len(names) > 0 {
			err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
				if names, err = tx.FormerNames(ctx, before, page); err != nil {
					return err
				}
				for _, n := range names {
					if err := a.forgetName(ctx, tx, n); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err != nil {
			return fmt.Errorf("account: forget names: %w", err)
		}
		if len(names) == 0 {
			return nil
		}
	}
}

// forgetName deletes the row of a former name, and makes its tombstones.
func (a *Accounts) forgetName(ctx context.Context, tx storage.Tx, n storage.Name) error {
	if err := tx.DeleteName(ctx, n.Domain, n.Key); err != nil {
		return err
	}
	// Others may have a name that an operator released, and the id of a user has a row of its own.
	if isFree(n) || n.Local == n.User && strings.Contains(n.Key, "\n") {
		return nil
	}
	marks := [][32]byte{a.mark(markFormer, n.Domain, n.Local)}
	// While another row has the collision key, that row keeps it. It may be that of the user's present handle.
	key := claims.CollisionKeyOf(n.Local)
	if _, err := tx.Name(ctx, n.Domain, key); errors.Is(err, storage.ErrNotFound) {
		marks = append(marks, a.mark(markFormerKey, n.Domain, key))
	} else if err != nil {
		return err
	}
	for _, m := range marks {
		if err := tx.PutTombstone(ctx, storage.Tombstone{Domain: n.Domain, Mark: m, RemovedOn: a.now()}); err != nil {
			return err
		}
	}
	return nil
}
