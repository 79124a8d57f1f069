package storagetest

import (
	"context"
	"testing"

	"github.com/imidentity/issuer/storage"
)

func testHistories(t *testing.T, s storage.Store) {
	revoke := func(key string) (got storage.Revocation) {
		t.Helper()
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			got, err = tx.Revoke(ctx, storage.Revocation{Kind: storage.RevokeToken, Key: key})
			return err
		})
		return got
	}
	last := func() int64 {
		t.Helper()
		_, last, err := s.Revocations(t.Context(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	begin := func(above int64) {
		t.Helper()
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.BeginHistory(ctx, above) })
	}
	first := revoke("first")
	begin(first.Seq - 1) // a number above it was given
	if got := last(); got != first.Seq {
		t.Errorf("the highest number is %d, want %d as before", got, first.Seq)
	}
	for i, above := range []int64{first.Seq, storage.FirstOf(70_000_000) + 5} {
		begin(above)
		begun := last()
		if h := storage.History(begun); h <= storage.History(above) || begun != storage.FirstOf(h) {
			t.Errorf("the highest number is %d in history %d, want the first of a history after that of %d", begun, h, above)
		}
		next := revoke(string(rune('a' + i)))
		if next.Seq <= begun || storage.History(next.Seq) != storage.History(begun) {
			t.Errorf("the next number is %d, want one after %d in its history", next.Seq, begun)
		}
		if found, _, err := s.Revocations(t.Context(), above, 0); err != nil || len(found) != 1 || found[0] != next {
			t.Errorf("Revocations after %d = %v, %v, want %v", above, found, err, next)
		}
	}
	undone := last()
	if err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		if err := tx.BeginHistory(ctx, undone); err != nil {
			return err
		}
		return tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: "somebody"})
	}); err != nil {
		t.Fatal(err)
	}
	if got := last(); storage.History(got) <= storage.History(undone) {
		t.Errorf("the highest number is %d after a history was begun with another change", got)
	}
}
