package storagetest_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/storage/storagetest"
)

func open(t *testing.T) storage.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A store that never fails keeps every promise of the one inside.
func TestFaultyPasses(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		return storagetest.Faulty{Store: open(t), Fail: func(string) error { return nil }}
	})
}

func TestFaultyFailsEveryOperationByItsName(t *testing.T) {
	fault := errors.New("fault")
	failing := "" // the operation that fails
	s := storagetest.Faulty{Store: open(t), Fail: func(op string) error {
		if op == failing {
			return fault
		}
		return nil
	}}
	for m := range reflect.TypeFor[storage.Store]().Methods() {
		if failing = m.Name; failing == "Update" {
			continue // see below
		}
		if err := call(t.Context(), s, m.Name); err != fault {
			t.Errorf("%s = %v, want %v", m.Name, err, fault)
		}
	}
	for m := range reflect.TypeFor[storage.Tx]().Methods() {
		failing = m.Name
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			if err := call(ctx, tx, m.Name); err != fault {
				t.Errorf("%s = %v, want %v", m.Name, err, fault)
			}
			return nil // the fault dooms the transaction all the same
		})
		if err != fault {
			t.Errorf("Update with a failed %s = %v, want %v", m.Name, err, fault)
		}
	}
	for _, failing = range []string{"Update", "Commit", "Committed"} {
		err := s.Update(t.Context(), func(context.Context, storage.Tx) error { return nil })
		if err != fault {
			t.Errorf("Update with a failed %s = %v, want %v", failing, err, fault)
		}
	}
}

// call calls a method of on with ctx and otherwise zero arguments, and returns its error.
func call(ctx context.Context, on any, method string) error {
	m := reflect.ValueOf(on).MethodByName(method)
	args := make([]reflect.Value, m.Type().NumIn())
	for i := range args {
		args[i] = reflect.Zero(m.Type().In(i))
	}
	if len(args) > 0 {
		args[0] = reflect.ValueOf(ctx)
	}
	results := m.Call(args)
	err, _ := results[len(results)-1].Interface().(error)
	return err
}

func TestFaultyCommitUndoes(t *testing.T) {
	fault := errors.New("fault")
	s := storagetest.Faulty{Store: open(t), Fail: func(op string) error {
		if op == "Commit" {
			return fault
		}
		return nil
	}}
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.PutSecret(ctx, "a", []byte("a")) })
	if err != fault {
		t.Errorf("Update = %v, want %v", err, fault)
	}
	if _, err := s.Secret(t.Context(), "a"); err != storage.ErrNotFound {
		t.Errorf("Secret = %v, want %v", err, storage.ErrNotFound)
	}
}

func TestFaultyCommittedKeeps(t *testing.T) {
	fault := errors.New("fault")
	s := storagetest.Faulty{Store: open(t), Fail: func(op string) error {
		if op == "Committed" {
			return fault
		}
		return nil
	}}
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.PutSecret(ctx, "a", []byte("a")) })
	if err != fault {
		t.Errorf("Update = %v, want %v", err, fault)
	}
	if _, err := s.Secret(t.Context(), "a"); err != nil {
		t.Errorf("Secret = %v, want nil", err)
	}
	err = s.Update(t.Context(), func(context.Context, storage.Tx) error { return storage.ErrNotFound })
	if err != storage.ErrNotFound {
		t.Errorf("Update = %v, want %v: it was not committed", err, storage.ErrNotFound)
	}
}
