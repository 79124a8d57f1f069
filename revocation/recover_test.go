package revocation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// A failover is a source that is one database, and then another one.
type failover struct {
	storage.Store
	repairs [][]storage.Revocation
	fails   error
}

// repair writes lost rows again.
func (f *failover) repair(ctx context.Context, lost []storage.Revocation, above int64) error {
	if f.fails != nil {
		return f.fails
	}
	f.repairs = append(f.repairs, lost)
	return f.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.BeginHistory(ctx, above); err != nil {
			return err
		}
		for _, r := range lost {
			if _, err := tx.Revoke(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestFailover: the database continues without the last rows. A mirror that has them writes them again and is stale until then and a while
// longer. Rows that it had from its own process alone are among them.
func TestFailover(t *testing.T) {
	for name, jumps := range map[string]bool{"the new server began a history": true, "an older state was restored": false} {
		t.Run(name, func(t *testing.T) {
			old, next, now := openStore(t), openStore(t), start
			f := &failover{Store: old}
			m := revocation.NewMirror(revocation.Config{Source: f, Repair: f.repair, Now: func() time.Time { return now }})
			kept := in("example.com", "kept")
			commit(t, old, kept)
			commit(t, next, kept)
			read(t, m)
			commit(t, old, in("example.com", "read"), in("example.com", "read too"))
			read(t, m)
			before := m.Position()
			told := follow(t, m, before, "example.com")
			m.Apply(commit(t, old, in("example.com", "own"))...) // acknowledged by this process, and not yet read
			expired := in("example.com", "expired")
			expired.ExpiresAt = now.Add(time.Second)
			m.Apply(commit(t, old, expired)...)
			now = now.Add(time.Second)

			f.Store, f.fails = next, errors.New("the database does not answer")
			if jumps {
				if err := next.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.BeginHistory(ctx, 1) }); err != nil {
					t.Fatal(err)
				}
			}
			commit(t, next, in("example.com", "new"))
			for range 2 {
				if err := m.Read(t.Context()); !errors.Is(err, f.fails) {
					t.Errorf("Read = %v, want %v", err, f.fails)
				}
				if err := m.Fresh(now); !errors.Is(err, revocation.ErrStale) {
					t.Errorf("Fresh before the rows are written = %v, want %v", err, revocation.ErrStale)
				}
			}
			f.fails = nil
			read(t, m)
			if err := m.Fresh(now); !errors.Is(err, revocation.ErrStale) {
				t.Errorf("Fresh while other nodes may have rows to write = %v, want %v", err, revocation.ErrStale)
			}
			now = now.Add(2*time.Second + time.Millisecond)
			read(t, m)
			if err := m.Fresh(now); err != nil {
				t.Errorf("Fresh = %v, want nil", err)
			}
			if len(f.repairs) != 1 || len(f.repairs[0]) != 3 {
				t.Errorf("written again: %v, want three rows once", f.repairs)
			}
			for _, key := range []string{"kept", "read", "read too", "own", "new"} {
				r := in("example.com", key)
				if _, err := next.Revocation(t.Context(), r.Kind, r.Key); err != nil {
					t.Errorf("the new database has %q: %v", key, err)
				}
				if _, ok := m.Find(introspect.Token{SID: r.Key, JTI: r.Key}); !ok {
					t.Errorf("Find(%s) = false, want true", key)
				}
			}
			if m.Position() <= before+2 || storage.History(m.Position()) == storage.History(before) {
				t.Errorf("position %d after %d, want one of a later history", m.Position(), before)
			}
			// A follower from before gets all that it may have missed.
			got := make(map[string]bool)
			rows, _, err := told.Next(now, 100)
			for _, r := range rows {
				got[r.Key] = true
			}
			switch {
			case jumps && (err != nil || !got["own"] || !got["new"]):
				t.Errorf("a follower got %v, %v, want what is new", got, err)
			case !jumps && !errors.Is(err, revocation.ErrGap): // numbers were given twice
				t.Errorf("a follower got %v, %v, want %v", got, err, revocation.ErrGap)
			}

			// A row that was acknowledged before the failover and is applied only now.
			late := commit(t, old, in("example.com", "late"))
			m.Apply(late...)
			read(t, m)
			read(t, m)
			if _, err := next.Revocation(t.Context(), late[0].Kind, late[0].Key); err != nil {
				t.Errorf("the new database has the late row: %v", err)
			}
		})
	}
}

// TestFailoverOfAWiderRow: of a row that was replaced by a wider one, which is lost, the wider one counts.
func TestFailoverOfAWiderRow(t *testing.T) {
	old, next, now := openStore(t), openStore(t), start
	f := &failover{Store: old}
	m := revocation.NewMirror(revocation.Config{Source: f, Repair: f.repair, Now: func() time.Time { return now }})
	narrow := revocation.RevokeBelow("example.com", "u", 3, cause)
	commit(t, old, narrow)
	commit(t, next, narrow)
	read(t, m)
	commit(t, old, revocation.RevokeBelow("example.com", "u", 5, cause))
	read(t, m)
	f.Store = next
	read(t, m)
	now = now.Add(3 * time.Second)
	read(t, m)
	if r, err := next.Revocation(t.Context(), narrow.Kind, narrow.Key); err != nil || r.Gen != 5 {
		t.Errorf("the new database has generation %d, %v, want 5", r.Gen, err)
	}
	for gen, want := range map[int64]bool{4: true, 5: false} {
		if _, ok := m.Find(introspect.Token{Domain: "example.com", User: "u", Gen: gen}); ok != want {
			t.Errorf("a token of generation %d is revoked: %v, want %v", gen, ok, want)
		}
	}
}
