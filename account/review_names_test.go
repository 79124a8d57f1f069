package account_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// handlesOf returns the handles that a user has or had, former ones with a minus sign.
func handlesOf(t *testing.T, a *account.Accounts, user string) (list []string) {
	t.Helper()
	p, err := a.Person(t.Context(), domain, user)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range p.Handles {
		name := n.Local
		if !n.ReleasedAt.IsZero() {
			name = "-" + name
		}
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// A former handle is released once, also from the earlier spellings that share its key, and goes to the next who asks.
func TestReviewC3ReleaseName(t *testing.T) {
	a, store, _ := people(t)
	squatter := mustSignIn(t, a, signIn("1", "alice"))
	bob := mustSignIn(t, a, signIn("2", "bob"))
	held := (*account.HeldError)(nil)
	release := func(name string) error {
		_, err := a.ReleaseName(t.Context(), domain, name)
		return err
	}
	if err := release("Alice"); !errors.As(err, &held) || !held.Held || held.User.ID != squatter.ID || held.Name != "alice" {
		t.Errorf("release of a handle in use = %v, want that the user has it", err)
	}
	if err := release(squatter.ID); !errors.As(err, &held) || !held.ID {
		t.Errorf("release of a user's id = %v, want that it is an id", err)
	}
	mustRename(t, a, squatter.ID, "al.ice")
	if err := release("alice"); !errors.As(err, &held) || !held.Held || held.Name != "al.ice" {
		t.Errorf("release of a handle whose look-alike is in use = %v, want that the user has al.ice", err)
	}
	mustRename(t, a, squatter.ID, "someone")
	if err := release("a-lice"); !errors.As(err, &held) || held.Held || held.ID || held.Name != "al.ice" {
		t.Errorf("release of a look-alike of a former handle = %v, want the name al.ice", err)
	}
	for _, name := range []string{"nobody", "", "two words"} {
		if err := release(name); !errors.Is(err, account.ErrNoName) {
			t.Errorf("release of %q = %v, want %v", name, err, account.ErrNoName)
		}
	}
	if _, err := a.ReleaseName(t.Context(), "example.net", "alice"); !errors.Is(err, account.ErrNoName) {
		t.Errorf("release in an unknown domain = %v, want %v", err, account.ErrNoName)
	}
	if _, err := a.Rename(t.Context(), domain, bob.ID, "alice"); !errors.Is(err, account.ErrHandleTaken) {
		t.Errorf("Rename before the release = %v, want %v", err, account.ErrHandleTaken)
	}

	released, err := a.ReleaseName(t.Context(), domain, "ALICE")
	if err != nil || len(released) != 2 || released[0].User != squatter.ID {
		t.Fatalf("ReleaseName = %+v, %v, want both spellings of the squatter's", released, err)
	}
	if err := release("alice"); !errors.Is(err, account.ErrNoName) {
		t.Errorf("second release = %v, want %v", err, account.ErrNoName)
	}
	if _, err := a.HandleUser(t.Context(), domain, "alice"); !errors.Is(err, account.ErrNoUser) {
		t.Errorf("HandleUser of a free handle = %v, want %v", err, account.ErrNoUser)
	}
	alice := mustSignIn(t, a, signIn("3", "alice"))
	if got, want := handlesOf(t, a, squatter.ID), []string{"-al.ice", "-alice", "someone"}; !slices.Equal(got, want) {
		t.Errorf("handles of the squatter = %q, want %q", got, want)
	}
	if u, err := a.HandleUser(t.Context(), domain, "alice"); err != nil || u.ID != alice.ID {
		t.Errorf("HandleUser = %+v, %v, want the new holder", u, err)
	}
	if _, err := a.Rename(t.Context(), domain, squatter.ID, "al.ice"); !errors.Is(err, account.ErrHandleTaken) {
		t.Errorf("Rename of the squatter back = %v, want %v", err, account.ErrHandleTaken)
	}

	// A release outlives new tables of look-alikes.
	mustRename(t, a, bob.ID, "bobby")
	if err := release("bob"); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
		names, err := tx.Names(ctx, domain, bob.ID)
		for _, n := range names {
			n.Tables = "old"
			err = errors.Join(err, tx.RenameKey(ctx, n, n.Key))
		}
		return err
	})
	if _, clashes, err := a.RenewKeys(t.Context()); err != nil || len(clashes) != 0 {
		t.Fatalf("RenewKeys = %+v, %v, want no clash", clashes, err)
	}
	mustSignIn(t, a, signIn("4", "bob"))
	if got, want := handlesOf(t, a, bob.ID), []string{"-bob", "bobby"}; !slices.Equal(got, want) {
		t.Errorf("handles = %q, want %q", got, want)
	}
}

// A user's id may be the user's own handle, from the first login on or later, and nobody else's.
func TestReviewC3OwnIDAsHandle(t *testing.T) {
	a, _, _ := people(t)
	login := func(subject, user, handle string) account.SignIn {
		in := signIn(subject, handle)
		in.User = user
		return in
	}
	alice := mustSignIn(t, a, login("1", "alice", "alice"))
	capital := mustSignIn(t, a, login("2", "Carol", "carol"))
	if alice.ID != "alice" || alice.Handle != "alice" || capital.ID != "Carol" || capital.Handle != "carol" {
		t.Errorf("users = %+v and %+v, want one name for both", alice, capital)
	}
	for _, refused := range []struct {
		in   account.SignIn
		want error
	}{
		{login("3", "u3", "alice"), account.ErrHandleTaken},
		{login("3", "u3", "al-ice"), account.ErrHandleTaken},
		{login("3", "Alice", "eve"), account.ErrUserTaken},
		{login("3", "alice", "eve"), account.ErrUserTaken},
	} {
		if u, err := a.SignIn(t.Context(), refused.in); !errors.Is(err, refused.want) {
			t.Errorf("SignIn of %+v = %+v, %v, want %v", refused.in, u, err, refused.want)
		}
	}
	// As a handle it has a history, as an id it stays.
	mustRename(t, a, alice.ID, "alex")
	held := (*account.HeldError)(nil)
	if _, err := a.ReleaseName(t.Context(), domain, "alice"); !errors.As(err, &held) || !held.ID {
		t.Errorf("release of an id that was a handle = %v, want that it is an id", err)
	}
	if _, err := a.SignIn(t.Context(), login("3", "u3", "alice")); !errors.Is(err, account.ErrHandleTaken) {
		t.Errorf("SignIn with the id as handle = %v, want %v", err, account.ErrHandleTaken)
	}
	if _, err := a.SignIn(t.Context(), login("3", "al.ice", "eve")); !errors.Is(err, account.ErrUserTaken) {
		t.Errorf("SignIn with an id like a former handle = %v, want %v", err, account.ErrUserTaken)
	}
	if got, want := handlesOf(t, a, alice.ID), []string{"-alice", "alex"}; !slices.Equal(got, want) {
		t.Errorf("handles = %q, want %q", got, want)
	}
	mustRename(t, a, alice.ID, "al.ice") // another spelling of the id, and back
	mustRename(t, a, alice.ID, "alice")
	mustRename(t, a, alice.ID, "alex")
	if _, err := a.SignIn(t.Context(), login("3", "u3", "alice")); !errors.Is(err, account.ErrHandleTaken) {
		t.Errorf("SignIn with the id as handle = %v, want %v", err, account.ErrHandleTaken)
	}
	bob := mustSignIn(t, a, signIn("4", "bob"))
	own := strings.ToLower(bob.ID) // as handles are written
	mustRename(t, a, bob.ID, own)
	got, want := handlesOf(t, a, bob.ID), []string{"-bob", own}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("handles = %q, want %q", got, want)
	}
}

// User ids are compared exactly with each other; a handle may not look like anybody else's id.
func TestReviewC3UserIDsCompareExactly(t *testing.T) {
	a, _, _ := people(t)
	login := func(subject, user, handle string) account.SignIn {
		in := signIn(subject, handle)
		in.User = user
		return in
	}
	mustSignIn(t, a, login("1", "10-01", "ann"))
	second := mustSignIn(t, a, login("2", "1001", "ben"))
	for _, refused := range []struct {
		in   account.SignIn
		want error
	}{
		{login("3", "1001", "eve"), account.ErrUserTaken},
		{login("3", "10-01", "eve"), account.ErrUserTaken},
		{login("3", "u3", "1001"), account.ErrHandleTaken},
		{login("3", "u3", "10-01"), account.ErrHandleTaken},
		{login("3", "a.nn", "eve"), account.ErrUserTaken},
	} {
		if u, err := a.SignIn(t.Context(), refused.in); !errors.Is(err, refused.want) {
			t.Errorf("SignIn of %+v = %+v, %v, want %v", refused.in, u, err, refused.want)
		}
	}
	if u, err := a.User(t.Context(), domain, "1001"); err != nil || u.Handle != second.Handle {
		t.Errorf("User = %+v, %v, want %+v", u, err, second)
	}
}

// An operator grants a reserved name, though no look-alike of one, and a person never takes one.
func TestReviewC5GrantReservedName(t *testing.T) {
	a, _, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	if _, err := a.Rename(t.Context(), domain, alice.ID, "support"); !errors.Is(err, claims.CodeReservedHandle) {
		t.Errorf("Rename = %v, want %v", err, claims.CodeReservedHandle)
	}
	if _, err := a.RenameReserved(t.Context(), domain, alice.ID, "supp0rt"); !errors.Is(err, claims.CodeConfusable) {
		t.Errorf("RenameReserved to a look-alike = %v, want %v", err, claims.CodeConfusable)
	}
	if u, err := a.RenameReserved(t.Context(), domain, alice.ID, "support"); err != nil || u.Handle != "support" {
		t.Errorf("RenameReserved = %+v, %v, want the name support", u, err)
	}
	if _, err := a.SignIn(t.Context(), signIn("2", "support")); !errors.Is(err, claims.CodeReservedHandle) {
		t.Errorf("SignIn = %v, want %v", err, claims.CodeReservedHandle)
	}
}
