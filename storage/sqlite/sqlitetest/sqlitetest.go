// Package sqlitetest reads the file of a storage/sqlite store directly. Tests compare its rows before and after a fault, and check
// that nothing in it is half done.
package sqlitetest

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "modernc.org/sqlite" // the driver

	"github.com/imidentity/issuer/storage/sqlite"
)

// unstored are the tables that record no decision of the issuer: a proof stays spent whatever the outcome of its request, and the
// rest is bookkeeping of the store.
var unstored = []string{"pings", "clock", "replay_epoch", "replays", "goose_db_version"}

// empty is the file of a database with all its tables and no rows.
var empty = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "sqlitetest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "empty.db")
	store, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	if err != nil {
		return nil, err
	}
	if err := store.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// Create makes an empty database at path. A store that opened the path would make the same one, but would take longer: it goes through
// all migrations.
func Create(t testing.TB, path string) {
	t.Helper()
	content, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Temporary makes an empty database in a folder of the test, and returns its path.
func Temporary(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "issuer.db")
	Create(t, path)
	return path
}

// A Database reads a database many times. It prepares each query once.
type Database struct {
	path    string
	db      *sql.DB
	queries map[string]*sql.Stmt
	rows    []string // the queries of Rows
}

// Open opens the database at path for reading. The store may be open. Close it before the store: while a connection is open, the store
// cannot fold its log when it closes.
func Open(t *testing.T, path string) *Database {
	t.Helper()
	d := &Database{path: path, db: open(t, path), queries: make(map[string]*sql.Stmt)}
	d.db.SetMaxOpenConns(1)
	return d
}

// Close closes the connection.
func (d *Database) Close() { _ = d.db.Close() } // it was for reading

// Rows returns every row of the database at path as text and in order, except its bookkeeping. The store may be open.
func Rows(t *testing.T, path string) []string {
	t.Helper()
	d := Open(t, path)
	defer d.Close()
	return d.Rows(t)
}

// Rows is [Rows] for an open database. Its tables must stay as they are.
func (d *Database) Rows(t *testing.T) []string {
	t.Helper()
	if d.rows == nil {
		tables := d.texts(t, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
		tables = slices.DeleteFunc(tables, func(name string) bool { return slices.Contains(unstored, name) })
		if len(tables) == 0 {
			t.Fatalf("%s has no tables", d.path)
		}
		for _, table := range tables {
			columns := d.texts(t, "SELECT 'quote(\"' || name || '\")' FROM pragma_table_info('"+table+"')")
			all := strings.Join(columns, " || ' ' || ")
			d.rows = append(d.rows, fmt.Sprintf("SELECT '%s ' || %s FROM %q ORDER BY 1", table, all, table))
		}
	}
	var rows []string
	for _, query := range d.rows {
		rows = append(rows, d.texts(t, query)...)
	}
	return rows
}

// Changes returns how two results of [Rows] differ: one line for each row that was removed or added.
func Changes(before, after []string) []string {
	var changes []string
	for _, row := range before {
		if !slices.Contains(after, row) {
			changes = append(changes, "- "+row)
		}
	}
	for _, row := range after {
		if !slices.Contains(before, row) {
			changes = append(changes, "+ "+row)
		}
	}
	return changes
}

// halves are queries for the traces of a transaction that was half done, or of a code that was spent twice.
var halves = map[string]string{
	"a user without a link": "SELECT domain || '/' || id FROM users u WHERE NOT EXISTS " +
		"(SELECT 1 FROM links l WHERE l.domain = u.domain AND l.user_id = u.id)",
	"a user without their handle": "SELECT domain || '/' || id FROM users u WHERE NOT EXISTS " +
		"(SELECT 1 FROM names n WHERE n.domain = u.domain AND n.user_id = u.id AND n.local = u.handle AND n.released_at = 0)",
	"a link of nobody": "SELECT domain || '/' || subject FROM links l WHERE NOT EXISTS " +
		"(SELECT 1 FROM users u WHERE u.domain = l.domain AND u.id = l.user_id)",
	"a name of nobody": "SELECT domain || '/' || key FROM names n WHERE NOT EXISTS " +
		"(SELECT 1 FROM users u WHERE u.domain = n.domain AND u.id = n.user_id)",
	"a device of nobody": "SELECT domain || '/' || id FROM devices d WHERE NOT EXISTS " +
		"(SELECT 1 FROM users u WHERE u.domain = d.domain AND u.id = d.user_id)",
	"a session without its device": "SELECT id FROM grants g WHERE NOT EXISTS " +
		"(SELECT 1 FROM devices d WHERE d.domain = g.domain AND d.id = g.device_id AND d.user_id = g.user_id)",
	"a session by another key than its device's": "SELECT g.id FROM grants g JOIN devices d " +
		"ON d.domain = g.domain AND d.id = g.device_id WHERE g.ended_at = 0 AND g.jkt <> d.jkt",
	"a live session of a removed device": "SELECT g.id FROM grants g JOIN devices d " +
		"ON d.domain = g.domain AND d.id = g.device_id WHERE g.ended_at = 0 AND d.removed_at <> 0",
	"a spent code without its session": "SELECT hex(hash) FROM codes WHERE spent_at <> 0 " +
		"AND grant_id NOT IN (SELECT id FROM grants)",
	"a session of two codes": "SELECT grant_id FROM codes WHERE spent_at <> 0 GROUP BY grant_id HAVING count(*) > 1",
	"several keys that sign for ever": "SELECT group_concat(kid) FROM signing_keys " +
		"WHERE retired_at = 0 AND revoked_at = 0 HAVING count(*) > 1",
	"a revoked key whose tokens are good": "SELECT kid FROM signing_keys k WHERE revoked_at <> 0 AND NOT EXISTS " +
		"(SELECT 1 FROM revocations r WHERE r.kind = 'kid' AND r.key = k.kid)",
	"a damaged page": "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
}

// Whole fails the test if anything in the database at path is half done or damaged. The store may be open.
func Whole(t *testing.T, path string) {
	t.Helper()
	d := Open(t, path)
	defer d.Close()
	d.Whole(t)
}

// Whole is [Whole] for an open database.
func (d *Database) Whole(t *testing.T) {
	t.Helper()
	for what, query := range halves {
		if found := d.texts(t, query); len(found) > 0 {
			t.Errorf("the database holds %s: %s", what, strings.Join(found, ", "))
		}
	}
}

// Count returns the number that a query on the database at path selects.
func Count(t *testing.T, path, query string, args ...any) int {
	t.Helper()
	db := open(t, path)
	defer db.Close()
	var n int
	if err := db.QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// Exec changes the database at path.
func Exec(t *testing.T, path, text string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.Background(), text, args...); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// open opens the database for reading. The caller must close it soon: while a connection is open, the store cannot fold its log when
// it closes.
func open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, "ro"))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func dsn(path, mode string) string {
	query := url.Values{"_pragma": {"busy_timeout(5000)"}}
	if mode != "" {
		query.Set("mode", mode)
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String()
}

// texts returns the first column of the rows that a query selects.
func (d *Database) texts(t *testing.T, query string) []string {
	t.Helper()
	prepared := d.queries[query]
	if prepared == nil {
		var err error
		if prepared, err = d.db.PrepareContext(context.Background(), query); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		d.queries[query] = prepared
	}
	rows, err := prepared.QueryContext(context.Background())
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		found = append(found, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return found
}
