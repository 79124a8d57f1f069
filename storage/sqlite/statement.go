package sqlite

import (
	"errors"
	"strings"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/imidentity/issuer/storage"
)

// texts are the SQL texts of the package.
var texts []string

// statement registers an SQL text and returns its number. Each connection prepares it when it first needs it.
func statement(text string) int {
	texts = append(texts, text)
	return len(texts) - 1
}

// insert returns the statement that inserts a row.
func insert(table, columns string) int {
	n := len(strings.Split(columns, ", "))
	return statement("INSERT INTO " + table + " (" + columns + ") VALUES (?" + strings.Repeat(", ?", n-1) + ")")
}

// update returns the statement that writes all columns of a row but the first keys, which identify it. Its arguments are those of
// insert, in the order of keysLast.
func update(table, columns string, keys int) int {
	list := strings.Split(columns, ", ")
	return statement("UPDATE " + table + " SET " + strings.Join(list[keys:], " = ?, ") + " = ? WHERE " +
		strings.Join(list[:keys], " = ? AND ") + " = ?")
}

func keysLast(args []any, keys int) []any {
	return append(args[keys:], args[:keys]...)
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

// A coded error is one of SQLite: a [*resultError], or an error of the database/sql driver.
type coded interface {
	error
	Code() int // extended result code
}

func primary(e coded) int { return e.Code() & 0xff }

// known translates an error of SQLite into one that callers branch on, if it is one of those.
func known(err error) (error, bool) {
	if err == storage.ErrNotFound {
		return err, true
	}
	var e coded
	if errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE) {
		return storage.ErrConflict, true
	}
	return err, false
}
