package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// withdrawnGrace is how long a withdrawn statement is stored: longer than the lifetime of any token that encloses it.
const withdrawnGrace = 2 * time.Hour

// A sweep removes rows of one table that are older than its limit. They are found by an index on the time.
type sweep struct {
	stmt int
	// before returns the time that the rows to remove are from before; the zero time if none are to be removed.
	before func(now time.Time, keep storage.Retention) time.Time
}

// expired returns a sweep of the rows whose column is before a time. Rows that never expire (0) stay. The subquery is needed because the
// DELETE of SQLite has no LIMIT.
func expired(table, key, column string, before func(now time.Time, keep storage.Retention) time.Time) sweep {
	return sweep{statement("DELETE FROM " + table + " WHERE (" + key + ") IN (SELECT " + key + " FROM " + table +
		" WHERE " + column + " <> 0 AND " + column + " < ?1 AND " + column + " > 0 LIMIT ?2)"), before}
}

// ago returns the time of a sweep, less a grace.
func ago(grace time.Duration) func(time.Time, storage.Retention) time.Time {
	return func(now time.Time, _ storage.Retention) time.Time { return now.Add(-grace) }
}

// kept returns the time that rows are from before which are kept for so long; the zero time if they are kept for ever.
func kept(now time.Time, keep time.Duration) time.Time {
	if keep <= 0 {
		return time.Time{}
	}
	return now.Add(-keep)
}

// Codes are first, because a grant stays as long as a code names it.
var sweeps = []sweep{
	expired("codes", "rowid", "expires_at", ago(0)),
	expired("logins", "rowid", "expires_at", ago(0)),
	expired("pushed", "rowid", "expires_at", ago(0)),
	expired("statements", "rowid", "expires_at", ago(0)),
	expired("statements", "rowid", "withdrawn_at", ago(withdrawnGrace)),
	expired("spent_ids", "kind, key", "expires_at", ago(storage.SpentGrace)),
	expired("revocations", "rowid", "expires_at", ago(0)),
	expired("user_events", "rowid", "at", func(now time.Time, keep storage.Retention) time.Time { return kept(now, keep.Events) }),
	expired("status_lists", "rowid", "expires_at", ago(0)),
	expired("ended_statuses", "rowid", "expires_at", ago(0)),
	expired("logouts", "rowid", "expires_at", ago(0)),
	expired("kept_answers", "rowid", "expires_at", ago(0)),
	expired("browser_sessions", "rowid", "idle_at", ago(0)),
	expired("tombstones", "rowid", "expires_at", ago(0)),
	expired("device_codes", "rowid", "expires_at", ago(storage.DeviceCodeGrace)),
	expired("ended_grants", "rowid", "ended_at", func(now time.Time, keep storage.Retention) time.Time { return now.Add(-keep.Sessions) }),
}

// Grants have no index on their times, which change with each refresh. So limit bounds how many are examined.
var (
	lastSwept = statement("SELECT ifnull(max(row), 0), count(*) FROM " +
		"(SELECT rowid AS row FROM grants WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)")
	sweptGrants = "grants WHERE rowid > ?2 AND rowid <= ?3 AND (ended_at <> 0 AND ended_at < ?1 " +
		"OR idle_at <> 0 AND idle_at < ?1 OR expires_at <> 0 AND expires_at < ?1) " +
		"AND NOT EXISTS (SELECT 1 FROM codes WHERE grant_id = grants.id)"
	sweepGrants = statement("DELETE FROM " + sweptGrants)
	// Since when a grant that did not end has expired: since the earlier of two times, of which one may be never.
	keepGrants = statement("INSERT OR REPLACE INTO ended_grants (" + row.EndedGrantColumns + ") SELECT " + row.EndedGrantKept +
		", iif(ended_at <> 0, ended_at, iif(idle_at = 0, expires_at, iif(expires_at = 0, idle_at, min(idle_at, expires_at))))" +
		", iif(ended_at <> 0, ended_reason, 'expired') FROM " + sweptGrants)
)

func (t *tx) Sweep(
	ctx context.Context, now time.Time, keep storage.Retention, from storage.SweepPosition, limit int,
) (storage.SweepPosition, int, error) {
	from.Table = max(from.Table, 1) // numbered from 1, so that only the end is the zero position
	devices := len(sweeps) + 1
	switch {
	case from.Table > devices+1 || limit <= 0:
		return storage.SweepPosition{}, 0, nil
	case from.Table > devices:
		return t.sweepGrants(ctx, now, keep, from, limit)
	}
	var n int64
	var err error
	if from.Table == devices {
		n, err = t.forgetDevices(ctx, kept(now, keep.Devices), limit)
	} else {
		s := sweeps[from.Table-1]
		n, err = t.exec(ctx, s.stmt, row.Millis(s.before(now, keep)), limit)
	}
	if n < int64(limit) {
		from.Table++
	}
	return from, int(n), err
}

// sweepGrants removes grants among the next rows of their table.
func (t *tx) sweepGrants(
	ctx context.Context, now time.Time, keep storage.Retention, from storage.SweepPosition, limit int,
) (storage.SweepPosition, int, error) {
	var last int64
	var seen int
	if err := t.row(ctx, lastSwept, []any{&last, &seen}, from.Row, limit); err != nil || seen == 0 {
		return storage.SweepPosition{}, 0, err
	}
	if keep.Sessions > 0 {
		if _, err := t.exec(ctx, keepGrants, row.Millis(now), from.Row, last); err != nil {
			return storage.SweepPosition{}, 0, err
		}
	}
	n, err := t.exec(ctx, sweepGrants, row.Millis(now), from.Row, last)
	if seen < limit {
		return storage.SweepPosition{}, int(n), err
	}
	return storage.SweepPosition{Table: from.Table, Row: last}, int(n), err
}
