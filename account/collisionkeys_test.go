package account_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// After an upgrade names that look alike by the new tables are found, and those that nobody has yet cannot be taken.
func TestRenewKeys(t *testing.T) {
	a, store, _ := people(t)
	sign := func(sub, handle string) storage.User {
		t.Helper()
		u := mustSignIn(t, a, signIn(sub, handle))
		return u
	}
	alice := sign("1", "alice")
	// As tables that know of no look-alikes would have it.
	update := func(what func(ctx context.Context, tx storage.Tx) error) {
		t.Helper()
		if err := store.Update(t.Context(), what); err != nil {
			t.Fatal(err)
		}
	}
	name := func(local string) claims.ID {
		id, err := claims.Parse("im:%40" + local + "@" + domain)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first, err := store.Name(t.Context(), domain, claims.CollisionKey(name("alice")))
	if err != nil || first.Tables != claims.CollisionTables() {
		t.Fatalf("Name = %+v, %v, want the tables with it", first, err)
	}
	first.Tables = "older"
	update(func(ctx context.Context, tx storage.Tx) error { return tx.RenameKey(ctx, first, "as it was") })
	if n, clashes, err := a.RenewKeys(t.Context()); n != 1 || len(clashes) != 0 || err != nil {
		t.Fatalf("RenewKeys = %d, %v, %v, want one", n, clashes, err)
	}
	if _, err := a.SignIn(t.Context(), signIn("2", "a1ice")); !errors.Is(err, account.ErrHandleTaken) {
		t.Errorf("SignIn with a look-alike = %v, want %v", err, account.ErrHandleTaken)
	}
	// A look-alike that was taken meanwhile.
	double := storage.Name{Domain: domain, Key: "a1ice", Tables: "older", Local: "a1ice", User: sign("3", "carol").ID, TakenAt: first.TakenAt}
	update(func(ctx context.Context, tx storage.Tx) error { return tx.InsertName(ctx, double) })
	n, clashes, err := a.RenewKeys(t.Context())
	if n != 1 || len(clashes) != 1 || clashes[0].Local != "a1ice" || err != nil {
		t.Fatalf("RenewKeys = %d, %+v, %v, want the look-alike", n, clashes, err)
	}
	if u, err := a.HandleUser(t.Context(), domain, "alice"); err != nil || u.ID != alice.ID {
		t.Errorf("HandleUser = %+v, %v, want Alice still", u, err)
	}
	if n, clashes, err := a.RenewKeys(t.Context()); n != 0 || clashes != nil || err != nil {
		t.Errorf("RenewKeys = %d, %v, %v the next time, want nothing to do", n, clashes, err)
	}
	// Who is called by a key of other tables is renamed all the same.
	first.Key, first.Tables = claims.CollisionKey(name("alice")), claims.CollisionTables()
	update(func(ctx context.Context, tx storage.Tx) error { return tx.RenameKey(ctx, first, "as it was") })
	if _, err := a.Rename(t.Context(), domain, alice.ID, "alex"); err != nil {
		t.Errorf("Rename = %v", err)
	}
}

// TestReviewC2ClashRetried: the new key of one name is the old key of another, which gets a new key itself. In whatever
// order they are renewed, both have their own in the end, and nobody else can take either.
func TestReviewC2ClashRetried(t *testing.T) {
	for _, order := range [][2]string{{"alice", "bob"}, {"bob", "alice"}} {
		t.Run(order[0]+" first", func(t *testing.T) {
			a, store, _ := people(t)
			key := make(map[string]string)
			rows := make(map[string]storage.Name)
			for i, handle := range order {
				u, err := a.SignIn(t.Context(), signIn(fmt.Sprint(i), handle))
				if err != nil {
					t.Fatal(err)
				}
				names, err := store.Names(t.Context(), domain, u.ID)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range names {
					if n.Local == handle {
						key[handle], rows[handle] = n.Key, n
					}
				}
			}
			// By the older tables Bob's key was the one that is Alice's now.
			mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
				alice, bob := rows["alice"], rows["bob"]
				alice.Tables, bob.Tables = "older", "older"
				return errors.Join(tx.RenameKey(ctx, alice, "a key of before"), tx.RenameKey(ctx, bob, key["alice"]))
			})
			if n, clashes, err := a.RenewKeys(t.Context()); n != 2 || len(clashes) != 0 || err != nil {
				t.Errorf("RenewKeys = %d, %+v, %v, want two and no clash", n, clashes, err)
			}
			for i, handle := range order {
				if n, err := store.Name(t.Context(), domain, key[handle]); err != nil || n.Local != handle {
					t.Errorf("the name with the key of %s = %+v, %v", handle, n, err)
				}
				if _, err := a.SignIn(t.Context(), signIn(fmt.Sprint("again-", i), handle)); !errors.Is(err, account.ErrHandleTaken) {
					t.Errorf("SignIn of another as %s = %v, want %v", handle, err, account.ErrHandleTaken)
				}
			}
		})
	}
}

// TestReviewC2HandleIsHeldOnce: no two names of a domain with one local part are held, whatever their keys are.
func TestReviewC2HandleIsHeldOnce(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	second := storage.Name{Domain: domain, Key: "another key", Local: "alice", User: "somebody", TakenAt: alice.CreatedAt}
	insert := func(n storage.Name) error {
		return store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertName(ctx, n) })
	}
	if err := insert(second); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("InsertName of a held handle under another key = %v, want %v", err, storage.ErrConflict)
	}
	second.ReleasedAt = alice.CreatedAt
	if err := insert(second); err != nil {
		t.Errorf("InsertName of a released one = %v, want nil", err)
	}
}
