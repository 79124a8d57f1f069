package account_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/storagetest"
)

// counted returns accounts over store that count the operations that write, in each of their updates, and the most of them
// in one update. Fail may make one of them fail; nil never does.
func counted(t *testing.T, store storage.Store, fail func(op string) error) (a *account.Accounts, most, updates *atomic.Int64) {
	t.Helper()
	most, updates = new(atomic.Int64), new(atomic.Int64)
	var now atomic.Int64
	d, err := account.NewDomain(domain, claims.SystemGeneric, false, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err = account.New(account.Config{
		Domains: []account.Domain{d}, TokenLife: time.Hour, MaxDevices: 3, MaxStatements: 20_000,
		Store: storagetest.Faulty{Store: store, Fail: func(op string) error {
			switch op {
			case "Update":
				now.Store(0)
				updates.Add(1)
			case "WithdrawStatement", "UpdateDevice", "UpdateUser", "Revoke", "BeginWithdrawal", "FinishWithdrawal":
				most.Store(max(most.Load(), now.Add(1)))
			}
			if fail == nil {
				return nil
			}
			return fail(op)
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, most, updates
}

// TestReviewA1ManyStatementsEndInBatches ends 10,000 statements of one user in each way that there is. No job of the writer
// writes more than one batch, and all of them are withdrawn for every reader from the first job on.
func TestReviewA1ManyStatementsEndInBatches(t *testing.T) {
	const many = 10_000
	for name, end := range map[string]func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error{
		"disable": func(ctx context.Context, a *account.Accounts, u storage.User, _ storage.Device) error {
			_, err := a.Disable(ctx, domain, u.ID)
			return err
		},
		"rename": func(ctx context.Context, a *account.Accounts, u storage.User, _ storage.Device) error {
			_, err := a.Rename(ctx, domain, u.ID, "alex")
			return err
		},
		"remove device": func(ctx context.Context, a *account.Accounts, _ storage.User, d storage.Device) error {
			_, err := a.RemoveDevice(ctx, domain, d.ID, "lost")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, store, _ := people(t)
			a, most, updates := counted(t, store, nil)
			alice := mustSignIn(t, a, signIn("1", "alice"))
			phone := mustLogin(t, a, store, alice, "key-phone")
			now := time.Now()
			mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
				for i := range many {
					err := tx.InsertStatement(ctx, storage.Statement{
						JTI: fmt.Sprint("jti-", i), Domain: domain, User: alice.ID, Device: phone.ID, Type: "im-actor+jwt",
						Claims: []byte("{}"), Gen: alice.Gen, TellsHandle: true, CreatedAt: now, ExpiresAt: now.Add(time.Hour),
					})
					if err != nil {
						return err
					}
				}
				return nil
			})

			// The process dies after the step that decides.
			most.Store(0)
			updates.Store(0)
			decided := false
			dying, _, _ := counted(t, store, func(op string) error {
				if op == "Update" && decided {
					return errors.New("the process died")
				}
				decided = decided || op == "Update"
				return nil
			})
			if err := end(t.Context(), dying, alice, phone); err != nil {
				t.Fatal(err)
			}
			standing := func() int {
				n, err := store.CountStatements(t.Context(), domain, alice.ID, now, many)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			if n := standing(); n != 0 {
				t.Errorf("%d statements stand after the first job, want none", n)
			}
			last, err := store.Statement(t.Context(), fmt.Sprint("jti-", many-1))
			if err != nil || last.WithdrawnAt.IsZero() || last.WithdrawnReason == "" {
				t.Errorf("the last statement = %+v, %v, want it withdrawn", last, err)
			}
			if w, err := store.Withdrawal(t.Context()); err != nil || w.User != alice.ID {
				t.Errorf("Withdrawal = %+v, %v, want one that is not finished", w, err)
			}

			// The next process finishes it.
			if err := a.FinishWithdrawals(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := store.Withdrawal(t.Context()); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("Withdrawal after FinishWithdrawals = %v, want none", err)
			}
			if n := standing(); n != 0 {
				t.Errorf("%d statements stand in the end, want none", n)
			}
			if most.Load() > 102 || updates.Load() < many/100-1 {
				t.Errorf("at most %d writes in each of %d jobs, want at most 102 in %d or more", most.Load(), updates.Load(), many/100-1)
			}
			if list, _, err := store.Revocations(t.Context(), 0, 0); err != nil || len(list) > 110 {
				t.Errorf("%d revocations, %v, want a few and not one for each statement", len(list), err)
			}
		})
	}
}

// TestReviewA1RevocationsPerUser: beyond the limit, revocations of a user become one row that ends all access tokens made
// until then, and nothing is refused.
func TestReviewA1RevocationsPerUser(t *testing.T) {
	a, store, _ := people(t)
	a.SetMaxRevocations(3)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	for i := range 20 {
		jti := fmt.Sprint("jti-", i)
		if err := state(t.Context(), a, store, alice, jti, "phone"); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Withdraw(t.Context(), domain, alice.ID, jti, "withdrawn"); err != nil {
			t.Fatalf("withdrawal %d = %v, want nil", i, err)
		}
	}
	rows, _, err := store.Revocations(t.Context(), 0, 0)
	if err != nil || len(rows) != 4 {
		t.Errorf("%d revocations, %v, want three and one of the generation", len(rows), err)
	}
	now, err := store.User(t.Context(), domain, alice.ID)
	if err != nil {
		t.Fatal(err)
	}
	gen, err := store.Revocation(t.Context(), storage.RevokeGen, domain+"/"+alice.ID)
	if err != nil || gen.Gen != now.Gen || now.Gen <= alice.Gen {
		t.Errorf("the generation is %d, of the revocation %d, %v; want them equal and above %d", now.Gen, gen.Gen, err, alice.Gen)
	}
}

// TestReviewB2DelegationToRemovedDevice: with a device ends a delegation to its key, which another device made, and what was
// taken in under it; a delegation to another key stands.
func TestReviewB2DelegationToRemovedDevice(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	phone := mustLogin(t, a, store, alice, "key-phone")
	now := time.Now()
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
		for jti, jkt := range map[string]string{"to phone": "key-phone", "to another": "key-another"} {
			err := a.AddStatement(ctx, tx, storage.Statement{
				JTI: jti, Domain: domain, User: alice.ID, Device: "laptop", Type: "im-delegation+jwt",
				Claims: []byte(`{"cnf":{"jkt":"` + jkt + `"}}`), CreatedAt: now, ExpiresAt: now.Add(time.Hour),
			})
			if err != nil {
				return err
			}
		}
		d, err := a.DeviceUnder(ctx, alice, "watch", "key-watch", "to phone", 1)
		if err != nil {
			return err
		}
		_, err = a.BindDevice(ctx, tx, d)
		return err
	})
	if _, err := a.RemoveDevice(t.Context(), domain, phone.ID, "stolen"); err != nil {
		t.Fatal(err)
	}
	for jti, want := range map[string]bool{"to phone": true, "to another": false} {
		s, err := store.Statement(t.Context(), jti)
		if err != nil || s.WithdrawnAt.IsZero() == want {
			t.Errorf("delegation %s = %+v, %v, want withdrawn %v", jti, s, err, want)
		}
	}
	if d, err := store.Device(t.Context(), domain, "watch"); err != nil || d.RemovedAt.IsZero() {
		t.Errorf("the device under the delegation = %+v, %v, want it removed", d, err)
	}
}

// TestReviewA1SignedStatements: statements by a user's own key are withdrawn one by one up to the limit, and beyond it by
// the delegation of the key. Withdrawing one again takes nothing more.
func TestReviewA1SignedStatements(t *testing.T) {
	a, store, _ := people(t)
	a.SetMaxRevocations(2)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	now := time.Now()
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
		return a.AddStatement(ctx, tx, storage.Statement{
			JTI: "delegation", Domain: domain, User: alice.ID, Device: "phone", Type: "im-delegation+jwt",
			Claims: []byte(`{"cnf":{"jkt":"key"}}`), CreatedAt: now, ExpiresAt: now.Add(time.Hour),
		})
	})
	for _, step := range []struct {
		key  string
		ends bool
	}{{"one", false}, {"two", false}, {"two", false}, {"three", true}} {
		row := storage.Revocation{Kind: storage.RevokeToken, Key: step.key, Reason: "withdrawn", At: now, ExpiresAt: now.Add(time.Hour)}
		err := a.RevokeSigned(t.Context(), domain, alice.ID, "delegation", row, func(context.Context, storage.Tx) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Statement(t.Context(), "delegation")
		if err != nil || s.WithdrawnAt.IsZero() == step.ends {
			t.Errorf("after %s: the delegation = %+v, %v, want withdrawn %v", step.key, s, err, step.ends)
		}
	}
	if n, err := store.CountRevocations(t.Context(), domain+"/"+alice.ID, now, 100); err != nil || n != 2 {
		t.Errorf("%d revocations, %v, want 2", n, err)
	}
}
