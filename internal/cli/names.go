package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/claims"
)

type namesCmd struct {
	Release namesReleaseCmd `cmd:"" help:"Free a former handle, so that somebody else can take it."`
}

type namesReleaseCmd struct {
	operator
	Handle string `arg:"" help:"The handle: alice, @alice, @alice@example.com, or its URI."`
	Domain string `placeholder:"NAME" help:"Domain of the handle; not needed if the handle names it, or if the issuer serves only one."`
}

func (*namesReleaseCmd) Help() string {
	return `A handle that a user had before a rename stays in quarantine: no other user can take it, since people may still write to it.
This command ends the quarantine. The next person who asks for the handle, or for a name that looks like it, can have it. The
handle stays in the history of the user who had it, and tokens with it stay inactive.

To take a handle from a user who has it now, rename the user first:

    issuer users rename @alice --to alice2
    issuer names release @alice

JSON is {"domain", "handle", "former_user", "released"}; the last is an array of every spelling that is free now.`
}

// find returns the domain, which may be empty, and the handle.
func (c *namesReleaseCmd) find() (domain, handle string, err error) {
	if strings.Contains(c.Handle, ":") {
		uri, err := claims.Parser{Reading: claims.Lenient, AllowSingleLabel: true}.Parse(c.Handle)
		// A mimi: URI of a handle reads as one of a user.
		if err != nil || uri.Type() != claims.TypeHandle && !(uri.System() == claims.SystemMIMI && uri.Type() == claims.TypeUser) {
			return "", "", usage("%q is not the URI of a handle, such as im:%%40alice@example.com", c.Handle)
		}
		domain, handle = uri.Domain(), uri.Local()
	} else {
		handle, domain, _ = strings.Cut(strings.TrimPrefix(c.Handle, "@"), "@")
	}
	switch {
	case handle == "":
		return "", "", usage("name a handle, as in @alice")
	case domain != "" && c.Domain != "" && domain != c.Domain:
		return "", "", usage("%s is not in %s", c.Handle, c.Domain)
	case domain == "":
		domain = c.Domain
	}
	return domain, handle, nil
}

func (c *namesReleaseCmd) Run(ctx context.Context, s *streams) error {
	domain, handle, err := c.find()
	if err != nil {
		return err
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	r, err := socket.ReleaseHandle(ctx, domain, handle)
	if err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return printJSON(s, r)
	}
	fmt.Fprintf(s.out, "The handle %s in %s is free. User %s had it.\n", r.Handle, r.Domain, r.User)
	return nil
}
