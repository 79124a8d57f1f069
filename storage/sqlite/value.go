package sqlite

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/imidentity/issuer/storage"
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
		case *string, *storage.RevocationKind, *list, *form:
			var raw []byte
			if raw, err = c.text(s, col); err != nil {
				break
			}
			if joined {
				c.row = append(c.row, raw...)
				c.ends = append(c.ends, len(c.row))
			} else {
				err = setText(d, string(raw))
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
		case *instant:
			var v int64
			v, err = c.integer(s, col)
			*d = instant(fromMillis(v))
		case *span:
			var v int64
			v, err = c.integer(s, col)
			*d = span(time.Duration(v) * time.Millisecond)
		case *entry:
			var v int64
			v, err = c.integer(s, col)
			*d = entryOf(v)
		case *[]byte:
			*d, err = c.blob(s, col)
		case *digest:
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
		case *string, *storage.RevocationKind, *list, *form:
			if err := setText(d, texts[from:c.ends[n]]); err != nil {
				return fmt.Errorf("column %d: %w", i, err)
			}
			from, n = c.ends[n], n+1
		}
	}
	return nil
}

// setText stores the text of a column in one of the places for texts.
func setText(d any, text string) (err error) {
	switch d := d.(type) {
	case *string:
		*d = text
	case *storage.RevocationKind:
		*d = storage.RevocationKind(text)
	case *list:
		*d, err = parseList(text)
	case *form:
		*d, err = parseForm(text)
	}
	return err
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

// millis returns the stored form of a time: 0 for the zero time, else whole milliseconds since 1970.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// fromMillis returns the time that millis stored.
func fromMillis(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}

// An instant is the place of a time that millis stored.
type instant time.Time

// A span is the place of a duration that is stored in whole milliseconds.
type span time.Duration

// A list is the place of a list that text stored. An empty one is nil.
type list []string

// text returns the stored form of a list, a JSON array.
func text(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	data, _ := json.Marshal(list) // strings always marshal
	return string(data)
}

func parseList(s string) (l list, err error) {
	if s == "[]" {
		return nil, nil
	}
	if len(s) > 4 && strings.HasPrefix(s, `["`) && strings.HasSuffix(s, `"]`) && !strings.Contains(s, `\`) {
		return strings.Split(s[2:len(s)-2], `","`), nil // as json.Marshal writes it where nothing is escaped
	}
	err = json.Unmarshal([]byte(s), (*[]string)(&l))
	return l, err
}

// A digest is the place of 32 bytes.
type digest [32]byte

// A form is the place of a form that [url.Values.Encode] wrote. An empty one is nil.
type form url.Values

func parseForm(s string) (form, error) {
	if s == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(s)
	return form(values), err
}
