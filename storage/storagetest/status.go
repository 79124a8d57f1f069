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

// openList returns a status list from which entries may be taken.
func openList(name string) storage.StatusList {
	l := statusList(name)
	l.EndedAt = time.Time{}
	return l
}

func insertLists(t *testing.T, s storage.Store, lists ...storage.StatusList) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, l := range lists {
			if err := tx.InsertStatusList(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
}

func take(t *testing.T, s storage.Store, domain string, n int, until time.Time) (l storage.StatusList, err error) {
	t.Helper()
	err = s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) (err error) {
		l, err = tx.TakeStatusEntries(ctx, storage.SessionStatuses, domain, n, until)
		return err
	})
	return l, err
}

// Entries come from the newest list that has enough of them, is of the domain and has not ended.
func testStatusEntriesAreTakenOnce(t *testing.T, s storage.Store) {
	old, current, ended, abroad := openList("old"), openList("current"), statusList("ended"), openList("abroad")
	current.CreatedAt = at.Add(time.Hour)
	ended.CreatedAt, abroad.CreatedAt = at.Add(2*time.Hour), at.Add(2*time.Hour)
	abroad.Domain = "example.org"
	insertLists(t, s, old, current, ended, abroad)
	for i, step := range []struct {
		n, used int
		until   time.Time
		want    storage.StatusList
	}{
		{900, 910, at, current},
		{91, 101, at, old}, // the newest has only 90
		{90, 1000, at.Add(25 * time.Hour), current},
		{1, 102, at.Add(23 * time.Hour), old},
		{898, 1000, at, old},
	} {
		got, err := take(t, s, domain, step.n, step.until)
		want := step.want
		want.Used = step.used
		if step.until.After(want.ExpiresAt) {
			want.ExpiresAt = step.until
		}
		if err != nil || got != want {
			t.Errorf("step %d: TakeStatusEntries(%d) = %+v, %v, want %+v", i, step.n, got, err, want)
		}
		if read, err := s.StatusList(t.Context(), want.ID); err != nil || read != want {
			t.Errorf("step %d: StatusList = %+v, %v, want %+v", i, read, err, want)
		}
	}
	if got, err := take(t, s, domain, 1, at); err != storage.ErrNotFound {
		t.Errorf("TakeStatusEntries of nothing = %+v, %v, want %v", got, err, storage.ErrNotFound)
	}
	if read, err := s.StatusList(t.Context(), abroad.ID); err != nil || read != abroad {
		t.Errorf("the list of another domain = %+v, %v, want %+v", read, err, abroad)
	}
}

func testStatusEntriesAreTakenOnceInParallel(t *testing.T, s storage.Store) {
	l := openList("l")
	insertLists(t, s, l)
	const callers, n = 40, 30 // more than there are
	from := make([]int, callers)
	errs := race(callers, func(i int) error {
		taken, err := take(t, s, domain, n, at)
		from[i] = taken.Used - n
		return err
	})
	seen := make(map[int]bool)
	for i, err := range errs {
		if err != nil {
			if err != storage.ErrNotFound {
				t.Errorf("TakeStatusEntries = %v, want nil or %v", err, storage.ErrNotFound)
			}
			continue
		}
		if seen[from[i]] || from[i] < l.Used || (from[i]-l.Used)%n != 0 || from[i]+n > l.Available {
			t.Errorf("the entries from %d were taken twice or are not there", from[i])
		}
		seen[from[i]] = true
	}
	if want := (l.Available - l.Used) / n; len(seen) != want {
		t.Errorf("%d callers took entries, want %d", len(seen), want)
	}
}

// expectEnded holds the ended entries of a list to a list of indexes.
func expectEnded(t *testing.T, s storage.Store, list int64, now time.Time, want ...int) {
	t.Helper()
	got, err := s.EndedStatuses(t.Context(), list, now)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("EndedStatuses = %v, %v, want %v", got, err, want)
	}
}

func testStatusEntriesEndWithGrants(t *testing.T, s storage.Store) {
	one, two := openList("one").ID, openList("two").ID
	if two < one {
		one, two = two, one
	}
	insert := func(name string, list int64, index int) {
		t.Helper()
		g := liveGrant(name)
		g.Client, g.Status = "client-"+name, storage.StatusEntry{List: list, Index: index}
		withSession(t, s, name, g)
		if got := grant(t, s, g.ID).Status; got != g.Status {
			t.Errorf("the entry of a grant = %+v, want %+v", got, g.Status)
		}
	}
	insert("grant", one, 7)
	insert("device", one, 0)
	insert("user", one, storage.MaxStatusListSize-1)
	insert("client", two, 0)
	insert("live", two, 7)
	insert("none", 0, 0)
	expectEnded(t, s, one, at)

	end := at.Add(time.Minute)
	for _, fn := range []func(ctx context.Context, tx storage.Tx) error{
		func(ctx context.Context, tx storage.Tx) error { return tx.EndGrant(ctx, "grant-grant", end, "x") },
		func(ctx context.Context, tx storage.Tx) error { return tx.EndGrant(ctx, "grant-none", end, "x") },
		func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.EndDeviceGrants(ctx, domain, "device-device", end, "x")
			return err
		},
		func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.EndUserGrants(ctx, domain, "user-user", end, "x")
			return err
		},
		func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.EndClientGrants(ctx, "client-client", end, "x")
			return err
		},
		// Ending one again does not prolong it.
		func(ctx context.Context, tx storage.Tx) error {
			return tx.EndGrant(ctx, "grant-grant", end.Add(time.Hour), "x")
		},
		func(ctx context.Context, tx storage.Tx) error {
			return tx.RotateGrant(ctx, "grant-live", 7, end, at.Add(time.Hour))
		},
	} {
		write(t, s, fn)
	}
	expectEnded(t, s, one, end, 0, 7, storage.MaxStatusListSize-1)
	expectEnded(t, s, two, end, 0)
	expectEnded(t, s, two+1, end)
	expectEnded(t, s, one, end.Add(storage.StatusGrace-time.Millisecond), 0, 7, storage.MaxStatusListSize-1)
	expectEnded(t, s, one, end.Add(storage.StatusGrace))
	if got := grant(t, s, "grant-grant").Status; got != (storage.StatusEntry{List: one, Index: 7}) {
		t.Errorf("the entry of an ended grant = %+v, want the one that it had", got)
	}
}

// A revocation of the generations of a user ends the entries of the user's grants, which live on without.
func testStatusEntriesEndWithGenerations(t *testing.T, s storage.Store) {
	l := openList("l").ID
	entry := func(index int) storage.StatusEntry { return storage.StatusEntry{List: l, Index: index} }
	alice, second, ended, bob := liveGrant("alice"), liveGrant("alice"), endedGrant("alice"), liveGrant("bob")
	second.ID, ended.ID = "grant-second", "grant-ended"
	alice.Status, second.Status, ended.Status, bob.Status = entry(1), entry(2), entry(3), entry(4)
	withSession(t, s, "alice", alice)
	withSession(t, s, "bob", bob)
	abroad := liveGrant("alice")
	abroad.ID, abroad.Domain, abroad.Status = "grant-abroad", "example.org", entry(5)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		u, d := user("alice"), device("alice")
		u.Domain, d.Domain = abroad.Domain, abroad.Domain
		return errors.Join(tx.InsertGrant(ctx, second), tx.InsertGrant(ctx, ended), tx.InsertUser(ctx, u), tx.InsertDevice(ctx, d),
			tx.InsertGrant(ctx, abroad))
	})
	for _, kind := range []storage.RevocationKind{storage.RevokeToken, storage.RevokeGrant, storage.RevokeDevice, storage.RevokeClient} {
		revoke(t, s, revocation(kind, domain+"/user-alice"))
	}
	expectEnded(t, s, l, at)

	r := revocation(storage.RevokeGen, domain+"/user-alice")
	r.Gen = 4
	revoke(t, s, r)
	expectEnded(t, s, l, at, 1, 2)
	for id, want := range map[string]storage.StatusEntry{
		"grant-alice": {}, "grant-second": {}, "grant-ended": entry(3), "grant-bob": entry(4), "grant-abroad": entry(5),
	} {
		g := grant(t, s, id)
		if g.Status != want {
			t.Errorf("the entry of %s = %+v, want %+v", id, g.Status, want)
		}
		if g.EndedAt.IsZero() == (id == "grant-ended") {
			t.Errorf("%s ended at %v", id, g.EndedAt)
		}
	}
	// With a new entry, the next generation does the same.
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.SetGrantStatus(ctx, "grant-alice", entry(6)) })
	r.Gen = 5
	revoke(t, s, r)
	expectEnded(t, s, l, at, 1, 2, 6)
	expectEnded(t, s, l, at.Add(storage.StatusGrace))
}

// What an update that fails ended has not ended.
func testStatusEntriesEndUndone(t *testing.T, s storage.Store) {
	g := liveGrant("alice")
	g.Status = storage.StatusEntry{List: openList("l").ID, Index: 7}
	withSession(t, s, "alice", g)
	insertLists(t, s, openList("l"))
	fault := errors.New("fault")
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		r := revocation(storage.RevokeGen, domain+"/user-alice")
		_, err := tx.Revoke(ctx, r)
		_, err2 := tx.TakeStatusEntries(ctx, storage.SessionStatuses, domain, 5, at)
		return errors.Join(err, err2, tx.EndGrant(ctx, g.ID, at, "x"), fault)
	})
	if !errors.Is(err, fault) {
		t.Fatal(err)
	}
	expectEnded(t, s, g.Status.List, at)
	if got := grant(t, s, g.ID); got.Status != g.Status || !got.EndedAt.IsZero() {
		t.Errorf("grant = %+v, want %+v", got, g)
	}
	if l, err := s.StatusList(t.Context(), g.Status.List); err != nil || l != openList("l") {
		t.Errorf("StatusList = %+v, %v, want %+v", l, err, openList("l"))
	}
}

func testSetGrantStatus(t *testing.T, s storage.Store) {
	l := openList("l")
	insertLists(t, s, l)
	long, short, never, ended := liveGrant("long"), liveGrant("short"), liveGrant("never"), endedGrant("ended")
	long.ExpiresAt, short.ExpiresAt, never.ExpiresAt = at.Add(1000*time.Hour), at.Add(time.Hour), time.Time{}
	ended.Status = storage.StatusEntry{}
	for name, g := range map[string]storage.Grant{"long": long, "short": short, "never": never, "ended": ended} {
		withSession(t, s, name, g)
	}
	set := func(id string, index int) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.SetGrantStatus(ctx, id, storage.StatusEntry{List: l.ID, Index: index})
		})
	}
	expires := func() time.Time {
		l, err := s.StatusList(t.Context(), l.ID)
		if err != nil {
			t.Fatal(err)
		}
		return l.ExpiresAt
	}
	for i, step := range []struct {
		id   string
		want error
		then time.Time // the least ExpiresAt of the list
	}{
		{"grant-short", nil, l.ExpiresAt},
		{"grant-long", nil, long.ExpiresAt.Add(storage.StatusGrace)},
		{"grant-long", storage.ErrConflict, long.ExpiresAt.Add(storage.StatusGrace)},
		{"grant-ended", storage.ErrConflict, long.ExpiresAt.Add(storage.StatusGrace)},
		{"grant-nobody", storage.ErrConflict, long.ExpiresAt.Add(storage.StatusGrace)},
	} {
		if err := set(step.id, i+1); err != step.want {
			t.Errorf("SetGrantStatus(%s) = %v, want %v", step.id, err, step.want)
		}
		if got := expires(); !got.Equal(step.then) {
			t.Errorf("after %s the list expires at %v, want %v", step.id, got, step.then)
		}
	}
	if got := grant(t, s, "grant-long").Status; got != (storage.StatusEntry{List: l.ID, Index: 2}) {
		t.Errorf("entry = %+v, want the first", got)
	}
	if err := set("grant-never", 9); err != nil || expires().Before(at.AddDate(1000, 0, 0)) {
		t.Errorf("SetGrantStatus = %v, and the list expires at %v, want never", err, expires())
	}
	// Of several at once, one is set.
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		g := liveGrant("long")
		g.ID = "grant-raced"
		return tx.InsertGrant(ctx, g)
	})
	oneWinner(t, race(16, func(i int) error { return set("grant-raced", 100+i) }), storage.ErrConflict)
}

func testSweepTakesStatusLists(t *testing.T, s storage.Store) {
	gone, kept := openList("gone"), openList("kept")
	gone.ExpiresAt, kept.ExpiresAt = at.Add(-time.Millisecond), at.Add(time.Hour)
	insertLists(t, s, gone, kept)
	for i, ended := range []time.Time{at.Add(-storage.StatusGrace - time.Millisecond), at.Add(-storage.StatusGrace + time.Millisecond)} {
		g := liveGrant(fmt.Sprint(i))
		g.Status = storage.StatusEntry{List: kept.ID, Index: i}
		withSession(t, s, fmt.Sprint(i), g)
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.EndGrant(ctx, g.ID, ended, "x") })
	}
	sweepAll(t, s, at, 100)
	if _, err := s.StatusList(t.Context(), gone.ID); err != storage.ErrNotFound {
		t.Errorf("StatusList of an expired list = %v, want %v", err, storage.ErrNotFound)
	}
	if l, err := s.StatusList(t.Context(), kept.ID); err != nil || l != kept {
		t.Errorf("StatusList = %+v, %v, want %+v", l, err, kept)
	}
	expectEnded(t, s, kept.ID, at.Add(-time.Hour), 1) // also for a reader whose clock is behind, one of them is removed
}
