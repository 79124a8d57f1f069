package account_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

func TestSignIn(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "Alice"))
	if alice.Handle != "alice" {
		t.Errorf("handle = %q, want it in canonical form", alice.Handle)
	}
	again, err := a.SignIn(t.Context(), signIn("1", "somebody-else"))
	if err != nil || again.ID != alice.ID || again.Handle != "alice" {
		t.Errorf("second sign-in = %+v, %v, want the same user with the same handle", again, err)
	}
	other := signIn("1", "alice2")
	other.Domain = "example.org"
	abroad, err := a.SignIn(t.Context(), other)
	if err != nil || abroad.ID == alice.ID {
		t.Errorf("sign-in in another domain = %+v, %v, want another user", abroad, err)
	}
	for _, test := range []struct {
		name string
		in   account.SignIn
		want error
	}{
		{"same handle", signIn("2", "alice"), account.ErrHandleTaken},
		{"same handle, other case", signIn("2", "ALICE"), account.ErrHandleTaken},
		{"same handle, dots between", signIn("2", "a.l.i.c.e"), account.ErrHandleTaken},
		{"somebody's user id as handle", signIn("2", alice.ID), account.ErrHandleTaken},
		{"somebody's user id as user id", account.SignIn{
			Domain: domain, Issuer: "https://idp.example.com", Subject: "2", Handle: "eve", User: alice.ID,
		}, account.ErrUserTaken},
		{"somebody's handle as user id", account.SignIn{
			Domain: domain, Issuer: "https://idp.example.com", Subject: "2", Handle: "eve", User: "alice",
		}, account.ErrUserTaken},
		{"no handle", signIn("2", ""), account.ErrNoHandle},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := a.SignIn(t.Context(), test.in)
			if !errors.Is(err, test.want) {
				t.Errorf("SignIn = %v, want %v", err, test.want)
			}
			if _, err := store.LinkedUser(t.Context(), domain, test.in.Issuer, test.in.Subject); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("after the refusal LinkedUser = %v, want nobody", err)
			}
		})
	}
	t.Run("handle that is none", func(t *testing.T) {
		var bad *claims.Error
		if _, err := a.SignIn(t.Context(), signIn("2", "al ice")); !errors.As(err, &bad) {
			t.Errorf("SignIn = %v, want a *claims.Error", err)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
			u := alice
			u.DisabledAt = time.Now()
			return tx.UpdateUser(ctx, u)
		})
		if _, err := a.SignIn(t.Context(), signIn("1", "alice")); !errors.Is(err, account.ErrDisabled) {
			t.Errorf("SignIn = %v, want %v", err, account.ErrDisabled)
		}
	})
}

// Many first logins of one person at once make one user; many people who want one handle make one user too.
func TestSignInRaces(t *testing.T) {
	const n = 16
	for _, test := range []struct {
		name        string
		in          func(i int) account.SignIn
		users, fail int
	}{
		{"one person", func(int) account.SignIn { return signIn("1", "alice") }, 1, 0},
		{"one handle", func(i int) account.SignIn { return signIn(fmt.Sprint(i), "alice") }, 1, n - 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, _, _ := people(t)
			var (
				mu    sync.Mutex
				users = make(map[string]bool)
				fail  int
				wg    sync.WaitGroup
			)
			for i := range n {
				wg.Go(func() {
					u, err := a.SignIn(t.Context(), test.in(i))
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						users[u.ID] = true
					case errors.Is(err, account.ErrHandleTaken):
						fail++
					default:
						t.Errorf("SignIn = %v", err)
					}
				})
			}
			wg.Wait()
			if len(users) != test.users || fail != test.fail {
				t.Errorf("%d users and %d refusals, want %d and %d", len(users), fail, test.users, test.fail)
			}
		})
	}
}

// A sign-in that is a step of a caller's transaction creates the user with it, or not at all, and loses to another first login
// of the same person.
func TestPrepareSignIn(t *testing.T) {
	a, store, _ := people(t)
	ctx := t.Context()
	prepare := func(subject, handle string) account.PendingSignIn {
		t.Helper()
		p, err := a.PrepareSignIn(ctx, signIn(subject, handle))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first, second, other := prepare("1", "alice"), prepare("1", "alice"), prepare("2", "ALICE")
	if !first.New || first.User.Handle != "alice" {
		t.Errorf("PrepareSignIn = %+v, want a new user called alice", first)
	}
	later := errors.New("a later step fails")
	err := store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := first.Insert(ctx, tx); err != nil {
			return err
		}
		return later
	})
	if err != later {
		t.Fatalf("Update = %v, want %v", err, later)
	}
	if u, err := store.LinkedUser(ctx, domain, "https://idp.example.com", "1"); err != storage.ErrNotFound {
		t.Fatalf("LinkedUser = %+v, %v, want nobody", u, err)
	}
	if err := store.Update(ctx, first.Insert); err != nil {
		t.Fatal(err)
	}
	if err := store.Update(ctx, second.Insert); !errors.Is(err, account.ErrSignedIn) {
		t.Errorf("Insert = %v for a person who has signed in meanwhile, want %v", err, account.ErrSignedIn)
	}
	if err := store.Update(ctx, other.Insert); !errors.Is(err, account.ErrHandleTaken) {
		t.Errorf("Insert = %v for a handle that was taken meanwhile, want %v", err, account.ErrHandleTaken)
	}
	if known := prepare("1", "another"); known.New || known.User.ID != first.User.ID {
		t.Errorf("PrepareSignIn = %+v, want the user %s", known, first.User.ID)
	} else if err := store.Update(ctx, known.Insert); err != nil {
		t.Errorf("Insert = %v for a known user, want nil", err)
	}
}
