package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/types/api"
)

type statementsCmd struct {
	Sign     statementsSignCmd     `cmd:"" help:"Sign a statement about a user or an organisation, and print it."`
	List     statementsListCmd     `cmd:"" help:"List live statements."`
	Withdraw statementsWithdrawCmd `cmd:"" help:"Withdraw a statement; everything that depends on it ends."`
}

type statementsSignCmd struct {
	operator
	Type      string        `arg:"" enum:"member,guardian,move,rename,link" help:"The kind: member, guardian, move, rename or link."`
	Subject   string        `required:"" placeholder:"URI" help:"The subject: the organisation, the child, or the user who moved, was renamed or has another identity."`
	Party     string        `placeholder:"URI" help:"The other party: the member, the guardian, or the user's new or other identity. Not for a rename."`
	Role      string        `placeholder:"TEXT" help:"The role of a member."`
	OldHandle string        `placeholder:"URI" help:"The handle that the user had before a rename."`
	Audience  []string      `placeholder:"NAME" help:"The audience that may embed or read it: an issuer's URL, or a domain's URI. The default is this issuer and that of the party."`
	For       time.Duration `placeholder:"TIME" help:"How long it is valid, such as 720h; lifetimes.statement is the limit."`
}

func (*statementsSignCmd) Help() string {
	return `The issuer signs the statement like a token and vouches for it. Operators cannot make the statements that users make about
themselves, such as who acts for them or which key is theirs.

    issuer statements sign member --subject im:wxyz=%23%23team@example.net --party "im:$USER@example.net;id-type=user" --role lead
    issuer statements sign rename --subject "im:$USER@example.net;id-type=user" --old-handle im:%40alice@example.net`
}

func (c *statementsSignCmd) Run(ctx context.Context, s *streams) error {
	switch {
	case c.Type == "rename" && c.Party != "":
		return usage("a rename takes no --party: --old-handle names the former handle")
	case c.Type != "rename" && c.Party == "":
		return usage("%s needs --party", c.Type)
	case c.Type != "rename" && c.OldHandle != "":
		return usage("--old-handle is only for a rename")
	case c.Type != "member" && c.Role != "":
		return usage("--role is only for a member")
	case c.For < 0 || c.For%time.Second != 0:
		return usage("--for takes whole seconds")
	}
	statement := api.NewStatement{
		Type: "im-" + c.Type + "+jwt", Subject: c.Subject, Role: c.Role, OldHandle: c.OldHandle, Audience: c.Audience,
		ExpiresIn: int64(c.For / time.Second),
	}
	switch c.Type {
	case "member":
		statement.Member = c.Party
	case "guardian":
		statement.Guardian = c.Party
	case "move":
		statement.MovedTo = c.Party
	case "link":
		statement.SameAs = c.Party
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	made, err := socket.MakeStatement(ctx, statement)
	if err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return c.print(s, made, "", nil)
	}
	fmt.Fprintln(s.out, made.Token)
	return nil
}

type statementsListCmd struct {
	operator
	Domain string `placeholder:"NAME" help:"Domain of the subjects; not needed if the issuer serves only one."`
	User   string `placeholder:"ID" help:"Only those about this user."`
}

func (*statementsListCmd) Help() string {
	return `It lists statements that are neither expired nor withdrawn. The first column is the id for issuer statements withdraw:

    issuer statements list --user 7kHb3h043lahTHszoAokdg`
}

func (c *statementsListCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	list, err := all(socket.Statements(ctx, client.List{Domain: c.Domain, User: c.User, PageSize: 100}))
	if err != nil {
		return explain(socket, err)
	}
	return c.print(s, list, "STATEMENT\tTYPE\tABOUT\tNAMES\tUNTIL", func(w io.Writer) {
		for _, v := range list {
			names := cmp.Or(v.Actor, v.SameAs, v.MovedTo, v.Member, v.Guardian, v.OldHandle, v.JKT)
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", v.ID, v.Type, v.Subject, printable(names), v.ExpiresAt.Format(time.RFC3339))
		}
	})
}

type statementsWithdrawCmd struct {
	operator
	ID     string `required:"" placeholder:"ID" help:"The statement, as list shows it."`
	Domain string `placeholder:"NAME" help:"Domain of its subject; not needed if the issuer serves only one."`
	Reason string `default:"operator" placeholder:"TEXT" help:"The reason, for the log (${default})."`
}

func (*statementsWithdrawCmd) Help() string {
	return `Tokens that enclose it or were issued because of it become inactive at once. The devices of a delegation end.

    issuer statements withdraw --id 7kHb3h043lahTHszoAokdg --reason "left the team"`
}

func (c *statementsWithdrawCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	if err := socket.WithdrawStatement(ctx, c.Domain, c.ID, c.Reason); err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return printJSON(s, map[string]string{"id": c.ID, "reason": c.Reason})
	}
	fmt.Fprintf(s.out, "Withdrew statement %s.\n", c.ID)
	return nil
}
