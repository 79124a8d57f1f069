package issuer

import (
	"context"
	"errors"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/storage"
)

// sweep removes expired rows and what is no longer kept, and finishes withdrawals and removals of users that were interrupted. While the
// time is not known it does nothing: then nothing is known to have expired.
func (i *Instance) sweep(ctx context.Context) error {
	if i.time() != nil {
		return nil
	}
	var names error
	if i.keepNames > 0 {
		names = i.accounts.ForgetNames(ctx, i.now().Add(-i.keepNames))
	}
	return errors.Join(i.removeExpired(ctx), names, i.book.EraseDetails(ctx),
		i.accounts.FinishWithdrawals(ctx), i.accounts.FinishRemovals(ctx))
}

// removeExpired removes all expired rows, in many transactions, so that others can write in between.
func (i *Instance) removeExpired(ctx context.Context) error {
	now := i.now().Add(-i.skew) // by the clocks of other nodes, rows that have just expired may be live
	rows := minSlice
	for at := (storage.SweepPosition{}); ; {
		var next storage.SweepPosition
		var began time.Duration
		err := i.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
			began = i.clock.elapsed(i.clock.wall())
			next, _, err = tx.Sweep(ctx, now, i.keep, at, rows)
			return err
		})
		if at = next; err != nil || at == (storage.SweepPosition{}) {
			return err
		}
		rows = nextSlice(rows, i.clock.elapsed(i.clock.wall())-began)
	}
}

// retention returns how long rows are kept that nothing needs.
func retention(r config.Retention) storage.Retention {
	return storage.Retention{Sessions: r.Sessions, Events: r.Events, Devices: time.Duration(r.Devices)}
}

// One transaction of a sweep reads or removes between minSlice and maxSlice rows, as many as it is expected to manage within
// sliceTime. An update that arrives during one waits for its end, and usually for that of another one which shares its own commit.
const (
	minSlice, maxSlice = 25, 200
	sliceTime          = 15 * time.Millisecond
)

// nextSlice returns how many rows the next transaction is for, where one for so many rows took that long, with its commit. A slow
// disk, or one that is busy with other writes, makes them fewer at once; a fast one makes them at most twice as many.
func nextSlice(rows int, took time.Duration) int {
	if took <= sliceTime/2 {
		return min(2*rows, maxSlice)
	}
	return min(max(int(time.Duration(rows)*sliceTime/took), minSlice), maxSlice)
}
