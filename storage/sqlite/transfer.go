package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/imidentity/issuer/storage/transfer"
)

// The application ids of a database that was copied to another one, "imia", and of an incomplete copy, "imii". A store does not open
// them. The user version is the number of the last copy.
const (
	awayID = 1768778081
	partID = 1768778089
)

// A Transfer is a database that [transfer.Copy] copies from or to. It holds the lock of the database, so no issuer opens it.
type Transfer struct {
	path     string
	lock     *os.File
	db       *sql.DB
	writable bool
}

var _ transfer.Database = (*Transfer)(nil)

// OpenTransfer opens the database at path for a copy. Nothing in it changes until it is marked. If create is set and there is none, an
// empty one is created, which is marked as incomplete. A database with an older schema is [transfer.ErrOld], one that a process has open
// is [transfer.ErrInUse].
func OpenTransfer(ctx context.Context, path string, create bool) (_ *Transfer, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	info, err := os.Stat(path)
	if !create && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("sqlite: %s does not exist: name the database of the issuer, in its data folder", path)
	}
	there := err == nil && info.Size() > 0
	lock, err := lockDatabase(path)
	if errors.Is(err, errTaken) {
		return nil, fmt.Errorf("%w: %w: stop the issuer first", transfer.ErrInUse, err)
	} else if err != nil {
		return nil, err
	}
	t := &Transfer{path: path, lock: lock}
	defer func() {
		if err != nil {
			t.Close()
		}
	}()
	if create && !there {
		if err := createPart(ctx, path); err != nil {
			return nil, fmt.Errorf("sqlite: create %s: %w", path, err)
		}
	}
	version, err := inspectAny(ctx, path, !create)
	if err != nil {
		return nil, explain(path, err)
	}
	if known, err := newest(); err != nil {
		return nil, err
	} else if version < known {
		return nil, fmt.Errorf("sqlite: %s: %w: start the issuer of this release with it once, and stop it", path, transfer.ErrOld)
	}
	return t, t.open(create)
}

// createPart creates an empty database that is marked as incomplete. It appears at path with the mark, or not at all.
func createPart(ctx context.Context, path string) error {
	part := path + ".creating"
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} { // of a call that was interrupted
		if err := removeIfThere(part + suffix); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return unwritable(filepath.Dir(path), err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := migrate(ctx, part, 0); err != nil {
		return err
	}
	if err := mark(ctx, part, partID); err != nil {
		return err
	}
	if err := durable(part); err != nil {
		return err
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return durable(filepath.Dir(path))
}

// inspectAny checks the database at path as inspect does, also one that is marked, and returns the version of its schema. It reads every
// page if whole is set.
func inspectAny(ctx context.Context, path string, whole bool) (version int64, err error) {
	logged, err := checkLog(path+"-wal", Options{})
	if err != nil {
		return 0, err
	}
	h, err := readHead(path)
	switch {
	case err != nil:
		return 0, err
	case h.empty:
		return 0, errNoHead
	case h.id == backupID:
		return 0, errBackup
	case !logged && h.short:
		return 0, errShort
	}
	for _, id := range []int64{applicationID, awayID, partID} { // the log may have another one than the head
		if version, err = inspectFile(ctx, path, logged, id, whole); !errors.Is(err, errForeign) && !errors.Is(err, errAway) &&
			!errors.Is(err, errPart) {
			return version, err
		}
	}
	return 0, err
}

// open connects, in such a way that nothing changes unless writable is set.
func (t *Transfer) open(writable bool) error {
	// Deleted content is overwritten, as a store does: the progress of a copy holds keys of rows about people.
	name := dsn(t.path, append(writerPragmas(Options{}), "cache_size(-262144)"))
	if !writable {
		logged, err := checkLog(t.path+"-wal", Options{})
		if err != nil {
			return explain(t.path, err)
		}
		// Without a log, even a connection that only reads would create an empty one.
		name = dsn(t.path, readerPragmas) + "&immutable=1"
		if logged {
			name = dsn(t.path, readerPragmas) + "&mode=ro"
		}
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return explain(t.path, err)
	}
	db.SetMaxOpenConns(1)
	t.db, t.writable = db, writable
	return nil
}

// write calls fn with a connection that can write, and folds the log into the file afterwards, whose head has the mark.
func (t *Transfer) write(ctx context.Context, fn func(tx *sql.Tx) error) error {
	was := t.writable
	if !was {
		if err := t.reopenAs(true); err != nil {
			return err
		}
	}
	err := t.transact(ctx, fn)
	if err == nil {
		_, err = t.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	if !was {
		err = errors.Join(err, t.reopenAs(false))
	}
	return err
}

func (t *Transfer) reopenAs(writable bool) error {
	if err := t.db.Close(); err != nil {
		return err
	}
	return t.open(writable)
}

func (t *Transfer) transact(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of no effect after Commit
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// Close closes the database and releases its lock.
func (t *Transfer) Close() error {
	var err error
	if t.db != nil {
		err = t.db.Close()
	}
	return errors.Join(err, t.lock.Close())
}

// State returns the marks of the database.
func (t *Transfer) State(ctx context.Context) (s transfer.State, err error) {
	var id, number int64
	err = t.db.QueryRowContext(ctx, "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version").
		Scan(&id, &number)
	if err != nil {
		return s, err
	}
	switch id {
	case awayID:
		s.Away = number
	case partID:
		if s.Incomplete, err = t.partOf(ctx); err != nil {
			return s, err
		}
	default:
		s.Completed = number
	}
	s.Empty, err = t.empty(ctx)
	return s, err
}

// partOf returns the number of the copy that was begun, -1 if it has none yet.
func (t *Transfer) partOf(ctx context.Context) (number int64, err error) {
	if begun, err := t.begun(ctx); err != nil || !begun {
		return -1, err
	}
	return number, t.db.QueryRowContext(ctx, "SELECT ifnull(max(number), -1) FROM "+transfer.Progressed).Scan(&number)
}

func (t *Transfer) begun(ctx context.Context) (begun bool, err error) {
	return begun, t.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?)", transfer.Progressed).Scan(&begun)
}

func (t *Transfer) empty(ctx context.Context) (bool, error) {
	tables, err := t.Tables(ctx)
	if err != nil {
		return false, err
	}
	for _, table := range tables {
		var some bool
		if err := t.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+quoted(table.Name)+")").Scan(&some); err != nil || some {
			return false, err
		}
	}
	return true, nil
}

// Leave marks the database as copied away.
func (t *Transfer) Leave(ctx context.Context, number int64) error {
	return t.write(ctx, func(tx *sql.Tx) error { return setMark(ctx, tx, awayID, number) })
}

// Reopen removes the mark of Leave.
func (t *Transfer) Reopen(ctx context.Context) error {
	s, err := t.State(ctx)
	if err != nil {
		return err
	}
	if s.Away == 0 {
		return fmt.Errorf("sqlite: %s: %w", t.path, transfer.ErrNotAway)
	}
	return t.write(ctx, func(tx *sql.Tx) error { return setMark(ctx, tx, applicationID, 0) })
}

func setMark(ctx context.Context, tx *sql.Tx, id, number int64) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", id))
	if err == nil {
		_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", number))
	}
	return err
}

// Tables returns the tables that are copied.
func (t *Transfer) Tables(ctx context.Context) ([]transfer.Table, error) {
	names, err := t.texts(ctx, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
	if err != nil {
		return nil, err
	}
	var list []transfer.Table
	for _, name := range names {
		if transfer.Left(name) {
			continue
		}
		table, err := t.table(ctx, name)
		if err != nil {
			return nil, err
		}
		list = append(list, table)
	}
	return list, nil
}

// table returns a table with its primary key, or the columns of its first unique index if it has none.
func (t *Transfer) table(ctx context.Context, name string) (transfer.Table, error) {
	key, err := t.texts(ctx, "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", name)
	if err == nil && len(key) == 0 {
		key, err = t.texts(ctx, "SELECT i.name FROM pragma_index_info((SELECT l.name FROM pragma_index_list(?) l WHERE l.origin = 'u' "+
			"ORDER BY l.seq DESC LIMIT 1)) i ORDER BY i.seqno", name)
	}
	if err != nil {
		return transfer.Table{}, err
	}
	var columns []transfer.Column
	for kind, of := range map[transfer.Kind]string{transfer.Integer: "INTEGER", transfer.Text: "TEXT", transfer.Blob: "BLOB"} {
		found, err := t.texts(ctx, "SELECT name FROM pragma_table_info(?) WHERE type = ?", name, of)
		if err != nil {
			return transfer.Table{}, err
		}
		for _, c := range found {
			columns = append(columns, transfer.Column{Name: c, Kind: kind})
		}
	}
	var n int
	if err := t.db.QueryRowContext(ctx, "SELECT count(*) FROM pragma_table_info(?)", name).Scan(&n); err != nil || n != len(columns) {
		return transfer.Table{}, errors.Join(err, fmt.Errorf("the table %s has columns of an unknown type", name))
	}
	for _, ordered := range transfer.Ordered {
		if ordered == name {
			columns = append(columns, transfer.Column{Name: transfer.Order, Kind: transfer.Integer})
		}
	}
	return transfer.NewTable(name, key, columns)
}

func (t *Transfer) texts(ctx context.Context, query string, args ...any) (list []string, err error) {
	rows, err := t.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
