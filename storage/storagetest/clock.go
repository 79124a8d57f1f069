package storagetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

func testNewestIsWhatWasNotedLast(t *testing.T, s storage.Store) {
	want := func(want time.Time) {
		t.Helper()
		if got, err := s.Newest(t.Context()); err != nil || !got.Equal(want) {
			t.Errorf("Newest = %v, %v, want %v, nil", got, err, want)
		}
	}
	note := func(at time.Time) {
		t.Helper()
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.SetNewest(ctx, at) })
	}
	want(time.Time{})
	at := time.Date(2026, 3, 14, 15, 9, 26, 535_000_000, time.UTC)
	note(at)
	want(at)
	note(at.Add(time.Hour))
	want(at.Add(time.Hour))
	note(at.Add(-time.Hour)) // a clock that was ahead was set right
	want(at.Add(-time.Hour))
	undone := errors.New("undone")
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		if err := tx.SetNewest(ctx, at); err != nil {
			return err
		}
		if got, err := tx.Newest(ctx); err != nil || !got.Equal(at) {
			t.Errorf("Newest = %v, %v in the update that noted %v", got, err, at)
		}
		return undone
	})
	if err != undone {
		t.Errorf("Update = %v, want %v", err, undone)
	}
	want(at.Add(-time.Hour))
}
