package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/imidentity/issuer/storage/transfer"
)

// Count returns the number of rows of a table.
func (t *Transfer) Count(ctx context.Context, table transfer.Table) (n int64, err error) {
	return n, t.failed(t.conn.QueryRow(ctx, "SELECT count(*) FROM "+quoted(table.Name)).Scan(&n))
}

// Rows calls fn with the rows after a key, as they arrive.
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

func (t *Transfer) query(ctx context.Context, query string, table transfer.Table, key []any, fn func(row []any) error) error {
	args := append([]any{}, key...)
	rows, err := t.conn.Query(ctx, query, bind(args)...)
	if err != nil {
		return t.failed(err)
	}
	defer rows.Close()
	for rows.Next() {
		row := make([]any, len(table.Columns))
		values, fields := rows.RawValues(), rows.FieldDescriptions()
		for i, c := range table.Columns {
			if row[i], err = valueOf(values[i], fields[i], c.Kind); err != nil {
				return fmt.Errorf("column %s: %w", c.Name, err)
			}
		}
		if err := fn(row); err != nil {
			return err
		}
	}
	return t.failed(rows.Err())
}

// valueOf returns a value in the form of package transfer.
func valueOf(value []byte, f pgconn.FieldDescription, kind transfer.Kind) (v any, err error) {
	if value == nil {
		return nil, nil
	}
	switch kind {
	case transfer.Integer:
		return integer(value, f)
	case transfer.Bool:
		var set bool
		if err := scanValue(value, f, &set); err != nil || !set {
			return int64(0), err
		}
		return int64(1), nil
	case transfer.Text:
		var s string
		err := scanValue(value, f, &s)
		return s, err
	}
	return blob(value, f)
}

// stored returns a value as a column of a kind stores it.
func stored(v any, kind transfer.Kind) (any, error) {
	switch s := v.(type) {
	case string:
		return escape(s), nil
	case int64:
		if kind != transfer.Bool {
			return s, nil
		}
		if s != 0 && s != 1 {
			return nil, fmt.Errorf("a boolean is stored as %d", s)
		}
		return s == 1, nil
	}
	return v, nil
}

// Begin marks an empty database as incomplete.
func (t *Transfer) Begin(ctx context.Context, number int64, tables []transfer.Table) error {
	return t.transact(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+transfer.Progressed); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "CREATE TABLE "+transfer.Progressed+" (name text PRIMARY KEY, number bigint NOT NULL, key bytea, "+
			"n bigint NOT NULL, sum bytea NOT NULL, done boolean NOT NULL)"); err != nil {
			return err
		}
		var none transfer.Sum
		for _, table := range tables {
			if _, err := tx.Exec(ctx, "INSERT INTO "+transfer.Progressed+" VALUES ($1, $2, NULL, 0, $3, false)", table.Name, number,
				none[:]); err != nil {
				return err
			}
		}
		return nil
	})
}

// Progress returns how far the copy has come.
func (t *Transfer) Progress(ctx context.Context) (map[string]transfer.Progress, error) {
	found := make(map[string]transfer.Progress)
	rows, err := t.conn.Query(ctx, "SELECT name, key, n, sum, done FROM "+transfer.Progressed)
	if err != nil && code(err) != codeNoTable {
		return nil, t.failed(err)
	}
	var name string
	var key, sum []byte
	var p transfer.Progress
	_, err = pgx.ForEachRow(rows, []any{&name, &key, &p.Rows, &sum, &p.Done}, func() (err error) {
		if p.Key, err = transfer.DecodeKey(key); err != nil || copy(p.Sum[:], sum) != len(p.Sum) {
			return fmt.Errorf("the progress of the table %s is damaged: %v", name, err)
		}
		found[name] = p
		return nil
	})
	if code(err) == codeNoTable {
		return found, nil
	}
	return found, t.failed(err)
}

// Append writes rows by COPY.
func (t *Transfer) Append(ctx context.Context, table transfer.Table, rows [][]any, p transfer.Progress) error {
	key, err := transfer.EncodeKey(p.Key)
	if err != nil {
		return err
	}
	return t.transact(ctx, func(tx pgx.Tx) error {
		if len(rows) > 0 {
			values := make([]any, len(table.Columns))
			next := func(i int) (_ []any, err error) {
				for j, c := range table.Columns {
					if values[j], err = stored(rows[i][j], c.Kind); err != nil {
						return nil, fmt.Errorf("column %s: %w", c.Name, err)
					}
				}
				return values, nil
			}
			_, err := tx.CopyFrom(ctx, pgx.Identifier{table.Name}, table.Names(), pgx.CopyFromSlice(len(rows), next))
			if err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, "UPDATE "+transfer.Progressed+" SET key = $2, n = $3, sum = $4, done = $5 WHERE name = $1", table.Name,
			key, p.Rows, p.Sum[:], p.Done)
		if err == nil && tag.RowsAffected() != 1 {
			err = errors.New("the table of the progress was changed by another program")
		}
		return err
	})
}

// Numbers returns the highest numbers that were given. Numbers of rows that were deleted are in the sequences.
func (t *Transfer) Numbers(ctx context.Context) (map[string]int64, error) {
	var revocations, withdrawals int64
	err := t.conn.QueryRow(ctx, "SELECT greatest(0, (SELECT last FROM swept_revocations), (SELECT max(seq) FROM revocations), "+
		"pg_sequence_last_value('revocation_numbers'::regclass)), greatest(0, (SELECT max(id) FROM withdrawals), "+
		"pg_sequence_last_value(pg_get_serial_sequence('withdrawals', 'id')::regclass))").Scan(&revocations, &withdrawals)
	return map[string]int64{"revocations": revocations, "withdrawals": withdrawals}, t.failed(err)
}

// Raise makes later numbers be above others, and those of all sequences above the rows that were copied. Followers of the revocations have
// seen numbers up to the highest that was given.
func (t *Transfer) Raise(ctx context.Context, numbers map[string]int64) error {
	sequences := []struct {
		name, highest string
		atLeast       int64
	}{
		{"'revocation_numbers'::regclass", "max(seq) FROM revocations", numbers["revocations"]},
		{"'client_numbers'::regclass", "max(seq) FROM clients", 0},
		{"pg_get_serial_sequence('withdrawals', 'id')::regclass", "max(id) FROM withdrawals", numbers["withdrawals"]},
	}
	for _, table := range transfer.Ordered {
		sequences = append(sequences, struct {
			name, highest string
			atLeast       int64
		}{"pg_get_serial_sequence('" + table + "', 'n')::regclass", "max(n) FROM " + table, 0})
	}
	return t.transact(ctx, func(tx pgx.Tx) error {
		for _, s := range sequences {
			if _, err := tx.Exec(ctx, "SELECT setval("+s.name+", v) FROM (SELECT greatest($1::bigint, (SELECT "+s.highest+"), "+
				"pg_sequence_last_value("+s.name+")) AS v) highest WHERE v > 0", s.atLeast); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "UPDATE swept_revocations SET last = greatest(last, $1)", numbers["revocations"])
		return err
	})
}

// Complete removes the mark of Begin. Before, it lets the server count, so that the first requests have good plans.
func (t *Transfer) Complete(ctx context.Context, number int64) error {
	if _, err := t.conn.Exec(ctx, "ANALYZE"); err != nil {
		return t.failed(err)
	}
	return t.transact(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "DROP TABLE "+transfer.Progressed)
		if err == nil {
			_, err = tx.Exec(ctx, "COMMENT ON TABLE pings IS '"+fmt.Sprintf(noted, number)+"'")
		}
		return err
	})
}
