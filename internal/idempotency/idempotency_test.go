package idempotency_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/idempotency"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// open opens a database, and returns a keeper as each process on it has one.
func open(t *testing.T) (storage.Store, func() *idempotency.Keeper, *time.Time) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	now := time.Now()
	store := idempotency.Wrap(db)
	return store, func() *idempotency.Keeper {
		k, err := idempotency.New(idempotency.Config{
			Store: store, Secret: [32]byte{1}, Rand: rand.Reader, Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}, &now
}

// act does something in a transaction.
func act(ctx context.Context, s storage.Store, name string) error {
	return s.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if name == "" {
			return errors.New("refused")
		}
		return tx.PutSecret(ctx, name, []byte(name))
	})
}

// TestCrash ends a process at each moment of a request: another process knows whether it was done, and never does it again.
func TestCrash(t *testing.T) {
	store, process, now := open(t)
	begin := func(k *idempotency.Keeper, key string) (*idempotency.Request, error) {
		return k.Begin(t.Context(), "ops", key, "POST", "/x")
	}
	answer := idempotency.Answer{Status: 200, ContentType: "application/json", Body: []byte("{}\n")}
	for _, test := range []struct {
		name string
		run  func(r *idempotency.Request) error
		kept *idempotency.Answer
		err  error
	}{
		{"before the transaction", func(*idempotency.Request) error { return nil }, nil, nil},
		{"after a transaction that was undone", func(r *idempotency.Request) error {
			if act(r.Context(t.Context()), store, "") == nil {
				return errors.New("Update = nil, want an error")
			}
			return nil
		}, nil, nil},
		{"after the transaction", func(r *idempotency.Request) error { return act(r.Context(t.Context()), store, "a") }, nil, idempotency.ErrLost},
		{"after two transactions", func(r *idempotency.Request) error {
			return errors.Join(act(r.Context(t.Context()), store, "a"), act(r.Context(t.Context()), store, "b"))
		}, nil, idempotency.ErrLost},
		{"after the answer is kept", func(r *idempotency.Request) error {
			return errors.Join(act(r.Context(t.Context()), store, "a"), r.Finish(r.Context(t.Context()), answer))
		}, &answer, nil},
		{"without a transaction", func(r *idempotency.Request) error { return r.Finish(r.Context(t.Context()), answer) }, &answer, nil},
		{"with an answer that is too long", func(r *idempotency.Request) error {
			return errors.Join(act(r.Context(t.Context()), store, "a"),
				r.Finish(t.Context(), idempotency.Answer{Body: make([]byte, idempotency.MaxAnswer+1)}))
		}, nil, idempotency.ErrLost},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := begin(process(), test.name)
			if err != nil || r.Kept != nil {
				t.Fatalf("Begin = %+v, %v, want the first request", r, err)
			}
			if err := test.run(r); err != nil {
				t.Fatal(err)
			} // and the process ends
			later := process()
			again, err := begin(later, test.name)
			if !errors.Is(err, test.err) || err == nil && !reflect.DeepEqual(again.Kept, test.kept) {
				t.Fatalf("Begin after the crash = %+v, %v, want %+v, %v", again, err, test.kept, test.err)
			}
			if err == nil {
				again.End()
			}
			if test.kept != nil || test.err != nil {
				if _, err := later.Begin(t.Context(), "ops", test.name, "POST", "/other"); !errors.Is(err, idempotency.ErrOther) {
					t.Errorf("Begin of another request = %v, want %v", err, idempotency.ErrOther)
				}
			}
			if r, err := later.Begin(t.Context(), "other-ops", test.name, "POST", "/x"); err != nil || r.Kept != nil {
				t.Errorf("Begin by another caller = %+v, %v, want a first request", r, err)
			} else {
				r.End()
			}
		})
	}
	*now = now.Add(idempotency.Life)
	if r, err := begin(process(), "after the transaction"); err != nil || r.Kept != nil {
		t.Errorf("Begin after a day = %+v, %v, want a first request", r, err)
	}
}

// TestTwoProcesses lets two processes do a request with one key at once: one transaction is undone.
func TestTwoProcesses(t *testing.T) {
	store, process, _ := open(t)
	one, err := process().Begin(t.Context(), "ops", "key", "POST", "/x")
	if err != nil {
		t.Fatal(err)
	}
	two, err := process().Begin(t.Context(), "ops", "key", "POST", "/x")
	if err != nil {
		t.Fatal(err)
	}
	if err := act(one.Context(t.Context()), store, "one"); err != nil {
		t.Fatal(err)
	}
	if err := act(two.Context(t.Context()), store, "two"); !errors.Is(err, idempotency.ErrRunning) {
		t.Errorf("Update of the slower process = %v, want %v", err, idempotency.ErrRunning)
	}
	if _, err := store.Secret(t.Context(), "two"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what the slower process wrote = %v, want %v", err, storage.ErrNotFound)
	}
	if two.Done() || !one.Done() {
		t.Error("the slower process counts as done, or the faster one does not")
	}
}

// TestSameProcess holds that a second request waits for the first to be answered.
func TestSameProcess(t *testing.T) {
	_, process, _ := open(t)
	k := process()
	r, err := k.Begin(t.Context(), "ops", "key", "POST")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Begin(t.Context(), "ops", "key", "POST"); !errors.Is(err, idempotency.ErrRunning) {
		t.Errorf("Begin = %v, want %v", err, idempotency.ErrRunning)
	}
	r.End()
	if r, err = k.Begin(t.Context(), "ops", "key", "POST"); err != nil {
		t.Errorf("Begin after the end = %v, want nil", err)
	} else {
		r.End()
	}
}

// FuzzParse holds that a key that is accepted is what stands between two quotation marks, printable and of 1 to 255 characters.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`"a"`, ` "8e03978e-40d5-43dd-bc93-6894a57f9324" `, `a`, `""`, `"a\"b"`, `"a";p=1`, "\"\x7f\"", `"ä"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, err := idempotency.Parse([]string{value})
		if err != nil {
			return
		}
		if len(key) < 1 || len(key) > 255 || bytes.ContainsAny([]byte(key), "\"\\\x7f") || string(bytes.Trim([]byte(value), " \t")) != `"`+key+`"` {
			t.Errorf("Parse(%q) = %q", value, key)
		}
	})
}
