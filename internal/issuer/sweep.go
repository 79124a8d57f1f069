package issuer

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/imidentity/issuer/storage"
)

// sweep removes expired rows at intervals, until ctx ends.
func (i *Instance) sweep(ctx context.Context) {
	tick := time.NewTicker(i.sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if i.time() != nil {
				continue // without the time, nothing is known to have expired
			}
			err := errors.Join(i.sweepOnce(ctx), i.accounts.FinishWithdrawals(ctx))
			if err != nil && ctx.Err() == nil {
				i.log.Error("sweep expired rows", slog.Any("error", err))
			}
		}
	}
}

// sweepBatch is how many rows one transaction of the sweep reads or removes, so that others can write in between.
const sweepBatch = 500

// sweepOnce removes all expired rows, in many transactions.
func (i *Instance) sweepOnce(ctx context.Context) error {
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
