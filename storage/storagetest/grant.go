package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// withSession stores g with its user and device.
func withSession(t *testing.T, s storage.Store, name string, g storage.Grant) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertUser(ctx, user(name)), tx.InsertDevice(ctx, device(name)), tx.InsertGrant(ctx, g))
	})
}

func grant(t *testing.T, s storage.Store, id string) storage.Grant {
	t.Helper()
	g, _, _, err := s.Session(t.Context(), id)
	if err != nil {
		t.Fatalf("Session = %v, want nil", err)
	}
	return g
}

// A session whose parts always change together is never read with an old and a new part.
func testSessionIsOneMoment(t *testing.T, s storage.Store) {
	const rounds = 50
	g := liveGrant("alice")
	g.Gen = 0
	withSession(t, s, "alice", g)
	var done atomic.Bool
	errs := race(3, func(i int) error {
		if i == 0 {
			defer done.Store(true)
			for n := range int64(rounds) {
				err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
					u, d := user("alice"), device("alice")
					u.Gen, d.Name = n+1, fmt.Sprint(n+1)
					return errors.Join(tx.UpdateDevice(ctx, d), tx.RotateGrant(ctx, g.ID, n, at, g.IdleAt), tx.UpdateUser(ctx, u))
				})
				if err != nil {
					return err
				}
			}
			return nil
		}
		for seen := int64(0); !done.Load(); {
			g, u, d, err := s.Session(t.Context(), g.ID)
			if err != nil {
				return err
			}
			if g.Gen < seen || g.Gen > 0 && (u.Gen != g.Gen || d.Name != fmt.Sprint(g.Gen)) {
				return fmt.Errorf("after %d: grant %d, user %d, device %s", seen, g.Gen, u.Gen, d.Name)
			}
			seen = g.Gen
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Errorf("Session = %v, want one moment", err)
	}
}

func testRotateOnlyLiveGrants(t *testing.T, s storage.Store) {
	ms := time.Millisecond
	for i, test := range []struct {
		name   string
		change func(g *storage.Grant)
		from   int64
		want   error
	}{
		{"live", func(g *storage.Grant) {}, 7, nil},
		{"older generation", func(g *storage.Grant) {}, 6, storage.ErrConflict},
		{"newer generation", func(g *storage.Grant) {}, 8, storage.ErrConflict},
		{"ended", func(g *storage.Grant) { g.EndedAt = at.Add(-ms) }, 7, storage.ErrConflict},
		{"idle until now", func(g *storage.Grant) { g.IdleAt = at }, 7, storage.ErrConflict},
		{"idle until later", func(g *storage.Grant) { g.IdleAt = at.Add(ms) }, 7, nil},
		{"expires now", func(g *storage.Grant) { g.ExpiresAt = at }, 7, storage.ErrConflict},
		{"expires later", func(g *storage.Grant) { g.ExpiresAt = at.Add(ms) }, 7, nil},
		{"never idle nor expires", func(g *storage.Grant) { g.IdleAt, g.ExpiresAt = time.Time{}, time.Time{} }, 7, nil},
	} {
		name := fmt.Sprint(i)
		before := liveGrant(name)
		test.change(&before)
		withSession(t, s, name, before)
		idle := at.Add(time.Hour)
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.RotateGrant(ctx, before.ID, test.from, at, idle)
		})
		if err != test.want {
			t.Errorf("%s: RotateGrant = %v, want %v", test.name, err, test.want)
		}
		want := before
		if test.want == nil {
			want.Gen, want.RotatedAt, want.IdleAt = 8, at, idle
		}
		if got := grant(t, s, before.ID); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: grant = %+v, want %+v", test.name, got, want)
		}
	}
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return tx.RotateGrant(ctx, "nobody", 7, at, at)
	})
	if err != storage.ErrConflict {
		t.Errorf("none: RotateGrant = %v, want %v", err, storage.ErrConflict)
	}
}

func testRotateOnceInParallel(t *testing.T, s storage.Store) {
	g := liveGrant("alice")
	withSession(t, s, "alice", g)
	oneWinner(t, race(64, func(int) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.RotateGrant(ctx, g.ID, g.Gen, at, g.IdleAt)
		})
	}), storage.ErrConflict)
	if got := grant(t, s, g.ID).Gen; got != g.Gen+1 {
		t.Errorf("Gen = %d, want %d", got, g.Gen+1)
	}
}

func testEndGrantOnce(t *testing.T, s storage.Store) {
	g := liveGrant("alice")
	withSession(t, s, "alice", g)
	for i, reason := range []string{"first", "second"} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			return tx.EndGrant(ctx, g.ID, at.Add(time.Duration(i)*time.Hour), reason)
		})
	}
	want := g
	want.EndedAt, want.EndedReason = at, "first"
	if got := grant(t, s, g.ID); !reflect.DeepEqual(got, want) {
		t.Errorf("grant = %+v, want %+v", got, want)
	}
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.EndGrant(ctx, "nobody", at, "") })
	if err != storage.ErrNotFound {
		t.Errorf("EndGrant = %v, want %v", err, storage.ErrNotFound)
	}
}

func testEndDeviceGrants(t *testing.T, s storage.Store) {
	withSession(t, s, "alice", liveGrant("alice"))
	withSession(t, s, "bob", liveGrant("bob"))
	second, third := liveGrant("alice"), endedGrant("alice")
	second.ID, third.ID = "grant-second", "grant-third"
	abroad := liveGrant("alice")
	abroad.ID, abroad.Domain = "grant-abroad", "example.org"
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		u, d := user("alice"), device("alice")
		u.Domain, d.Domain = abroad.Domain, abroad.Domain
		return errors.Join(tx.InsertGrant(ctx, second), tx.InsertGrant(ctx, third), tx.InsertUser(ctx, u),
			tx.InsertDevice(ctx, d), tx.InsertGrant(ctx, abroad))
	})
	for _, want := range [][]string{{"grant-alice", "grant-second"}, nil} { // the second time nothing is left to end
		var ended []string
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			ended, err = tx.EndDeviceGrants(ctx, domain, "device-alice", at, "device_removed")
			slices.Sort(ended)
			return err
		})
		if !slices.Equal(ended, want) {
			t.Errorf("EndDeviceGrants ended %q, want %q", ended, want)
		}
	}
	for id, want := range map[string]string{
		"grant-alice": "device_removed", "grant-second": "device_removed", "grant-third": "logout", "grant-bob": "",
		"grant-abroad": "",
	} {
		if got := grant(t, s, id).EndedReason; got != want {
			t.Errorf("%s ended by %q, want %q", id, got, want)
		}
	}
}
