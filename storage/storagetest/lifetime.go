package storagetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/imidentity/issuer/storage"
)

func testUpdateIsNotBegunAfterItsContext(t *testing.T, s storage.Store) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	begun := false
	err := s.Update(ended, func(context.Context, storage.Tx) error {
		begun = true
		return nil
	})
	if !errors.Is(err, context.Canceled) || begun {
		t.Errorf("Update = %v, begun %v, want %v, not begun", err, begun, context.Canceled)
	}
	if _, err := s.User(ended, domain, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("User = %v, want %v", err, context.Canceled)
	}

	// An update whose context ends while another one is open: it does not begin, or is completed. One that waits for the other does not
	// begin. A store that makes no update wait may begin it before its context ends.
	_, waits := s.(storage.Queued)
	waiting, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	write(t, s, func(context.Context, storage.Tx) error {
		go func() {
			answered <- s.Update(waiting, func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, user("alice")) })
		}()
		cancel()
		return nil
	})
	err = <-answered
	if !errors.Is(err, context.Canceled) && (waits || err != nil) {
		t.Errorf("Update whose context ended = %v, want %v; it waits: %v", err, context.Canceled, waits)
	}
	expectUser(t, s, "alice", err == nil)
}

func testUpdateOutlivesItsContext(t *testing.T, s storage.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Update(ctx, func(inner context.Context, tx storage.Tx) error {
		cancel()
		if err := inner.Err(); err != nil {
			t.Errorf("context of fn = %v, want it alive", err)
		}
		// Either context may be used: an update that began is completed.
		return errors.Join(tx.InsertUser(inner, user("alice")), tx.InsertUser(ctx, user("bob")))
	})
	if err != nil {
		t.Errorf("Update = %v, want nil", err)
	}
	expectUser(t, s, "alice", true)
	expectUser(t, s, "bob", true)
}

func testUpdateInUpdateIsAnError(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := s.Update(ctx, func(context.Context, storage.Tx) error { return nil }); err == nil {
			t.Error("Update in Update = nil, want an error")
		}
		return tx.InsertUser(ctx, user("alice"))
	})
	expectUser(t, s, "alice", true)
}

func testTxIsOverAfterUpdate(t *testing.T, s storage.Store) {
	var kept storage.Tx
	write(t, s, func(_ context.Context, tx storage.Tx) error {
		kept = tx
		return nil
	})
	if err := kept.InsertUser(t.Context(), user("alice")); err == nil {
		t.Error("InsertUser after Update = nil, want an error")
	}
	if _, err := kept.User(t.Context(), domain, "x"); err == nil || err == storage.ErrNotFound {
		t.Errorf("User after Update = %v, want an error that is not %v", err, storage.ErrNotFound)
	}
	expectUser(t, s, "alice", false)
}

func testPing(t *testing.T, s storage.Store) {
	for range 2 {
		if err := s.Ping(t.Context()); err != nil {
			t.Errorf("Ping = %v, want nil", err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ping(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Ping = %v, want %v", err, context.Canceled)
	}
}

func testCloseWaitsForUpdates(t *testing.T, s storage.Store) {
	closed := make(chan error, 1)
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		begun := make(chan struct{})
		go func() {
			close(begun)
			closed <- s.Close()
		}()
		<-begun
		if err := tx.InsertUser(ctx, user("alice")); err != nil {
			return err
		}
		select {
		case err := <-closed:
			t.Errorf("Close = %v before the update had ended", err)
			closed <- err
		default:
		}
		return nil
	})
	if err != nil {
		t.Errorf("Update = %v, want nil", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
}

func testCloseRefusesWhatComesLater(t *testing.T, s storage.Store) {
	// Callers continue until they are refused.
	errs := race(9, func(i int) error {
		if i == 0 {
			return s.Close()
		}
		for n := 0; ; n++ {
			err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
				return tx.InsertUser(ctx, user(fmt.Sprint(i, "-", n)))
			})
			if err != nil {
				return err
			}
		}
	})
	if errs[0] != nil {
		t.Errorf("Close = %v, want nil", errs[0])
	}
	begun := false
	err := s.Update(t.Context(), func(context.Context, storage.Tx) error { begun = true; return nil })
	if err == nil || begun {
		t.Errorf("Update = %v, begun %v, want an error, not begun", err, begun)
	}
	if _, err := s.User(t.Context(), domain, "x"); err == nil || err == storage.ErrNotFound {
		t.Errorf("User = %v, want an error that is not %v", err, storage.ErrNotFound)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping = nil, want an error")
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close = %v, want nil", err)
	}
}
