package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// oneWinner checks that one of the racers succeeded and all others got want.
func oneWinner(t *testing.T, errs []error, want error) {
	t.Helper()
	winners := 0
	for _, err := range errs {
		switch err {
		case nil:
			winners++
		case want:
		default:
			t.Errorf("loser got %v, want %v", err, want)
		}
	}
	if winners != 1 {
		t.Errorf("%d of %d succeeded, want 1", winners, len(errs))
	}
}

func testSpendOnceInParallel(t *testing.T, s storage.Store) {
	c := freshCode("alice")
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertCode(ctx, c) })
	errs := race(64, func(i int) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.SpendCode(ctx, c.Hash, at, fmt.Sprint(i))
		})
	})
	oneWinner(t, errs, storage.ErrConflict)
	got, err := s.Code(t.Context(), c.Hash)
	if err != nil {
		t.Fatalf("Code = %v, want nil", err)
	}
	for i, err := range errs {
		if err == nil {
			c.SpentAt, c.Grant = at, fmt.Sprint(i)
		}
	}
	if !reflect.DeepEqual(got, c) {
		t.Errorf("Code = %+v, want %+v", got, c)
	}
	err = s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return tx.SpendCode(ctx, digest("never made"), at, "g")
	})
	if err != storage.ErrNotFound {
		t.Errorf("SpendCode = %v, want %v", err, storage.ErrNotFound)
	}
}

// A code whose redemption is undone can be redeemed again.
func testSpendUndone(t *testing.T, s storage.Store) {
	c := freshCode("alice")
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertCode(ctx, c) })
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.SpendCode(ctx, c.Hash, at, "g"), errors.New("no"))
	})
	if err == nil {
		t.Error("Update = nil, want an error")
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.SpendCode(ctx, c.Hash, at, "g") })
}

// spendID spends an id in an update of its own.
func spendID(t *testing.T, s storage.Store, kind, name string) error {
	return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return tx.SpendID(ctx, kind, digest(name), at.Add(time.Minute))
	})
}

func testSpendIDOnceInParallel(t *testing.T, s storage.Store) {
	oneWinner(t, race(64, func(int) error { return spendID(t, s, "assertion", "a") }), storage.ErrConflict)
	for _, other := range [][2]string{{"assertion", "b"}, {"grant", "a"}} {
		if err := spendID(t, s, other[0], other[1]); err != nil {
			t.Errorf("SpendID of another kind or key = %v, want nil", err)
		}
	}
	// Spending twice in one transaction is a conflict, too, and the transaction continues.
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.SpendID(ctx, "assertion", digest("c"), at); err != nil {
			return err
		}
		if err := tx.SpendID(ctx, "assertion", digest("c"), at.Add(time.Hour)); err != storage.ErrConflict {
			t.Errorf("second SpendID = %v, want %v", err, storage.ErrConflict)
		}
		return nil
	})
	if err := spendID(t, s, "assertion", "c"); err != storage.ErrConflict {
		t.Errorf("third SpendID = %v, want %v", err, storage.ErrConflict)
	}
}

// An id whose transaction is undone can be spent again.
func testSpendIDUndone(t *testing.T, s storage.Store) {
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.SpendID(ctx, "assertion", digest("a"), at), errors.New("no"))
	})
	if err == nil {
		t.Error("Update = nil, want an error")
	}
	if err := spendID(t, s, "assertion", "a"); err != nil {
		t.Errorf("SpendID = %v, want nil", err)
	}
}

func testTakeLoginOnceInParallel(t *testing.T, s storage.Store) {
	want := login("alice")
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertLogin(ctx, want) })
	oneWinner(t, race(64, func(int) error {
		var got storage.Login
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) (err error) {
			got, err = tx.TakeLogin(ctx, want.State)
			return err
		})
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("TakeLogin = %+v, want %+v", got, want)
		}
		return err
	}), storage.ErrNotFound)
	if _, err := s.Login(t.Context(), want.State); err != storage.ErrNotFound {
		t.Errorf("Login = %v, want %v", err, storage.ErrNotFound)
	}
}

func testTakePushedOnceInParallel(t *testing.T, s storage.Store) {
	p := pushed("alice")
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertPushed(ctx, p) })
	oneWinner(t, race(64, func(int) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.TakePushed(ctx, p.URI) })
	}), storage.ErrNotFound)
	if _, err := s.Pushed(t.Context(), p.URI); err != storage.ErrNotFound {
		t.Errorf("Pushed = %v, want %v", err, storage.ErrNotFound)
	}
}

func testTakeNameOnceInParallel(t *testing.T, s storage.Store) {
	errs := race(64, func(i int) error {
		n := nameOf("alice")
		n.User = fmt.Sprint(i)
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertName(ctx, n) })
	})
	oneWinner(t, errs, storage.ErrConflict)
	n, err := s.Name(t.Context(), domain, "key-alice")
	if err != nil {
		t.Fatalf("Name = %v, want nil", err)
	}
	for i, err := range errs {
		if err == nil && n.User != fmt.Sprint(i) {
			t.Errorf("Name = %+v, want User %d", n, i)
		}
	}
}

func testNameStaysTakenWhenReleased(t *testing.T, s storage.Store) {
	n := nameOf("alice")
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		n.ReleasedAt = time.Time{}
		return tx.InsertName(ctx, n)
	})
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		n.ReleasedAt = at
		return tx.UpdateName(ctx, n)
	})
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertName(ctx, n) })
	if err != storage.ErrConflict {
		t.Errorf("InsertName = %v, want %v", err, storage.ErrConflict)
	}
}

func testDeviceKeyStaysTakenWhenRemoved(t *testing.T, s storage.Store) {
	d := device("alice") // removed already
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertDevice(ctx, d), tx.InsertDevice(ctx, device("bob")))
	})
	again := device("carol")
	again.JKT = d.JKT
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertDevice(ctx, again) })
	if err != storage.ErrConflict {
		t.Errorf("InsertDevice = %v, want %v", err, storage.ErrConflict)
	}
	again = device("bob")
	again.JKT = d.JKT
	err = s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.UpdateDevice(ctx, again) })
	if err != storage.ErrConflict {
		t.Errorf("UpdateDevice = %v, want %v", err, storage.ErrConflict)
	}
	if got, err := s.DeviceByKey(t.Context(), domain, d.JKT); err != nil || got != d {
		t.Errorf("DeviceByKey = %+v, %v, want %+v", got, err, d)
	}
}
