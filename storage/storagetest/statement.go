package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

func testStatementsAreOldestFirst(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for name, age := range map[string]time.Duration{"c": 3 * time.Hour, "a": time.Hour, "b": 2 * time.Hour} {
			v := statement(name)
			v.CreatedAt, v.User = at.Add(age), "alice"
			if err := tx.InsertStatement(ctx, v); err != nil {
				return err
			}
		}
		abroad, nobody := statement("abroad"), statement("nobody")
		abroad.Domain, abroad.User = "example.org", "alice"
		nobody.User = ""
		return errors.Join(tx.InsertStatement(ctx, abroad), tx.InsertStatement(ctx, nobody))
	})
	for user, want := range map[string][]string{
		"":      {"jti-nobody", "jti-a", "jti-b", "jti-c"},
		"alice": {"jti-a", "jti-b", "jti-c"},
	} {
		list, err := s.Statements(t.Context(), domain, user)
		var ids []string
		for _, v := range list {
			ids = append(ids, v.JTI)
		}
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("Statements of %q = %v, %v, want %v", user, ids, err, want)
		}
	}
}

// Pages of any size contain every standing statement of a user once, even if the statement that a cursor names was deleted, and no
// statement that is withdrawn, expired, of another user or of another domain.
func testStandingStatementsByPages(t *testing.T, s storage.Store) {
	const user = "user-alice"
	insert := func(name string, age time.Duration, change func(v *storage.Statement)) {
		v := statement(name)
		v.User, v.CreatedAt, v.WithdrawnAt, v.WithdrawnReason = user, at.Add(age), time.Time{}, ""
		change(&v)
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertStatement(ctx, v) })
	}
	as := func(*storage.Statement) {}
	for i, name := range []string{"e", "d", "c", "b", "a"} {
		insert(name, time.Duration(i)*time.Second, as)
	}
	insert("same", 0, as) // as old as e
	insert("link", time.Minute, func(v *storage.Statement) { v.Type, v.Device, v.ExpiresAt = "im-link+jwt", "", time.Time{} })
	insert("withdrawn", 0, func(v *storage.Statement) { v.WithdrawnAt = at })
	insert("expired", 0, func(v *storage.Statement) { v.ExpiresAt = at })
	insert("bob", 0, func(v *storage.Statement) { v.User = "user-bob" })
	insert("abroad", 0, func(v *storage.Statement) { v.Domain = "example.org" })

	whole := []string{"jti-e", "jti-same", "jti-d", "jti-c", "jti-b", "jti-a", "jti-link"}
	for _, test := range []struct {
		typ  string
		want []string
	}{{"", whole}, {"im-actor+jwt", whole[:6]}, {"im-link+jwt", whole[6:]}, {"im-move+jwt", nil}} {
		for _, limit := range []int{1, 2, 7, 100} {
			var got []string
			for after := (storage.StatementCursor{}); ; {
				page, err := s.StandingStatements(t.Context(), domain, user, test.typ, at, after, limit)
				if err != nil || len(page) > limit {
					t.Fatalf("StandingStatements = %d statements, %v, want at most %d", len(page), err, limit)
				}
				for _, v := range page {
					got = append(got, v.JTI)
					after = storage.StatementCursor{CreatedAt: v.CreatedAt, JTI: v.JTI}
				}
				if len(page) < limit {
					break
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("type %q by %d: %q, want %q", test.typ, limit, got, test.want)
			}
		}
	}
	for limit, want := range map[int]int{-1: 0, 0: 0, 3: 3, 6: 6, 100: 6} { // the operator made one
		if n, err := s.CountStatements(t.Context(), domain, user, at, limit); err != nil || n != want {
			t.Errorf("CountStatements up to %d = %d, %v, want %d", limit, n, err, want)
		}
	}
	gone := storage.StatementCursor{CreatedAt: at, JTI: "jti-gone"} // between e and same
	page, err := s.StandingStatements(t.Context(), domain, user, "", at, gone, 1)
	if err != nil || len(page) != 1 || page[0].JTI != "jti-same" {
		t.Errorf("StandingStatements after one that is gone = %v, %v, want jti-same", page, err)
	}
}

func testWithdrawStatementOnce(t *testing.T, s storage.Store) {
	v := statement("alice")
	v.WithdrawnAt, v.WithdrawnReason = time.Time{}, ""
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertStatement(ctx, v) })
	for _, reason := range []string{"first", "second"} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			return tx.WithdrawStatement(ctx, v.JTI, at.Add(time.Minute), reason)
		})
		got, err := s.Statement(t.Context(), v.JTI)
		if err != nil || got.WithdrawnReason != "first" || got.WithdrawnAt != at.Add(time.Minute) {
			t.Errorf("withdrawn as %q at %v, %v, want the first to stand", got.WithdrawnReason, got.WithdrawnAt, err)
		}
	}
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return tx.WithdrawStatement(ctx, "nobody", at, "x")
	})
	if err != storage.ErrNotFound {
		t.Errorf("WithdrawStatement = %v, want %v", err, storage.ErrNotFound)
	}
}

// Of devices with the same number under a delegation, one is added; those without a delegation have no number.
func testDeviceNumberOnceInParallel(t *testing.T, s storage.Store) {
	errs := race(8, func(i int) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			d := device(fmt.Sprint(i))
			d.Delegation, d.Number = "delegation", 1
			return tx.InsertDevice(ctx, d)
		})
	})
	won := 0
	for _, err := range errs {
		switch err {
		case nil:
			won++
		case storage.ErrConflict:
		default:
			t.Errorf("InsertDevice = %v, want nil or %v", err, storage.ErrConflict)
		}
	}
	if won != 1 {
		t.Errorf("%d devices have number 1, want one", won)
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		second, plain, other := device("second"), device("plain"), device("other")
		second.Delegation, second.Number = "delegation", 2
		plain.Delegation, plain.Number = "", 0
		other.Delegation, other.Number = "", 0
		return errors.Join(tx.InsertDevice(ctx, second), tx.InsertDevice(ctx, plain), tx.InsertDevice(ctx, other))
	})
}
