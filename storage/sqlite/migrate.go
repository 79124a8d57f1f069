package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID is what the first migration writes into the head of the file.
const applicationID = 1768778099

// migrate brings the schema of the database at path, which is of the version have, up to date.
func migrate(ctx context.Context, path string, have int64) (err error) {
	known, err := newest()
	if err != nil || have == known {
		return err
	}
	db, err := sql.Open("sqlite", dsn(path, writerPragmas(Options{})))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	p, err := provider(db)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// newest returns the version of the schema that this release makes.
func newest() (int64, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(names) == 0 {
		return 0, fmt.Errorf("no migrations: %v", err)
	}
	return goose.NumericComponent(names[len(names)-1])
}

func provider(db *sql.DB) (*goose.Provider, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	// The provider is silent unless told otherwise.
	return goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true))
}
