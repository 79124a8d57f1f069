package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/imidentity/issuer/storage"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A Migration is a step of the schema.
type Migration struct {
	Version int64
	Name    string
	Applied bool
}

// Migrate brings the schema of the database at a URL to that of this release, and returns the steps that it took. Nodes of the release
// before may run meanwhile: a step first adds what the new release needs, and a later release takes away what none needs. Of several
// programs that migrate at once, one does the work. A database that a newer release has migrated is [storage.ErrSchemaNewer].
func Migrate(ctx context.Context, url string) (done []Migration, err error) {
	err = withProvider(ctx, url, func(p *goose.Provider, version int64) error {
		if known, err := newest(); err != nil || version > known {
			return errors.Join(err, storage.ErrSchemaNewer)
		}
		results, err := p.Up(ctx)
		for _, r := range results {
			done = append(done, Migration{r.Source.Version, r.Source.Path, true})
		}
		return err
	})
	return done, err
}

// Migrations returns all steps of the schema that this release knows.
func Migrations(ctx context.Context, url string) (list []Migration, err error) {
	err = withProvider(ctx, url, func(p *goose.Provider, _ int64) error {
		states, err := p.Status(ctx)
		for _, s := range states {
			list = append(list, Migration{s.Source.Version, s.Source.Path, s.State == goose.StateApplied})
		}
		return err
	})
	return list, err
}

// withProvider calls fn with the migrations and the version of the schema. A migration may take longer than a statement of a request.
func withProvider(ctx context.Context, url string, fn func(p *goose.Provider, version int64) error) (err error) {
	cfg, err := ParseURL(url)
	if err != nil {
		return err
	}
	delete(cfg.ConnConfig.RuntimeParams, "statement_timeout")
	delete(cfg.ConnConfig.RuntimeParams, "idle_in_transaction_session_timeout")
	db := stdlib.OpenDB(*cfg.ConnConfig, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		err := checkDirect(ctx, c) // goose takes a lock of the session
		if err != nil {
			_ = c.Close(ctx) // stdlib leaves it open
		}
		return err
	}))
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.PingContext(ctx); err != nil {
		return explain(cfg, err)
	}
	p, err := provider(db)
	if err != nil {
		return err
	}
	version, err := p.GetDBVersion(ctx)
	if err == nil {
		err = fn(p, version)
	}
	if err != nil {
		return explain(cfg, err)
	}
	return nil
}

func provider(db *sql.DB) (*goose.Provider, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, err
	}
	// The provider is silent unless told otherwise.
	return goose.NewProvider(goose.DialectPostgres, db, sub, goose.WithDisableGlobalRegistry(true), goose.WithSessionLocker(locker))
}

// newest returns the version of the schema that this release creates.
func newest() (int64, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil || len(names) == 0 {
		return 0, fmt.Errorf("no migrations: %v", err)
	}
	return goose.NumericComponent(names[len(names)-1])
}

const selectVersion = "SELECT (SELECT max(version_id) FROM goose_db_version WHERE is_applied), (SELECT oldest FROM schema_compatibility)"

// checkSchema returns an error unless this release can work with the schema of the database.
func (s *Store) checkSchema(ctx context.Context) error {
	known, err := newest()
	if err != nil {
		return err
	}
	var version, oldest int64
	switch err := s.row(ctx, selectVersion, []any{&version, &oldest}); {
	case code(err) == codeNoTable:
		return ErrSchemaOlder
	case err != nil:
		return err
	case version < known:
		return ErrSchemaOlder
	case oldest > known:
		return storage.ErrSchemaNewer
	}
	return nil
}
