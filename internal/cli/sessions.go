package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/imidentity/issuer/internal/client"
)

type sessionsCmd struct {
	List sessionsListCmd `cmd:"" help:"List live sessions, or those that ended."`
	End  sessionsEndCmd  `cmd:"" help:"End a session with its tokens. Its device stays."`
}

type sessionsListCmd struct {
	operator
	Domain string `placeholder:"NAME" help:"Domain of the sessions; not needed if the issuer serves only one."`
	User   string `placeholder:"ID" help:"Only the sessions of this user."`
	Ended  bool   `help:"List sessions that ended or expired, as long as they are stored (retention.sessions)."`
}

func (*sessionsListCmd) Help() string {
	return `It lists the live sessions of a domain in the order of their users, or those of one user:

    issuer sessions list
    issuer sessions list --user 7kHb3h043lahTHszoAokdg --json

With --ended it lists sessions that ended or expired. They are stored for some minutes, or for as long as retention.sessions says.`
}

func (c *sessionsListCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	list, err := all(socket.Sessions(ctx, client.List{Domain: c.Domain, User: c.User, Ended: c.Ended}))
	if err != nil {
		return explain(socket, err)
	}
	return c.print(s, list, "SESSION\tUSER\tDEVICE\tCLIENT\tDOMAIN\tSINCE\tREFRESHED\tENDS", func(w io.Writer) {
		for _, g := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.ID, g.User, g.Device, g.Client, g.Domain,
				g.CreatedAt.Format(time.RFC3339), moment(g.RefreshedAt), g.ExpiresAt.Format(time.RFC3339))
		}
	})
}

type sessionsEndCmd struct {
	operator
	Session string `required:"" placeholder:"ID" help:"The session, as sessions list shows it, and as sid in its tokens."`
	Domain  string `placeholder:"NAME" help:"Domain of the session; not needed if the issuer serves only one."`
	Reason  string `default:"operator" placeholder:"TEXT" help:"The reason, for the log (${default})."`
}

func (*sessionsEndCmd) Help() string {
	return `Its tokens are inactive at once, and its refresh token is refused. The app signs in again, as the same device:

    issuer sessions end --session 0Yq3hB2pTzqJv6m1cR8n4w --reason "left at a kiosk"`
}

func (c *sessionsEndCmd) Run(ctx context.Context, s *streams) error {
	if !kid.MatchString(c.Session) { // the form of all ids in paths
		return refused("there is no session %q: issuer sessions list shows them", c.Session)
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	domain, err := onlyDomain(ctx, socket, c.Domain, "the session")
	if err != nil {
		return err
	}
	g, err := socket.EndSession(ctx, domain, c.Session, c.Reason)
	if err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return printJSON(s, g)
	}
	fmt.Fprintf(s.out, "Session %s of user %s in %s ended at %s.\n", g.ID, g.User, g.Domain, moment(g.EndedAt))
	return nil
}
