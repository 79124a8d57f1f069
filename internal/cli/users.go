package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/server"
)

type usersCmd struct {
	Rename usersRenameCmd `cmd:"" help:"Give a user another handle."`
}

type usersRenameCmd struct {
	operator
	User   string `required:"" placeholder:"ID" help:"The user id, or her URI (im:USER@DOMAIN;id-type=user)."`
	To     string `required:"" placeholder:"HANDLE" help:"The new handle, without @ and domain."`
	Domain string `help:"Domain of the user; not needed with a URI, or if the issuer serves only one."`
}

func (*usersRenameCmd) Help() string {
	return `The user keeps her id, her devices and her sessions. Tokens with the old handle are inactive at once, the next
refresh brings the new one, and nobody else can take the old one:

    issuer users rename --user gN5iY0YZQZ2cVn5eX0m4Pw --to alex`
}

func (c *usersRenameCmd) Run(ctx context.Context, s *streams) error {
	domain, user := c.Domain, c.User // flags both: an id may begin with a hyphen
	if strings.Contains(user, ":") {
		uri, err := claims.Parser{Reading: claims.Lenient, AllowSingleLabel: true}.Parse(user)
		if err != nil || uri.Type() != claims.TypeUser {
			return usage("%q is not the URI of a user, such as im:USER@DOMAIN;id-type=user", user)
		}
		domain, user = uri.Domain(), uri.Local()
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	var u server.AdminUser
	if err := explain(socket, socket.RenameUser(ctx, domain, user, c.To, &u)); err != nil {
		return err
	}
	if c.JSON {
		return c.print(s, u, "", nil)
	}
	fmt.Fprintf(s.out, "User %s in %s is now called %s.\n", u.ID, u.Domain, u.Handle)
	return nil
}
