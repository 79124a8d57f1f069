package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/imidentity/issuer/types/api"
)

type usersRelinkCmd struct {
	operator
	Map    string `required:"" placeholder:"FILE" help:"The links to move, one line of JSON each; - for stdin."`
	DryRun bool   `help:"Print what would happen, and change nothing."`
	Domain string `placeholder:"NAME" help:"Domain of the users; not needed if the issuer serves only one."`
}

func (*usersRelinkCmd) Help() string {
	return `A link ties a user to an account at an OpenID provider: its iss and sub. After a change of provider, or to correct a
mistake, move the links, so that people who sign in are the same users with the same handles and devices. Each line of the file
is one of:

    {"from": {"iss": "https://old.example.com", "sub": "1"}, "to": {"iss": "https://new.example.com", "sub": "a"}}
    {"user": "gN5iY0YZQZ2cVn5eX0m4Pw", "to": {"iss": "https://new.example.com", "sub": "a"}}
    {"from": {"iss": "https://old.example.com", "sub": "2"}, "user": "gN5iY0YZQZ2cVn5eX0m4Pw"}

The first gives the user of a link another account, the second does so for a user with only one link, and the third gives a link
to another user. iss and sub are compared byte by byte, so write iss exactly as the settings do. An account that is linked already
is refused, unless another line of the file moves its link. All lines are applied, or none. A file has at most 1000 lines and
256 KiB. Sessions continue; to end those of a user, disable and enable the user.

    issuer users relink --map moves.jsonl --dry-run
    issuer users relink --map moves.jsonl

JSON is {"domain", "dry_run", "moves", "unknown_issuers"}; each move is {"line", "user", "former_user", "from", "to"}.`
}

func (c *usersRelinkCmd) Run(ctx context.Context, s *streams) error {
	lines, err := c.read(s)
	if err != nil {
		return err
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	r, err := socket.Relink(ctx, c.Domain, lines, c.DryRun)
	if err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return printJSON(s, r)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tFORMER USER\tFROM\t\tTO\t")
	for _, m := range r.Moves {
		former := "-"
		if m.Former != "" {
			former = m.Former
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.User, former, printable(m.From.Issuer), printable(m.From.Subject),
			printable(m.To.Issuer), printable(m.To.Subject))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, iss := range r.Unknown {
		fmt.Fprintf(s.err, "No provider in the settings has the issuer %s: no one can sign in with these accounts until one has.\n",
			printable(iss))
	}
	if r.DryRun {
		fmt.Fprintf(s.out, "Nothing was changed: without --dry-run, %s in %s would move.\n", count(len(r.Moves), "link"), r.Domain)
	} else {
		fmt.Fprintf(s.out, "Moved %s in %s.\n", count(len(r.Moves), "link"), r.Domain)
	}
	return nil
}

// read reads the file. It refuses one that is too large to send.
func (c *usersRelinkCmd) read(s *streams) ([]byte, error) {
	in := s.in
	if c.Map != "-" {
		file, err := os.Open(c.Map)
		if err != nil {
			return nil, usage("--map: %v", err)
		}
		defer func() { _ = file.Close() }() // only read
		in = file
	}
	lines, err := io.ReadAll(io.LimitReader(in, api.MaxMap+1))
	if err != nil {
		return nil, usage("--map: %v", err)
	}
	if len(lines) > api.MaxMap {
		return nil, usage("--map: %s has more than %d KiB: split it", c.Map, api.MaxMap>>10)
	}
	return lines, nil
}
