package storagetest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// TestInterceptedTimesWhatFails: an operation is reported with its name whether it succeeded or not, and one that Fail refuses is
// not, because the store never saw it.
func TestInterceptedTimesWhatFails(t *testing.T) {
	var ops []string
	refused := errors.New("refused")
	s := storage.Intercepted{Store: open(t),
		Fail: func(op string) error {
			if op == "Ping" || op == "InsertUser" {
				return refused
			}
			return nil
		},
		Took: func(op string, took time.Duration) {
			if took < 0 {
				t.Errorf("%s took %v", op, took)
			}
			ops = append(ops, op)
		}}
	if err := s.Ping(t.Context()); err != refused {
		t.Errorf("Ping = %v, want %v", err, refused)
	}
	if _, err := s.Secret(t.Context(), "none"); err != storage.ErrNotFound {
		t.Errorf("Secret = %v, want %v", err, storage.ErrNotFound)
	}
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		if _, err := tx.Secret(ctx, "none"); err != storage.ErrNotFound {
			t.Errorf("Secret = %v, want %v", err, storage.ErrNotFound)
		}
		return tx.InsertUser(ctx, storage.User{})
	})
	if err != refused {
		t.Errorf("Update = %v, want %v", err, refused)
	}
	if len(ops) != 2 || ops[0] != "Secret" || ops[1] != "Update" {
		t.Errorf("measured %q, want Secret and Update", ops)
	}
}

// TestInterceptedView: a read of a view can be made to fail, which dooms the view, and the view is timed as one operation.
func TestInterceptedView(t *testing.T) {
	var ops []string
	refused := errors.New("refused")
	failing := ""
	s := storage.Intercepted{Store: open(t),
		Fail: func(op string) error {
			if op == failing {
				return refused
			}
			return nil
		},
		Took: func(op string, took time.Duration) { ops = append(ops, op) }}
	reads := func(ctx context.Context, r storage.Reader) error {
		_, _ = r.Secret(ctx, "none") // even if an error is ignored
		_, err := r.User(ctx, "example.com", "none")
		if err == storage.ErrNotFound {
			return nil
		}
		return err
	}
	for _, test := range []struct {
		failing string
		want    error
	}{{"", nil}, {"View", refused}, {"Secret", refused}, {"User", refused}, {"Device", nil}} {
		failing = test.failing
		if err := s.View(t.Context(), reads); err != test.want {
			t.Errorf("View where %q fails = %v, want %v", failing, err, test.want)
		}
	}
	failing = "Secret"
	err := s.View(t.Context(), func(ctx context.Context, r storage.Reader) error {
		_, _ = r.Secret(ctx, "none")
		return nil
	})
	if err != refused {
		t.Errorf("View that ignores an error = %v, want %v", err, refused)
	}
	if len(ops) != 5 || ops[0] != "View" {
		t.Errorf("measured %q, want View five times", ops)
	}
}

// TestInterceptedAllocatesNothing: the interceptor adds no allocation to a read or an update.
func TestInterceptedAllocatesNothing(t *testing.T) {
	bare := open(t)
	timed := storage.Intercepted{Store: bare, Took: func(string, time.Duration) {}}
	count := func(s storage.Store) (read, update float64) {
		nothing := func(context.Context, storage.Tx) error { return nil }
		read = testing.AllocsPerRun(200, func() { _, _ = s.Secret(t.Context(), "none") })
		update = testing.AllocsPerRun(200, func() { _ = s.Update(t.Context(), nothing) })
		return read, update
	}
	read, update := count(bare)
	if r, u := count(timed); r > read || u > update {
		t.Errorf("a read and an update allocate %v and %v times intercepted, %v and %v times bare", r, u, read, update)
	}
}
