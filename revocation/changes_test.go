package revocation_test

import (
	"context"
	"testing"
	"time"

	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// Changes counts what the mirror learns, whether it is told or reads it, and nothing else.
func TestChanges(t *testing.T) {
	s := openStore(t)
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	m := newMirror(s, &now)
	seen := m.Changes()
	expect := func(step string, changed bool) {
		t.Helper()
		if got := m.Changes(); (got != seen) != changed {
			t.Errorf("%s: Changes = %d after %d, want a change: %v", step, got, seen, changed)
		}
		seen = m.Changes()
	}
	read := func() {
		t.Helper()
		if err := m.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	revoke := func(sid string) (row storage.Revocation) {
		t.Helper()
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) (err error) {
			row, err = tx.Revoke(ctx, revocation.RevokeGrant(sid, revocation.Cause{Reason: "test", At: now}))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return row
	}
	read()
	expect("an empty table", false)
	row := revoke("a")
	expect("before it is known", false)
	m.Apply(row)
	expect("told", true)
	read()
	expect("read again", false)
	revoke("b")
	read()
	expect("read", true)
	now = now.Add(2 * time.Hour)
	read()
	expect("expired", false)
}
