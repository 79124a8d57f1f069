package storagetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/imidentity/issuer/storage"
)

// expectUser checks whether the user of that name exists.
func expectUser(t *testing.T, r storage.Reader, name string, want bool) {
	t.Helper()
	_, err := r.User(t.Context(), domain, "user-"+name)
	if got := err == nil; got != want || err != nil && err != storage.ErrNotFound {
		t.Errorf("User %s = %v, want it there: %v", name, err, want)
	}
}

func testUpdateIsUndoneByAnError(t *testing.T, s storage.Store) {
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertUser(ctx, user("alice")), tx.PutSecret(ctx, "x", []byte("x")), errors.New("enough"))
	})
	if err == nil {
		t.Error("Update = nil, want an error")
	}
	expectUser(t, s, "alice", false)
	if _, err := s.Secret(t.Context(), "x"); err != storage.ErrNotFound {
		t.Errorf("Secret = %v, want %v", err, storage.ErrNotFound)
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		expectUser(t, tx, "alice", false)
		return tx.InsertUser(ctx, user("alice"))
	})
}

func testUpdateIsUndoneByAPanic(t *testing.T, s storage.Store) {
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		if err := tx.InsertUser(ctx, user("alice")); err != nil {
			return err
		}
		panic("at the disco")
	})
	if err == nil {
		t.Error("Update = nil, want an error")
	}
	expectUser(t, s, "alice", false)
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, user("alice")) })
	expectUser(t, s, "alice", true)
}

func testUpdateReturnsThatVeryError(t *testing.T, s storage.Store) {
	for _, want := range []error{
		errors.New("ours"), storage.ErrConflict, fmt.Errorf("wrapped: %w", storage.ErrNotFound), context.Canceled,
	} {
		if err := s.Update(t.Context(), func(context.Context, storage.Tx) error { return want }); err != want {
			t.Errorf("Update = %v, want the very %v", err, want)
		}
	}
}

func testUpdateGoesOnAfterARefusal(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, user("alice")) })
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.InsertUser(ctx, user("bob")); err != nil {
			return err
		}
		if err := tx.InsertUser(ctx, user("alice")); err != storage.ErrConflict {
			t.Errorf("InsertUser = %v, want %v", err, storage.ErrConflict)
		}
		if err := tx.UpdateUser(ctx, user("nobody")); err != storage.ErrNotFound {
			t.Errorf("UpdateUser = %v, want %v", err, storage.ErrNotFound)
		}
		return tx.InsertUser(ctx, user("carol"))
	})
	for _, name := range []string{"alice", "bob", "carol"} {
		expectUser(t, s, name, true)
	}
}

func testUpdateSeesItsOwnWrites(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, k := range kinds {
			if err := k.insert(ctx, tx, k.name); err != nil {
				return err
			}
			if _, _, err := k.read(ctx, tx, k.name); err != nil {
				t.Errorf("%s: read = %v, want nil", k.name, err)
			}
		}
		r, err := tx.Revoke(ctx, revocation(storage.RevokeGrant, "g"))
		if err != nil {
			return err
		}
		found, last, err := tx.Revocations(ctx, 0, 0)
		if err != nil || len(found) != 1 || found[0] != r || last != r.Seq {
			t.Errorf("Revocations = %v, %d, %v, want %v alone", found, last, err, r)
		}
		return nil
	})
}

func testUpdateIsHiddenUntilItEnds(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.InsertUser(ctx, user("alice")); err != nil {
			return err
		}
		expectUser(t, tx, "alice", true)
		expectUser(t, s, "alice", false)
		return nil
	})
	expectUser(t, s, "alice", true)
}

// Updates that read, compute and write lose nothing, as they would if two of them overlapped.
func testUpdatesDoNotMix(t *testing.T, s storage.Store) {
	const callers, rounds = 16, 25
	alice := user("alice")
	alice.Gen = 0
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertUser(ctx, alice) })
	errs := race(callers, func(int) error {
		for range rounds {
			err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
				u, err := tx.User(ctx, domain, alice.ID)
				if err != nil {
					return err
				}
				u.Gen++
				return tx.UpdateUser(ctx, u)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("Update = %v, want nil", err)
	}
	if u, err := s.User(t.Context(), domain, alice.ID); err != nil || u.Gen != callers*rounds {
		t.Errorf("User = %+v, %v, want Gen %d", u, err, callers*rounds)
	}
}

func testUpdatesFailAlone(t *testing.T, s storage.Store) {
	const callers = 60
	refused := errors.New("refused")
	errs := race(callers, func(i int) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			if err := tx.InsertUser(ctx, user(fmt.Sprint(i))); err != nil {
				return err
			}
			switch i % 3 {
			case 1:
				return refused
			case 2:
				panic(refused)
			}
			return nil
		})
	})
	for i, err := range errs {
		if good := i%3 == 0; good != (err == nil) || i%3 == 1 && err != refused {
			t.Errorf("Update %d = %v, want nil: %v", i, err, good)
		}
		expectUser(t, s, fmt.Sprint(i), i%3 == 0)
	}
}

func testUpdateIsSeenOnceAcknowledged(t *testing.T, s storage.Store) {
	const callers, rounds = 8, 25
	errs := race(callers, func(i int) error {
		for n := range rounds {
			name := fmt.Sprint(i, "-", n)
			err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
				return tx.InsertUser(ctx, user(name))
			})
			if err != nil {
				return err
			}
			if _, err := s.User(t.Context(), domain, "user-"+name); err != nil {
				return fmt.Errorf("after it was acknowledged: %w", err)
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Errorf("User = %v, want nil", err)
	}
}
