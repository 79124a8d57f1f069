package account_test

import (
	"context"
	"errors"
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
		u, err := a.SignIn(t.Context(), signIn(sub, handle))
		if err != nil {
			t.Fatal(err)
		}
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
