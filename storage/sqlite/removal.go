package sqlite

import (
	"context"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectTombstone = statement("SELECT domain, mark, removed_on, expires_at FROM tombstones WHERE domain = ? AND mark = ?")
	// The later time wins, and none is the latest.
	upsertTombstone = statement("INSERT INTO tombstones (domain, mark, removed_on, expires_at) VALUES (?, ?, ?, ?) " +
		"ON CONFLICT (domain, mark) DO UPDATE SET expires_at = iif(expires_at = 0 OR excluded.expires_at = 0, 0, " +
		"max(expires_at, excluded.expires_at))")
	deleteTombstone = statement("DELETE FROM tombstones WHERE domain = ? AND mark = ?")
	selectRemoval   = statement("SELECT domain, user_id, at FROM removals ORDER BY domain, user_id LIMIT 1")
	insertRemoval   = insert("removals", "domain, user_id, at")
	deleteRemoval   = statement("DELETE FROM removals WHERE domain = ? AND user_id = ?")
	deleteUser      = statement("DELETE FROM users WHERE domain = ? AND id = ?")
)

func (r *reader) Tombstone(ctx context.Context, domain string, mark [32]byte) (t storage.Tombstone, err error) {
	err = r.row(ctx, selectTombstone, []any{&t.Domain, (*row.Digest)(&t.Mark), (*row.Instant)(&t.RemovedOn), (*row.Instant)(&t.ExpiresAt)},
		domain, mark[:])
	return t, err
}

func (r *reader) Removal(ctx context.Context) (m storage.Removal, err error) {
	err = r.row(ctx, selectRemoval, []any{&m.Domain, &m.User, (*row.Instant)(&m.At)})
	return m, err
}

func (t *tx) PutTombstone(ctx context.Context, s storage.Tombstone) error {
	day := s.RemovedOn.UTC().Truncate(24 * time.Hour)
	return t.insert(ctx, upsertTombstone, []any{s.Domain, s.Mark[:], row.Millis(day), row.Millis(s.ExpiresAt)})
}

func (t *tx) DeleteTombstone(ctx context.Context, domain string, mark [32]byte) error {
	return t.one(ctx, deleteTombstone, domain, mark[:])
}

func (t *tx) BeginRemoval(ctx context.Context, m storage.Removal) error {
	if err := t.one(ctx, deleteUser, m.Domain, m.User); err != nil {
		return err
	}
	return t.insert(ctx, insertRemoval, []any{m.Domain, m.User, row.Millis(m.At)})
}

func (t *tx) ContinueRemoval(ctx context.Context, m storage.Removal, limit int) (more bool, err error) {
	if strings.TrimSpace(m.User) == "" { // rows that are about nobody have no user
		return false, storage.ErrNotFound
	}
	for _, s := range erasures {
		if limit <= 0 {
			return true, nil
		}
		n, err := t.exec(ctx, s, m.Domain, m.User, limit)
		if err != nil {
			return false, err
		}
		limit -= int(n)
	}
	if limit <= 0 {
		return true, nil
	}
	_, err = t.exec(ctx, deleteRemoval, m.Domain, m.User)
	return false, err
}
