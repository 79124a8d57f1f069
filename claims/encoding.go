package claims

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
)

var errNoURI = errors.New("claims: identifier has no URI")

// AppendText appends the canonical URI. The zero ID and an XMPP resource without localpart have none, which is an error.
func (id ID) AppendText(b []byte) ([]byte, error) {
	n := len(b)
	if b = id.appendURI(b); len(b) == n {
		return b, errNoURI
	}
	return b, nil
}

// MarshalText returns the canonical URI, for encoding/json and others. It fails as [ID.AppendText] does.
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText reads a URI as [Parse] does.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err == nil {
		*id = parsed
	}
	return err
}

// Set reads a URI as [ParseLenient] does, because people type flags. It makes *ID a [flag.Value].
func (id *ID) Set(text string) error {
	parsed, err := ParseLenient(text)
	if err == nil {
		*id = parsed
	}
	return err
}

// Value returns the canonical URI for a database, and NULL for the zero ID.
func (id ID) Value() (driver.Value, error) {
	if id.IsZero() {
		return nil, nil
	}
	text, err := id.MarshalText()
	return string(text), err
}

// Scan reads a value that [ID.Value] wrote. NULL is the zero ID.
func (id *ID) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*id = ID{}
		return nil
	case string:
		return id.UnmarshalText([]byte(v))
	case []byte:
		return id.UnmarshalText(v)
	}
	return fmt.Errorf("claims: cannot read an identifier from %T", src)
}

// LogValue logs the identifier as [ID.String] writes it.
func (id ID) LogValue() slog.Value { return slog.StringValue(id.String()) }
