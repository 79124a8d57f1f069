package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/issuer"
)

type storageRestoredCmd struct {
	Config string `required:"" placeholder:"FILE" help:"Settings file of the issuer."`
}

func (*storageRestoredCmd) Help() string {
	return `Stop all nodes, restore the database with the tools of PostgreSQL, run this once, and start the nodes:

    issuer storage restored --config /etc/issuer/issuer.yaml

The restored state does not know later tokens and revocations. Therefore the command ends all sessions, credentials, codes and statements,
and revokes the signing keys, which ends all access tokens. All users must log in again. Repeat what you did since that time: remove devices, disable
or remove users, remove clients or rotate their secrets. The command does nothing while a node has the database open.`
}

func (c *storageRestoredCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := load(c.Config, s)
	if err != nil {
		return err
	}
	if !cfg.Postgres() {
		return usage("storage restored: the database is SQLite: issuer restore restores a backup and ends what was issued")
	}
	r, err := issuer.EndRestored(ctx, cfg)
	if err != nil {
		return notCopied(ctx, err)
	}
	events, flush := newLog(s, cfg.Log)
	defer flush()
	audit.New(events).Record(ctx, audit.Event{Kind: audit.BackupRestored, Actor: audit.ActorAdmin})
	fmt.Fprintf(s.out, "The database was restored to a state of %s.\n", r.Taken.UTC().Format(time.RFC3339))
	fmt.Fprintf(s.out, "Ended %s, revoked %s, withdrew %s. All users must log in again.\n",
		ended(r.Sessions, r.Credentials), count(int(r.Keys), "signing key"), count(int(r.Statements), "statement"))
	return nil
}
