package cli

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/issuer"
)

type backupCmd struct {
	operator
	To string `required:"" placeholder:"FILE" help:"The file to write. It must not exist."`
}

func (*backupCmd) Help() string {
	return `The issuer keeps running. It writes the file itself, and only its own user can read it. Keys in the backup are encrypted, as in
the database. Store the key-encryption key somewhere else:

    issuer backup --config /etc/issuer/issuer.yaml --to /var/backups/issuer-$(date +%F).db

issuer restore --help explains how to restore it.`
}

func (c *backupCmd) Run(ctx context.Context, s *streams) error {
	if c.server(s) != "" {
		return usage("the issuer writes a backup on its own machine: run issuer backup there, at the admin socket")
	}
	to, err := filepath.Abs(c.To)
	if err != nil {
		return usage("--to: %w", err)
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	b, err := socket.Backup(ctx, to)
	if err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return printJSON(s, b)
	}
	fmt.Fprintf(s.out, "Wrote %d bytes to %s.\n", b.Bytes, b.File)
	return nil
}

type restoreCmd struct {
	Config string `xor:"where" placeholder:"FILE" help:"Settings file of the issuer."`
	Data   string `xor:"where" placeholder:"DIR" help:"Data folder of the issuer, if there is no --config (./data)."`
	From   string `required:"" placeholder:"FILE" help:"The backup."`
}

func (*restoreCmd) Help() string {
	return `Stop the issuer first:

    issuer restore --config /etc/issuer/issuer.yaml --from /var/backups/issuer-2026-03-14.db

Users, handles and devices return to their state in the backup. The backup does not know later tokens and revocations.
Therefore the restore ends all sessions, credentials, codes and statements, and revokes the signing keys, which ends all access tokens.
All users must log in again. The previous database is kept beside the new one. If it is readable, these changes since the backup are
applied again: removed devices, disabled and removed users, removed clients, and client secrets that were replaced.`
}

// ended says how many sessions a restore ended, and how many credentials if there were any.
func ended(sessions, credentials int64) string {
	if credentials == 0 {
		return count(int(sessions), "session")
	}
	return count(int(sessions), "session") + " and " + count(int(credentials), "credential")
}

func (c *restoreCmd) Run(ctx context.Context, s *streams) error {
	node := config.DefaultNode
	database := filepath.Join(cmp.Or(c.Data, defaultData), "issuer.db")
	kekFiles := []string{filepath.Join(cmp.Or(c.Data, defaultData), "kek")}
	var log config.Log
	if c.Config != "" {
		cfg, err := load(c.Config, s)
		if err != nil {
			return err
		}
		if cfg.Postgres() {
			return usage("restore: the database is PostgreSQL: restore it with its own tools, and then run " +
				"issuer storage restored: see docs/storage.md")
		}
		database, kekFiles, node, log = cfg.Database(), issuer.KEKFiles(cfg), cfg.Audit.Node, cfg.Log
	}
	r, err := issuer.Restore(ctx, database, kekFiles, c.From, node)
	if err != nil {
		return notOpened("restore", err)
	}
	events, flush := newLog(s, log)
	defer flush()
	audit.New(events).Record(ctx, audit.Event{Kind: audit.BackupRestored, Actor: audit.ActorAdmin})
	fmt.Fprintf(s.out, "Restored %s from %s, made at %s.\n", database, c.From, r.Taken.UTC().Format(time.RFC3339))
	fmt.Fprintf(s.out, "Ended %s, revoked %s, withdrew %s. All users must log in again.\n",
		ended(r.Sessions, r.Credentials), count(int(r.Keys), "signing key"), count(int(r.Statements), "statement"))
	if r.Kept != "" {
		fmt.Fprintf(s.out, "The previous database is kept as %s.\n", r.Kept)
	}
	if r.Carried {
		fmt.Fprintf(s.out, "Applied again from it: %s removed, %s disabled, %s removed, %s removed or with a new secret since the "+
			"backup.\n",
			count(int(r.Devices), "device"), count(int(r.Users), "user"), count(int(r.Removed), "user"), count(int(r.Clients), "client"))
		return nil
	}
	fmt.Fprintln(s.out, "No previous database could be read. Repeat what you did since the backup: "+
		"remove devices, disable or remove users, remove clients or rotate their secrets.")
	return nil
}
