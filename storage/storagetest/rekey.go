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

// rekey replaces the key of the device of a name.
func rekey(name, from, to string, after time.Duration) storage.Rekey {
	return storage.Rekey{Domain: domain, Device: "device-" + name, OldJKT: from, NewJKT: to, Alg: "alg of " + to, At: at.Add(after)}
}

// withDevices adds devices that are not removed.
func withDevices(t *testing.T, s storage.Store, names ...string) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		var errs []error
		for _, name := range names {
			d := device(name)
			d.RemovedAt, d.RemovedReason = time.Time{}, ""
			errs = append(errs, tx.InsertUser(ctx, user(name)), tx.InsertDevice(ctx, d))
		}
		return errors.Join(errs...)
	})
}

// A device has the newest key. It is found by each key that it ever had, and its live grants are bound to the newest one.
func testRekeyDevice(t *testing.T, s storage.Store) {
	withDevices(t, s, "alice", "bob")
	ended, other := endedGrant("alice"), liveGrant("bob")
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		ended.ID = "grant-ended"
		return errors.Join(tx.InsertGrant(ctx, liveGrant("alice")), tx.InsertGrant(ctx, ended), tx.InsertGrant(ctx, other))
	})
	// The clock was set back between the two: their order does not change.
	first, second := rekey("alice", "jkt-alice", "jkt-2", time.Hour), rekey("alice", "jkt-2", "jkt-3", 0)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.RekeyDevice(ctx, first), tx.RekeyDevice(ctx, second))
	})
	want := device("alice")
	want.JKT, want.Alg, want.RemovedAt, want.RemovedReason = "jkt-3", "alg of jkt-3", time.Time{}, ""
	for _, jkt := range []string{"jkt-alice", "jkt-2", "jkt-3"} {
		if got, err := s.DeviceByKey(t.Context(), domain, jkt); err != nil || got != want {
			t.Errorf("DeviceByKey of %s = %+v, %v, want %+v", jkt, got, err, want)
		}
	}
	if got, err := s.Rekeys(t.Context(), domain, "device-alice"); err != nil || !slices.Equal(got, []storage.Rekey{first, second}) {
		t.Errorf("Rekeys = %+v, %v, want %+v", got, err, []storage.Rekey{first, second})
	}
	for _, where := range [][2]string{{domain, "device-bob"}, {"example.org", "device-alice"}, {domain, ""}} {
		if got, err := s.Rekeys(t.Context(), where[0], where[1]); err != nil || len(got) != 0 {
			t.Errorf("Rekeys of %s in %s = %+v, %v, want none", where[1], where[0], got, err)
		}
	}
	for id, want := range map[string]string{"grant-alice": "jkt-3", "grant-ended": "jkt-alice", "grant-bob": "jkt-bob"} {
		if got := grant(t, s, id).JKT; got != want {
			t.Errorf("%s is bound to %s, want %s", id, got, want)
		}
	}
}

// A refused replacement changes nothing. A key is used once in a domain, also after it was replaced.
func testRekeyDeviceRefused(t *testing.T, s storage.Store) {
	withDevices(t, s, "alice", "bob")
	removed := device("carol")
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertUser(ctx, user("carol")), tx.InsertDevice(ctx, removed),
			tx.RekeyDevice(ctx, rekey("alice", "jkt-alice", "jkt-2", 0)))
	})
	abroad := rekey("bob", "jkt-bob", "jkt-9", 0)
	abroad.Domain = "example.org"
	for name, test := range map[string]struct {
		rekey storage.Rekey
		want  error
	}{
		"no device":                      {rekey("nobody", "jkt-nobody", "jkt-9", 0), storage.ErrNotFound},
		"another key":                    {rekey("bob", "jkt-9", "jkt-8", 0), storage.ErrConflict},
		"the key before the last":        {rekey("alice", "jkt-alice", "jkt-9", 0), storage.ErrConflict},
		"a removed device":               {rekey("carol", "jkt-carol", "jkt-9", 0), storage.ErrConflict},
		"to the key of another device":   {rekey("bob", "jkt-bob", "jkt-2", 0), storage.ErrConflict},
		"to the key of a removed device": {rekey("bob", "jkt-bob", "jkt-carol", 0), storage.ErrConflict},
		"to a replaced key":              {rekey("bob", "jkt-bob", "jkt-alice", 0), storage.ErrConflict},
		"to its own replaced key":        {rekey("alice", "jkt-2", "jkt-alice", 0), storage.ErrConflict},
		"in another domain":              {abroad, storage.ErrNotFound},
	} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			if err := tx.RekeyDevice(ctx, test.rekey); err != test.want {
				t.Errorf("%s: RekeyDevice = %v, want %v", name, err, test.want)
			}
			return nil
		})
	}
	for name, want := range map[string]string{"alice": "jkt-2", "bob": "jkt-bob", "carol": "jkt-carol"} {
		if d, err := s.Device(t.Context(), domain, "device-"+name); err != nil || d.JKT != want {
			t.Errorf("Device of %s = %+v, %v, want the key %s", name, d, err, want)
		}
	}
	if list, err := s.Rekeys(t.Context(), domain, "device-alice"); err != nil || len(list) != 1 {
		t.Errorf("Rekeys = %+v, %v, want one", list, err)
	}
	again := device("dave")
	again.JKT = "jkt-alice"
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertDevice(ctx, again) })
	if err != storage.ErrConflict {
		t.Errorf("InsertDevice with a replaced key = %v, want %v", err, storage.ErrConflict)
	}
}

func testRekeyOnceInParallel(t *testing.T, s storage.Store) {
	withDevices(t, s, "alice")
	errs := race(32, func(i int) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.RekeyDevice(ctx, rekey("alice", "jkt-alice", fmt.Sprintf("jkt-%d", i), 0))
		})
	})
	oneWinner(t, errs, storage.ErrConflict)
	list, err := s.Rekeys(t.Context(), domain, "device-alice")
	if err != nil || len(list) != 1 {
		t.Fatalf("Rekeys = %+v, %v, want one", list, err)
	}
	for i, err := range errs {
		if want := fmt.Sprintf("jkt-%d", i); err == nil && list[0].NewJKT != want {
			t.Errorf("the new key is %s, want %s", list[0].NewJKT, want)
		}
	}
}
