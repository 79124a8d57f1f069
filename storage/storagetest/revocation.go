package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// revoke adds r in an update of its own.
func revoke(t *testing.T, s storage.Store, r storage.Revocation) storage.Revocation {
	t.Helper()
	var got storage.Revocation
	write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
		got, err = tx.Revoke(ctx, r)
		return err
	})
	return got
}

func testRevocationsAreNumbered(t *testing.T, s storage.Store) {
	var want []storage.Revocation
	for i, kind := range []storage.RevocationKind{
		storage.RevokeToken, storage.RevokeGrant, storage.RevokeDevice, storage.RevokeUser, storage.RevokeGen,
		storage.RevokeClient, storage.RevokeKey,
	} {
		r := revocation(kind, "same key")
		r.Seq, r.Gen = 99, int64(i) // the number that a caller writes means nothing
		got := revoke(t, s, r)
		if i > 0 && got.Seq <= want[i-1].Seq {
			t.Errorf("Revoke = number %d after %d", got.Seq, want[i-1].Seq)
		}
		r.Seq = got.Seq
		if got != r {
			t.Errorf("Revoke = %+v, want %+v", got, r)
		}
		want = append(want, got)
	}
	for i := -1; i < len(want); i++ {
		after := int64(0)
		if i >= 0 {
			after = want[i].Seq
		}
		got, last, err := s.Revocations(t.Context(), after, 0)
		if err != nil || !slices.Equal(got, want[i+1:]) || last != want[len(want)-1].Seq {
			t.Errorf("Revocations(%d) = %v, %d, %v, want %v", after, got, last, err, want[i+1:])
		}
		for limit := 1; limit <= len(want)+1; limit++ {
			page := want[i+1:]
			page = page[:min(limit, len(page))]
			got, last, err := s.Revocations(t.Context(), after, limit)
			if err != nil || !slices.Equal(got, page) || last != want[len(want)-1].Seq {
				t.Errorf("Revocations(%d), at most %d = %v, %d, %v, want %v", after, limit, got, last, err, page)
			}
		}
	}
}

// A follower that asks for revocations above the last number that it read misses none, however they race.
func testRevocationsAreFollowedWhileRacing(t *testing.T, s storage.Store) {
	const callers, rounds = 16, 40
	var done atomic.Bool
	var running sync.WaitGroup
	running.Add(callers)
	go func() {
		running.Wait()
		done.Store(true)
	}()
	acknowledged := make([][]int64, callers+1)
	var followed []int64
	errs := race(callers+1, func(i int) error {
		if i == callers {
			for cursor, finished := int64(0), false; !finished; {
				finished = done.Load() // then this is the last look, at all there is
				found, last, err := s.Revocations(t.Context(), cursor, 0)
				if err != nil {
					return err
				}
				for _, r := range found {
					if r.Seq <= cursor || r.Seq > last {
						return fmt.Errorf("found %d, from %d to %d", r.Seq, cursor, last)
					}
					followed = append(followed, r.Seq)
				}
				cursor = last
			}
			return nil
		}
		defer running.Done()
		for n := range rounds {
			var got storage.Revocation
			undone := errors.New("undone")
			err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) (err error) {
				got, err = tx.Revoke(ctx, revocation(storage.RevokeToken, fmt.Sprint(i, "-", n)))
				if err == nil && n%4 == 0 {
					return undone
				}
				return err
			})
			switch {
			case err == nil:
				acknowledged[i] = append(acknowledged[i], got.Seq)
			case err != undone:
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(slices.Values(slices.Concat(acknowledged...)))
	if !slices.Equal(followed, want) {
		t.Errorf("followed %v, want %v", followed, want)
	}
}

// A revocation keeps the domain and the user that it names, also when another one replaces it.
func testRevocationsNameTheirDomain(t *testing.T, s storage.Store) {
	r := revocation(storage.RevokeDevice, "example.com/1f")
	r.Domain, r.User = "example.com example.org", "alice"
	for range 2 {
		got := revoke(t, s, r)
		r.Seq = got.Seq
		if got != r {
			t.Errorf("Revoke = %+v, want %+v", got, r)
		}
		found, _, err := s.Revocations(t.Context(), 0, 0)
		if err != nil || !slices.Equal(found, []storage.Revocation{r}) {
			t.Errorf("Revocations = %+v, %v, want %+v alone", found, err, r)
		}
		r.Domain, r.User, r.ExpiresAt = "example.com", "bob", r.ExpiresAt.Add(time.Hour)
	}
}

func testRevokeTwice(t *testing.T, s storage.Store) {
	early, late := at.Add(time.Hour), at.Add(2*time.Hour)
	for i, test := range []struct {
		first, second, want time.Time
		gens                [3]int64
		covered             bool
	}{
		{early, late, late, [3]int64{1, 2, 2}, false},
		{late, early, late, [3]int64{1, 2, 2}, false},
		{early, late, late, [3]int64{2, 1, 2}, false},
		{late, early, late, [3]int64{2, 1, 2}, true},
		{early, early, early, [3]int64{0, 0, 0}, true},
		{time.Time{}, late, time.Time{}, [3]int64{1, 1, 1}, true}, // zero is never
		{time.Time{}, late, time.Time{}, [3]int64{0, 1, 1}, false},
		{late, time.Time{}, time.Time{}, [3]int64{0, 1, 1}, false},
	} {
		r := revocation(storage.RevokeGen, fmt.Sprint("user", i))
		r.ExpiresAt, r.Gen = test.first, test.gens[0]
		first := revoke(t, s, r)
		r.ExpiresAt, r.Gen, r.Reason, r.At = test.second, test.gens[1], "again", late
		second := revoke(t, s, r)
		want := r
		want.Seq, want.ExpiresAt, want.Gen = second.Seq, test.want, test.gens[2]
		if test.covered { // by the first, which stays as it is
			want = first
		}
		if second != want || (second.Seq > first.Seq) == test.covered {
			t.Errorf("Revoke = %+v after number %d, want %+v", second, first.Seq, want)
		}
		got, last, err := s.Revocations(t.Context(), first.Seq-1, 0)
		if err != nil || !reflect.DeepEqual(got, []storage.Revocation{second}) || last != second.Seq {
			t.Errorf("Revocations = %+v, %d, %v, want %+v alone", got, last, err, second)
		}
	}
}

// sweepAll sweeps until the end, at most limit rows in each update.
func sweepAll(t *testing.T, s storage.Store, now time.Time, limit int) {
	t.Helper()
	sweepKeeping(t, s, now, storage.Retention{}, limit)
}

// sweepKeeping is sweepAll with a retention.
func sweepKeeping(t *testing.T, s storage.Store, now time.Time, keep storage.Retention, limit int) {
	t.Helper()
	for from := (storage.SweepPosition{}); ; {
		var removed int
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			from, removed, err = tx.Sweep(ctx, now, keep, from, limit)
			return err
		})
		if removed > limit {
			t.Fatalf("Sweep removed %d rows, want at most %d", removed, limit)
		}
		if from == (storage.SweepPosition{}) {
			return
		}
	}
}

func testRevocationNumbersAreNotReused(t *testing.T, s storage.Store) {
	last := revoke(t, s, revocation(storage.RevokeToken, "a"))
	sweepAll(t, s, at.Add(24*time.Hour), 2)
	if got, n, err := s.Revocations(t.Context(), 0, 0); err != nil || len(got) != 0 || n != last.Seq {
		t.Errorf("Revocations = %v, %d, %v, want none, %d", got, n, err, last.Seq)
	}
	if got := revoke(t, s, revocation(storage.RevokeToken, "b")); got.Seq <= last.Seq {
		t.Errorf("Revoke = number %d after %d", got.Seq, last.Seq)
	}
}

// The name of each record tells whether it is to stay.
func testSweepTakesWhatExpired(t *testing.T, s storage.Store) {
	past, never := at.Add(-time.Millisecond), time.Time{}
	expiries := map[string]time.Time{"gone": past, "stays at now": at, "stays after": at.Add(time.Hour), "stays ever": never}
	grants := map[string]func(g *storage.Grant){
		"gone ended":           func(g *storage.Grant) { g.EndedAt = past },
		"gone idle":            func(g *storage.Grant) { g.IdleAt = past },
		"gone expired":         func(g *storage.Grant) { g.ExpiresAt = past },
		"stays live":           func(g *storage.Grant) {},
		"stays ended at now":   func(g *storage.Grant) { g.EndedAt = at },
		"stays idle at now":    func(g *storage.Grant) { g.IdleAt = at },
		"stays expired at now": func(g *storage.Grant) { g.ExpiresAt = at },
		"stays ever":           func(g *storage.Grant) { g.IdleAt, g.ExpiresAt = never, never },
	}
	stays := func(name string) bool { return name[0] == 's' }
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for name, expiry := range expiries {
			c, l, p, r := freshCode(name), login(name), pushed(name), revocation(storage.RevokeGrant, name)
			c.ExpiresAt, l.ExpiresAt, p.ExpiresAt, r.ExpiresAt = expiry, expiry, expiry, expiry
			v := statement(name)
			v.ExpiresAt = expiry
			spent := expiry
			if !spent.IsZero() {
				spent = spent.Add(-storage.SpentGrace)
			}
			_, err := tx.Revoke(ctx, r)
			err = errors.Join(err, tx.SpendID(ctx, "assertion", digest("id "+name), spent))
			err = errors.Join(err, tx.InsertCode(ctx, c), tx.InsertLogin(ctx, l), tx.InsertPushed(ctx, p), tx.InsertStatement(ctx, v))
			if err != nil {
				return err
			}
		}
		return nil
	})
	for name, change := range grants {
		g := liveGrant(name)
		change(&g)
		withSession(t, s, name, g)
	}
	waiting := func(want int) {
		t.Helper()
		if n, err := s.Waiting(t.Context()); n != want || err != nil {
			t.Errorf("Waiting = %d, %v, want %d", n, err, want)
		}
	}
	waiting(2 * len(expiries))
	sweepAll(t, s, at, 2)
	left := 0
	for name := range expiries {
		if stays(name) {
			left++
		}
	}
	waiting(2 * left)

	check := func(what, name string, err error) {
		t.Helper()
		want := storage.ErrNotFound
		if stays(name) {
			want = nil
		}
		if err != want {
			t.Errorf("%s %q = %v, want %v", what, name, err, want)
		}
	}
	for name := range expiries {
		_, err := s.Code(t.Context(), digest("code "+name))
		check("Code", name, err)
		_, err = s.Statement(t.Context(), "jti-"+name)
		check("Statement", name, err)
		_, err = s.Revocation(t.Context(), storage.RevokeGrant, name)
		check("Revocation", name, err)
		_, err = s.Login(t.Context(), digest("state "+name))
		check("Login", name, err)
		_, err = s.Pushed(t.Context(), digest("uri "+name))
		check("Pushed", name, err)
		err = spendID(t, s, "assertion", "id "+name)
		if stays(name) == (err == nil) {
			t.Errorf("SpendID %q = %v after the sweep", name, err)
		}
	}
	for name := range grants {
		_, _, _, err := s.Session(t.Context(), "grant-"+name)
		check("Session", name, err)
		expectUser(t, s, name, true) // users are not swept with their sessions
	}
	found, _, err := s.Revocations(t.Context(), 0, 0)
	if err != nil || len(found) != 3 || slices.ContainsFunc(found, func(r storage.Revocation) bool { return !stays(r.Key) }) {
		t.Errorf("Revocations = %v, %v, want the three that stay", found, err)
	}
}

func testSweepLeavesGrantsThatCodesName(t *testing.T, s storage.Store) {
	withSession(t, s, "alice", endedGrant("alice"))
	c := spentCode("alice")
	c.ExpiresAt = at.Add(2 * time.Hour)
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertCode(ctx, c) })
	for _, test := range []struct {
		now  time.Time
		want error
	}{{at.Add(time.Hour), nil}, {at.Add(3 * time.Hour), storage.ErrNotFound}} {
		sweepAll(t, s, test.now, 2)
		if _, _, _, err := s.Session(t.Context(), "grant-alice"); err != test.want {
			t.Errorf("Session = %v, want %v", err, test.want)
		}
	}
}
