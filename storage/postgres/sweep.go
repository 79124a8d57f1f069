package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// withdrawnGrace is how long a withdrawn statement is stored: longer than the lifetime of any token that encloses it.
const withdrawnGrace = 2 * time.Hour

// A sweep removes rows of one table that are older than its limit, and returns how many. They are found by an index on the time.
type sweep struct {
	sql string
	// before returns the time that the rows to remove are from before; the zero time if none are to be removed.
	before func(now time.Time, keep storage.Retention) time.Time
}

// gone returns the statement that deletes the rows of a table whose column is before $1, at most $2 of them. Rows that never expire (0)
// stay. Rows that another process deletes at this moment are left to it.
func gone(table, key, column string) string {
	return "DELETE FROM " + table + " WHERE (" + key + ") IN (SELECT " + key + " FROM " + table + " WHERE " + column + " <> 0 AND " +
		column + " < $1 AND " + column + " > 0 LIMIT $2 FOR UPDATE SKIP LOCKED)"
}

// expired returns the sweep of these rows.
func expired(table, key, column string, before func(now time.Time, keep storage.Retention) time.Time) sweep {
	return sweep{"WITH gone AS (" + gone(table, key, column) + " RETURNING 1) SELECT count(*) FROM gone", before}
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

// Codes are first, because a grant stays as long as a code names it. The highest number of a revocation outlives its row.
var sweeps = []sweep{
	expired("codes", "hash", "expires_at", ago(0)),
	expired("logins", "state", "expires_at", ago(0)),
	expired("pushed", "uri", "expires_at", ago(0)),
	expired("statements", "jti", "expires_at", ago(0)),
	expired("statements", "jti", "withdrawn_at", ago(withdrawnGrace)),
	expired("spent_ids", "kind, key", "expires_at", ago(storage.SpentGrace)),
	{"WITH gone AS (" + gone("revocations", "seq", "expires_at") + " RETURNING seq), highest AS (SELECT max(seq) AS seq FROM gone), " +
		"mark AS (UPDATE swept_revocations SET last = highest.seq FROM highest WHERE last < highest.seq) SELECT count(*) FROM gone",
		ago(0)},
	expired("user_events", "domain, user_id, number", "at",
		func(now time.Time, keep storage.Retention) time.Time { return kept(now, keep.Events) }),
	expired("status_lists", "id", "expires_at", ago(0)),
	expired("ended_statuses", "entry", "expires_at", ago(0)),
	expired("logouts", "domain, issuer, subject, sid", "expires_at", ago(0)),
	expired("kept_answers", "key", "expires_at", ago(0)),
	expired("browser_sessions", "hash", "idle_at", ago(0)),
	expired("tombstones", "domain, mark", "expires_at", ago(0)),
	expired("device_codes", "hash", "expires_at", ago(storage.DeviceCodeGrace)),
	expired("ended_grants", "id", "ended_at",
		func(now time.Time, keep storage.Retention) time.Time { return now.Add(-keep.Sessions) }),
}

// Grants have no index on their times, which change with each refresh. So limit bounds how many are examined.
const (
	lastSwept   = "SELECT coalesce(max(n), 0), count(*) FROM (SELECT n FROM grants WHERE n > $1 ORDER BY n LIMIT $2) few"
	sweptGrants = "grants WHERE n > $2 AND n <= $3 AND (ended_at <> 0 AND ended_at < $1 " +
		"OR idle_at <> 0 AND idle_at < $1 OR expires_at <> 0 AND expires_at < $1) " +
		"AND NOT EXISTS (SELECT 1 FROM codes WHERE grant_id = grants.id AND grant_id <> '')"
	sweepGrants = "DELETE FROM " + sweptGrants
	// Since when a grant that did not end has expired: since the earlier of two times, of which one may be never.
	keepGrants = "INSERT INTO ended_grants (" + row.EndedGrantColumns + ") SELECT " + row.EndedGrantKept +
		", CASE WHEN ended_at <> 0 THEN ended_at ELSE least(nullif(idle_at, 0), nullif(expires_at, 0)) END" +
		", CASE WHEN ended_at <> 0 THEN ended_reason ELSE 'expired' END FROM " + sweptGrants + " ON CONFLICT DO NOTHING"
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
	var n int
	var err error
	if from.Table == devices {
		n, err = t.forgetDevices(ctx, kept(now, keep.Devices), limit)
	} else {
		s := sweeps[from.Table-1]
		n, err = t.number(ctx, s.sql, row.Millis(s.before(now, keep)), limit)
	}
	if n < limit {
		from.Table++
	}
	return from, n, err
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
