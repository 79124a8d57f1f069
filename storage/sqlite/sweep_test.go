package sqlite_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// BenchmarkSweep removes a million expired rows while somebody else writes, and reports how long that writer waited at the
// longest.
func BenchmarkSweep(b *testing.B) {
	const rows, batch = 1_000_000, 1000
	for b.Loop() {
		b.StopTimer()
		s := filled(b, 1)
		at := time.Now()
		for i := 0; i < rows; i += 10_000 {
			err := s.Update(b.Context(), func(ctx context.Context, tx storage.Tx) error {
				for j := i; j < i+10_000; j++ {
					key := sha256.Sum256(fmt.Append(nil, j))
					if err := tx.SpendID(ctx, "assertion", key, at.Add(-time.Hour)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		swept := make(chan error, 1)
		b.StartTimer()
		go func() {
			removed := 0
			for from := (storage.SweepPosition{}); ; {
				var n int
				err := s.Update(b.Context(), func(ctx context.Context, tx storage.Tx) (err error) {
					from, n, err = tx.Sweep(ctx, at, from, batch)
					return err
				})
				if removed += n; err != nil || from == (storage.SweepPosition{}) {
					if err == nil && removed != rows {
						err = fmt.Errorf("%d rows removed, want %d", removed, rows)
					}
					swept <- err
					return
				}
			}
		}()
		var longest time.Duration
		writes := 0
		for done := false; !done; writes++ {
			select {
			case err := <-swept:
				if err != nil {
					b.Fatal(err)
				}
				done = true
			default:
			}
			began := time.Now()
			err := s.Update(b.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.SetNewest(ctx, began) })
			if err != nil {
				b.Fatal(err)
			}
			longest = max(longest, time.Since(began))
		}
		b.ReportMetric(float64(longest.Milliseconds()), "ms-longest-wait")
		b.ReportMetric(float64(writes), "writes-meanwhile")
	}
}
