package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imidentity/issuer/storage/transfer"
)

// columnsOf returns the columns of a table for SQL.
func columnsOf(t transfer.Table) []string {
	names := t.Names()
	for i, name := range names {
		names[i] = quoted(name)
		if name == transfer.Order && slices.Contains(transfer.Ordered, t.Name) {
			names[i] = "rowid"
		}
	}
	return names
}

// places returns n question marks.
func places(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// Count returns the number of rows of a table.
func (t *Transfer) Count(ctx context.Context, table transfer.Table) (n int64, err error) {
	return n, t.db.QueryRowContext(ctx, "SELECT count(*) FROM "+quoted(table.Name)).Scan(&n)
}

// Rows calls fn with the rows after a key.
func (t *Transfer) Rows(ctx context.Context, table transfer.Table, after []any, fn func(row []any) error) error {
	all, rest, _ := transfer.Select(quoted(table.Name), columnsOf(table), table.Key, places(table.Key))
	if after == nil {
		return t.query(ctx, all, table, nil, fn)
	}
	return t.query(ctx, rest, table, after, fn)
}

// Row returns the row of a key.
func (t *Transfer) Row(ctx context.Context, table transfer.Table, key []any) (found []any, err error) {
	_, _, one := transfer.Select(quoted(table.Name), columnsOf(table), table.Key, places(table.Key))
	return found, t.query(ctx, one, table, key, func(row []any) error { found = row; return nil })
}

func (t *Transfer) query(ctx context.Context, query string, table transfer.Table, args []any, fn func(row []any) error) (err error) {
	rows, err := t.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	dest := make([]any, len(table.Columns))
	for rows.Next() {
		row := make([]any, len(table.Columns))
		for i := range row {
			dest[i] = &row[i]
		}
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for i, c := range table.Columns {
			if row[i], err = valueOf(row[i], c.Kind); err != nil {
				return fmt.Errorf("column %s: %w", c.Name, err)
			}
		}
		if err := fn(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// valueOf returns a value that the driver has read, in the form of package transfer.
func valueOf(v any, kind transfer.Kind) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case int64:
		if kind == transfer.Integer {
			return v, nil
		}
	case string:
		if kind == transfer.Text {
			return v, nil
		}
	case []byte:
		if kind == transfer.Blob {
			return append([]byte{}, v...), nil // nil would be NULL
		}
	}
	return nil, fmt.Errorf("a value of type %s is stored as %T", kind, v)
}

// Begin marks an empty database as incomplete.
func (t *Transfer) Begin(ctx context.Context, number int64, tables []transfer.Table) error {
	return t.write(ctx, func(tx *sql.Tx) error {
		for _, text := range []string{
			"DROP TABLE IF EXISTS " + transfer.Progressed,
			"CREATE TABLE " + transfer.Progressed + " (name TEXT PRIMARY KEY, number INTEGER NOT NULL, key BLOB, n INTEGER NOT NULL, " +
				"sum BLOB NOT NULL, done INTEGER NOT NULL) STRICT",
		} {
			if _, err := tx.ExecContext(ctx, text); err != nil {
				return err
			}
		}
		for _, table := range tables {
			if _, err := tx.ExecContext(ctx, "INSERT INTO "+transfer.Progressed+" VALUES (?, ?, NULL, 0, zeroblob(32), 0)", table.Name,
				number); err != nil {
				return err
			}
		}
		return setMark(ctx, tx, partID, 0)
	})
}

// Progress returns how far the copy has come.
func (t *Transfer) Progress(ctx context.Context) (_ map[string]transfer.Progress, err error) {
	found := make(map[string]transfer.Progress)
	if begun, err := t.begun(ctx); err != nil || !begun {
		return found, err
	}
	rows, err := t.db.QueryContext(ctx, "SELECT name, key, n, sum, done FROM "+transfer.Progressed)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var name string
		var key, sum []byte
		var p transfer.Progress
		if err := rows.Scan(&name, &key, &p.Rows, &sum, &p.Done); err != nil {
			return nil, err
		}
		if p.Key, err = transfer.DecodeKey(key); err != nil || copy(p.Sum[:], sum) != len(p.Sum) {
			return nil, fmt.Errorf("the progress of the table %s is damaged: %v", name, err)
		}
		found[name] = p
	}
	return found, rows.Err()
}

// Append writes rows.
func (t *Transfer) Append(ctx context.Context, table transfer.Table, rows [][]any, p transfer.Progress) error {
	key, err := transfer.EncodeKey(p.Key)
	if err != nil {
		return err
	}
	return t.transact(ctx, func(tx *sql.Tx) error {
		insert, err := tx.PrepareContext(ctx, "INSERT INTO "+quoted(table.Name)+" ("+strings.Join(columnsOf(table), ", ")+") VALUES ("+
			places(len(table.Columns))+")")
		if err != nil {
			return err
		}
		defer insert.Close()
		for _, row := range rows {
			if _, err := insert.ExecContext(ctx, row...); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "UPDATE "+transfer.Progressed+" SET key = ?, n = ?, sum = ?, done = ? WHERE name = ?", key, p.Rows,
			p.Sum[:], p.Done, table.Name)
		return err
	})
}

// numbered are the tables with AUTOINCREMENT, and the column of the numbers: SQLite gives no number twice, also after its row was deleted.
var numbered = map[string]string{"revocations": "seq", "withdrawals": "id"}

// Numbers returns the highest numbers that were given.
func (t *Transfer) Numbers(ctx context.Context) (map[string]int64, error) {
	found := make(map[string]int64)
	for name, column := range numbered {
		var n int64
		if err := t.db.QueryRowContext(ctx, "SELECT max(ifnull((SELECT max("+column+") FROM "+name+"), 0), "+
			"ifnull((SELECT seq FROM sqlite_sequence WHERE name = ?), 0))", name).Scan(&n); err != nil {
			return nil, err
		}
		found[name] = n
	}
	return found, nil
}

// Raise makes later numbers be above others.
func (t *Transfer) Raise(ctx context.Context, numbers map[string]int64) error {
	return t.transact(ctx, func(tx *sql.Tx) error {
		for name := range numbered {
			if _, err := tx.ExecContext(ctx, "INSERT INTO sqlite_sequence (name, seq) SELECT ?1, 0 "+
				"WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?1)", name); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", numbers[name],
				name); err != nil {
				return err
			}
		}
		return nil
	})
}

// Complete removes the mark of Begin.
func (t *Transfer) Complete(ctx context.Context, number int64) error {
	return t.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DROP TABLE "+transfer.Progressed); err != nil {
			return err
		}
		return setMark(ctx, tx, applicationID, number)
	})
}
