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
	headSize    = 100
	magic       = "SQLite format 3\x00"
	pageOffset  = 16 // page size, 2 bytes; 1 is 65536
	countOffset = 24 // change counter
	pagesOffset = 28 // size of the database in pages, valid if the two counters are equal
	idOffset    = 68 // application id
	validOffset = 92 // change counter for which the size in pages is valid
)

// smallDatabase is the size of a database, with its log, up to which each start reads every page. That takes some milliseconds.
const smallDatabase = 4 << 20

var (
	errForeign = errors.New("the database belongs to another program")
	errBackup  = errors.New("it is a backup")
	errAway    = errors.New("it was copied, or is being copied, to another database")
	errPart    = errors.New("it is an incomplete copy of another database")
	errDamaged = errors.New("damaged")
	errNoHead  = fmt.Errorf("%w: its head is not that of a database", errDamaged)
	errShort   = fmt.Errorf("%w: it is shorter than its head says", errDamaged)
	errEmptied = fmt.Errorf("%w: it is empty, but its log is not", errDamaged)
)

// inspect checks the database at path before anything changes it, and returns the version of its schema, 0 for a database
// that is to be created. It refuses files of another program or of a newer release, a database whose log, head, schema or
// length is damaged, and, if it reads every page, one with a damaged page. It reads every page if whole is set, of a small
// database, and before a migration. A refused database stays unchanged. SQLite alone would change the journal mode of another program's
// file, and take a damaged log for the end of the written data.
func inspect(ctx context.Context, path string, o Options, whole bool) (version int64, err error) {
	logged, err := checkLog(path+"-wal", o)
	if err != nil {
		return 0, err
	}
	h, err := readHead(path)
	switch {
	case err != nil:
		return 0, err
	case h.empty && logged:
		return 0, errEmptied
	case h.empty:
		return 0, nil
	case h.id == backupID:
		return 0, errBackup
	case h.id != applicationID && h.id != 0:
		return 0, otherID(h.id)
	case !logged && h.short:
		return 0, errShort
	}
	size := h.size
	if info, err := os.Stat(path + "-wal"); err == nil {
		size += info.Size()
	}
	return inspectFile(ctx, path, logged, applicationID, whole || size <= smallDatabase)
}

// otherID returns the error for a database with an application id that is not the expected one.
func otherID(id int64) error {
	switch id {
	case awayID:
		return errAway
	case partID:
		return errPart
	}
	return errForeign
}

// inspectFile checks the database at path, which has a log if logged, and must have the application id id. It reads every page
// if whole is set or the schema is an older one.
func inspectFile(ctx context.Context, path string, logged bool, id int64, whole bool) (version int64, err error) {
	// Without a log, even a connection that only reads would create an empty one.
	how := "&mode=ro"
	if !logged {
		how = "&immutable=1"
	}
	db, err := sql.Open("sqlite", dsn(path, commonPragmas)+how)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	version, known, err := inspectSchema(ctx, db, id)
	if err == nil && (whole || version < known) {
		err = quickCheck(ctx, db)
	}
	return version, err
}

// inspectSchema returns the version of the schema, and the one that this release creates. It reads the whole schema.
func inspectSchema(ctx context.Context, db *sql.DB, want int64) (version, known int64, err error) {
	var id, versioned, tables int64
	err = db.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), "+
		"count(*) FILTER (WHERE name = 'goose_db_version'), "+
		"count(*) FILTER (WHERE name <> 'goose_db_version' AND type = 'table' AND name NOT LIKE 'sqlite_%') "+
		"FROM sqlite_schema").Scan(&id, &versioned, &tables)
	if err != nil {
		return 0, 0, err
	}
	if id != want && tables != 0 {
		return 0, 0, otherID(id)
	}
	// goose would take a damaged table for a missing one, so the version is read here.
	if versioned != 0 {
		err := db.QueryRowContext(ctx, "SELECT ifnull(max(version_id), 0) FROM goose_db_version").Scan(&version)
		if err != nil {
			return 0, 0, err
		}
	}
	if known, err = newest(); err != nil {
		return 0, 0, err
	}
	if version > known {
		return 0, 0, fmt.Errorf("%w: its schema is %d, this release knows %d", storage.ErrSchemaNewer, version, known)
	}
	return version, known, nil
}

// quickCheck reads every page and returns [errDamaged] if one is not well-formed.
func quickCheck(ctx context.Context, db *sql.DB) error {
	var found string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&found); err != nil {
		return err
	}
	if found != "ok" {
		return fmt.Errorf("%w: %s", errDamaged, strings.ReplaceAll(found, "\n", ": "))
	}
	return nil
}

// A head is what the first bytes of a database file say.
type head struct {
	id    int64 // application id
	size  int64 // of the file
	empty bool
	short bool // the file has fewer pages than the head says, or half a page
}

func readHead(path string) (h head, err error) {
	f, err := os.Open(path)
	if err != nil {
		return head{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return head{}, err
	}
	var b [headSize]byte
	n, err := io.ReadFull(f, b[:])
	switch {
	case n == 0 && err == io.EOF:
		return head{empty: true}, nil
	case err == io.ErrUnexpectedEOF || err == nil && string(b[:len(magic)]) != magic:
		return head{}, errNoHead
	case err != nil:
		return head{}, err
	}
	be := binary.BigEndian
	h = head{id: int64(int32(be.Uint32(b[idOffset:]))), size: info.Size()}
	page := int64(be.Uint16(b[pageOffset:]))
	if page == 1 {
		page = largestPage
	}
	if page < leastPage {
		return head{}, errNoHead
	}
	pages := int64(0)
	if be.Uint32(b[countOffset:]) == be.Uint32(b[validOffset:]) {
		pages = int64(be.Uint32(b[pagesOffset:]))
	}
	h.short = h.size%page != 0 || h.size < pages*page
	return h, nil
}
