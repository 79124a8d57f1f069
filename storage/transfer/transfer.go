// Package transfer copies all records of one database into another, which may be of another kind, and compares two databases. The
// databases themselves are in storage/sqlite and storage/postgres, which implement [Database].
//
// The tables are read from the schemas of both databases: a table or a column that only one of them has is an error, unless [Left] names
// it. A row is a list of values in a form that is the same for all databases (see [Table]). Hashes are over this form.
//
// # Order of the steps
//
// Neither database can be opened by an issuer while it is held here. Besides, each is marked before the first row is copied:
//
//  1. The source is marked as copied away, under a random number. No issuer opens it from then on, so its rows do not change.
//  2. The target is marked as incomplete, under the same number. No issuer opens it.
//  3. Rows are copied in batches. Each batch is one transaction of the target, together with how far the copy has come.
//  4. The numbers that the next records will get are set, and the target is read again and compared by counts and hashes.
//  5. The mark of the target is removed, in one transaction.
//
// A program that is killed in between leaves databases that no issuer opens, and the same call continues. At no time can both be opened.
package transfer

import (
	"context"
	"errors"
)

var (
	// ErrNotEmpty is returned for a target that has records, or a part of another copy.
	ErrNotEmpty = errors.New("the target is not empty")
	// ErrIncomplete is returned for a source that is itself an incomplete copy.
	ErrIncomplete = errors.New("the source is an incomplete copy of another database")
	// ErrAway is returned for a target that was copied away.
	ErrAway = errors.New("the target was copied to another database, so its records are older than those there")
	// ErrSchema is returned for two databases with different tables.
	ErrSchema = errors.New("the databases do not have the same tables")
	// ErrNotAway is returned by Database.Reopen for a database that is not marked as copied away.
	ErrNotAway = errors.New("the database is not marked as copied to another one")
	// ErrOld is returned for a database whose schema is older than that of this release.
	ErrOld = errors.New("the schema of the database is older than this release")
	// ErrInUse is returned for a database that an issuer or another copy has open.
	ErrInUse = errors.New("the database is in use")
)

// A Database is a database that is copied from, or to. It is held from its opening until Close: no issuer opens it, nor does another copy.
// One goroutine uses it at a time.
type Database interface {
	// Tables returns the tables that are copied, in any order. Tables in Left are not among them.
	Tables(ctx context.Context) ([]Table, error)
	// State returns the marks of the database.
	State(ctx context.Context) (State, error)
	// Count returns the number of rows of a table.
	Count(ctx context.Context, t Table) (int64, error)
	// Rows calls fn with the rows of a table after a key, nil for all, in the order of the keys in this database. Fn may keep the row. It
	// must not call the database.
	Rows(ctx context.Context, t Table, after []any, fn func(row []any) error) error
	// Row returns the row of a key, nil if there is none.
	Row(ctx context.Context, t Table, key []any) ([]any, error)
	// Numbers returns the highest number that was given, for each kind of records with numbers in the order of their creation.
	Numbers(ctx context.Context) (map[string]int64, error)

	// Leave marks the database as copied away, under a number. Nothing else in it changes.
	Leave(ctx context.Context, number int64) error
	// Reopen removes that mark.
	Reopen(ctx context.Context) error

	// Begin marks an empty database as incomplete, under a number.
	Begin(ctx context.Context, number int64, tables []Table) error
	// Progress returns how far the copy has come, by table.
	Progress(ctx context.Context) (map[string]Progress, error)
	// Append writes rows and how far the copy has come with them, in one durable transaction.
	Append(ctx context.Context, t Table, rows [][]any, p Progress) error
	// Raise makes later numbers be above those of another database.
	Raise(ctx context.Context, numbers map[string]int64) error
	// Complete removes the mark that Begin made, in one durable transaction, and notes its number.
	Complete(ctx context.Context, number int64) error

	Close() error
}

// A State is the marks of a database. The numbers are those of copies, 0 for none.
type State struct {
	// Away is the copy by which the records went to another database.
	Away int64
	// Incomplete is the copy that was begun in this database and is not complete, negative if it has no number yet.
	Incomplete int64
	// Completed is the copy by which the records of this database came here.
	Completed int64
	// Empty tells that no table that is copied has a row.
	Empty bool
}

// Progress is how far the copy of a table has come.
type Progress struct {
	Key  []any // of the last row, nil if there is none
	Rows int64
	Sum  Sum
	Done bool
}
