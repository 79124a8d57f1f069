package storagetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// From the moment at which a withdrawal begins, every reader sees the statements that it covers as withdrawn, and no others. When it
// is finished, the rows that were written stay so.
func testWithdrawalsCoverStatements(t *testing.T, s storage.Store) {
	const user = "user-alice"
	names := map[string]func(v *storage.Statement){
		"plain":   func(v *storage.Statement) { v.Device, v.JKT, v.TellsHandle, v.Gen = "", "", false, 1 },
		"handle":  func(v *storage.Statement) { v.Device, v.JKT, v.Gen = "", "", 1 },
		"device":  func(v *storage.Statement) { v.Device, v.JKT, v.TellsHandle, v.Gen = "phone", "", false, 2 },
		"key":     func(v *storage.Statement) { v.Device, v.JKT, v.TellsHandle, v.Gen = "", "key-phone", false, 2 },
		"later":   func(v *storage.Statement) { v.Device, v.JKT, v.Gen = "phone", "key-phone", 9 },
		"ended":   func(v *storage.Statement) { v.WithdrawnAt, v.WithdrawnReason, v.Gen = at, "before", 1 },
		"bob":     func(v *storage.Statement) { v.User = "user-bob" },
		"abroad":  func(v *storage.Statement) { v.Domain = "example.org" },
		"nobody":  func(v *storage.Statement) { v.User = "" },
		"expired": func(v *storage.Statement) { v.Device, v.JKT, v.TellsHandle, v.Gen, v.ExpiresAt = "", "", false, 1, at },
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for name, change := range names {
			v := statement(name)
			v.User, v.WithdrawnAt, v.WithdrawnReason = user, time.Time{}, ""
			change(&v)
			if err := tx.InsertStatement(ctx, v); err != nil {
				return err
			}
		}
		return nil
	})
	everything := []string{"device", "expired", "handle", "key", "plain"}
	for _, test := range []struct {
		name string
		w    storage.Withdrawal
		want []string
	}{
		{"all of before", storage.Withdrawal{Below: 9}, everything},
		{"of a generation", storage.Withdrawal{Below: 2}, []string{"expired", "handle", "plain"}},
		{"one", storage.Withdrawal{Below: 9, JTI: "jti-key"}, []string{"key"}},
		{"by a device or to its key", storage.Withdrawal{Below: 9, Device: "phone", JKT: "key-phone"}, []string{"device", "key"}},
		{"by a device", storage.Withdrawal{Below: 9, Device: "phone"}, []string{"device"}},
		{"with the handle", storage.Withdrawal{Below: 9, TellsHandle: true}, []string{"handle"}},
		{"none", storage.Withdrawal{Below: 1}, nil},
	} {
		w := test.w
		w.Domain, w.User, w.Reason, w.At = domain, user, "test", at.Add(time.Minute)
		read := func(r storage.Reader) (covered, withdrawn []string) {
			list, err := r.Covered(t.Context(), w, 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range list {
				covered = append(covered, v.JTI[len("jti-"):])
			}
			all, err := r.Statements(t.Context(), domain, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range all {
				one, err := r.Statement(t.Context(), v.JTI)
				if err != nil || one.WithdrawnAt != v.WithdrawnAt || one.WithdrawnReason != v.WithdrawnReason {
					t.Errorf("%s: Statement = %+v, %v, want as in Statements, %+v", test.name, one, err, v)
				}
				if v.WithdrawnAt == w.At && v.WithdrawnReason == "test" {
					withdrawn = append(withdrawn, v.JTI[len("jti-"):])
				}
			}
			slices.Sort(covered)
			slices.Sort(withdrawn)
			return covered, withdrawn
		}
		var id int64
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			if err := tx.BeginWithdrawal(ctx, w); err != nil {
				return err
			}
			there, err := tx.Withdrawal(ctx)
			id, w.ID = there.ID, there.ID
			if there != w {
				t.Errorf("%s: Withdrawal = %+v, want %+v", test.name, there, w)
			}
			return err
		})
		if covered, withdrawn := read(s); !slices.Equal(covered, test.want) || !slices.Equal(withdrawn, test.want) {
			t.Errorf("%s: covers %q and shows %q as withdrawn, want %q", test.name, covered, withdrawn, test.want)
		}
		standing, err := s.StandingStatements(t.Context(), domain, user, "", at, storage.StatementCursor{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range standing {
			if slices.Contains(test.want, v.JTI[len("jti-"):]) {
				t.Errorf("%s: StandingStatements has %s", test.name, v.JTI)
			}
		}
		if list, err := s.Covered(t.Context(), w, 1); err != nil || len(list) != min(1, len(test.want)) {
			t.Errorf("%s: Covered up to 1 = %d, %v", test.name, len(list), err)
		}
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.FinishWithdrawal(ctx, id) })
		if _, withdrawn := read(s); len(withdrawn) != 0 {
			t.Errorf("%s: %q are withdrawn by a withdrawal that is gone", test.name, withdrawn)
		}
		if _, err := s.Withdrawal(t.Context()); err != storage.ErrNotFound {
			t.Errorf("%s: Withdrawal = %v, want %v", test.name, err, storage.ErrNotFound)
		}
	}
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.FinishWithdrawal(ctx, 1) })
	if err != storage.ErrNotFound {
		t.Errorf("FinishWithdrawal = %v, want %v", err, storage.ErrNotFound)
	}
}

func testDevicesUnder(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for i := range 5 {
			d := device(fmt.Sprint(i))
			d.Delegation, d.Number, d.RemovedAt = "delegation", 5-i, time.Time{}
			switch i {
			case 3:
				d.RemovedAt = at
			case 4:
				d.Delegation = "another"
			}
			if err := tx.InsertDevice(ctx, d); err != nil {
				return err
			}
		}
		plain := device("plain")
		plain.Delegation, plain.Number, plain.RemovedAt = "", 0, time.Time{}
		return tx.InsertDevice(ctx, plain)
	})
	for _, test := range []struct {
		delegation string
		limit      int
		want       []string
	}{
		{"delegation", 9, []string{"device-2", "device-1", "device-0"}}, {"delegation", 1, []string{"device-2"}},
		{"delegation", 0, nil}, {"", 9, nil},
	} {
		list, err := s.DevicesUnder(t.Context(), domain, test.delegation, test.limit)
		var got []string
		for _, d := range list {
			got = append(got, d.ID)
		}
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("DevicesUnder %q up to %d = %q, %v, want %q", test.delegation, test.limit, got, err, test.want)
		}
	}
}

func testCountRevocations(t *testing.T, s storage.Store) {
	for i, r := range []storage.Revocation{
		{Owner: "example.com/alice", ExpiresAt: at.Add(time.Hour)}, {Owner: "example.com/alice"},
		{Owner: "example.com/alice", ExpiresAt: at},
		{Owner: "example.com/bob", ExpiresAt: at.Add(time.Hour)}, {ExpiresAt: at.Add(time.Hour)},
	} {
		r.Kind, r.Key, r.At = storage.RevokeToken, fmt.Sprint(i), at
		if got := revoke(t, s, r); got.Owner != r.Owner {
			t.Errorf("Revoke gives the owner %q, want %q", got.Owner, r.Owner)
		}
	}
	for limit, want := range map[int]int{0: 0, 1: 1, 9: 2} {
		if n, err := s.CountRevocations(t.Context(), "example.com/alice", at, limit); err != nil || n != want {
			t.Errorf("CountRevocations up to %d = %d, %v, want %d", limit, n, err, want)
		}
	}
	if n, err := s.CountRevocations(t.Context(), "", at, 9); err != nil || n != 0 {
		t.Errorf("CountRevocations of nobody = %d, %v, want 0", n, err)
	}
}

// One call removes at most limit rows, and the calls together remove everything that is due. Withdrawn statements are removed two
// hours later, before they expire.
func testSweepIsBounded(t *testing.T, s storage.Store) {
	const rows, limit = 25, 10
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for i := range rows {
			name := fmt.Sprint(i)
			c, l, p, g, v, w := freshCode(name), login(name), pushed(name), liveGrant(name), statement(name), statement("withdrawn "+name)
			v.WithdrawnAt = time.Time{}
			w.WithdrawnAt, w.ExpiresAt = at.Add(-2*time.Hour), time.Time{}
			c.ExpiresAt, l.ExpiresAt, p.ExpiresAt, g.ExpiresAt, v.ExpiresAt = at, at, at, at, at
			for _, err := range []error{
				tx.InsertCode(ctx, c), tx.InsertLogin(ctx, l), tx.InsertPushed(ctx, p), tx.InsertGrant(ctx, g),
				tx.InsertStatement(ctx, v), tx.InsertStatement(ctx, w),
				tx.SpendID(ctx, "assertion", digest(name), at.Add(-storage.SpentGrace)),
			} {
				if err != nil {
					return err
				}
			}
			r := revocation(storage.RevokeToken, name)
			r.ExpiresAt = at
			if _, err := tx.Revoke(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	total, calls := 0, 0
	for from := (storage.SweepPosition{}); ; {
		var removed int
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			from, removed, err = tx.Sweep(ctx, at.Add(time.Millisecond), storage.Retention{}, from, limit)
			return err
		})
		if removed > limit {
			t.Errorf("one sweep removed %d rows, want at most %d", removed, limit)
		}
		total += removed
		if calls++; from == (storage.SweepPosition{}) {
			break
		}
	}
	if total != 8*rows {
		t.Errorf("%d rows removed by %d sweeps, want %d", total, calls, 8*rows)
	}
}

// A spent id stays spent after it has expired, so that it is not valid again when the clock is set back.
func testSpentIDsOutliveTheirExpiry(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.SpendID(ctx, "assertion", digest("a"), at) })
	for _, test := range []struct {
		now   time.Time
		spent bool
	}{{at.Add(time.Minute), true}, {at.Add(storage.SpentGrace), true}, {at.Add(storage.SpentGrace + time.Second), false}} {
		sweepAll(t, s, test.now, 10)
		if err := spendID(t, s, "assertion", "a"); (err == storage.ErrConflict) != test.spent {
			t.Errorf("SpendID after a sweep %v after the expiry = %v, want spent %v", test.now.Sub(at), err, test.spent)
		}
	}
}
