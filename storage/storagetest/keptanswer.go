package storagetest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// keptAnswer is a request with a key of that name, whose answer is not known yet.
func keptAnswer(name string) storage.KeptAnswer {
	return storage.KeptAnswer{Key: digest("key " + name), Request: digest("request " + name), ExpiresAt: at.Add(time.Hour)}
}

func testKeptAnswers(t *testing.T, s storage.Store) {
	one, two := keptAnswer("one"), keptAnswer("two")
	if _, err := s.KeptAnswer(t.Context(), one.Key); err != storage.ErrNotFound {
		t.Errorf("KeptAnswer = %v, want %v", err, storage.ErrNotFound)
	}
	keep := func(a storage.KeptAnswer, now time.Time) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.KeepAnswer(ctx, a, now) })
	}
	want := func(a storage.KeptAnswer) {
		t.Helper()
		got, err := s.KeptAnswer(t.Context(), a.Key)
		if err != nil || got.Key != a.Key || got.Request != a.Request || !bytes.Equal(got.Answer, a.Answer) ||
			!got.ExpiresAt.Equal(a.ExpiresAt) {
			t.Errorf("KeptAnswer = %+v, %v, want %+v", got, err, a)
		}
	}
	if err := errors.Join(keep(one, at), keep(two, at)); err != nil {
		t.Fatal(err)
	}
	want(one)
	if err := keep(one, at.Add(time.Hour-time.Millisecond)); err != storage.ErrConflict {
		t.Errorf("KeepAnswer of a key that is kept = %v, want %v", err, storage.ErrConflict)
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.FillAnswer(ctx, one.Key, []byte("sealed")) })
	one.Answer = []byte("sealed")
	want(one)
	want(two)
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return tx.FillAnswer(ctx, digest("never kept"), []byte("x"))
	})
	if err != storage.ErrNotFound {
		t.Errorf("FillAnswer = %v, want %v", err, storage.ErrNotFound)
	}
	// What has expired gives way, also before it is swept.
	again := keptAnswer("one")
	again.Request, again.ExpiresAt = digest("another request"), at.Add(3*time.Hour)
	if err := keep(again, at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	want(again)
	want(two)
	sweepAll(t, s, at.Add(2*time.Hour), 100)
	want(again)
	if _, err := s.KeptAnswer(t.Context(), two.Key); err != storage.ErrNotFound {
		t.Errorf("KeptAnswer after the sweep = %v, want %v", err, storage.ErrNotFound)
	}
}

func testKeepAnswerInParallel(t *testing.T, s storage.Store) {
	oneWinner(t, race(32, func(int) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.KeepAnswer(ctx, keptAnswer("one"), at) })
	}), storage.ErrConflict)
}
