package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/transfer"
)

var (
	errAway   = errors.New("its records were copied, or are being copied, to another database")
	errPart   = errors.New("it is an incomplete copy of another database")
	errCopied = errors.New("`issuer storage copy` has it open: wait until that has ended")
)

// Each connection of a store shares lockDatabase as long as it lasts, and a [Transfer] has it alone. So neither begins while the other is
// there. A copy leaves a table as its mark: only its name counts, so that who connects needs no rights to it.
const lockDatabase = 4

var (
	shareDatabase  = fmt.Sprintf("pg_try_advisory_lock_shared(%d, %d)", lockSpace, lockDatabase)
	selectSettings = "SELECT current_setting('statement_timeout'), current_setting('server_encoding'), " +
		"current_setting('synchronous_commit'), " + hasTable(transfer.Departed) + ", " + hasTable(transfer.Progressed) +
		", pg_is_in_recovery()"
)

// hasTable returns the condition that there is a table. Unlike to_regclass, it sees the same moment as the rest of its statement.
func hasTable(name string) string {
	return "EXISTS (SELECT 1 FROM pg_class WHERE relname = '" + name + "' AND relkind = 'r' AND pg_table_is_visible(oid))"
}

// A Transfer is a database that [transfer.Copy] copies from or to, on one connection. It holds the lock that stores share, so no store
// opens the database.
type Transfer struct {
	conn *pgx.Conn
	cfg  *pgxpool.Config
}

var _ transfer.Database = (*Transfer)(nil)

// OpenTransfer opens the database at a URL for a copy. Its user must own the tables. A schema that is missing or older than this release is
// [transfer.ErrOld], a newer one [storage.ErrSchemaNewer]; a database to which a store is connected is [transfer.ErrInUse].
func OpenTransfer(ctx context.Context, url string) (_ *Transfer, err error) {
	cfg, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	for _, timeout := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		cfg.ConnConfig.RuntimeParams[timeout] = "0" // a statement may read a whole table
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = "issuer storage"
	t := &Transfer{cfg: cfg}
	if t.conn, err = pgx.ConnectConfig(ctx, cfg.ConnConfig); err != nil {
		return nil, explain(cfg, err)
	}
	if err := t.check(ctx); err != nil {
		return nil, errors.Join(explainTransfer(cfg, err), t.Close())
	}
	return t, nil
}

func explainTransfer(cfg *pgxpool.Config, err error) error {
	if errors.Is(err, transfer.ErrInUse) || errors.Is(err, transfer.ErrOld) || errors.Is(err, transfer.ErrNotAway) {
		return fmt.Errorf("postgres: the database %s at %s: %w", cfg.ConnConfig.Database, cfg.ConnConfig.Host, err)
	}
	return explain(cfg, err)
}

// check takes the lock. It returns an error if it cannot, if a pooler stands before the server, or if the schema is not that of this
// release.
func (t *Transfer) check(ctx context.Context) error {
	if err := checkDirect(ctx, t.conn); err != nil {
		return err
	}
	if err := t.hold(ctx); err != nil {
		return err
	}
	var encoding, durable string
	if err := t.conn.QueryRow(ctx, "SELECT current_setting('server_encoding'), current_setting('synchronous_commit')").
		Scan(&encoding, &durable); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database has the encoding %s: create it with ENCODING 'UTF8'", encoding)
	}
	if durable == "off" {
		if _, err := t.conn.Exec(ctx, "SET synchronous_commit = on"); err != nil {
			return err
		}
	}
	known, err := newest()
	if err != nil {
		return err
	}
	var version, oldest *int64
	err = t.conn.QueryRow(ctx, selectVersion).Scan(&version, &oldest)
	switch {
	case code(err) == codeNoTable || err == nil && (version == nil || *version < known):
		return fmt.Errorf("%w: run `issuer migrate up`", transfer.ErrOld)
	case err != nil:
		return err
	case *version > known: // its tables may be others
		return storage.ErrSchemaNewer
	}
	return nil
}

// holdTimeout is how long hold tries: the server notices a moment later that a process has ended.
const holdTimeout = 2 * time.Second

// hold takes the lock.
func (t *Transfer) hold(ctx context.Context) error {
	for end := time.Now().Add(holdTimeout); ; {
		var alone bool
		err := t.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1::integer, $2::integer)", lockSpace, lockDatabase).Scan(&alone)
		if err != nil || alone {
			return err
		}
		if time.Now().After(end) {
			return t.inUse(ctx)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// inUse returns the error for a database that others have open, with the number of their connections.
func (t *Transfer) inUse(ctx context.Context) error {
	var others int
	err := t.conn.QueryRow(ctx, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = $1::bigint "+
		"AND objid = $2 AND objsubid = 2 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
		lockSpace, lockDatabase).Scan(&others)
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %d connections of nodes, or of another copy, are open: stop all nodes first", transfer.ErrInUse, others)
}

// Close closes the connection and so releases the lock.
func (t *Transfer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	_, _ = t.conn.Exec(ctx, "SELECT pg_advisory_unlock_all()") // else the server does so a moment later
	return t.conn.Close(ctx)
}

// State returns the marks of the database.
func (t *Transfer) State(ctx context.Context) (s transfer.State, err error) {
	var away, part bool
	var comment *string
	if err := t.conn.QueryRow(ctx, "SELECT "+hasTable(transfer.Departed)+", "+hasTable(transfer.Progressed)+
		", obj_description('pings'::regclass, 'pg_class')").Scan(&away, &part, &comment); err != nil {
		return s, t.failed(err)
	}
	if away {
		if err := t.conn.QueryRow(ctx, "SELECT number FROM "+transfer.Departed).Scan(&s.Away); err != nil {
			return s, t.failed(err)
		}
	}
	if part {
		if err := t.conn.QueryRow(ctx, "SELECT coalesce(max(number), -1) FROM "+transfer.Progressed).Scan(&s.Incomplete); err != nil {
			return s, t.failed(err)
		}
	}
	if comment != nil {
		_, _ = fmt.Sscanf(*comment, noted, &s.Completed) // another comment is none of ours
	}
	s.Empty, err = t.empty(ctx)
	return s, err
}

// noted is the comment on the table pings that a complete copy leaves.
const noted = "copied by issuer storage copy, number %d"

func (t *Transfer) empty(ctx context.Context) (bool, error) {
	tables, err := t.Tables(ctx)
	if err != nil {
		return false, err
	}
	for _, table := range tables {
		var some bool
		if err := t.conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+quoted(table.Name)+")").Scan(&some); err != nil || some {
			return false, t.failed(err)
		}
	}
	return true, nil
}

// failed adds to an error what the operator can do; nil stays nil.
func (t *Transfer) failed(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return explainTransfer(t.cfg, err)
}

// transact runs fn in a transaction.
func (t *Transfer) transact(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return t.failed(pgx.BeginFunc(ctx, t.conn, fn))
}

// Leave marks the database as copied away.
func (t *Transfer) Leave(ctx context.Context, number int64) error {
	return t.transact(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "CREATE TABLE "+transfer.Departed+" (number bigint NOT NULL)")
		if err == nil {
			_, err = tx.Exec(ctx, "INSERT INTO "+transfer.Departed+" VALUES ($1)", number)
		}
		return err
	})
}

// Reopen removes the mark of Leave.
func (t *Transfer) Reopen(ctx context.Context) error {
	_, err := t.conn.Exec(ctx, "DROP TABLE "+transfer.Departed)
	if code(err) == codeNoTable {
		err = transfer.ErrNotAway
	}
	return t.failed(err)
}

const selectColumns = "SELECT c.relname, a.attname, t.typname, array_position(i.indkey::int2[], a.attnum) FROM pg_class c " +
	"JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped " +
	"JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary " +
	"WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND pg_table_is_visible(c.oid) " +
	"AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY c.relname, 4, a.attname"

var kinds = map[string]transfer.Kind{
	"int8": transfer.Integer, "int4": transfer.Integer, "bool": transfer.Bool, "text": transfer.Text, "bytea": transfer.Blob,
}

// Tables returns the tables that are copied.
func (t *Transfer) Tables(ctx context.Context) ([]transfer.Table, error) {
	rows, err := t.conn.Query(ctx, selectColumns)
	if err != nil {
		return nil, t.failed(err)
	}
	var names []string
	columns, keys := make(map[string][]transfer.Column), make(map[string][]string)
	var name, column, kind string
	var at *int
	if _, err := pgx.ForEachRow(rows, []any{&name, &column, &kind, &at}, func() error {
		if transfer.Left(name) {
			return nil
		}
		k, ok := kinds[kind]
		if !ok {
			return fmt.Errorf("the column %s of the table %s has the unknown type %s", column, name, kind)
		}
		if columns[name] == nil {
			names = append(names, name)
		}
		columns[name] = append(columns[name], transfer.Column{Name: column, Kind: k})
		if at != nil {
			keys[name] = append(keys[name], column)
		}
		return nil
	}); err != nil {
		return nil, t.failed(err)
	}
	var list []transfer.Table
	for _, name := range names {
		table, err := transfer.NewTable(name, keys[name], columns[name])
		if err != nil {
			return nil, t.failed(err)
		}
		list = append(list, table)
	}
	return list, nil
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// columnsOf returns the columns of a table for SQL.
func columnsOf(t transfer.Table) []string {
	names := t.Names()
	for i, name := range names {
		names[i] = quoted(name)
	}
	return names
}

// places returns the parameters 1 to n.
func places(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("$%d", i+1)
	}
	return strings.Join(list, ", ")
}
