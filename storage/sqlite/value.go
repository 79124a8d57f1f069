package sqlite

import (
	"fmt"
	"reflect"
	"time"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// bind sets the parameters of a statement. Texts and blobs are copied to memory of the connection, where they stay until the
// next run of any statement.
func (c *conn) bind(s uintptr, args []any) error {
	size := 0
	for _, arg := range args {
		switch v := arg.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
	}
	if size >= c.paramsSize {
		size = 2*size + 1024
		p := sqlite3.Xsqlite3_realloc(c.tls, c.params, int32(size))
		if p == 0 {
			return errMemory
		}
		c.params, c.paramsSize = p, size
	}
	free := c.params
	for i, arg := range args {
		n, rc := int32(i+1), int32(sqlite3.SQLITE_OK)
		switch v := arg.(type) {
		case int64:
			rc = sqlite3.Xsqlite3_bind_int64(c.tls, s, n, v)
		case int:
			rc = sqlite3.Xsqlite3_bind_int64(c.tls, s, n, int64(v))
		case bool:
			var one int64
			if v {
				one = 1
			}
			rc = sqlite3.Xsqlite3_bind_int64(c.tls, s, n, one)
		case string:
			copy(libc.GoBytes(free, len(v)), v)
			rc = sqlite3.Xsqlite3_bind_text(c.tls, s, n, free, int32(len(v)), sqlite3.SQLITE_STATIC)
			free += uintptr(len(v))
		case []byte:
			if v == nil {
				rc = sqlite3.Xsqlite3_bind_null(c.tls, s, n)
				break
			}
			copy(libc.GoBytes(free, len(v)), v)
			rc = sqlite3.Xsqlite3_bind_blob(c.tls, s, n, free, int32(len(v)), sqlite3.SQLITE_STATIC)
			free += uintptr(len(v))
		default:
			return fmt.Errorf("parameter %d is a %v", n, reflect.TypeOf(arg))
		}
		if rc != sqlite3.SQLITE_OK {
			return c.failure(rc)
		}
	}
	return nil
}

// scan reads the columns of a row into dest. A value of another type than the column should have is an error. If joined, the texts of
// the row share one allocation, and none of them is freed before all are: for rows that do not live long.
func (c *conn) scan(s uintptr, dest []any, joined bool) error {
	c.row, c.ends = c.row[:0], c.ends[:0]
	for i, d := range dest {
		col := int32(i)
		var err error
		switch d := d.(type) {
		case *string, *storage.RevocationKind, *row.List, *row.Form:
			var raw []byte
			if raw, err = c.text(s, col); err != nil {
				break
			}
			if joined {
				c.row = append(c.row, raw...)
				c.ends = append(c.ends, len(c.row))
			} else {
				err = row.SetText(d, string(raw))
			}
		case *int64:
			*d, err = c.integer(s, col)
		case *int:
			var v int64
			v, err = c.integer(s, col)
			*d = int(v)
		case *bool:
			var v int64
			v, err = c.integer(s, col)
			*d = v != 0
		case *row.Instant:
			var v int64
			v, err = c.integer(s, col)
			*d = row.Instant(row.FromMillis(v))
		case *row.Span:
			var v int64
			v, err = c.integer(s, col)
			*d = row.Span(time.Duration(v) * time.Millisecond)
		case *row.Entry:
			var v int64
			v, err = c.integer(s, col)
			*d = row.EntryOf(v)
		case *[]byte:
			*d, err = c.blob(s, col)
		case *row.Digest:
			var v []byte
			if v, err = c.blob(s, col); err == nil && len(v) != len(d) {
				err = fmt.Errorf("%d bytes, not %d", len(v), len(d))
			}
			copy(d[:], v)
		default:
			err = fmt.Errorf("cannot be read into a %v", reflect.TypeOf(d))
		}
		if err != nil {
			return fmt.Errorf("column %d: %w", i, err)
		}
	}
	if len(c.ends) == 0 {
		return nil
	}
	texts, from, n := string(c.row), 0, 0
	for i, d := range dest {
		switch d.(type) {
		case *string, *storage.RevocationKind, *row.List, *row.Form:
			if err := row.SetText(d, texts[from:c.ends[n]]); err != nil {
				return fmt.Errorf("column %d: %w", i, err)
			}
			from, n = c.ends[n], n+1
		}
	}
	return nil
}

func (c *conn) integer(s uintptr, col int32) (int64, error) {
	if t := sqlite3.Xsqlite3_column_type(c.tls, s, col); t != sqlite3.SQLITE_INTEGER {
		return 0, fmt.Errorf("an integer is stored as type %d", t)
	}
	return sqlite3.Xsqlite3_column_int64(c.tls, s, col), nil
}

// text returns the bytes of a text, which are memory of SQLite until the next call of step.
func (c *conn) text(s uintptr, col int32) ([]byte, error) {
	if t := sqlite3.Xsqlite3_column_type(c.tls, s, col); t != sqlite3.SQLITE_TEXT {
		return nil, fmt.Errorf("a text is stored as type %d", t)
	}
	p := sqlite3.Xsqlite3_column_text(c.tls, s, col)
	if p == 0 {
		return nil, errMemory
	}
	return libc.GoBytes(p, int(sqlite3.Xsqlite3_column_bytes(c.tls, s, col))), nil
}

// blob returns a copy of a blob, nil for NULL.
func (c *conn) blob(s uintptr, col int32) ([]byte, error) {
	switch t := sqlite3.Xsqlite3_column_type(c.tls, s, col); t {
	case sqlite3.SQLITE_NULL:
		return nil, nil
	case sqlite3.SQLITE_BLOB:
	default:
		return nil, fmt.Errorf("a blob is stored as type %d", t)
	}
	p := sqlite3.Xsqlite3_column_blob(c.tls, s, col)
	n := int(sqlite3.Xsqlite3_column_bytes(c.tls, s, col))
	b := make([]byte, n)
	if n > 0 {
		if p == 0 {
			return nil, errMemory
		}
		copy(b, libc.GoBytes(p, n))
	}
	return b, nil
}
