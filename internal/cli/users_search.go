package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
)

type usersSearchCmd struct {
	operator
	Text     string `arg:"" help:"Part of an id, a handle, a subject at the OpenID provider, or the name or id of a device; or a URI."`
	Domain   string `placeholder:"NAME" help:"Domain of the users; not needed if the issuer serves only one."`
	Disabled string `enum:",yes,no" default:"" placeholder:"yes|no" help:"Only users who are disabled, or only those who are not."`
	Limit    int    `default:"50" placeholder:"N" help:"At most N users, 1 to 1000 (50)."`
	After    string `placeholder:"ID" help:"Only users whose ids come after ID: the next page."`
}

func (*usersSearchCmd) Help() string {
	return `The case of ASCII letters does not count. Former handles are found, too, and so are removed devices:

    issuer users search kitchen
    issuer users search 10021 --disabled no
    issuer users search 'im:%40alice@example.com'

JSON is an array of the entries of users list with "found": where the text is, of "id", "handle", "subject" and "device".`
}

func (c *usersSearchCmd) Run(ctx context.Context, s *streams) error {
	if c.Text == "" {
		return usage("TEXT is empty: issuer users list lists all users")
	}
	if c.Limit < 1 || c.Limit > 1000 {
		return usage("--limit must be 1 to 1000")
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	query := url.Values{"search": {c.Text}, "limit": {strconv.Itoa(c.Limit)}}
	if c.Domain != "" {
		query.Set("domain", c.Domain)
	}
	if c.After != "" {
		query.Set("after", c.After)
	}
	if c.Disabled != "" {
		query.Set("disabled", strconv.FormatBool(c.Disabled == "yes"))
	}
	list, err := socket.SearchUsers(ctx, query)
	if err := explain(socket, err); err != nil {
		return err
	}
	if len(list) == c.Limit {
		defer fmt.Fprintf(s.err, "There may be more: add --after %s\n", list[len(list)-1].ID)
	}
	err = c.print(s, list, "USER\tHANDLE\tDOMAIN\tSINCE\tDISABLED\tFOUND IN", func(w io.Writer) {
		for _, u := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.ID, u.Handle, u.Domain, moment(&u.CreatedAt), moment(u.DisabledAt),
				strings.Join(u.Found, ", "))
		}
	})
	if err == nil && len(list) == 0 {
		return refused("No user is found.")
	}
	return err
}
