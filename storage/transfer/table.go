package transfer

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Kind is the type of a column. In a row, values of Integer and Bool are int64, of Text string, and of Blob []byte. NULL is nil.
type Kind int

// The types of columns. Bool is 0 or 1; SQLite stores it as an Integer.
const (
	Integer Kind = iota
	Bool
	Text
	Blob
)

func (k Kind) String() string { return [...]string{"integer", "boolean", "text", "blob"}[k] }

// A Column is a column of a table.
type Column struct {
	Name string
	Kind Kind
}

// A Table is a table that is copied. The columns of the primary key come first, in its order, and then the others by name. A row has
// its values in this order.
type Table struct {
	Name    string
	Key     int // how many columns the primary key has
	Columns []Column
}

// NewTable returns a table with its columns in the right order.
func NewTable(name string, key []string, columns []Column) (Table, error) {
	t := Table{Name: name, Key: len(key)}
	for _, k := range key {
		i := slices.IndexFunc(columns, func(c Column) bool { return c.Name == k })
		if i < 0 {
			return t, fmt.Errorf("the table %s has no column %s", name, k)
		}
		t.Columns = append(t.Columns, columns[i])
	}
	var rest []Column
	for _, c := range columns {
		if !slices.Contains(key, c.Name) {
			rest = append(rest, c)
		}
	}
	slices.SortFunc(rest, func(a, b Column) int { return strings.Compare(a.Name, b.Name) })
	t.Columns = append(t.Columns, rest...)
	if t.Key == 0 {
		return t, fmt.Errorf("the table %s has no primary key", name)
	}
	return t, nil
}

// Names returns the names of the columns.
func (t Table) Names() []string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = c.Name
	}
	return names
}

// Order is the name of the column that holds the order of the rows in the tables of Ordered. It is the rowid in SQLite, and an identity
// column in PostgreSQL.
const Order = "n"

// Ordered are the tables with the column Order.
var Ordered = []string{"grants", "signing_keys"}

// left are the tables that are not copied, with the reason.
var left = map[string]string{
	"goose_db_version":     "the schema of the database itself",
	"schema_compatibility": "the schema of the database itself",
	"pings":                "a counter that means nothing",
	"swept_revocations":    "one of Database.Numbers",
	"history":              "the server that gave the last number",
	Progressed:             "the copy itself",
	Departed:               "the copy itself",
}

// The tables that a copy creates: how far it has come, in the target; and the mark of a PostgreSQL database that was copied away. Their
// names tell a reader of the schema about the mark.
const (
	Progressed = "copy_incomplete"
	Departed   = "copied_away"
)

// Left reports whether a table is not copied. Spent proofs, in the tables whose names begin with "replay", are not: the target begins
// a new epoch, which makes all nonces from before stale.
func Left(table string) bool {
	return left[table] != "" || strings.HasPrefix(table, "replay") || strings.HasPrefix(table, "sqlite_")
}

// A pair is a table in both databases: the types of the columns may differ.
type pair struct{ from, to Table }

// Inserts into revocations have a trigger that changes sessions, and inserts into rekeys and removals have triggers that end
// credentials. They must find none: so revocations are copied before all others, and credentials after all others.
const (
	first = "revocations"
	last  = "credentials"
)

// turn returns when a table is copied: lower ones come first.
func turn(table string) int {
	switch table {
	case first:
		return 0
	case last:
		return 2
	}
	return 1
}

// match returns the tables of two databases in the order in which they are copied.
func match(from, to []Table) (list []pair, err error) {
	var faults []error
	for _, t := range from {
		i := slices.IndexFunc(to, func(o Table) bool { return o.Name == t.Name })
		if i < 0 {
			faults = append(faults, fmt.Errorf("%w: only the source has the table %s", ErrSchema, t.Name))
			continue
		}
		if err := same(t, to[i]); err != nil {
			faults = append(faults, err)
		}
		list = append(list, pair{t, to[i]})
	}
	for _, t := range to {
		if !slices.ContainsFunc(from, func(o Table) bool { return o.Name == t.Name }) {
			faults = append(faults, fmt.Errorf("%w: only the target has the table %s", ErrSchema, t.Name))
		}
	}
	slices.SortFunc(list, func(a, b pair) int {
		return cmp.Or(turn(a.from.Name)-turn(b.from.Name), strings.Compare(a.from.Name, b.from.Name))
	})
	return list, errors.Join(faults...)
}

// same returns an error unless two tables have the same columns and primary key.
func same(a, b Table) error {
	plain := func(t Table) (list []Column) {
		for _, c := range t.Columns {
			if c.Kind == Bool {
				c.Kind = Integer
			}
			list = append(list, c)
		}
		return list
	}
	if a.Key != b.Key || !slices.Equal(plain(a), plain(b)) {
		return fmt.Errorf("%w: the columns of %s are %v with a key of %d in the source and %v with a key of %d in the target",
			ErrSchema, a.Name, a.Columns, a.Key, b.Columns, b.Key)
	}
	return nil
}

// shown are the columns of primary keys that may be printed: ids that the issuer made, numbers, and names of the settings. Handles and
// accounts are personal.
var shown = []string{"domain", "entry", "device_id", "id", "jti", "kid", "kind", "node", "number", "seq", "user_id"}

// showKey returns the primary key of a row for messages. It shows a hash in place of a personal value, and of a secret one.
func showKey(t Table, key []any) string {
	var b strings.Builder
	for i, v := range key {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(t.Columns[i].Name + "=")
		if n, ok := v.(int64); ok {
			fmt.Fprint(&b, n)
		} else if s, ok := v.(string); ok && slices.Contains(shown, t.Columns[i].Name) {
			fmt.Fprintf(&b, "%q", s)
		} else {
			form, _ := encode(nil, key[i:i+1])
			fmt.Fprintf(&b, "sha256:%.12x", sha256.Sum256(form))
		}
	}
	return b.String()
}

// Select returns the SQL that reads a table in the order of its primary key: all rows, the rows after a key, and the row of a key. The
// first key columns are the primary key, and places are the parameters for its values, in the form of the database.
func Select(table string, columns []string, key int, places string) (all, after, one string) {
	keys := strings.Join(columns[:key], ", ")
	from := "SELECT " + strings.Join(columns, ", ") + " FROM " + table
	order := " ORDER BY " + keys
	return from + order, from + " WHERE (" + keys + ") > (" + places + ")" + order, from + " WHERE (" + keys + ") = (" + places + ")"
}
