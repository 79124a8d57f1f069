package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
	"github.com/imidentity/issuer/storage/internal/sweep"
)

// The statements of the rules of a sweep. Each returns how many rows it has deleted. Rows that another process deletes at this moment are
// left to it. The highest number of a revocation outlives its row.
var expired = func() (list []string) {
	for _, r := range sweep.Rules {
		gone := "DELETE FROM " + r.Table + " WHERE (" + r.Key + ") IN (SELECT " + r.Key + " FROM " + r.Table +
			" WHERE " + r.Column + " <> 0 AND " + r.Column + " < $1 AND " + r.Column + " > 0 LIMIT $2 FOR UPDATE SKIP LOCKED)"
		if r.Table == "revocations" {
			list = append(list, "WITH gone AS ("+gone+" RETURNING seq), highest AS (SELECT max(seq) AS seq FROM gone), "+
				"mark AS (UPDATE swept_revocations SET last = highest.seq FROM highest WHERE last < highest.seq) SELECT count(*) FROM gone")
		} else {
			list = append(list, "WITH gone AS ("+gone+" RETURNING 1) SELECT count(*) FROM gone")
		}
	}
	return list
}()

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
	return sweep.Steps{
		Expired: func(ctx context.Context, rule int, before int64, limit int) (int, error) {
			return t.number(ctx, expired[rule], before, limit)
		},
		Devices: func(ctx context.Context, before int64, limit int) (int, error) {
			return forgetting.Forget(ctx, t.exec, before, limit)
		},
		Next: func(ctx context.Context, after int64, limit int) (last int64, seen int, err error) {
			err = t.row(ctx, lastSwept, []any{&last, &seen}, after, limit)
			return last, seen, err
		},
		Keep: func(ctx context.Context, now, after, last int64) error {
			_, err := t.exec(ctx, keepGrants, now, after, last)
			return err
		},
		Grants: func(ctx context.Context, now, after, last int64) (int, error) {
			n, err := t.exec(ctx, sweepGrants, now, after, last)
			return int(n), err
		},
	}.Run(ctx, now, keep, from, limit)
}
