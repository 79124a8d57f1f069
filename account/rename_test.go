package account_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

func TestRename(t *testing.T) {
	a, _, told := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	bob := mustSignIn(t, a, signIn("2", "bob"))
	for _, test := range []struct {
		name, user, to string
		want           error
		gen            int64
	}{
		{"to another name", alice.ID, "Alex", nil, 2},
		{"to the same name", alice.ID, "alex", nil, 2},
		{"to another spelling that collides with her own", alice.ID, "al.ex", nil, 3},
		{"to somebody's name", alice.ID, "bob", account.ErrHandleTaken, 3},
		{"to a name that looks like somebody's", alice.ID, "b0b", account.ErrHandleTaken, 3},
		{"to her own id", alice.ID, alice.ID, nil, 4},
		{"to somebody's id", alice.ID, bob.ID, account.ErrHandleTaken, 4},
		{"to a reserved name", alice.ID, "admin", claims.CodeReservedHandle, 4},
		{"to no name", alice.ID, "", claims.CodeEmptyPart, 4},
		{"to a name in quarantine", bob.ID, "alice", account.ErrHandleTaken, 1},
		{"back to her first name", alice.ID, "alice", nil, 5},
		{"of nobody", "nobody", "carol", account.ErrNoUser, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			before, _ := a.User(t.Context(), domain, test.user)
			u, err := a.Rename(t.Context(), domain, test.user, test.to)
			if !errors.Is(err, test.want) {
				t.Fatalf("Rename = %v, want %v", err, test.want)
			}
			if err == nil && (u.Gen != test.gen || u.Changed != (before.Gen != test.gen)) {
				t.Errorf("generation = %d after %d, changed %t, want %d", u.Gen, before.Gen, u.Changed, test.gen)
			}
		})
	}
	if len(*told) != 4 || (*told)[3].Kind != storage.RevokeGen || (*told)[3].Gen != 5 {
		t.Errorf("revoked %+v, want one row for each of four renames, the last below generation 5", *told)
	}
	if again, err := a.SignIn(t.Context(), signIn("1", "whatever")); err != nil || again.ID != alice.ID || again.Handle != "alice" {
		t.Errorf("SignIn after the renames = %+v, %v, want the same user", again, err)
	}
}

// With a handle ends what tells it, and nothing else: neither a delegation, under which devices stand, nor what tells of a rename.
func TestRenameEndsStatements(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	now := time.Now()
	told := map[string]string{
		"grant": `{"handle":"im:%40alice@example.com"}`, "delegation": `{}`,
		"rename": `{"handle":"im:%40alice@example.com","old_handle":"im:%40al@example.com"}`,
	}
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) (err error) {
		for jti, claims := range told {
			err = errors.Join(err, a.AddStatement(ctx, tx, storage.Statement{
				JTI: jti, Domain: domain, User: alice.ID, Claims: []byte(claims), CreatedAt: now, ExpiresAt: now.Add(time.Hour),
			}))
		}
		return err
	})
	mustRename(t, a, alice.ID, "alex")
	for jti, want := range map[string]string{"grant": "handle_changed", "delegation": "", "rename": ""} {
		s, err := store.Statement(t.Context(), jti)
		if err != nil || s.WithdrawnReason != want || s.WithdrawnAt.IsZero() != (want == "") {
			t.Errorf("%s = %+v, %v, want withdrawn for %q", jti, s, err, want)
		}
	}
}

// Of many who want one free name, one gets it.
func TestRenameRaces(t *testing.T) {
	a, _, _ := people(t)
	var users []storage.User
	for _, name := range []string{"one", "two", "three", "four", "five", "six"} {
		users = append(users, mustSignIn(t, a, signIn(name, name)))
	}
	var (
		mu        sync.Mutex
		won, lost int
		wg        sync.WaitGroup
	)
	for _, u := range users {
		wg.Go(func() {
			_, err := a.Rename(t.Context(), domain, u.ID, "wanted")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case errors.Is(err, account.ErrHandleTaken):
				lost++
			default:
				t.Errorf("Rename = %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 || lost != len(users)-1 {
		t.Errorf("%d renamed and %d refused, want 1 and %d", won, lost, len(users)-1)
	}
}

// TestReviewC5RenameWithinOneKey: another spelling of a handle, which looks the same, leaves the old one in the history and
// in quarantine, whether the user goes back to it or on to a third handle.
func TestReviewC5RenameWithinOneKey(t *testing.T) {
	a, _, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	for _, handle := range []string{"a1ice", "alice", "a.l.ice", "alice", "zoe"} {
		if _, err := a.Rename(t.Context(), domain, alice.ID, handle); err != nil {
			t.Fatalf("Rename to %s = %v", handle, err)
		}
		p, err := a.Person(t.Context(), domain, alice.ID)
		if err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, n := range p.Handles {
			if n.ReleasedAt.IsZero() {
				held++
				if n.Local != handle {
					t.Errorf("after the rename to %s, %s is held", handle, n.Local)
				}
			}
		}
		if held != 1 {
			t.Errorf("after the rename to %s, %d handles are held, want one", handle, held)
		}
	}
	p, err := a.Person(t.Context(), domain, alice.ID)
	if err != nil {
		t.Fatal(err)
	}
	for i, handle := range []string{"alice", "a1ice", "a.l.ice"} {
		if !slices.ContainsFunc(p.Handles, func(n storage.Name) bool { return n.Local == handle && !n.ReleasedAt.IsZero() }) {
			t.Errorf("the history %+v lacks %s", p.Handles, handle)
		}
		if u, err := a.HandleUser(t.Context(), domain, handle); err != nil || u.ID != alice.ID {
			t.Errorf("HandleUser of %s = %+v, %v, want Alice", handle, u, err)
		}
		if _, err := a.SignIn(t.Context(), signIn("other-"+string(rune('a'+i)), handle)); !errors.Is(err, account.ErrHandleTaken) {
			t.Errorf("SignIn of another as %s = %v, want %v", handle, err, account.ErrHandleTaken)
		}
	}
}
