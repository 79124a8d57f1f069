package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/types/api"
)

type usersRemoveCmd struct {
	operator
	target
	usersFile
	confirmed
	MayReturn bool `help:"Let the person sign in again later, as a new user with another id and handle."`
}

func (*usersRemoveCmd) Help() string {
	return `Everything of the user ends at once and is deleted: sessions, tokens, devices, statements, links, handles. This cannot be undone.
Only keyed hashes stay, so that no one else ever gets the id or a handle of the user. The person cannot sign in again with the same
account at the OpenID provider until issuer users readmit, or with --may-return for two hours. Export first what you must keep:

    issuer users remove @alice --confirm
    issuer users remove --file leavers.txt --dry-run
    issuer users remove --file leavers.txt

A user who is disabled is removed without --confirm, and so are those of a file. JSON is {"domain", "id", "removed_on", "changed",
"sessions_ended"}.
` + fileHelp
}

func (c *usersRemoveCmd) Run(ctx context.Context, s *streams) error {
	if err := c.check(&c.target); err != nil {
		return err
	}
	if c.File != "" {
		return c.run(ctx, s, &c.operator, c.Domain, userChange{
			verb:   verbRemoved,
			needed: func(api.User) bool { return true },
			apply: func(ctx context.Context, socket client.Admin, domain, id string) error {
				_, err := socket.RemoveUser(ctx, domain, id, c.MayReturn)
				return err
			},
		})
	}
	var r api.RemovedUser
	err := c.ask(s, &c.operator, func(socket client.Admin, domain, user string) (err error) {
		if err := c.confirm(ctx, socket, domain, user, verbRemoved); err != nil {
			return err
		}
		r, err = socket.RemoveUser(ctx, domain, user, c.MayReturn)
		return err
	})
	if err != nil {
		return err
	}
	return c.printRemoved(s, r)
}

// printRemoved reports a removal.
func (o *operator) printRemoved(s *streams, r api.RemovedUser) error {
	switch {
	case o.JSON:
		return printJSON(s, r)
	case r.Changed:
		fmt.Fprintf(s.out, "User %s in %s is removed: %s ended.\n", r.ID, r.Domain, count(r.SessionsEnded, "session"))
	default:
		fmt.Fprintf(s.out, "The user in %s had been removed on %s.\n", r.Domain, r.RemovedOn)
	}
	return nil
}

// confirmed is the flag of commands that cannot be undone.
type confirmed struct {
	Confirm bool `help:"Do it although the user is enabled."`
}

// confirm refuses what cannot be undone, for a user who is enabled, unless the flag is set.
func (f *confirmed) confirm(ctx context.Context, socket client.Admin, domain, user, verb string) error {
	if f.Confirm {
		return nil
	}
	p, err := socket.Person(ctx, domain, user)
	if e := (*client.Error)(nil); errors.As(err, &e) && e.Status == http.StatusGone {
		return nil // removed before
	} else if err != nil {
		return err
	}
	if p.DisabledAt == nil {
		return &client.Error{Status: http.StatusConflict, Code: "not_confirmed", Description: fmt.Sprintf("User %s in %s, called %s, "+
			"is enabled, and cannot be restored once %s. Disable the user first, or add --confirm.", p.ID, p.Domain, p.Handle, verb)}
	}
	return nil
}

type usersReadmitCmd struct {
	operator
	Iss    string `required:"" placeholder:"URL" help:"The issuer identifier of the OpenID provider, as in the settings."`
	Sub    string `required:"" placeholder:"ID" help:"The sub of the person there."`
	Domain string `placeholder:"NAME" help:"Domain of the user; not needed if the issuer serves only one."`
}

func (*usersReadmitCmd) Help() string {
	return `A person who was removed is refused when they sign in with the account at the OpenID provider that was theirs. Afterwards they
can sign in again, as a new user with another id and handle. What was removed does not come back.

    issuer users readmit --iss https://login.example.com --sub 10021`
}

func (c *usersReadmitCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	if err := socket.Readmit(ctx, c.Domain, c.Iss, c.Sub); err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return printJSON(s, struct{}{})
	}
	fmt.Fprintln(s.out, "The person can sign in again, as a new user.")
	return nil
}
