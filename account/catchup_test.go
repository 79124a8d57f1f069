package account_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// TestEndedElsewhere holds that a node which answers that something has ended knows that the tokens are revoked, though another node
// revoked them and this one has not read it yet. If it cannot read it, it does not answer so.
func TestEndedElsewhere(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, a *account.Accounts, user string) error{
		"a device": func(ctx context.Context, a *account.Accounts, _ string) error {
			_, err := a.RemoveDevice(ctx, domain, "phone", "lost")
			return err
		},
		"a session": func(ctx context.Context, a *account.Accounts, _ string) error {
			_, _, err := a.EndSession(ctx, domain, "session", "lost")
			return err
		},
		"a user who is disabled": func(ctx context.Context, a *account.Accounts, user string) error {
			_, err := a.Disable(ctx, domain, user)
			return err
		},
		"a user who is removed": func(ctx context.Context, a *account.Accounts, user string) error {
			_, err := a.Remove(ctx, domain, user, false)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, store, _ := people(t)
			alice := mustSignIn(t, a, signIn("alice", "alice"))
			now := time.Now()
			mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
				return errors.Join(
					tx.InsertDevice(ctx, storage.Device{Domain: domain, ID: "phone", User: alice.ID, JKT: "key", CreatedAt: now}),
					tx.InsertGrant(ctx, storage.Grant{ID: "session", Domain: domain, User: alice.ID, Device: "phone", Gen: 1, CreatedAt: now,
						RotatedAt: now, IdleAt: now.Add(time.Hour), ExpiresAt: now.Add(time.Hour)}))
			})
			mirror := revocation.NewMirror(revocation.Config{Source: store})
			if err := mirror.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			down := errors.New("the database cannot be reached")
			var fails error
			node, err := account.New(account.Config{
				Store: store, Domains: domains(t), TokenLife: time.Hour, MaxDevices: 3, Revoked: mirror.Apply,
				CatchUp: func(ctx context.Context) error {
					if fails != nil {
						return fails
					}
					return mirror.Read(ctx)
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			known := func() bool {
				_, ok := mirror.Find(introspect.Token{Domain: domain, User: alice.ID, Device: "phone", SID: "session"})
				return ok
			}
			if err := end(t.Context(), a, alice.ID); err != nil || known() {
				t.Fatalf("end at the other node = %v; this one has read it: %v", err, known())
			}
			fails = down
			if err := end(t.Context(), node, alice.ID); !errors.Is(err, down) {
				t.Errorf("end while the revocations cannot be read = %v, want %v", err, down)
			}
			fails = nil
			if err := end(t.Context(), node, alice.ID); err != nil || !known() {
				t.Errorf("end = %v; the node knows that the tokens are revoked: %v", err, known())
			}
		})
	}
}
