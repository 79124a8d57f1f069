package server_test

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// sweepAll removes all that has expired in one transaction.
func sweepAll(ctx context.Context, tx storage.Tx, now time.Time) error {
	for from := (storage.SweepPosition{}); ; {
		next, _, err := tx.Sweep(ctx, now, storage.Retention{}, from, 1000)
		if from = next; err != nil || from == (storage.SweepPosition{}) {
			return err
		}
	}
}
