package issuer

import (
	"context"
	"errors"

	"github.com/imidentity/issuer/storage"
)

// sweep removes expired rows, and finishes withdrawals that were interrupted. While the time is not known it does nothing:
// then nothing is known to have expired.
func (i *Instance) sweep(ctx context.Context) error {
	if i.time() != nil {
		return nil
	}
	return errors.Join(i.removeExpired(ctx), i.accounts.FinishWithdrawals(ctx))
}

// sweepBatch is how many rows one transaction of the sweep reads or removes, so that others can write in between.
const sweepBatch = 500

// removeExpired removes all expired rows, in many transactions.
func (i *Instance) removeExpired(ctx context.Context) error {
	now := i.now()
	for at := (storage.SweepPosition{}); ; {
		var next storage.SweepPosition
		err := i.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
			next, _, err = tx.Sweep(ctx, now, at, sweepBatch)
			return err
		})
		if at = next; err != nil || at == (storage.SweepPosition{}) {
			return err
		}
	}
}
