package account_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/storage"
)

// state adds a statement about a user, made by a device of theirs if device is not empty.
func state(ctx context.Context, a *account.Accounts, store storage.Store, user storage.User, jti, device string) error {
	now := time.Now()
	return store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		return a.AddStatement(ctx, tx, storage.Statement{
			JTI: jti, Domain: user.Domain, User: user.ID, Device: device, Type: "im-actor+jwt", Claims: []byte("{}"),
			CreatedAt: now, ExpiresAt: now.Add(time.Hour),
		})
	})
}

// TestReviewA1StatementsPerUser: a user makes as many statements as allowed and no more, until one of them ends; the
// operator's and other users' statements do not count.
func TestReviewA1StatementsPerUser(t *testing.T) {
	a, store, _ := people(t)
	a.SetMaxStatements(2)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	bob := mustSignIn(t, a, signIn("2", "bob"))
	for _, step := range []struct {
		user        storage.User
		jti, device string
		want        error
	}{
		{alice, "operator-1", "", nil},
		{alice, "1", "phone", nil},
		{alice, "2", "laptop", nil},
		{alice, "3", "phone", account.ErrTooManyStatements},
		{alice, "operator-2", "", nil},
		{bob, "4", "phone", nil},
	} {
		if err := state(t.Context(), a, store, step.user, step.jti, step.device); !errors.Is(err, step.want) {
			t.Errorf("statement %s = %v, want %v", step.jti, err, step.want)
		}
	}
	if _, err := a.Withdraw(t.Context(), domain, alice.ID, "1", "withdrawn"); err != nil {
		t.Fatal(err)
	}
	if err := state(t.Context(), a, store, alice, "5", "phone"); err != nil {
		t.Errorf("a statement in the place of a withdrawn one = %v, want nil", err)
	}
	a.SetMaxStatements(1)
	if err := state(t.Context(), a, store, alice, "6", "phone"); !errors.Is(err, account.ErrTooManyStatements) {
		t.Errorf("a statement above the lowered limit = %v, want %v", err, account.ErrTooManyStatements)
	}
}

// TestReviewA1StatementPages reads the statements of a user page by page while one is withdrawn.
func TestReviewA1StatementPages(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	var want, got []string
	for i := range 7 {
		jti := fmt.Sprint("jti-", i)
		if err := state(t.Context(), a, store, alice, jti, "phone"); err != nil {
			t.Fatal(err)
		}
		want = append(want, jti)
	}
	for cursor, pages := "", 0; ; pages++ {
		list, next, err := a.StatementPage(t.Context(), store, domain, alice.ID, "im-actor+jwt", cursor, 3)
		if err != nil || len(list) > 3 {
			t.Fatalf("StatementPage = %d statements, %v, want at most 3", len(list), err)
		}
		for _, s := range list {
			got = append(got, s.JTI)
		}
		if cursor = next; cursor == "" {
			if pages != 2 {
				t.Errorf("%d pages, want 3", pages+1)
			}
			break
		}
		if pages == 0 { // the very one that the cursor names
			if _, err := a.Withdraw(t.Context(), domain, alice.ID, list[2].JTI, "withdrawn"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("statements %q, want %q", got, want)
	}
	for _, bad := range []string{"x", ".", "1.", "!.jti"} {
		if _, _, err := a.StatementPage(t.Context(), store, domain, alice.ID, "", bad, 3); !errors.Is(err, account.ErrCursor) {
			t.Errorf("StatementPage from %q = %v, want %v", bad, err, account.ErrCursor)
		}
	}
}
