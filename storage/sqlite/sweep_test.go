package sqlite_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// TestReviewA5SweepInBatches: a sweep of many rows is many transactions of a few rows each, and another writer has its turn
// after each of them.
func TestReviewA5SweepInBatches(t *testing.T) {
	const rows, batch = 2000, 100
	s := filled(t, 1)
	at := time.Now()
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		for i := range rows {
			if err := tx.SpendID(ctx, "assertion", sha256.Sum256(fmt.Append(nil, i)), at.Add(-time.Hour)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	removed, others := 0, 0
	for from := (storage.SweepPosition{}); ; {
		var n int
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) (err error) {
			from, n, err = tx.Sweep(ctx, at, storage.Retention{}, from, batch)
			return err
		})
		if err != nil || n > batch {
			t.Fatalf("Sweep removed %d rows, %v, want at most %d", n, err, batch)
		}
		if removed += n; from == (storage.SweepPosition{}) {
			break
		}
		if err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.SetNewest(ctx, at) }); err != nil {
			t.Fatal(err)
		}
		others++
	}
	if removed != rows || others < rows/batch {
		t.Errorf("%d rows removed with %d other writes in between, want %d and at least %d", removed, others, rows, rows/batch)
	}
}

// TestReviewB4SpentIDOutlivesClockStep: an id that was spent until now is still spent after a sweep, when the clock has been set
// back by minutes and its object looks unexpired again.
func TestReviewB4SpentIDOutlivesClockStep(t *testing.T) {
	s := filled(t, 1)
	expiry, key := time.Now(), sha256.Sum256([]byte("assertion"))
	spend := func() error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.SpendID(ctx, "assertion", key, expiry) })
	}
	if err := spend(); err != nil {
		t.Fatal(err)
	}
	for from := (storage.SweepPosition{}); ; {
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) (err error) {
			from, _, err = tx.Sweep(ctx, expiry.Add(5*time.Minute), storage.Retention{}, from, 100)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if from == (storage.SweepPosition{}) {
			break
		}
	}
	if err := spend(); err != storage.ErrConflict {
		t.Errorf("SpendID of a spent id after the clock was set back = %v, want %v", err, storage.ErrConflict)
	}
}

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
					from, n, err = tx.Sweep(ctx, at, storage.Retention{}, from, batch)
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
