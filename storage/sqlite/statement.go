package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/imidentity/issuer/storage"
)

// texts are the SQL texts of the package.
var texts []string

// statement registers an SQL text and returns its number, which names it in every list of prepared statements.
func statement(text string) int {
	texts = append(texts, text)
	return len(texts) - 1
}

// statements are the texts, each prepared when it is first used.
type statements struct {
	db interface {
		PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	}
	mu   sync.Mutex // held while a text is prepared
	list []atomic.Pointer[sql.Stmt]
}

func newStatements(db interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}) *statements {
	return &statements{db: db, list: make([]atomic.Pointer[sql.Stmt], len(texts))}
}

// get returns the prepared statement n.
func (s *statements) get(ctx context.Context, n int) (*sql.Stmt, error) {
	if stmt := s.list[n].Load(); stmt != nil {
		return stmt, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt := s.list[n].Load(); stmt != nil {
		return stmt, nil
	}
	stmt, err := s.db.PrepareContext(ctx, texts[n])
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", texts[n], err)
	}
	s.list[n].Store(stmt)
	return stmt, nil
}

func (s *statements) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for n := range s.list {
		if stmt := s.list[n].Load(); stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	return errors.Join(errs...)
}

// insert returns the statement that inserts a row.
func insert(table, columns string) int {
	n := len(strings.Split(columns, ", "))
	return statement("INSERT INTO " + table + " (" + columns + ") VALUES (?" + strings.Repeat(", ?", n-1) + ")")
}

// update returns the statement that writes all columns of a row but the first keys, which name it. Its arguments are
// those of insert; see keysLast.
func update(table, columns string, keys int) int {
	list := strings.Split(columns, ", ")
	return statement("UPDATE " + table + " SET " + strings.Join(list[keys:], " = ?, ") + " = ? WHERE " +
		strings.Join(list[:keys], " = ? AND ") + " = ?")
}

func keysLast(args []any, keys int) []any {
	return append(args[keys:], args[:keys]...)
}

// of prefixes columns with the alias of their table.
func of(alias, columns string) string {
	return alias + "." + strings.ReplaceAll(columns, ", ", ", "+alias+".")
}

// Primary result codes of SQLite.
const (
	codeCorrupt      = sqlite3.SQLITE_CORRUPT
	codeNotADatabase = sqlite3.SQLITE_NOTADB
	codeBusy         = sqlite3.SQLITE_BUSY
	codeLocked       = sqlite3.SQLITE_LOCKED
	codeFull         = sqlite3.SQLITE_FULL
	codeIOErr        = sqlite3.SQLITE_IOERR
)

func primary(e *sqlite.Error) int { return e.Code() & 0xff }

// known translates an error of the driver into one that callers branch on, if it is one of those.
func known(err error) (error, bool) {
	if errors.Is(err, sql.ErrNoRows) {
		return storage.ErrNotFound, true
	}
	var e *sqlite.Error
	if errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE) {
		return storage.ErrConflict, true
	}
	return err, false
}
