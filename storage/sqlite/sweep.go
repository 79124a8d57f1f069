package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
	"github.com/imidentity/issuer/storage/internal/sweep"
)

// The statements of the rules of a sweep. The subquery is needed because the DELETE of SQLite has no LIMIT.
var expired = func() (list []int) {
	for _, r := range sweep.Rules {
		key := "rowid"
		if r.Table == "spent_ids" { // it has none
			key = r.Key
		}
		list = append(list, statement("DELETE FROM "+r.Table+" WHERE ("+key+") IN (SELECT "+key+" FROM "+r.Table+
			" WHERE "+r.Column+" <> 0 AND "+r.Column+" < ?1 AND "+r.Column+" > 0 LIMIT ?2)"))
	}
	return list
}()

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
	return sweep.Steps{
		Expired: func(ctx context.Context, rule int, before int64, limit int) (int, error) {
			n, err := t.exec(ctx, expired[rule], before, limit)
			return int(n), err
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
