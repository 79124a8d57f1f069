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

// Of devices that come under one number of a delegation, one is taken in; those without a delegation have no number.
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
