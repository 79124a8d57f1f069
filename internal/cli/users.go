package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/types/api"
)

type usersCmd struct {
	List    usersListCmd    `cmd:"" help:"List users."`
	Search  usersSearchCmd  `cmd:"" help:"Find users by part of a handle, an id, a subject or a device."`
	Show    usersShowCmd    `cmd:"" help:"Show a user with their handles, links, devices and sessions."`
	Rename  usersRenameCmd  `cmd:"" help:"Give a user another handle."`
	Relink  usersRelinkCmd  `cmd:"" help:"Move links to accounts at OpenID providers, after a change of provider or a mistake."`
	Disable usersDisableCmd `cmd:"" help:"Disable a user: end all sessions and tokens at once, and refuse logins."`
	Enable  usersEnableCmd  `cmd:"" help:"Let a disabled user sign in again."`
	Remove  usersRemoveCmd  `cmd:"" help:"Remove a user for ever, with everything of theirs."`
	Export  usersExportCmd  `cmd:"" help:"Print everything that is stored about a user."`
	Erase   usersEraseCmd   `cmd:"" help:"Remove a user for ever, and make sure that nothing of them can be recovered."`
	Readmit usersReadmitCmd `cmd:"" help:"Let a removed person sign in again, as a new user."`
}

// target holds the arguments that name a user.
type target struct {
	Who    string `arg:"" optional:"" name:"user" help:"The user: an id, a URI, or a handle as in @alice or @alice@example.com."`
	User   string `placeholder:"ID" help:"The same, for an id that begins with a hyphen."`
	Domain string `placeholder:"NAME" help:"Domain of the user; not needed with a URI, or if the issuer serves only one."`
}

// find returns the domain, which may be empty, and the name of the user in the admin API: an id, or @HANDLE.
func (w *target) find() (domain, user string, err error) {
	text := cmp.Or(w.Who, w.User)
	switch {
	case text == "" || w.Who != "" && w.User != "":
		return "", "", usage("name one user: by id, by URI, or by handle as in @alice")
	case strings.Contains(text, ":"):
		uri, err := claims.Parser{Reading: claims.Lenient, AllowSingleLabel: true}.Parse(text)
		switch {
		case err == nil && uri.Type() == claims.TypeUser:
			return uri.Domain(), uri.Local(), nil
		case err == nil && uri.Type() == claims.TypeHandle:
			return uri.Domain(), "@" + uri.Local(), nil
		}
		return "", "", usage("%q is not the URI of a user, such as im:USER@DOMAIN;id-type=user, nor of a handle", text)
	case strings.ContainsAny(text, "/?#%"):
		return "", "", usage("%q is neither a user id nor a handle", text)
	case text[0] != '@':
		return w.Domain, text, nil
	}
	handle, domain, found := strings.Cut(text[1:], "@")
	if found && w.Domain != "" && domain != w.Domain {
		return "", "", usage("%s is not in %s", text, w.Domain)
	}
	return cmp.Or(domain, w.Domain), "@" + handle, nil
}

// ask calls the admin API with the domain and the name of the user.
func (w *target) ask(s *streams, o *operator, call func(socket client.Admin, domain, user string) error) error {
	domain, user, err := w.find()
	if err != nil {
		return err
	}
	socket, err := o.socket(s)
	if err != nil {
		return err
	}
	err = call(socket, domain, user)
	if e := (*client.Error)(nil); errors.As(err, &e) && e.Status == http.StatusNotFound {
		return refused("%s Name the user by id, by URI or by handle, as in @alice. issuer users search TEXT finds users.",
			e.Description)
	}
	return explain(socket, err)
}

type usersListCmd struct {
	operator
	Domain string `placeholder:"NAME" help:"Domain of the users; not needed if the issuer serves only one."`
	Search string `placeholder:"TEXT" help:"Only users that issuer users search TEXT finds."`
	Limit  int    `placeholder:"N" help:"At most N users (all)."`
	After  string `placeholder:"ID" help:"Only users whose ids come after ID: the next page."`
}

func (*usersListCmd) Help() string {
	return `In the order of their ids:

    issuer users list
    issuer users list --search ali --limit 20
    issuer users list --config /etc/issuer/issuer.yaml --domain example.com --json

JSON is an array of {"domain", "id", "handle", "created_at", "disabled_at"}; the last is there only of disabled users.`
}

func (c *usersListCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	if c.Limit < 0 {
		return usage("--limit must be at least 1")
	}
	list, more, err := c.users(ctx, socket)
	if err := explain(socket, err); err != nil {
		return err
	}
	if more {
		defer fmt.Fprintf(s.err, "There may be more: add --after %s\n", list[len(list)-1].ID)
	}
	return c.print(s, list, "USER\tHANDLE\tDOMAIN\tSINCE\tDISABLED", func(w io.Writer) {
		for _, u := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.ID, u.Handle, u.Domain, u.CreatedAt.Format(time.RFC3339), moment(u.DisabledAt))
		}
	})
}

// users returns the users of the list, up to the limit. More is set if the limit was reached.
func (c *usersListCmd) users(ctx context.Context, socket client.Admin) (list []api.User, more bool, err error) {
	l := client.List{Domain: c.Domain, Search: c.Search, After: c.After}
	if c.Limit > 0 {
		l.PageSize = min(c.Limit, 500)
	}
	list = []api.User{}
	for u, err := range socket.Users(ctx, l) {
		if err != nil {
			return nil, false, err
		}
		if list = append(list, u); len(list) == c.Limit {
			return list, true, nil
		}
	}
	return list, false, nil
}

type usersShowCmd struct {
	operator
	target
}

func (*usersShowCmd) Help() string {
	return `By handle, also a former one, or by an identifier from a token:

    issuer users show @alice
    issuer users show 'im:gN5iY0YZQZ2cVn5eX0m4Pw@example.com;id-type=user' --json

JSON is the entry of users list with "uri" and "handle_uri", and the arrays "handles" (the present and former ones), "links"
(accounts at OpenID providers, "iss" and "sub"), "devices" (as in devices list) and "sessions" (those that are alive).`
}

func (c *usersShowCmd) Run(ctx context.Context, s *streams) error {
	var p api.Person
	err := c.ask(s, &c.operator, func(socket client.Admin, domain, user string) (err error) {
		p, err = socket.Person(ctx, domain, user)
		return err
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s, p)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "user\t%s\t%s\n", p.ID, p.URI)
	fmt.Fprintf(w, "handle\t%s\t%s\n", p.Handle, p.HandleURI)
	fmt.Fprintf(w, "since\t%s\n", p.CreatedAt.Format(time.RFC3339))
	if p.DisabledAt != nil {
		fmt.Fprintf(w, "disabled\t%s\n", moment(p.DisabledAt))
	}
	fmt.Fprintln(w, "\nHANDLE\tTAKEN\tGIVEN UP")
	for _, h := range p.Handles {
		fmt.Fprintf(w, "%s\t%s\t%s\n", h.Handle, h.TakenAt.Format(time.RFC3339), moment(h.ReleasedAt))
	}
	fmt.Fprintln(w, "\nPROVIDER\tSUBJECT\tSINCE")
	for _, l := range p.Links {
		fmt.Fprintf(w, "%s\t%s\t%s\n", l.Issuer, printable(l.Subject), l.CreatedAt.Format(time.RFC3339))
	}
	fmt.Fprintln(w, "\nDEVICE\tNAME\tCLIENT\tSINCE\tREMOVED")
	for _, d := range p.Devices {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.ID, cmp.Or(d.Name, "-"), d.Client, d.CreatedAt.Format(time.RFC3339), moment(d.RemovedAt))
	}
	fmt.Fprintln(w, "\nSESSION\tDEVICE\tCLIENT\tSINCE\tREFRESHED\tENDS")
	for _, g := range p.Sessions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", g.ID, g.Device, g.Client, g.CreatedAt.Format(time.RFC3339), moment(g.RefreshedAt),
			g.ExpiresAt.Format(time.RFC3339))
	}
	return w.Flush()
}

type usersRenameCmd struct {
	operator
	target
	To       string `required:"" placeholder:"HANDLE" help:"The new handle, without @ and domain."`
	Reserved bool   `help:"Give the handle although it is reserved, such as support, or protected by the settings."`
}

func (*usersRenameCmd) Help() string {
	return `The user keeps the id, the devices and the sessions. Tokens with the old handle are inactive at once, the next
refresh brings the new one, and no other user can take the old one until issuer names release frees it. Statements that carry
the old handle end, such as grants to bots: the user makes them again. The user's own id is allowed as the handle.

    issuer users rename @alice --to alex
    issuer users rename --user gN5iY0YZQZ2cVn5eX0m4Pw --to alex
    issuer users rename @carol --to support --reserved`
}

func (c *usersRenameCmd) Run(ctx context.Context, s *streams) error {
	var u api.User
	err := c.ask(s, &c.operator, func(socket client.Admin, domain, user string) (err error) {
		u, err = socket.RenameUser(ctx, domain, user, c.To, c.Reserved)
		return err
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s, u)
	}
	fmt.Fprintf(s.out, "User %s in %s is now called %s.\n", u.ID, u.Domain, u.Handle)
	return nil
}

type usersDisableCmd struct {
	operator
	target
	usersFile
}

func (*usersDisableCmd) Help() string {
	return `All sessions end, every token is inactive at once, and the user cannot sign in. Grants and other statements end too, and
devices under a delegation are removed. The user keeps the handle and the devices that signed in. What ended does not come
back with issuer users enable: the user signs in again.

    issuer users disable @alice
    issuer users disable gN5iY0YZQZ2cVn5eX0m4Pw --config /etc/issuer/issuer.yaml --json
    issuer users disable --file leavers.txt --dry-run
    issuer users disable --file - < leavers.txt

JSON is the entry of users list with "sessions_ended".
` + fileHelp
}

func (c *usersDisableCmd) Run(ctx context.Context, s *streams) error {
	if err := c.check(&c.target); err != nil {
		return err
	}
	if c.File != "" {
		return c.run(ctx, s, &c.operator, c.Domain, userChange{
			verb:   "disabled",
			needed: func(u api.User) bool { return u.DisabledAt == nil },
			apply: func(ctx context.Context, socket client.Admin, domain, id string) error {
				_, err := socket.DisableUser(ctx, domain, id)
				return err
			},
		})
	}
	var u api.DisabledUser
	err := c.ask(s, &c.operator, func(socket client.Admin, domain, user string) (err error) {
		u, err = socket.DisableUser(ctx, domain, user)
		return err
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s, u)
	}
	fmt.Fprintf(s.out, "User %s in %s, called %s, is disabled since %s: %s ended now.\n", u.ID, u.Domain, u.Handle,
		moment(u.DisabledAt), count(u.SessionsEnded, "session"))
	return nil
}

type usersEnableCmd struct {
	operator
	target
	usersFile
}

func (*usersEnableCmd) Help() string {
	return `The user can sign in again, with the same devices and handle. What ended stays ended:

    issuer users enable @alice
    issuer users enable --file back.txt

JSON is the entry of users list.
` + fileHelp
}

func (c *usersEnableCmd) Run(ctx context.Context, s *streams) error {
	if err := c.check(&c.target); err != nil {
		return err
	}
	if c.File != "" {
		return c.run(ctx, s, &c.operator, c.Domain, userChange{
			verb:   "enabled",
			needed: func(u api.User) bool { return u.DisabledAt != nil },
			apply: func(ctx context.Context, socket client.Admin, domain, id string) error {
				_, err := socket.EnableUser(ctx, domain, id)
				return err
			},
		})
	}
	var u api.User
	err := c.ask(s, &c.operator, func(socket client.Admin, domain, user string) (err error) {
		u, err = socket.EnableUser(ctx, domain, user)
		return err
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s, u)
	}
	fmt.Fprintf(s.out, "User %s in %s, called %s, can sign in.\n", u.ID, u.Domain, u.Handle)
	return nil
}

// printable quotes text of another party that could control the terminal.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// moment returns a time for people, and - if it never came.
func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}
