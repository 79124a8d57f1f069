package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// The locks under which numbers are given in the order of the commits. A transaction keeps its locks until its commit is visible. The
// first part of a lock is "im" and a number of this program.
const (
	lockSpace       = 0x696d0001
	lockRevocations = 1
	lockClients     = 2

	takeNumbers = "SELECT pg_advisory_xact_lock($1::integer, $2::integer)"
)

var (
	selectRevocation     = "SELECT " + row.RevocationColumns + " FROM revocations WHERE kind = $1 AND key = $2"
	selectLastRevocation = "SELECT greatest((SELECT last FROM swept_revocations), (SELECT max(seq) FROM revocations))"
	selectRevocations    = "SELECT " + row.RevocationColumns + " FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2"
	countRevocations     = "SELECT count(*) FROM (SELECT 1 FROM revocations WHERE owner = $1 AND owner <> '' " +
		"AND (expires_at = 0 OR expires_at > $2) LIMIT $3) few"

	// It returns no row if the row that is there covers the new one. The zero time means never, and is the latest.
	upsertRevocation = "INSERT INTO revocations AS r (" + row.RevocationColumns + ") " +
		"VALUES (nextval('revocation_numbers'), $1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (kind, key) DO UPDATE SET " +
		"seq = excluded.seq, gen = greatest(r.gen, excluded.gen), owner = excluded.owner, domain = excluded.domain, " +
		"user_id = excluded.user_id, reason = excluded.reason, at = excluded.at, expires_at = " +
		"CASE WHEN r.expires_at = 0 OR excluded.expires_at = 0 THEN 0 ELSE greatest(r.expires_at, excluded.expires_at) END " +
		"WHERE r.gen < excluded.gen OR r.expires_at <> 0 AND (excluded.expires_at = 0 OR r.expires_at < excluded.expires_at) " +
		"RETURNING " + row.RevocationColumns
)

func (r *reader) Revocation(ctx context.Context, kind storage.RevocationKind, key string) (storage.Revocation, error) {
	return one(ctx, r, selectRevocation, row.RevocationDest, string(kind), key)
}

func (r *reader) Revocations(ctx context.Context, after int64, limit int) (found []storage.Revocation, last int64, err error) {
	// The number first: a revocation that is committed meanwhile is above it, or found.
	if err := r.row(ctx, selectLastRevocation, []any{&last}); err != nil {
		return nil, 0, err
	}
	var most any // NULL for no limit
	if limit > 0 {
		most = limit
	}
	found, err = all(ctx, r, selectRevocations, row.RevocationDest, after, most)
	if n := len(found); n > 0 {
		last = max(last, found[n-1].Seq)
	}
	return found, last, err
}

func (r *reader) CountRevocations(ctx context.Context, owner string, now time.Time, limit int) (int, error) {
	return r.number(ctx, countRevocations, owner, row.Millis(now), max(limit, 0))
}

func (t *tx) Revoke(ctx context.Context, r storage.Revocation) (got storage.Revocation, err error) {
	found, err := t.numbered(ctx, lockRevocations, Revocations, upsertRevocation, []any{string(r.Kind), r.Key, r.Gen, r.Owner,
		r.Domain, r.User, r.Reason, row.Millis(r.At), row.Millis(r.ExpiresAt)}, row.RevocationDest(&got))
	if err == nil && !found {
		return t.Revocation(ctx, r.Kind, r.Key)
	}
	return got, err
}

// numbered runs a statement that takes a number, under the lock for such numbers, and announces a topic, in one round trip.
func (t *tx) numbered(ctx context.Context, lock int, topic Topic, sql string, args, dest []any) (found bool, err error) {
	if t.on.fault != nil {
		return false, t.on.fault
	}
	found, err = t.on.numbered(ctx, lock, topic, sql, args, dest)
	if err != nil {
		err = fmt.Errorf("postgres: %w", err)
		t.on.fault = err
	}
	return found, err
}
