package sqlitetest

import (
	"context"
	"database/sql"
	"fmt"
)

// A Table is the size of a table: its rows, and its bytes in the file with those of its indexes.
type Table struct{ Rows, Bytes int64 }

// Tables returns the size of each table of the database file at path. A store may have it open.
func Tables(ctx context.Context, path string) (map[string]Table, error) {
	db, err := sql.Open("sqlite", dsn(path, "ro"))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	sizes := make(map[string]Table)
	rows, err := db.QueryContext(ctx, "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_schema m ON m.name = s.name "+
		"WHERE s.aggregate = TRUE GROUP BY m.tbl_name")
	if err != nil {
		return nil, fmt.Errorf("sizes of the tables of %s: %w", path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var t Table
		if err := rows.Scan(&name, &t.Bytes); err != nil {
			return nil, err
		}
		sizes[name] = t
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for name, t := range sizes {
		if err := db.QueryRowContext(ctx, `SELECT count(*) FROM "`+name+`"`).Scan(&t.Rows); err != nil {
			return nil, fmt.Errorf("rows of the table %s: %w", name, err)
		}
		sizes[name] = t
	}
	return sizes, nil
}
