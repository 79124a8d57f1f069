package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/imidentity/issuer/storage"
)

// view runs fn in a view that must succeed.
func view(t *testing.T, s storage.Store, fn func(ctx context.Context, r storage.Reader) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatalf("View = %v, want nil", err)
	}
}

// Every read of a view shows the moment of its first read, whatever is written meanwhile.
func testViewIsOneMoment(t *testing.T, s storage.Store) {
	for _, k := range kinds {
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return k.insert(ctx, tx, k.name+"-early") })
	}
	view(t, s, func(ctx context.Context, r storage.Reader) error {
		if _, err := r.Secret(ctx, "none"); err != storage.ErrNotFound { // it has a moment, too
			t.Errorf("Secret = %v, want %v", err, storage.ErrNotFound)
		}
		for _, k := range kinds {
			write(t, s, func(ctx context.Context, tx storage.Tx) error {
				if k.change != nil {
					if err := k.change(ctx, tx, k.name+"-early"); err != nil {
						return err
					}
				}
				return k.insert(ctx, tx, k.name+"-late")
			})
			if got, want, err := k.read(ctx, r, k.name+"-early"); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s written before the view = %+v, %v, want %+v", k.name, got, err, want)
			}
			if _, _, err := k.read(ctx, r, k.name+"-late"); err != storage.ErrNotFound {
				t.Errorf("%s written during the view = %v, want %v", k.name, err, storage.ErrNotFound)
			}
		}
		return nil
	})
	for _, k := range kinds {
		if k.change != nil {
			if got, want, err := k.changed(t.Context(), s, k.name+"-early"); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s changed during the view = %+v, %v, want %+v", k.name, got, err, want)
			}
		}
		if got, want, err := k.read(t.Context(), s, k.name+"-late"); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s written during the view = %+v, %v, want %+v", k.name, got, err, want)
		}
	}
}

// The first read of a view is as new as a read outside of it: what was ended before it, even after View was called, is seen as ended.
func testViewIsOfItsFirstRead(t *testing.T, s storage.Store) {
	g := liveGrant("alice")
	withSession(t, s, "alice", g)
	view(t, s, func(ctx context.Context, r storage.Reader) error {
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.EndGrant(ctx, g.ID, at, "logout") })
		if got, _, _, err := r.Session(ctx, g.ID); err != nil || got.EndedAt.IsZero() {
			t.Errorf("first read = %+v, %v, want the ended grant", got, err)
		}
		return nil
	})
}

// A view that begins after the end of a session was acknowledged sees that it has ended, whoever else writes.
func testViewSeesWhatWasAcknowledged(t *testing.T, s storage.Store) {
	const callers, rounds = 6, 20
	errs := race(callers, func(i int) error {
		for n := range rounds {
			name := fmt.Sprint(i, "-", n)
			g := liveGrant(name)
			add := func(ctx context.Context, tx storage.Tx) error {
				return errors.Join(tx.InsertUser(ctx, user(name)), tx.InsertDevice(ctx, device(name)), tx.InsertGrant(ctx, g))
			}
			if err := s.Update(t.Context(), add); err != nil {
				return err
			}
			for _, ended := range []bool{false, true} {
				if ended {
					end := func(ctx context.Context, tx storage.Tx) error { return tx.EndGrant(ctx, g.ID, at, "logout") }
					if err := s.Update(t.Context(), end); err != nil {
						return err
					}
				}
				err := s.View(t.Context(), func(ctx context.Context, r storage.Reader) error {
					got, _, _, err := r.Session(ctx, g.ID)
					if err == nil && got.EndedAt.IsZero() == ended {
						err = fmt.Errorf("ended at %v, want it ended: %v", got.EndedAt, ended)
					}
					return err
				})
				if err != nil {
					return fmt.Errorf("after it was acknowledged: %w", err)
				}
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Errorf("View = %v, want nil", err)
	}
}

// Views that race with updates see whole updates, and never go back.
func testViewsDoNotMixUpdates(t *testing.T, s storage.Store) {
	const rounds = 60
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		u := user("alice")
		u.Gen = 0
		return errors.Join(tx.InsertUser(ctx, u), tx.PutSecret(ctx, "gen", []byte("0")))
	})
	var done atomic.Bool
	errs := race(6, func(i int) error {
		if i == 0 {
			defer done.Store(true)
			for n := range int64(rounds) {
				err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
					u := user("alice")
					u.Gen = n + 1
					return errors.Join(tx.PutSecret(ctx, "gen", fmt.Append(nil, n+1)), tx.UpdateUser(ctx, u))
				})
				if err != nil {
					return err
				}
			}
			return nil
		}
		seen := int64(0)
		for last := false; !last; {
			last = done.Load()
			err := s.View(t.Context(), func(ctx context.Context, r storage.Reader) error {
				u, err := r.User(ctx, domain, "user-alice")
				if err != nil {
					return err
				}
				secret, err := r.Secret(ctx, "gen")
				if err == nil && (string(secret) != fmt.Sprint(u.Gen) || u.Gen < seen) {
					err = fmt.Errorf("after %d: user %d, secret %s", seen, u.Gen, secret)
				}
				seen = u.Gen
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Errorf("View = %v, want one moment each", err)
	}
}

func testViewReturnsThatVeryError(t *testing.T, s storage.Store) {
	for _, want := range []error{
		errors.New("ours"), storage.ErrConflict, fmt.Errorf("wrapped: %w", storage.ErrNotFound), context.Canceled,
	} {
		if err := s.View(t.Context(), func(context.Context, storage.Reader) error { return want }); err != want {
			t.Errorf("View = %v, want the very %v", err, want)
		}
	}
}

func testViewGoesOnAfterNotFound(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, user("alice")) })
	view(t, s, func(ctx context.Context, r storage.Reader) error {
		expectUser(t, r, "bob", false)
		expectUser(t, r, "alice", true)
		return nil
	})
}

// A view that panics gives back what it used: many of them leave a store that works.
func testViewsThatPanic(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, user("alice")) })
	const views = 100
	for range views {
		func() {
			defer func() {
				if p := recover(); p != "at the disco" {
					t.Errorf("panic of View = %v, want that of fn", p)
				}
			}()
			_ = s.View(t.Context(), func(ctx context.Context, r storage.Reader) error {
				expectUser(t, r, "alice", true)
				panic("at the disco")
			})
		}()
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, user("bob")) })
	view(t, s, func(ctx context.Context, r storage.Reader) error {
		expectUser(t, r, "bob", true)
		return nil
	})
}

func testViewEndsWithItsContext(t *testing.T, s storage.Store) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	begun := false
	err := s.View(ended, func(context.Context, storage.Reader) error { begun = true; return nil })
	if !errors.Is(err, context.Canceled) || begun {
		t.Errorf("View = %v, begun %v, want %v, not begun", err, begun, context.Canceled)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = s.View(ctx, func(ctx context.Context, r storage.Reader) error {
		cancel()
		_, err := r.User(ctx, domain, "user-alice")
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("View that reads after its context = %v, want %v", err, context.Canceled)
	}
	expectUser(t, s, "alice", false)
}

// A view that called its store could wait for itself. Many at once show that none does.
func testViewsAreNotNested(t *testing.T, s storage.Store) {
	nothing := func(context.Context, storage.Reader) error { return nil }
	errs := race(16, func(int) error {
		return s.View(t.Context(), func(ctx context.Context, r storage.Reader) error {
			if _, err := r.User(ctx, domain, "x"); err != storage.ErrNotFound {
				return fmt.Errorf("the user in the view: %w, want %w", err, storage.ErrNotFound)
			}
			for op, err := range map[string]error{
				"View":   s.View(ctx, nothing),
				"Update": s.Update(ctx, func(context.Context, storage.Tx) error { return nil }),
				"User":   func() error { _, err := s.User(ctx, domain, "x"); return err }(),
			} {
				if err == nil || errors.Is(err, storage.ErrNotFound) {
					return fmt.Errorf("%s of the store in View = %v, want an error", op, err)
				}
			}
			return nil
		})
	})
	if err := errors.Join(errs...); err != nil {
		t.Errorf("View = %v, want nil", err)
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := s.View(ctx, nothing); err == nil {
			t.Error("View in Update = nil, want an error")
		}
		return nil
	})
}

func testReaderIsOverAfterView(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, user("alice")) })
	var kept storage.Reader
	view(t, s, func(_ context.Context, r storage.Reader) error { kept = r; return nil })
	if _, err := kept.User(t.Context(), domain, "user-alice"); err == nil || err == storage.ErrNotFound {
		t.Errorf("User after View = %v, want an error that is not %v", err, storage.ErrNotFound)
	}
	expectUser(t, s, "alice", true)
}

// Close waits for a view that runs, and refuses later ones.
func testCloseRefusesViews(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, user("alice")) })
	closed := make(chan error, 1)
	view(t, s, func(_ context.Context, r storage.Reader) error {
		begun := make(chan struct{})
		go func() {
			close(begun)
			closed <- s.Close()
		}()
		<-begun
		expectUser(t, r, "alice", true)
		return nil
	})
	if err := <-closed; err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	begun := false
	err := s.View(t.Context(), func(context.Context, storage.Reader) error { begun = true; return nil })
	if err == nil || errors.Is(err, storage.ErrNotFound) || begun {
		t.Errorf("View = %v, begun %v, want an error, not begun", err, begun)
	}
}
