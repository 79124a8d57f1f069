package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// withdrawnGrace is how long a withdrawn statement is stored: longer than the lifetime of any token that encloses it.
const withdrawnGrace = 2 * time.Hour

// A sweep removes rows of one table that expired at least grace ago. They are found by an index on the time.
type sweep struct {
	stmt  int
	grace time.Duration
}

// expired returns the statement that removes a limited number of rows whose column is before a time. Rows that never expire (0) stay.
// The subquery is needed because the DELETE of SQLite has no LIMIT.
func expired(table, key, column string) int {
	return statement("DELETE FROM " + table + " WHERE (" + key + ") IN (SELECT " + key + " FROM " + table +
		" WHERE " + column + " <> 0 AND " + column + " < ?1 AND " + column + " > 0 LIMIT ?2)")
}

// Codes are first, because a grant stays as long as a code names it.
var sweeps = []sweep{
	{expired("codes", "rowid", "expires_at"), 0},
	{expired("logins", "rowid", "expires_at"), 0},
	{expired("pushed", "rowid", "expires_at"), 0},
	{expired("statements", "rowid", "expires_at"), 0},
	{expired("statements", "rowid", "withdrawn_at"), withdrawnGrace},
	{expired("spent_ids", "kind, key", "expires_at"), storage.SpentGrace},
	{expired("revocations", "rowid", "expires_at"), 0},
	{expired("user_events", "rowid", "expires_at"), 0},
	{expired("status_lists", "rowid", "expires_at"), 0},
	{expired("ended_statuses", "rowid", "expires_at"), 0},
	{expired("logouts", "rowid", "expires_at"), 0},
	{expired("kept_answers", "rowid", "expires_at"), 0},
	{expired("browser_sessions", "rowid", "idle_at"), 0},
	{expired("tombstones", "rowid", "expires_at"), 0},
	{expired("device_codes", "rowid", "expires_at"), storage.DeviceCodeGrace},
}

// Grants have no index on their times, which change with each refresh. So limit bounds how many are examined.
var (
	lastSwept = statement("SELECT ifnull(max(row), 0), count(*) FROM " +
		"(SELECT rowid AS row FROM grants WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)")
	sweepRows = statement("DELETE FROM grants WHERE rowid > ?2 AND rowid <= ?3 AND (ended_at <> 0 AND ended_at < ?1 " +
		"OR idle_at <> 0 AND idle_at < ?1 OR expires_at <> 0 AND expires_at < ?1) " +
		"AND NOT EXISTS (SELECT 1 FROM codes WHERE grant_id = grants.id)")
)

func (t *tx) Sweep(ctx context.Context, now time.Time, from storage.SweepPosition, limit int) (storage.SweepPosition, int, error) {
	from.Table = max(from.Table, 1) // numbered from 1, so that only the end is the zero position
	if from.Table > len(sweeps)+1 || limit <= 0 {
		return storage.SweepPosition{}, 0, nil
	}
	if from.Table <= len(sweeps) {
		s := sweeps[from.Table-1]
		n, err := t.exec(ctx, s.stmt, row.Millis(now.Add(-s.grace)), limit)
		if n < int64(limit) {
			from.Table++
		}
		return from, int(n), err
	}
	var last int64
	var seen int
	if err := t.row(ctx, lastSwept, []any{&last, &seen}, from.Row, limit); err != nil || seen == 0 {
		return storage.SweepPosition{}, 0, err
	}
	n, err := t.exec(ctx, sweepRows, row.Millis(now), from.Row, last)
	if seen < limit {
		return storage.SweepPosition{}, int(n), err
	}
	return storage.SweepPosition{Table: from.Table, Row: last}, int(n), err
}
