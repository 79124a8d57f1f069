package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/imidentity/issuer/storage"
)

// The head of a database file (sqlite.org/fileformat2.html, section 1.3).
const (
	headSize = 100
	magic    = "SQLite format 3\x00"
	idOffset = 68
)

var (
	errForeign = errors.New("the database belongs to another program")
	errBackup  = errors.New("it is a backup")
	errDamaged = errors.New("damaged")
	errNoHead  = fmt.Errorf("%w: it does not begin as a database does", errDamaged)
	errEmptied = fmt.Errorf("%w: it is empty, though there is a log of what was in it", errDamaged)
)

// inspect looks at the database at path before anything may change it, and returns the version of its schema, 0 for
// one that is yet to be made. What it refuses is as it was: a file of another program, of a newer release, or one whose
// pages or log are damaged. SQLite alone would turn the former to its own journal mode, find damage only when it comes
// upon it, and take a damaged log for the end of what was written.
func inspect(ctx context.Context, path string, o Options) (version int64, err error) {
	logged, err := checkLog(path+"-wal", o)
	if err != nil {
		return 0, err
	}
	id, empty, err := readHead(path)
	switch {
	case err != nil:
		return 0, err
	case empty && logged:
		return 0, errEmptied
	case empty:
		return 0, nil
	case id == backupID:
		return 0, errBackup
	case id != applicationID && id != 0:
		return 0, errForeign
	}
	return inspectFile(ctx, path, logged, applicationID)
}

// inspectFile looks into the database at path, which has a log if logged, and whose application id is to be id.
func inspectFile(ctx context.Context, path string, logged bool, id int64) (version int64, err error) {
	// Where there is no log to read, even a connection that only reads would make an empty one.
	how := "&mode=ro"
	if !logged {
		how = "&immutable=1"
	}
	db, err := sql.Open("sqlite", dsn(path, commonPragmas)+how)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return inspectTables(ctx, db, id)
}

// inspectTables reads what the head alone does not tell.
func inspectTables(ctx context.Context, db *sql.DB, want int64) (version int64, err error) {
	var id, versioned, tables int64
	err = db.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), "+
		"count(*) FILTER (WHERE name = 'goose_db_version'), "+
		"count(*) FILTER (WHERE name <> 'goose_db_version' AND type = 'table' AND name NOT LIKE 'sqlite_%') "+
		"FROM sqlite_schema").Scan(&id, &versioned, &tables)
	if err != nil {
		return 0, err
	}
	if id != want && tables != 0 {
		return 0, errForeign
	}
	// Read here and not by goose, which takes a damaged table for none.
	if versioned != 0 {
		err := db.QueryRowContext(ctx, "SELECT ifnull(max(version_id), 0) FROM goose_db_version").Scan(&version)
		if err != nil {
			return 0, err
		}
	}
	known, err := newest()
	if err != nil {
		return 0, err
	}
	if version > known {
		return 0, fmt.Errorf("%w: its schema is %d, this release knows %d", storage.ErrSchemaNewer, version, known)
	}
	var found string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return 0, err
	}
	if found != "ok" {
		return 0, fmt.Errorf("%w: %s", errDamaged, strings.ReplaceAll(found, "\n", ": "))
	}
	return version, nil
}

// readHead returns the application id in the head of the file at path, and whether the file is empty.
func readHead(path string) (id int64, empty bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	var head [headSize]byte
	n, err := io.ReadFull(f, head[:])
	switch {
	case n == 0 && err == io.EOF:
		return 0, true, nil
	case err == io.ErrUnexpectedEOF || err == nil && string(head[:len(magic)]) != magic:
		return 0, false, errNoHead
	}
	return int64(int32(binary.BigEndian.Uint32(head[idOffset:]))), false, err
}
