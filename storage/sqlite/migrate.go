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

	var id, tables int64
	err = db.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), "+
		"(SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'goose_%' AND name NOT LIKE 'sqlite_%')").Scan(&id, &tables)
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
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return fmt.Errorf("%w: its schema is %d, this release knows %d", storage.ErrSchemaNewer, have, want)
	}
	_, err = p.Up(ctx)
	return err
}
