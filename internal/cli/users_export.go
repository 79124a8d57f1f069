package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/types/api"
)

type usersExportCmd struct {
	operator
	target
	To string `placeholder:"FILE" help:"Write the signed export to a new file, of mode 0600."`
}

func (*usersExportCmd) Help() string {
	return `The export is a JWT of type im-export+jwt that the issuer signs. Its claim records has an array of JSON objects for each kind of
record, also empty ones; docs/data.md describes them. Secrets such as hashes of codes are not in it. Without --to, the JWT is printed, and
with --json its claims:

    issuer users export @alice --to alice.jwt
    issuer users export @alice --json`
}

func (c *usersExportCmd) Run(ctx context.Context, s *streams) error {
	var e api.Export
	err := c.ask(s, &c.operator, func(socket client.Admin, domain, user string) (err error) {
		e, err = socket.ExportUser(ctx, domain, user)
		return err
	})
	if err != nil {
		return err
	}
	switch {
	case c.To != "":
		return writeNew(c.To, []byte(e.Export+"\n"))
	case c.JSON:
		parts := strings.Split(e.Export, ".")
		if len(parts) != 3 {
			return errors.New("the issuer answered with no JWT")
		}
		text, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := json.Indent(&out, text, "", "  "); err != nil {
			return err
		}
		fmt.Fprintln(s.out, out.String())
		return nil
	}
	fmt.Fprintln(s.out, e.Export)
	return nil
}

// writeNew writes a file that does not exist yet and that only the user can read.
func writeNew(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usage("--to: %v", err)
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}

type usersEraseCmd struct {
	operator
	target
	confirmed
	MayReturn bool `help:"Let the person sign in again later, as a new user with another id and handle."`
}

func (*usersEraseCmd) Help() string {
	return `As issuer users remove, and when it returns, nothing of the user is left in the files of the database but keyed hashes and, for an
hour, the user id in revocations of their tokens. Statements of others that name the user end, too. A user who was removed before is
named in the same way. Backups and logs are yours to erase. Export first what you must keep:

    issuer users export @alice --to alice.jwt
    issuer users erase @alice --confirm

A user who is disabled is erased without --confirm. JSON is that of users remove with "statements_ended".`
}

func (c *usersEraseCmd) Run(ctx context.Context, s *streams) error {
	var r api.ErasedUser
	err := c.ask(s, &c.operator, func(socket client.Admin, domain, user string) (err error) {
		r, err = socket.EraseUser(ctx, domain, user, c.Confirm, c.MayReturn)
		return err
	})
	switch {
	case err != nil:
		return err
	case c.JSON:
		return printJSON(s, r)
	case r.Changed:
		fmt.Fprintf(s.out, "User %s in %s is erased: %s and %s of others ended.\n", r.ID, r.Domain, count(r.SessionsEnded, "session"),
			count(r.Statements, "statement"))
	default:
		fmt.Fprintf(s.out, "The user in %s had been removed on %s. Nothing is left of them.\n", r.Domain, r.RemovedOn)
	}
	return nil
}
