package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// PostgreSQL stores no text with a zero byte, nor one that is not UTF-8. Both may come in a request, where "there is no such record" is
// the right answer. So escape writes such bytes as an escape character and others, so that different texts stay different and a zero byte
// comes first in the order.
const escapeChar = '\x01'

// escape returns the stored form of a text. Almost every text is its own.
func escape(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 && strings.IndexByte(s, escapeChar) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == 0:
			b.WriteString("\x01\x01")
		case r == escapeChar:
			b.WriteString("\x01\x02")
		case r == utf8.RuneError && n == 1:
			b.WriteByte(escapeChar)
			b.WriteByte('A' + s[i]>>4)
			b.WriteByte('A' + s[i]&15)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// unescape returns the text that escape stored. What escape does not write is returned as it is.
func unescape(s string) string {
	if strings.IndexByte(s, escapeChar) < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		rest := s[i:]
		switch {
		case rest[0] != escapeChar || len(rest) < 2:
			b = append(b, rest[0])
		case rest[1] == 1:
			b = append(b, 0)
			i++
		case rest[1] == 2:
			b = append(b, escapeChar)
			i++
		case len(rest) > 2 && isHalf(rest[1]) && isHalf(rest[2]):
			b = append(b, (rest[1]-'A')<<4|(rest[2]-'A'))
			i += 2
		default:
			b = append(b, rest[0])
		}
	}
	return string(b)
}

func isHalf(c byte) bool { return c >= 'A' && c <= 'P' }

// bind makes the arguments of a statement such that PostgreSQL takes them.
func bind(args []any) []any {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			if e := escape(s); e != s {
				args[i] = e
			}
		}
	}
	return args
}

// scan reads the columns of the current row into dest. A value of another type than the column should have is an error.
func scan(rows pgx.Rows, dest []any) error {
	values, fields := rows.RawValues(), rows.FieldDescriptions()
	if len(values) != len(dest) {
		return fmt.Errorf("%d columns, not %d", len(values), len(dest))
	}
	for i, d := range dest {
		if err := scanValue(values[i], fields[i], d); err != nil {
			return fmt.Errorf("column %s: %w", fields[i].Name, err)
		}
	}
	return nil
}

func scanValue(value []byte, f pgconn.FieldDescription, dest any) (err error) {
	var n int64
	switch d := dest.(type) {
	case *string, *storage.RevocationKind, *row.List, *row.Form:
		if value == nil || f.DataTypeOID != pgtype.TextOID {
			return fmt.Errorf("a text is stored as type %d", f.DataTypeOID)
		}
		return row.SetText(d, unescape(string(value)))
	case *int64:
		*d, err = integer(value, f)
	case *int:
		n, err = integer(value, f)
		*d = int(n)
	case *row.Instant:
		n, err = integer(value, f)
		*d = row.Instant(row.FromMillis(n))
	case *row.Span:
		n, err = integer(value, f)
		*d = row.Span(time.Duration(n) * time.Millisecond)
	case *row.Entry:
		n, err = integer(value, f)
		*d = row.EntryOf(n)
	case *bool:
		if f.DataTypeOID != pgtype.BoolOID || len(value) != 1 {
			return fmt.Errorf("a boolean is stored as type %d", f.DataTypeOID)
		}
		*d = value[0] == 1 || value[0] == 't'
	case *[]byte:
		*d, err = blob(value, f)
	case *row.Digest:
		if value, err = blob(value, f); err == nil && len(value) != len(d) {
			err = fmt.Errorf("%d bytes, not %d", len(value), len(d))
		}
		copy(d[:], value)
	default:
		err = fmt.Errorf("cannot be read into a %T", dest)
	}
	return err
}

func integer(value []byte, f pgconn.FieldDescription) (int64, error) {
	switch {
	case value == nil, f.DataTypeOID != pgtype.Int8OID && f.DataTypeOID != pgtype.Int4OID:
		return 0, fmt.Errorf("an integer is stored as type %d", f.DataTypeOID)
	case f.Format == pgx.TextFormatCode:
		return strconv.ParseInt(string(value), 10, 64)
	case len(value) == 8:
		return int64(binary.BigEndian.Uint64(value)), nil
	case len(value) == 4:
		return int64(int32(binary.BigEndian.Uint32(value))), nil
	}
	return 0, fmt.Errorf("an integer of %d bytes", len(value))
}

// blob returns a copy of a blob, nil for NULL.
func blob(value []byte, f pgconn.FieldDescription) ([]byte, error) {
	switch {
	case f.DataTypeOID != pgtype.ByteaOID:
		return nil, fmt.Errorf("a blob is stored as type %d", f.DataTypeOID)
	case value == nil:
		return nil, nil
	case f.Format != pgx.BinaryFormatCode:
		return nil, errors.New("a blob in the text format")
	}
	return append([]byte{}, value...), nil
}
