package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectTombstone = "SELECT domain, mark, removed_on, expires_at FROM tombstones WHERE domain = $1 AND mark = $2"
	// The later time wins, and none is the latest.
	upsertTombstone = "INSERT INTO tombstones AS t (domain, mark, removed_on, expires_at) VALUES ($1, $2, $3, $4) " +
		"ON CONFLICT (domain, mark) DO UPDATE SET expires_at = CASE WHEN t.expires_at = 0 OR excluded.expires_at = 0 THEN 0 " +
		"ELSE greatest(t.expires_at, excluded.expires_at) END"
	deleteTombstone = "DELETE FROM tombstones WHERE domain = $1 AND mark = $2"
	selectRemoval   = "SELECT domain, user_id, at FROM removals ORDER BY domain, user_id LIMIT 1"
	insertRemoval   = insertInto("removals", "domain, user_id, at")
	deleteRemoval   = "DELETE FROM removals WHERE domain = $1 AND user_id = $2"
	deleteUser      = "DELETE FROM users WHERE domain = $1 AND id = $2"
)

func (r *reader) Tombstone(ctx context.Context, domain string, mark [32]byte) (storage.Tombstone, error) {
	return one(ctx, r, selectTombstone, func(t *storage.Tombstone) []any {
		return []any{&t.Domain, (*row.Digest)(&t.Mark), (*row.Instant)(&t.RemovedOn), (*row.Instant)(&t.ExpiresAt)}
	}, domain, mark[:])
}

func (r *reader) Removal(ctx context.Context) (storage.Removal, error) {
	return one(ctx, r, selectRemoval, func(m *storage.Removal) []any {
		return []any{&m.Domain, &m.User, (*row.Instant)(&m.At)}
	})
}

func (t *tx) PutTombstone(ctx context.Context, s storage.Tombstone) error {
	day := s.RemovedOn.UTC().Truncate(24 * time.Hour)
	_, err := t.exec(ctx, upsertTombstone, s.Domain, s.Mark[:], row.Millis(day), row.Millis(s.ExpiresAt))
	return err
}

func (t *tx) DeleteTombstone(ctx context.Context, domain string, mark [32]byte) error {
	return t.must(ctx, deleteTombstone, domain, mark[:])
}

func (t *tx) BeginRemoval(ctx context.Context, m storage.Removal) error {
	if err := t.must(ctx, deleteUser, m.Domain, m.User); err != nil {
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
