package sqlite_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

// TestRestoreRemovesUsers holds that a user who was removed since the backup is removed from it, too, and no other user is: not one whom
// only the previous database did not have, and nobody at all if that has nothing to do with the backup.
func TestRestoreRemovesUsers(t *testing.T) {
	for name, related := range map[string]bool{"previous database": true, "another database": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, backup := filepath.Join(dir, "issuer.db"), filepath.Join(dir, "backup.db")
			s := open(t, path)
			accounts := func(s storage.Store, key [32]byte) *account.Accounts {
				d, err := account.NewDomain("example.com", claims.SystemGeneric, false, true, nil)
				if err != nil {
					t.Fatal(err)
				}
				a, err := account.New(account.Config{
					Store: s, Domains: []account.Domain{d}, TokenLife: time.Hour, MaxDevices: 3, TombstoneKey: key,
				})
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			signIn := func(a *account.Accounts, name string) storage.User {
				u, err := a.SignIn(t.Context(), account.SignIn{Domain: "example.com", Issuer: "https://idp.example.com", Subject: name, Handle: name})
				if err != nil {
					t.Fatal(err)
				}
				return u
			}
			key, other := sha256.Sum256([]byte("secret")), sha256.Sum256([]byte("another secret"))
			a := accounts(s, key)
			alice, bob := signIn(a, "alice"), signIn(a, "bob")
			if err := s.Backup(t.Context(), backup); err != nil {
				t.Fatal(err)
			}
			if !related {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				path = filepath.Join(dir, "other.db")
				s = open(t, path)
				a = accounts(s, other)
				alice = signIn(a, "alice")
			}
			if _, err := a.Remove(t.Context(), "example.com", alice.ID, false); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			r, err := sqlite.Restore(t.Context(), path, backup, sqlite.RestoreOptions{
				Absent: func(ctx context.Context, s storage.Store, users []storage.User) (int64, error) {
					return account.RepeatRemovals(ctx, s, key, users)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			s = open(t, path)
			a = accounts(s, key)
			users, err := s.Users(t.Context(), "example.com", "", 10)
			if err != nil {
				t.Fatal(err)
			}
			if !related {
				if r.Removed != 0 || len(users) != 2 {
					t.Errorf("Restore = %+v and left %d users, want both", r, len(users))
				}
				return
			}
			if r.Removed != 1 || len(users) != 1 || users[0].ID != bob.ID {
				t.Errorf("Restore = %+v and left %+v, want bob alone", r, users)
			}
			if names, err := s.Names(t.Context(), "example.com", alice.ID); err != nil || len(names) != 0 {
				t.Errorf("Names = %v, %v, want none", names, err)
			}
			in := account.SignIn{Domain: "example.com", Issuer: "https://idp.example.com", Subject: "alice", Handle: "alice"}
			if _, err := a.SignIn(t.Context(), in); !errors.Is(err, account.ErrRemoved) {
				t.Errorf("SignIn of the removed user = %v, want %v", err, account.ErrRemoved)
			}
			in.Subject = "carol"
			if _, err := a.SignIn(t.Context(), in); !errors.Is(err, account.ErrHandleTaken) {
				t.Errorf("SignIn under the handle of the removed user = %v, want %v", err, account.ErrHandleTaken)
			}
		})
	}
}
