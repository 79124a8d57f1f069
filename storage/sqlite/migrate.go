package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/imidentity/issuer/storage"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID is what the first migration writes into the head of the file.
const applicationID = 1768778099

// migrate brings the schema of the database at path up to date. A file of another program is left as it is.
func migrate(ctx context.Context, path string) (err error) {
	db, err := sql.Open("sqlite", dsn(path, writerPragmas(Options{})))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	var id, versioned, tables int64
	err = db.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), "+
		"count(*) FILTER (WHERE name = 'goose_db_version'), "+
		"count(*) FILTER (WHERE name <> 'goose_db_version' AND type = 'table' AND name NOT LIKE 'sqlite_%') "+
		"FROM sqlite_schema").Scan(&id, &versioned, &tables)
	if err != nil {
		return err
	}
	if id != applicationID && tables != 0 {
		return errors.New("the database belongs to another program")
	}

	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	// The provider is silent unless told otherwise.
	p, err := goose.NewProvider(goose.DialectSQLite3, db, sub, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	// Read here and not by goose, which takes a damaged table for none.
	var have int64
	if versioned != 0 {
		err := db.QueryRowContext(ctx, "SELECT ifnull(max(version_id), 0) FROM goose_db_version").Scan(&have)
		if err != nil {
			return err
		}
	}
	sources := p.ListSources()
	want := sources[len(sources)-1].Version
	if have > want {
		return fmt.Errorf("%w: its schema is %d, this release knows %d", storage.ErrSchemaNewer, have, want)
	}
	if have < want {
		_, err = p.Up(ctx)
	}
	return err
}
