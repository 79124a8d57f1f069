package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// A conn is a connection on which the statements of the package run. It calls the SQLite of modernc.org/sqlite without its
// database/sql driver, which allocates the name and the declared type of each column for each query. One goroutine uses it at a
// time. Its memory belongs to C: a conn must be closed.
type conn struct {
	tls   *libc.TLS
	db    uintptr
	stmts []stmt // by the numbers that statement gave; the zero stmt is not prepared yet
	// params is C memory for the texts and blobs of the parameters of the running statement.
	params     uintptr
	paramsSize int
	// row and ends are the texts of the row that is being read, and where each of them ends.
	row     []byte
	ends    []int
	session sessionRow
}

// A stmt is a prepared statement.
type stmt struct {
	handle uintptr
	params int
}

// A resultError is an error of SQLite.
type resultError struct {
	code    int // extended result code
	message string
}

func (e *resultError) Error() string { return fmt.Sprintf("%s (%d)", e.message, e.code) }

// Code returns the extended result code, as the error of the database/sql driver does.
func (e *resultError) Code() int { return e.code }

var errMemory = errors.New("out of memory")

// openConn opens the database at path, which must exist.
func openConn(path string, pragmas []string) (_ *conn, err error) {
	c := &conn{tls: libc.NewTLS(), stmts: make([]stmt, len(texts))}
	c.session.init()
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	out, err := c.alloc(8)
	if err != nil {
		return nil, err
	}
	defer sqlite3.Xsqlite3_free(c.tls, out)
	name, err := c.cString(path)
	if err != nil {
		return nil, err
	}
	defer sqlite3.Xsqlite3_free(c.tls, name)
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, out, sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_NOMUTEX, 0)
	c.db = c.pointer(out) // also where opening failed: it has the message then
	if rc != sqlite3.SQLITE_OK {
		return nil, c.failure(rc)
	}
	sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	// The plan of a statement does not depend on the values of its parameters. SQLite would prepare some statements again whenever a limit
	// has another value, which takes longer than to run them.
	plan := libc.NewVaList(int32(1), uintptr(0))
	rc = sqlite3.Xsqlite3_db_config(c.tls, c.db, sqlite3.SQLITE_DBCONFIG_ENABLE_QPSG, plan)
	libc.Xfree(c.tls, plan)
	if rc != sqlite3.SQLITE_OK {
		return nil, c.failure(rc)
	}
	for _, pragma := range pragmas {
		text, err := c.cString("PRAGMA " + pragma)
		if err != nil {
			return nil, err
		}
		rc := sqlite3.Xsqlite3_exec(c.tls, c.db, text, 0, 0, 0)
		sqlite3.Xsqlite3_free(c.tls, text)
		if rc != sqlite3.SQLITE_OK {
			return nil, fmt.Errorf("PRAGMA %s: %w", pragma, c.failure(rc))
		}
	}
	return c, nil
}

func (c *conn) close() error {
	for _, s := range c.stmts {
		if s.handle != 0 {
			sqlite3.Xsqlite3_finalize(c.tls, s.handle)
		}
	}
	c.stmts = nil
	var err error
	if c.db != 0 {
		if rc := sqlite3.Xsqlite3_close(c.tls, c.db); rc != sqlite3.SQLITE_OK {
			err = c.failure(rc)
		}
		c.db = 0
	}
	if c.params != 0 {
		sqlite3.Xsqlite3_free(c.tls, c.params)
	}
	c.tls.Close()
	return err
}

// one runs statement n and reads its first row into dest. It reports whether there was one.
func (c *conn) one(n int, dest, args []any) (found bool, err error) {
	s, err := c.start(n, args)
	if err != nil {
		return false, err
	}
	found, err = c.step(s)
	if found {
		if err = c.scan(s, dest, true); err == nil {
			_, err = c.step(s) // a statement that writes must come to its end
		}
	}
	return found, c.end(s, err)
}

// all runs statement n and reads every row into what next returns for it.
func (c *conn) all(n int, next func() []any, args []any) error {
	s, err := c.start(n, args)
	if err != nil {
		return err
	}
	found, err := c.step(s)
	for ; found && err == nil; found, err = c.step(s) {
		if err = c.scan(s, next(), false); err != nil {
			break
		}
	}
	return c.end(s, err)
}

// exec runs statement n and returns how many rows it changed.
func (c *conn) exec(n int, args []any) (changed int64, err error) {
	s, err := c.start(n, args)
	if err != nil {
		return 0, err
	}
	_, err = c.step(s)
	changed = sqlite3.Xsqlite3_changes64(c.tls, c.db)
	return changed, c.end(s, err)
}

// start returns statement n with its parameters bound; end must be called.
func (c *conn) start(n int, args []any) (uintptr, error) {
	s := &c.stmts[n]
	if s.handle == 0 {
		if err := c.prepare(n); err != nil {
			return 0, fmt.Errorf("prepare %q: %w", texts[n], err)
		}
	}
	if len(args) != s.params {
		return 0, fmt.Errorf("%q has %d parameters, not %d", texts[n], s.params, len(args))
	}
	return s.handle, c.bind(s.handle, args)
}

// step reports whether there is a row.
func (c *conn) step(s uintptr) (bool, error) {
	switch rc := sqlite3.Xsqlite3_step(c.tls, s); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		return false, nil
	default:
		return false, c.failure(rc)
	}
}

// end ends a run, which ended with err, and lets go of the locks and of the parameters.
func (c *conn) end(s uintptr, err error) error {
	sqlite3.Xsqlite3_reset(c.tls, s) // returns the error of the last step once more
	return err
}

func (c *conn) prepare(n int) error {
	text, err := c.cString(texts[n])
	if err != nil {
		return err
	}
	defer sqlite3.Xsqlite3_free(c.tls, text)
	out, err := c.alloc(8)
	if err != nil {
		return err
	}
	defer sqlite3.Xsqlite3_free(c.tls, out)
	rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, text, -1, sqlite3.SQLITE_PREPARE_PERSISTENT, out, 0)
	if rc != sqlite3.SQLITE_OK {
		return c.failure(rc)
	}
	handle := c.pointer(out)
	c.stmts[n] = stmt{handle, int(sqlite3.Xsqlite3_bind_parameter_count(c.tls, handle))}
	return nil
}

func (c *conn) failure(rc int32) error {
	message := "out of memory"
	if c.db != 0 {
		message = libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db))
	}
	return &resultError{int(rc), message}
}

// alloc returns n bytes of C memory.
func (c *conn) alloc(n int) (uintptr, error) {
	p := sqlite3.Xsqlite3_malloc(c.tls, int32(n))
	if p == 0 {
		return 0, errMemory
	}
	return p, nil
}

// cString returns text in C memory, with a zero byte at its end.
func (c *conn) cString(text string) (uintptr, error) {
	p, err := c.alloc(len(text) + 1)
	if err == nil {
		copy(libc.GoBytes(p, len(text)+1), text+"\x00")
	}
	return p, err
}

// pointer reads a pointer from C memory.
func (c *conn) pointer(at uintptr) uintptr {
	if bits.UintSize == 32 {
		return uintptr(binary.NativeEndian.Uint32(libc.GoBytes(at, 4)))
	}
	return uintptr(binary.NativeEndian.Uint64(libc.GoBytes(at, 8)))
}
