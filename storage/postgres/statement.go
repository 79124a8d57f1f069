package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/storage"
)

// insertInto returns the statement that inserts a row, or affects no row if one of its unique keys is taken.
func insertInto(table, columns string) string {
	return "INSERT INTO " + table + " (" + columns + ") VALUES (" + parameters(strings.Count(columns, ",")+1) + ") ON CONFLICT DO NOTHING"
}

// parameters returns the first n parameters of a statement.
func parameters(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("$%d", i+1)
	}
	return strings.Join(list, ", ")
}

// updateOf returns the statement that writes all columns of a row but the first keys, which identify it, if a condition holds that is
// written after them. Its arguments are those of insertInto.
func updateOf(table, columns string, keys int, condition string) string {
	var set, where []string
	for i, c := range strings.Split(columns, ", ") {
		if part := fmt.Sprintf("%s = $%d", c, i+1); i < keys {
			where = append(where, table+"."+part)
		} else {
			set = append(set, part)
		}
	}
	return "UPDATE " + table + " SET " + strings.Join(set, ", ") + " WHERE " + strings.Join(where, " AND ") + condition
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(ctx context.Context, sql string, args ...any) (int64, error) {
	return t.run(ctx, sql, args, nil)
}

// insert runs a statement that adds one row; [storage.ErrConflict] if it added none.
func (t *tx) insert(ctx context.Context, sql string, args []any) error {
	n, err := t.exec(ctx, sql, args...)
	if err == nil && n == 0 {
		return storage.ErrConflict
	}
	return err
}

// must runs a statement that changes one row; [storage.ErrNotFound] if it changed none.
func (t *tx) must(ctx context.Context, sql string, args ...any) error {
	n, err := t.exec(ctx, sql, args...)
	if err == nil && n == 0 {
		return storage.ErrNotFound
	}
	return err
}

// change runs a statement that changes one row if the row is as it demands, and exists to find out why it changed none:
// [storage.ErrConflict] if the row is there.
func (t *tx) change(ctx context.Context, exists func() error, sql string, args ...any) error {
	n, err := t.exec(ctx, sql, args...)
	if err != nil || n > 0 {
		return err
	}
	if err := exists(); err != nil {
		return err
	}
	return storage.ErrConflict
}
