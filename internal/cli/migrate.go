package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/storage"
)

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Take the steps that the database lacks."`
	Status migrateStatusCmd `cmd:"" help:"List the steps, and which the database lacks."`
}

// migrating is what both commands need.
type migrating struct {
	Config string `required:"" placeholder:"FILE" help:"Settings file of the issuer."`
}

func (c *migrating) load(s *streams) (*config.Config, error) {
	cfg, err := load(c.Config, s)
	if err != nil {
		return nil, err
	}
	if !cfg.Postgres() {
		return nil, usage("migrate: the database is SQLite, which issuer serve migrates when it starts")
	}
	return cfg, nil
}

type migrateUpCmd struct{ migrating }

func (*migrateUpCmd) Help() string {
	return `Run it once before the first start, and before a new release starts. Processes of the release before may run meanwhile: the steps
add what the new release needs, and take away nothing that the one before needs. Of several that run at once, one does the work.

    issuer migrate up --config /etc/issuer/issuer.yaml

The user of storage_url_file needs the right to create tables in the schema public. issuer serve does not need it.`
}

func (c *migrateUpCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	done, err := issuer.Migrate(ctx, cfg)
	for _, m := range done {
		fmt.Fprintf(s.out, "Took step %d (%s).\n", m.Version, m.Name)
	}
	if err != nil {
		return notMigrated(err)
	}
	if len(done) == 0 {
		fmt.Fprintln(s.out, "The schema is that of this release.")
	}
	return nil
}

type migrateStatusCmd struct {
	migrating
	JSON bool `name:"json" help:"Print JSON."`
}

func (*migrateStatusCmd) Help() string {
	return `It takes none of them. The exit code is 1 if the database lacks a step.

    issuer migrate status --config /etc/issuer/issuer.yaml

JSON is an array of {"version", "name", "applied"}.`
}

func (c *migrateStatusCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := c.load(s)
	if err != nil {
		return err
	}
	list, err := issuer.Migrations(ctx, cfg)
	if err != nil {
		return notMigrated(err)
	}
	type step struct {
		Version int64  `json:"version"`
		Name    string `json:"name"`
		Applied bool   `json:"applied"`
	}
	steps, lacking := []step{}, 0
	for _, m := range list {
		steps = append(steps, step{m.Version, m.Name, m.Applied})
		if !m.Applied {
			lacking++
		}
	}
	if c.JSON {
		if err := printJSON(s, steps); err != nil {
			return err
		}
	} else {
		for _, m := range steps {
			word := "applied"
			if !m.Applied {
				word = "lacking"
			}
			fmt.Fprintf(s.out, "%s\t%s\n", word, m.Name)
		}
	}
	if lacking > 0 {
		return refused("the database lacks %s: run issuer migrate up", count(lacking, "step"))
	}
	return nil
}

// notMigrated returns the error of a migration: a mistake to correct, or a database that is unavailable now.
func notMigrated(err error) error {
	if errors.Is(err, storage.ErrUnavailable) {
		return unknown("migrate: %w", err)
	}
	return usage("migrate: %w", err)
}
