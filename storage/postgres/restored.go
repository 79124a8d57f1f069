package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
	"github.com/imidentity/issuer/storage/internal/sweep"
)

// Restored reports what [EndRestored] did.
type Restored struct {
	// Taken is the latest time that the restored state knows, zero if it knows none.
	Taken time.Time
	// Sessions, Credentials, Keys and Statements are how many were ended, revoked and withdrawn.
	Sessions, Credentials, Keys, Statements int64
}

// ending are the statements that end everything in a restored state, beside [sweep.Restored]; $1 is the time. They do the same as the
// restore of a SQLite backup.
var ending = []struct {
	text  string
	count func(r *Restored) *int64
}{
	{"UPDATE grants SET ended_at = $1::bigint, ended_reason = 'restored' WHERE ended_at = 0",
		func(r *Restored) *int64 { return &r.Sessions }},
	{"UPDATE credentials SET ended_at = $1::bigint, ended_reason = 'restored' WHERE ended_at = 0",
		func(r *Restored) *int64 { return &r.Credentials }},
	{"UPDATE statements SET withdrawn_at = $1::bigint, withdrawn_reason = 'restored' WHERE withdrawn_at = 0",
		func(r *Restored) *int64 { return &r.Statements }},
	{fmt.Sprintf("UPDATE user_event_numbers SET last = last + %d", laterEvents), nil},
	// An hour is the longest lifetime of an access token, for keys from before the longest lifetime was stored.
	{"INSERT INTO revocations (seq, kind, key, gen, owner, domain, user_id, reason, at, expires_at) " +
		"SELECT nextval('revocation_numbers'), 'kid', kid, 0, '', '', '', 'restored', $1::bigint, $1::bigint + greatest(life, 3600000) " +
		"FROM signing_keys WHERE revoked_at = 0 " +
		"ON CONFLICT (kind, key) DO UPDATE SET seq = excluded.seq, expires_at = excluded.expires_at", nil},
	{"UPDATE signing_keys SET revoked_at = $1::bigint, revoked_reason = 'restored' WHERE revoked_at = 0",
		func(r *Restored) *int64 { return &r.Keys }},
	// No access token lives longer than that grace. Which entries were given since is not known.
	{fmt.Sprintf("UPDATE status_lists SET used = available, ended_at = $1::bigint, expires_at = $1::bigint + %d",
		storage.StatusGrace.Milliseconds()), nil},
	// Nor a credential, and those that were issued since are not known.
	{fmt.Sprintf("UPDATE credential_lists SET used = available, ended_at = $1::bigint, expires_at = greatest(expires_at, $1::bigint + %d)",
		(storage.LongestCredential + storage.CredentialGrace).Milliseconds()), nil},
	{"INSERT INTO clock (id, newest) VALUES (1, $1::bigint) ON CONFLICT (id) DO UPDATE SET newest = excluded.newest", nil},
}

// laterEvents is by how much the numbers of events jump: more than can have been given since the state that was restored.
const laterEvents = 1_000_000_000

// EndRestored ends everything that was issued, in a database that was restored to an older state with PostgreSQL's own tools: that does not
// know what was issued, ended and spent since. Sessions, codes, logins and statements end, and by the revocation of their keys all tokens.
// Later numbers are those of another history. No node may have the database open: else the error is [transfer.ErrInUse].
func EndRestored(ctx context.Context, url string, now time.Time) (r Restored, err error) {
	t, err := OpenTransfer(ctx, url)
	if err != nil {
		return Restored{}, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	err = pgx.BeginTxFunc(ctx, t.conn, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		var taken, given int64
		if err := tx.QueryRow(ctx, "SELECT coalesce((SELECT newest FROM clock), 0), "+highestRevocation).Scan(&taken, &given); err != nil {
			return err
		}
		r.Taken = row.FromMillis(taken)
		if _, err := tx.Exec(ctx, beginHistory, given); err != nil {
			return err
		}
		for _, table := range sweep.Restored {
			if _, err := tx.Exec(ctx, "DELETE FROM "+table); err != nil {
				return fmt.Errorf("empty %s: %w", table, err)
			}
		}
		for _, step := range ending {
			var args []any
			if strings.Contains(step.text, "$1") {
				args = []any{row.Millis(now)}
			}
			tag, err := tx.Exec(ctx, step.text, args...)
			if err != nil {
				return fmt.Errorf("%s: %w", step.text, err)
			}
			if step.count != nil {
				*step.count(&r) += tag.RowsAffected()
			}
		}
		return nil
	})
	if err != nil {
		return Restored{}, fmt.Errorf("postgres: end what was restored: %w", err)
	}
	return r, nil
}
