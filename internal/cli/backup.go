package cli

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/imidentity/issuer/internal/server"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

type backupCmd struct {
	operator
	To string `required:"" placeholder:"FILE" help:"The file to write. It must not exist."`
}

func (*backupCmd) Help() string {
	return `The issuer goes on meanwhile. It writes the file itself, for its own user alone; keys are sealed in it as they are in
the database, so keep the key-encryption key somewhere else:

    issuer backup --config /etc/issuer/issuer.yaml --to /var/backups/issuer-$(date +%F).db

issuer restore --help says how to go back to it.`
}

func (c *backupCmd) Run(ctx context.Context, s *streams) error {
	to, err := filepath.Abs(c.To)
	if err != nil {
		return usage("--to: %w", err)
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	var b server.AdminBackup
	if err := explain(socket, socket.Backup(ctx, to, &b)); err != nil {
		return err
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
	return `With the issuer stopped:

    issuer restore --config /etc/issuer/issuer.yaml --from /var/backups/issuer-2026-03-14.db

People, handles and devices are as they were when the backup was made. What was issued or ended since is not in it, so
everything that was issued ends: all sessions, codes and statements, and by their keys all access tokens. Everybody logs
in again. The database of before is kept beside the new one; if it can still be read, the devices that were removed, the
users who were disabled and the clients that were removed or given another secret since the backup stay so.`
}

func (c *restoreCmd) Run(ctx context.Context, s *streams) error {
	database, kekFile := filepath.Join(cmp.Or(c.Data, defaultData), "issuer.db"), filepath.Join(cmp.Or(c.Data, defaultData), "kek")
	if c.Config != "" {
		cfg, err := load(c.Config, s)
		if err != nil {
			return err
		}
		database, kekFile = cfg.Database(), cfg.KEKFile
	}
	kek, err := keys.ReadKEK(kekFile)
	if err != nil {
		return usage("restore: %w", err)
	}
	r, err := sqlite.Restore(ctx, database, c.From, sqlite.RestoreOptions{
		Check: func(ctx context.Context, store storage.Store) error {
			if _, err := keys.ClusterSecret(ctx, store, keys.NewSealer(kek), nil); err != nil {
				return fmt.Errorf("%s cannot decrypt the keys in the backup: set kek_file to the key that it was made under: %w", kekFile, err)
			}
			return nil
		},
	})
	if err != nil {
		return notOpened("restore", err)
	}
	fmt.Fprintf(s.out, "Restored %s from %s, which is of %s.\n", database, c.From, r.Taken.UTC().Format(time.RFC3339))
	fmt.Fprintf(s.out, "Ended %s, revoked %s, withdrew %s. Everybody logs in again.\n",
		count(int(r.Sessions), "session"), count(int(r.Keys), "signing key"), count(int(r.Statements), "statement"))
	if r.Kept != "" {
		fmt.Fprintf(s.out, "The database of before is kept as %s.\n", r.Kept)
	}
	if r.Carried {
		fmt.Fprintf(s.out, "From there: %s removed, %s disabled, %s removed or with another secret since.\n",
			count(int(r.Devices), "device"), count(int(r.Users), "user"), count(int(r.Clients), "client"))
		return nil
	}
	fmt.Fprintln(s.out, "What was removed or disabled since the backup was made is not known: do that again, for devices, users and clients.")
	return nil
}
