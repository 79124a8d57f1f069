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

type credentialsCmd struct {
	List   credentialsListCmd   `cmd:"" help:"List credentials that have not expired."`
	Revoke credentialsRevokeCmd `cmd:"" help:"End a credential. Its device stays."`
}

type credentialsListCmd struct {
	operator
	Domain string `placeholder:"NAME" help:"Domain of the credentials; not needed if the issuer serves only one, or with the URI of a device."`
	User   string `placeholder:"ID" help:"Only the credentials of this user."`
	Device string `placeholder:"DEVICE" help:"Only the credentials of this device: its id, or its URI (im:USER/DEVICE@DOMAIN)."`
	Format string `placeholder:"FORMAT" help:"Only the credentials of this format, such as dc+sd-jwt."`
	Live   bool   `xor:"state" help:"Only credentials that have not ended."`
	Ended  bool   `xor:"state" help:"Only credentials that have ended."`
}

func (*credentialsListCmd) Help() string {
	return `It lists the credentials of a domain in the order of their ids, with those that ended before they expired:

    issuer credentials list
    issuer credentials list --user 7kHb3h043lahTHszoAokdg --live
    issuer credentials list --device im:7kHb3h043lahTHszoAokdg/8c1969eb0e727f63@example.com --json

The state is live, handle_ended (only the handle in it is out of date: the user was renamed) or ended, with the time and the reason.`
}

func (c *credentialsListCmd) Run(ctx context.Context, s *streams) error {
	query := client.List{Domain: c.Domain, User: c.User, Device: c.Device, Format: c.Format}
	if isURI(c.Device) {
		var err error
		if query.Domain, query.Device, err = deviceURI(c.Device); err != nil {
			return err
		}
		if c.Domain != "" && c.Domain != query.Domain {
			return usage("the device is one of %s, and --domain names %s", query.Domain, c.Domain)
		}
	}
	switch {
	case c.Live:
		query.Live = "true"
	case c.Ended:
		query.Live = "false"
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	list, err := all(socket.Credentials(ctx, query))
	if err != nil {
		return explain(socket, err)
	}
	return c.print(s, list, "CREDENTIAL\tFORMAT\tUSER\tDEVICE\tDOMAIN\tHANDLE\tSINCE\tUNTIL\tSTATE", func(w io.Writer) {
		for _, v := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.ID, v.Format, v.User, v.Device, v.Domain, cmp.Or(v.Handle, "-"),
				v.IssuedAt.Format(time.RFC3339), v.ExpiresAt.Format(time.RFC3339), stateOf(v))
		}
	})
}

// stateOf returns the state of a credential, with when and why it ended.
func stateOf(v api.Credential) string {
	switch {
	case v.EndedAt != nil:
		return fmt.Sprintf("%s %s (%s)", v.State, moment(v.EndedAt), printable(v.EndedReason))
	case v.HandleEndedAt != nil:
		return v.State + " " + moment(v.HandleEndedAt)
	}
	return v.State
}

type credentialsRevokeCmd struct {
	operator
	Credential string `required:"" placeholder:"ID" help:"The credential, as credentials list shows it, and as jti in it."`
	Domain     string `placeholder:"NAME" help:"Domain of the credential; not needed if the issuer serves only one."`
	Reason     string `default:"operator" placeholder:"TEXT" help:"The reason, for the log (${default})."`
}

func (*credentialsRevokeCmd) Help() string {
	return `Its status is 1 at once, and those who check it learn that with their next copy of the status list, within five minutes. The
device stays signed in, and its app can get another credential: to keep it from that, remove the device.

    issuer credentials revoke --credential 0Yq3hB2pTzqJv6m1cR8n4w --reason "key copied"`
}

func (c *credentialsRevokeCmd) Run(ctx context.Context, s *streams) error {
	if !kid.MatchString(c.Credential) { // the form of all ids in paths
		return refused("there is no credential %q: issuer credentials list shows them", c.Credential)
	}
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	domain, err := onlyDomain(ctx, socket, c.Domain, "the credential")
	if err != nil {
		return err
	}
	v, err := socket.EndCredential(ctx, domain, c.Credential, c.Reason)
	if err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return printJSON(s, v)
	}
	fmt.Fprintf(s.out, "Credential %s of device %s in %s ended at %s.\n", v.ID, v.Device, v.Domain, moment(v.EndedAt))
	return nil
}
