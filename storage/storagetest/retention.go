package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Events go when they are older than the retention of the sweep, whatever it was before, and stay if it has none.
func testEventsAreKept(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		var errs []error
		for n := range 5 {
			e := userEvent("alice", fmt.Sprint(n))
			e.At = at.Add(time.Duration(n) * time.Hour)
			errs = append(errs, tx.InsertUserEvent(ctx, e))
		}
		return errors.Join(errs...)
	})
	for _, test := range []struct {
		keep time.Duration
		left int
	}{{0, 5}, {5 * time.Hour, 5}, {4 * time.Hour, 4}, {100 * time.Hour, 4}, {time.Hour, 1}} {
		sweepKeeping(t, s, at.Add(5*time.Hour-time.Millisecond), storage.Retention{Events: test.keep}, 2)
		got, err := s.UserEvents(t.Context(), domain, "alice", 0, 100)
		if err != nil || len(got) != test.left {
			t.Errorf("UserEvents after a sweep that keeps %v = %d events, %v, want %d", test.keep, len(got), err, test.left)
		}
	}
}

// A grant that ended or expired is kept for the retention, apart from those that can be live: no read of these finds it.
func testEndedGrantsAreKept(t *testing.T, s storage.Store) {
	const alice = "user-alice"
	end := at.Add(2 * time.Hour)
	ended, idle, expired, endless := endedGrant("alice"), liveGrant("alice"), liveGrant("alice"), liveGrant("alice")
	ended.ID, ended.Status, ended.EndedAt = "grant-1", storage.StatusEntry{}, end
	idle.ID, idle.IdleAt = "grant-2", end
	expired.ID, expired.IdleAt, expired.ExpiresAt = "grant-3", time.Time{}, end
	endless.ID, endless.IdleAt, endless.ExpiresAt = "grant-4", time.Time{}, time.Time{}
	both, live, bobs, abroad := liveGrant("alice"), liveGrant("alice"), endedGrant("alice"), endedGrant("alice")
	both.ID, both.IdleAt, both.ExpiresAt = "grant-5", end, end.Add(time.Millisecond)
	live.ID = "grant-6"
	bobs.ID, bobs.User, bobs.EndedAt = "grant-7", "user-bob", end
	abroad.ID, abroad.Domain, abroad.EndedAt = "grant-8", "example.org", end
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		errs := []error{tx.InsertUser(ctx, user("alice")), tx.InsertDevice(ctx, device("alice"))}
		for _, g := range []storage.Grant{ended, idle, expired, endless, both, live, bobs, abroad} {
			errs = append(errs, tx.InsertGrant(ctx, g))
		}
		return errors.Join(errs...)
	})
	keep := storage.Retention{Sessions: time.Hour}
	sweepKeeping(t, s, end, keep, 3) // they end at this moment
	if got, err := s.EndedGrants(t.Context(), domain, alice, "", 100); err != nil || len(got) != 0 {
		t.Errorf("EndedGrants = %+v, %v, want none yet", got, err)
	}
	sweepKeeping(t, s, end.Add(2*time.Millisecond), keep, 3)
	var want []storage.Grant
	for _, g := range []storage.Grant{ended, idle, expired, both} {
		if g.EndedAt.IsZero() {
			g.EndedAt, g.EndedReason = end, "expired"
		}
		g.JKT, g.UpstreamSID, g.Gen, g.IdleAt, g.ExpiresAt, g.Status = "", "", 0, time.Time{}, time.Time{}, storage.StatusEntry{}
		g.UpstreamToken = ""
		want = append(want, g)
	}
	check := func(user string, want []storage.Grant) {
		t.Helper()
		for _, limit := range []int{1, 3, 4, 100} {
			var got []storage.Grant
			for after := ""; ; after = got[len(got)-1].ID {
				page, err := s.EndedGrants(t.Context(), domain, user, after, limit)
				if err != nil || len(page) > limit {
					t.Fatalf("EndedGrants = %d grants, %v, want %d at most", len(page), err, limit)
				}
				if got = append(got, page...); len(page) < limit {
					break
				}
			}
			if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Errorf("EndedGrants of %s in pages of %d = %+v, want %+v", user, limit, got, want)
			}
		}
	}
	check(alice, want)
	for _, limit := range []int{0, -1} {
		if got, err := s.EndedGrants(t.Context(), domain, alice, "", limit); err != nil || len(got) != 0 {
			t.Errorf("EndedGrants with limit %d = %v, %v, want none", limit, got, err)
		}
	}
	stored, err := s.Grants(t.Context(), domain, alice)
	if err != nil || len(stored) != 2 || stored[0].ID != endless.ID || stored[1].ID != live.ID {
		t.Errorf("Grants = %+v, %v, want those that are live", stored, err)
	}
	if _, _, _, err := s.Session(t.Context(), ended.ID); err != storage.ErrNotFound {
		t.Errorf("Session of a grant that was kept = %v, want %v", err, storage.ErrNotFound)
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.RotateGrant(ctx, idle.ID, idle.Gen, at, at.Add(time.Hour)); err != storage.ErrConflict {
			t.Errorf("RotateGrant of a grant that was kept = %v, want %v", err, storage.ErrConflict)
		}
		return nil
	})
	sweepKeeping(t, s, end.Add(time.Hour), keep, 3) // they are as old as the retention, and stay
	check(alice, want)
	sweepKeeping(t, s, end.Add(time.Hour+time.Millisecond), storage.Retention{Sessions: 2 * time.Hour}, 3)
	check(alice, want)
	sweepKeeping(t, s, end.Add(time.Hour+time.Millisecond), keep, 3)
	check(alice, nil)
	check("user-bob", nil)

	// A sweep without retention removes them at once, and those that were kept before.
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.EndGrant(ctx, endless.ID, end, "logout") })
	sweepKeeping(t, s, end.Add(time.Hour), storage.Retention{Sessions: 24 * time.Hour}, 3)
	endless.EndedAt, endless.EndedReason = end, "logout"
	endless.JKT, endless.UpstreamSID, endless.UpstreamToken, endless.Gen = "", "", "", 0
	check(alice, []storage.Grant{endless})
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.EndGrant(ctx, live.ID, end, "logout") })
	sweepAll(t, s, end.Add(time.Hour), 3)
	check(alice, nil)
	if stored, err := s.Grants(t.Context(), domain, alice); err != nil || len(stored) != 0 {
		t.Errorf("Grants = %+v, %v, want none", stored, err)
	}
}

// A sweep forgets devices that were removed longer ago than the retention, in small steps, and no others.
func testDevicesAreForgotten(t *testing.T, s storage.Store) {
	const many = 7
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		errs := []error{tx.InsertUser(ctx, user("alice"))}
		for n := range many {
			d := device(fmt.Sprint(n))
			d.User, d.RemovedAt, d.RemovedReason = "user-alice", time.Time{}, ""
			if errs = append(errs, tx.InsertDevice(ctx, d)); n == 3 {
				for i := range 5 {
					errs = append(errs, tx.RekeyDevice(ctx, rekey("3", d.JKT, fmt.Sprint("jkt-3-", i), time.Minute)))
					d.JKT = fmt.Sprint("jkt-3-", i)
				}
			}
			if n > 0 { // the first is never removed
				d.Alg, d.RemovedAt, d.RemovedReason = "alg", at.Add(time.Duration(n)*time.Hour), "lost"
				errs = append(errs, tx.UpdateDevice(ctx, d))
			}
		}
		return errors.Join(errs...)
	})
	left := func() (ids []string) {
		t.Helper()
		list, err := s.Devices(t.Context(), domain, "user-alice")
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			ids = append(ids, d.ID)
		}
		return ids
	}
	want := []string{"device-0", "device-1", "device-2", "device-3", "device-4", "device-5", "device-6"}
	for _, test := range []struct {
		after, keep time.Duration
		left        []string
	}{
		{1000 * time.Hour, 0, want}, {3 * time.Hour, 2 * time.Hour, want},
		{3*time.Hour + time.Millisecond, 2 * time.Hour, slices.Concat(want[:1], want[2:])},
		{100 * time.Hour, 96 * time.Hour, slices.Concat(want[:1], want[4:])}, {1000 * time.Hour, time.Hour, want[:1]},
	} {
		sweepKeeping(t, s, at.Add(test.after), storage.Retention{Devices: test.keep}, 2)
		if got := left(); !slices.Equal(got, test.left) {
			t.Errorf("devices %v later, with a retention of %v = %q, want %q", test.after, test.keep, got, test.left)
		}
	}
	for _, jkt := range []string{"jkt-1", "jkt-3", "jkt-3-0", "jkt-3-3", "jkt-3-4", "jkt-6"} {
		id := "device-" + jkt[len("jkt-"):len("jkt-")+1]
		want := storage.Device{Domain: domain, ID: id, User: "user-alice", JKT: jkt, RemovedAt: storage.Forgotten}
		if got, err := s.DeviceByKey(t.Context(), domain, jkt); err != nil || got != want {
			t.Errorf("DeviceByKey of %s = %+v, %v, want %+v", jkt, got, err, want)
		}
		if _, err := s.Device(t.Context(), domain, id); err != storage.ErrNotFound {
			t.Errorf("Device of %s = %v, want %v", id, err, storage.ErrNotFound)
		}
	}
	if list, err := s.Rekeys(t.Context(), domain, "device-3"); err != nil || len(list) != 0 {
		t.Errorf("Rekeys of a forgotten device = %+v, %v, want none", list, err)
	}
	if _, err := s.DeviceByKey(t.Context(), "example.org", "jkt-1"); err != storage.ErrNotFound {
		t.Errorf("DeviceByKey in another domain = %v, want %v", err, storage.ErrNotFound)
	}
}

// Neither the id nor a key nor the number under a delegation of a forgotten device comes back, and all of it goes with the user.
func testForgottenDevicesStayRefused(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		d, present := device("alice"), device("present")
		d.RemovedAt = time.Time{}
		present.User, present.RemovedAt, present.Number = "user-alice", time.Time{}, 3
		err := errors.Join(tx.InsertUser(ctx, user("alice")), tx.InsertDevice(ctx, d), tx.InsertDevice(ctx, present),
			tx.RekeyDevice(ctx, rekey("alice", "jkt-alice", "jkt-2", time.Minute)))
		d.JKT, d.RemovedAt = "jkt-2", at
		return errors.Join(err, tx.UpdateDevice(ctx, d))
	})
	sweepKeeping(t, s, at.Add(2*time.Hour), storage.Retention{Devices: time.Hour}, 10)
	for name, change := range map[string]func(d *storage.Device){
		"id":     func(d *storage.Device) { d.ID = "device-alice" },
		"key":    func(d *storage.Device) { d.JKT = "jkt-2" },
		"former": func(d *storage.Device) { d.JKT = "jkt-alice" },
		"number": func(d *storage.Device) { d.Delegation, d.Number = "delegation-alice", 2 },
	} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			d := device("new")
			d.User, d.RemovedAt = "user-alice", time.Time{}
			change(&d)
			if err := tx.InsertDevice(ctx, d); err != storage.ErrConflict {
				t.Errorf("InsertDevice with the %s of a forgotten device = %v, want %v", name, err, storage.ErrConflict)
			}
			return nil
		})
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, jkt := range []string{"jkt-2", "jkt-alice"} {
			if err := tx.RekeyDevice(ctx, rekey("present", "jkt-present", jkt, time.Hour)); err != storage.ErrConflict {
				t.Errorf("RekeyDevice to %s = %v, want %v", jkt, err, storage.ErrConflict)
			}
		}
		d := device("new")
		d.RemovedAt, d.Delegation, d.Number = time.Time{}, "delegation-alice", 4
		return tx.InsertDevice(ctx, d)
	})
	removal := storage.Removal{Domain: domain, User: "user-alice", At: at}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.BeginRemoval(ctx, removal); err != nil {
			return err
		}
		_, err := tx.ContinueRemoval(ctx, removal, 100)
		return err
	})
	for _, jkt := range []string{"jkt-2", "jkt-alice"} {
		if d, err := s.DeviceByKey(t.Context(), domain, jkt); err != storage.ErrNotFound {
			t.Errorf("DeviceByKey after the removal of the user = %+v, %v, want %v", d, err, storage.ErrNotFound)
		}
	}
}

// Former names are found by the time of their release, unless they are the present handle of their user, and their keys can be taken again
// when they were deleted.
func testFormerNames(t *testing.T, s storage.Store) {
	held, present, early, late := nameOf("held"), nameOf("present"), nameOf("early"), nameOf("late")
	held.ReleasedAt, late.ReleasedAt, present.User = time.Time{}, at.Add(2*time.Hour), "user-alice"
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		u := user("alice")
		u.Handle = "present"
		errs := []error{tx.InsertUser(ctx, u)}
		for _, n := range []storage.Name{held, present, early, late} {
			errs = append(errs, tx.InsertName(ctx, n))
		}
		return errors.Join(errs...)
	})
	for _, test := range []struct {
		before time.Time
		limit  int
		want   []storage.Name
	}{
		{at.Add(time.Hour), 10, nil}, {at.Add(time.Hour + time.Millisecond), 10, []storage.Name{early}}, {at.Add(100 * time.Hour), 0, nil},
		{at.Add(100 * time.Hour), 10, []storage.Name{early, late}}, {time.Time{}, 10, nil}, {at.Add(100 * time.Hour), -1, nil},
	} {
		got, err := s.FormerNames(t.Context(), test.before, test.limit)
		slices.SortFunc(got, func(a, b storage.Name) int { return a.ReleasedAt.Compare(b.ReleasedAt) })
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("FormerNames before %v, at most %d = %+v, %v, want %+v", test.before, test.limit, got, err, test.want)
		}
	}
	if got, err := s.FormerNames(t.Context(), at.Add(100*time.Hour), 1); err != nil || len(got) != 1 {
		t.Errorf("FormerNames, at most one = %+v, %v", got, err)
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		again := early
		again.User, again.ReleasedAt = "user-bob", time.Time{}
		if err := tx.DeleteName(ctx, "example.org", early.Key); err != storage.ErrNotFound {
			t.Errorf("DeleteName of another domain = %v, want %v", err, storage.ErrNotFound)
		}
		err := errors.Join(tx.DeleteName(ctx, domain, early.Key), tx.InsertName(ctx, again))
		if err := tx.DeleteName(ctx, domain, "key-nobody"); err != storage.ErrNotFound {
			t.Errorf("DeleteName of no name = %v, want %v", err, storage.ErrNotFound)
		}
		return err
	})
}

// The values beside the records of one node are erased in order, up to the first record that is not old enough, and each call goes on where
// the last one stopped.
func testOldAuditIsErased(t *testing.T, s storage.Store) {
	var want []storage.AuditRecord
	for seq := range int64(6) {
		want = append(want, auditRecord("a", seq+1, "alice"))
	}
	want[1].Private = nil
	want[3].At, want[4].At = at.Add(10*time.Second), at.Add(4*time.Second) // the clock was set back between them
	other := auditRecord("b", 1, "alice")
	appendAudit(t, s, append(slices.Clone(want), other)...)
	erase := func(before time.Time, limit, passed int, erased ...int) {
		t.Helper()
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			if n, err := tx.EraseOldAudit(ctx, "a", before, limit); err != nil || n != passed {
				t.Errorf("EraseOldAudit before %v, at most %d = %d, %v, want %d", before, limit, n, err, passed)
			}
			return nil
		})
		for _, i := range erased {
			want[i].Private = nil
		}
		wantAudit(t, s, "a", want...)
		wantAudit(t, s, "b", other)
	}
	erase(at.Add(time.Second), 10, 0)
	erase(at.Add(100*time.Second), 0, 0)
	erase(at.Add(100*time.Second), 2, 2, 0, 1)
	erase(at.Add(9*time.Second), 10, 1, 2)
	erase(at.Add(9*time.Second), 10, 0)
	erase(at.Add(11*time.Second), 2, 2, 3, 4)
	erase(at, 10, 0)
	erase(at.Add(100*time.Second), 10, 1, 5)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if n, err := tx.EraseOldAudit(ctx, "nobody", at.Add(time.Hour), 10); err != nil || n != 0 {
			t.Errorf("EraseOldAudit of no chain = %d, %v", n, err)
		}
		return nil
	})
	late := auditRecord("a", 7, "alice")
	appendAudit(t, s, late)
	want = append(want, late)
	erase(at.Add(time.Second), 10, 0)
}
