// Package sweep has the rules by which every database removes records that are no longer needed, and their order. What a rule does in SQL
// is for the packages of the databases.
package sweep

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// withdrawnGrace is how long a withdrawn statement is stored: longer than the lifetime of any token that encloses it.
const withdrawnGrace = 2 * time.Hour

// A Rule removes the rows of a table whose column is before a time. They are found by an index on the column. Rows that never expire (0)
// stay.
type Rule struct {
	// Key are the columns of the primary key.
	Table, Key, Column string
	// before returns the time; the zero time if no rows are to be removed.
	before func(now time.Time, keep storage.Retention) time.Time
}

// Rules are in the order of a sweep. Codes are first, because a grant stays as long as a code names it.
var Rules = []Rule{
	{"codes", "hash", "expires_at", ago(0)},
	{"logins", "state", "expires_at", ago(0)},
	{"pushed", "uri", "expires_at", ago(0)},
	{"statements", "jti", "expires_at", ago(0)},
	{"statements", "jti", "withdrawn_at", ago(withdrawnGrace)},
	{"spent_ids", "kind, key", "expires_at", ago(storage.SpentGrace)},
	{"revocations", "seq", "expires_at", ago(0)},
	{"user_events", "domain, user_id, number", "at",
		func(now time.Time, keep storage.Retention) time.Time { return kept(now, keep.Events) }},
	{"status_lists", "id", "expires_at", ago(0)},
	{"ended_statuses", "entry", "expires_at", ago(0)},
	{"credentials", "id", "expires_at", ago(storage.CredentialGrace)},
	{"credential_ends", "entry", "expires_at", ago(storage.CredentialGrace)},
	{"certificate_ends", "serial", "expires_at", ago(storage.CredentialGrace)},
	{"credential_lists", "id", "expires_at", ago(0)},
	{"logouts", "domain, issuer, subject, sid", "expires_at", ago(0)},
	{"kept_answers", "key", "expires_at", ago(0)},
	{"browser_sessions", "hash", "idle_at", ago(0)},
	{"tombstones", "domain, mark", "expires_at", ago(0)},
	{"device_codes", "hash", "expires_at", ago(storage.DeviceCodeGrace)},
	{"ended_grants", "id", "ended_at", func(now time.Time, keep storage.Retention) time.Time { return now.Add(-keep.Sessions) }},
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

// Steps are the steps of a sweep in a transaction of a database. Times are as [row.Millis] returns them.
type Steps struct {
	// Expired removes at most limit rows by a rule, an index of [Rules], and returns how many.
	Expired func(ctx context.Context, rule int, before int64, limit int) (int, error)
	// Devices forgets devices that were removed before a time: at most limit rows of devices and of replacements of their keys. See
	// [Forgetting].
	Devices func(ctx context.Context, before int64, limit int) (int, error)
	// Next looks at the next limit grants after a row. It returns the last row of them, and how many there are. Grants have no index on
	// their times, which change with each refresh. So limit bounds how many are examined.
	Next func(ctx context.Context, after int64, limit int) (last int64, seen int, err error)
	// Keep copies the grants that have ended or expired before now to ended_grants, of those after a row up to another one.
	Keep func(ctx context.Context, now, after, last int64) error
	// Grants removes these grants, and returns how many.
	Grants func(ctx context.Context, now, after, last int64) (int, error)
}

// Run does one part of a sweep, as [storage.TxMaintainer] says: by the rules, then devices, then grants.
func (s Steps) Run(
	ctx context.Context, now time.Time, keep storage.Retention, from storage.SweepPosition, limit int,
) (next storage.SweepPosition, removed int, err error) {
	from.Table = max(from.Table, 1) // numbered from 1, so that only the end is the zero position
	devices := len(Rules) + 1
	switch {
	case from.Table > devices+1 || limit <= 0:
		return storage.SweepPosition{}, 0, nil
	case from.Table > devices:
		return s.grants(ctx, now, keep, from, limit)
	case from.Table == devices:
		if before := kept(now, keep.Devices); !before.IsZero() {
			removed, err = s.Devices(ctx, row.Millis(before), limit)
		}
	default:
		removed, err = s.Expired(ctx, from.Table-1, row.Millis(Rules[from.Table-1].before(now, keep)), limit)
	}
	if removed < limit {
		from.Table++
	}
	return from, removed, err
}

// grants removes grants among the next rows of their table.
func (s Steps) grants(
	ctx context.Context, now time.Time, keep storage.Retention, from storage.SweepPosition, limit int,
) (next storage.SweepPosition, removed int, err error) {
	last, seen, err := s.Next(ctx, from.Row, limit)
	if err != nil || seen == 0 {
		return storage.SweepPosition{}, 0, err
	}
	if keep.Sessions > 0 {
		if err := s.Keep(ctx, row.Millis(now), from.Row, last); err != nil {
			return storage.SweepPosition{}, 0, err
		}
	}
	removed, err = s.Grants(ctx, row.Millis(now), from.Row, last)
	if seen < limit {
		return storage.SweepPosition{}, removed, err
	}
	return storage.SweepPosition{Table: from.Table, Row: last}, removed, err
}

// Forgetting are the statements that forget devices. Each takes a time and a limit: it is about the first devices that were removed before
// the time.
type Forgetting[S any] struct {
	// KeepRekeys keeps the former keys of the devices, and Rekeys deletes those that are kept. KeepDevices and Devices do the same with the
	// devices.
	KeepRekeys, Rekeys, KeepDevices, Devices S
}

// Forget forgets devices with exec, which runs a statement and returns how many rows it changed. It deletes at most limit rows, and returns
// how many.
func (f Forgetting[S]) Forget(
	ctx context.Context, exec func(ctx context.Context, statement S, args ...any) (int64, error), before int64, limit int,
) (int, error) {
	if _, err := exec(ctx, f.KeepRekeys, before, limit); err != nil {
		return 0, err
	}
	rekeys, err := exec(ctx, f.Rekeys, before, limit)
	if err != nil || int(rekeys) == limit { // there may be more
		return int(rekeys), err
	}
	// None of the first devices has replacements any more.
	left := limit - int(rekeys)
	if _, err := exec(ctx, f.KeepDevices, before, left); err != nil {
		return int(rekeys), err
	}
	devices, err := exec(ctx, f.Devices, before, left)
	return int(rekeys + devices), err
}
