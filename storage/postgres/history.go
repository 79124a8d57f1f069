package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

const (
	// The identity of a server is that of its cluster and the timeline that it writes, which PostgreSQL gives anew when a standby is
	// promoted or an older state is recovered. Every role may read both.
	selectServer = "SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || " +
		"left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
	selectHistory = "SELECT server FROM history"
	updateHistory = "UPDATE history SET server = $1 WHERE server = $2"

	highestRevocation = "greatest((SELECT last FROM swept_revocations), (SELECT max(seq) FROM revocations), " +
		"(SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM revocation_numbers))"

	// The numbers jump by a random number of histories: two standbys of one primary that are promoted one after the other, without knowing
	// of each other, do not give the same numbers.
	beginHistory = "WITH given AS (SELECT " + highestRevocation + " AS n), " +
		"next AS (SELECT ((greatest(given.n, $1) >> 32) + 1 + floor(random() * 65536)::bigint) << 32 AS n " +
		"FROM given WHERE given.n <= $1), " +
		"mark AS (UPDATE swept_revocations SET last = next.n FROM next) " +
		"SELECT setval('revocation_numbers', n), setval('client_numbers', greatest(n, (SELECT max(seq) FROM clients))) FROM next"

	// Entries of status lists that were given by transactions that are lost are not given again: new ones come from new lists.
	leaveStatusLists     = "UPDATE status_lists SET used = available WHERE used < available"
	leaveCredentialLists = "UPDATE credential_lists SET used = available WHERE used < available"
)

// errStandby is returned for a connection to a server that replays the log of another one: its reads would be old.
var errStandby = errors.New("the server is a standby: name all servers in the URL, with target_session_attrs=read-write")

// servers remembers on which server the connections of a process are.
type servers struct {
	last    atomic.Pointer[string]
	changes atomic.Int64
}

// saw notes the server of a new connection.
func (s *servers) saw(server string) {
	if last := s.last.Swap(&server); last != nil && *last != server {
		s.changes.Add(1)
	}
}

// adopt begins another history if the server of a new connection is not the one on which the last number was given. Whichever connection
// comes first does so, before any other statement, so no number is given before. A server that does not tell its identity is not
// recognized; then nodes notice only that numbers are missing.
func (s *Store) adopt(ctx context.Context, c *pgx.Conn) error {
	var server, last string
	switch err := c.QueryRow(ctx, selectServer).Scan(&server); {
	case code(err) == codeNoRights, code(err) == codeNoFunction, code(err) == codeFeature:
		return nil
	case err != nil:
		return err
	}
	switch err := c.QueryRow(ctx, selectHistory).Scan(&last); {
	case code(err) == codeNoTable: // Open says that the schema is older
		return nil
	case err != nil:
		return err
	}
	if last != server {
		if err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return takeOver(ctx, tx, server) }); err != nil {
			return fmt.Errorf("begin a history on another server: %w", err)
		}
	}
	s.servers.saw(server)
	return nil
}

// takeOver makes the numbers jump, unless another connection has done so, or this is the first server.
func takeOver(ctx context.Context, tx pgx.Tx, server string) error {
	for _, lock := range []int{lockRevocations, lockClients} {
		if _, err := tx.Exec(ctx, takeNumbers, lockSpace, lock); err != nil {
			return err
		}
	}
	var last string
	if err := tx.QueryRow(ctx, selectHistory).Scan(&last); err != nil || last == server {
		return err
	}
	if _, err := tx.Exec(ctx, updateHistory, server, last); err != nil || last == "" {
		return err
	}
	var given int64
	if err := tx.QueryRow(ctx, "SELECT "+highestRevocation).Scan(&given); err != nil {
		return err
	}
	for _, step := range []struct {
		sql  string
		args []any
	}{{beginHistory, []any{given}}, {leaveStatusLists, nil}, {leaveCredentialLists, nil}, {notify, []any{string(Revocations)}},
		{notify, []any{string(Clients)}}} {
		if _, err := tx.Exec(ctx, step.sql, step.args...); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) BeginHistory(ctx context.Context, above int64) error {
	for _, lock := range []int{lockRevocations, lockClients} {
		if _, err := t.exec(ctx, takeNumbers, lockSpace, lock); err != nil {
			return err
		}
	}
	if _, err := t.exec(ctx, beginHistory, above); err != nil {
		return err
	}
	if err := t.announce(ctx, Revocations); err != nil {
		return err
	}
	return t.announce(ctx, Clients)
}
