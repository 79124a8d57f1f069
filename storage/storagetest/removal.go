package storagetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A removal deletes everything about its user, a few rows at a time, and nothing about others: neither another user of the domain nor one
// with the same id in another domain.
func testRemoval(t *testing.T, s storage.Store) {
	const abroad = "example.org"
	add := func(domain, name string) func(ctx context.Context, tx storage.Tx) error {
		return func(ctx context.Context, tx storage.Tx) error {
			u, l, n, d, g, c, v := user(name), link(name), nameOf(name), device(name), liveGrant(name), freshCode(name), statement(name)
			u.Domain, l.Domain, n.Domain, d.Domain, g.Domain, c.Domain, v.Domain = domain, domain, domain, domain, domain, domain, domain
			d.RemovedAt, d.RemovedReason = time.Time{}, ""
			b := browserSession(name)
			b.Domain, b.User = domain, u.ID
			e, r := userEvent(u.ID, d.ID), rekey(name, d.JKT, "new "+d.JKT, 0)
			e.Domain, r.Domain = domain, domain
			if domain == abroad {
				b.Hash = digest(name + " abroad")
				g.ID, c.Hash, v.JTI = g.ID+" abroad", digest(name+" abroad"), v.JTI+" abroad"
			}
			return errors.Join(tx.InsertUser(ctx, u), tx.InsertLink(ctx, l), tx.InsertName(ctx, n), tx.InsertDevice(ctx, d),
				tx.InsertGrant(ctx, g), tx.InsertCode(ctx, c), tx.InsertStatement(ctx, v), tx.InsertUserEvent(ctx, e),
				tx.RekeyDevice(ctx, r), tx.InsertBrowserSession(ctx, b),
				tx.BeginWithdrawal(ctx, storage.Withdrawal{Domain: domain, User: u.ID, Below: 1, At: at}))
		}
	}
	write(t, s, add(domain, "alice"))
	write(t, s, add(domain, "bob"))
	write(t, s, add(abroad, "alice"))

	// count returns how many rows there are about a user.
	count := func(domain, name string) (n int) {
		t.Helper()
		u := user(name)
		_, err0 := s.User(t.Context(), domain, u.ID)
		links, err1 := s.Links(t.Context(), domain, u.ID)
		names, err2 := s.Names(t.Context(), domain, u.ID)
		devices, err3 := s.Devices(t.Context(), domain, u.ID)
		grants, err4 := s.Grants(t.Context(), domain, u.ID)
		statements, err5 := s.Statements(t.Context(), domain, u.ID)
		events, err6 := s.UserEvents(t.Context(), domain, u.ID, 0, 10)
		rekeys, err7 := s.Rekeys(t.Context(), domain, device(name).ID)
		last, err8 := s.LastUserEvent(t.Context(), domain, u.ID)
		browsers, err9 := s.BrowserSessions(t.Context(), domain, u.ID)
		if err := errors.Join(err9, err1, err2, err3, err4, err5, err6, err7, err8); err != nil {
			t.Fatal(err)
		}
		if err0 == nil {
			n++
		} else if err0 != storage.ErrNotFound {
			t.Fatal(err0)
		}
		n += len(links) + len(names) + len(devices) + len(grants) + len(statements) + len(events) + len(rekeys) + len(browsers)
		return n + int(last)
	}
	if n := count(domain, "alice"); n != 10 {
		t.Fatalf("%d rows about the user, want 10", n)
	}
	removal := storage.Removal{Domain: domain, User: "user-alice", At: at}
	begin := func(ctx context.Context, tx storage.Tx) error { return tx.BeginRemoval(ctx, removal) }
	write(t, s, begin)
	if err := s.Update(t.Context(), begin); err != storage.ErrNotFound {
		t.Errorf("the second BeginRemoval = %v, want %v", err, storage.ErrNotFound)
	}
	if _, err := s.User(t.Context(), domain, removal.User); err != storage.ErrNotFound {
		t.Errorf("User = %v, want %v", err, storage.ErrNotFound)
	}
	if _, _, _, err := s.Session(t.Context(), "grant-alice"); err != storage.ErrNotFound {
		t.Errorf("Session = %v, want %v", err, storage.ErrNotFound)
	}
	steps := 0
	for more := true; more; steps++ {
		if got, err := s.Removal(t.Context()); err != nil || got != removal {
			t.Fatalf("Removal = %+v, %v, want %+v", got, err, removal)
		}
		before := count(domain, "alice")
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			more, err = tx.ContinueRemoval(ctx, removal, 2)
			return err
		})
		if after := count(domain, "alice"); before-after > 2 {
			t.Errorf("a step for 2 rows deleted %d", before-after)
		}
	}
	if steps < 5 {
		t.Errorf("the removal had %d steps, want at least 5", steps)
	}
	if n := count(domain, "alice"); n != 0 {
		t.Errorf("%d rows about the user are left", n)
	}
	if _, err := s.Code(t.Context(), freshCode("alice").Hash); err != storage.ErrNotFound {
		t.Errorf("Code = %v, want %v", err, storage.ErrNotFound)
	}
	if got, err := s.Removal(t.Context()); err != storage.ErrNotFound {
		t.Errorf("Removal = %+v, %v, want %v", got, err, storage.ErrNotFound)
	}
	if n, m := count(domain, "bob"), count(abroad, "alice"); n != 10 || m != 10 {
		t.Errorf("%d rows about another user and %d about one of another domain, want 10 each", n, m)
	}
	nobody := storage.Removal{Domain: domain}
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.ContinueRemoval(ctx, nobody, 100)
		return err
	})
	if err != storage.ErrNotFound {
		t.Errorf("ContinueRemoval of nobody = %v, want %v", err, storage.ErrNotFound)
	}
}

// Of two tombstones with the same mark, the first stays, until the later of their expiries. It has the day of the removal and no time.
func testTombstones(t *testing.T, s storage.Store) {
	put := func(mark, domain string, on, until time.Time) {
		t.Helper()
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			return tx.PutTombstone(ctx, storage.Tombstone{Domain: domain, Mark: digest(mark), RemovedOn: on, ExpiresAt: until})
		})
	}
	day := at.Truncate(24 * time.Hour)
	expect := func(mark, where string, until time.Time) {
		t.Helper()
		want := storage.Tombstone{Domain: where, Mark: digest(mark), RemovedOn: day, ExpiresAt: until}
		if got, err := s.Tombstone(t.Context(), where, digest(mark)); err != nil || got != want {
			t.Errorf("Tombstone %s = %+v, %v, want %+v", mark, got, err, want)
		}
	}
	never, soon, late := time.Time{}, at.Add(time.Hour), at.Add(2*time.Hour)
	put("a", domain, at, never)
	put("a", domain, at.Add(48*time.Hour), soon)
	expect("a", domain, never)
	put("b", domain, at, soon)
	put("b", domain, at, never)
	expect("b", domain, never)
	put("c", domain, at, soon)
	put("c", domain, at, late)
	put("c", domain, at, soon)
	expect("c", domain, late)
	put("c", "example.org", at, soon)
	expect("c", "example.org", soon)
	expect("c", domain, late)

	for from := (storage.SweepPosition{}); ; {
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			from, _, err = tx.Sweep(ctx, late.Add(time.Millisecond), storage.Retention{}, from, 10)
			return err
		})
		if from == (storage.SweepPosition{}) {
			break
		}
	}
	expect("a", domain, never)
	remove := func(mark string) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.DeleteTombstone(ctx, domain, digest(mark))
		})
	}
	for mark, want := range map[string]error{"a": nil, "c": storage.ErrNotFound, "unknown": storage.ErrNotFound} {
		if err := remove(mark); err != want {
			t.Errorf("DeleteTombstone %s = %v, want %v", mark, err, want)
		}
		if got, err := s.Tombstone(t.Context(), domain, digest(mark)); err != storage.ErrNotFound {
			t.Errorf("Tombstone %s = %+v, %v, want %v", mark, got, err, storage.ErrNotFound)
		}
	}
}
