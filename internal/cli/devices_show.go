package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

type devicesShowCmd struct {
	operator
	deviceTarget
}

func (*devicesShowCmd) Help() string {
	return `Name the device by its id, or by the URI in its tokens:

    issuer devices show 8c1969eb0e727f63
    issuer devices show im:7kHb3h043lahTHszoAokdg/8c1969eb0e727f63@example.com --json

The platform is a hint by the app or the browser. How the device logged in is what the OpenID provider said of its last login. JSON is
the entry of devices list with "use".`
}

func (c *devicesShowCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	domain, id, err := c.device(ctx, socket)
	if err != nil {
		return err
	}
	d, err := socket.Device(ctx, domain, id)
	if err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return c.print(s, d, "", nil)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "device\t%s in %s\n", d.ID, d.Domain)
	fmt.Fprintf(w, "user\t%s\n", d.User)
	fmt.Fprintf(w, "name\t%s\n", cmp.Or(d.Name, "-"))
	fmt.Fprintf(w, "platform\t%s\n", cmp.Or(d.Platform, "-"))
	fmt.Fprintf(w, "app\t%s\n", d.Client)
	fmt.Fprintf(w, "key\t%s %s\n", cmp.Or(d.KeyAlg, "-"), d.JKT)
	fmt.Fprintf(w, "since\t%s\n", d.CreatedAt.Format(time.RFC3339))
	if use := d.Use; use != nil {
		fmt.Fprintf(w, "seen\t%s\n", moment(use.SeenAt))
		fmt.Fprintf(w, "active\t%t\n", use.Active)
		if use.LoginAt != nil {
			said := ""
			for _, v := range [][2]string{{"acr", use.ACR}, {"amr", strings.Join(use.AMR, " ")}} {
				if v[1] != "" {
					said += ", " + v[0] + " " + printable(v[1])
				}
			}
			fmt.Fprintf(w, "login\t%s at %s%s\n", moment(use.LoginAt), use.Issuer, said)
		}
	}
	if d.RemovedAt != nil {
		fmt.Fprintf(w, "removed\t%s (%s)\n", moment(d.RemovedAt), d.RemovedReason)
	}
	return w.Flush()
}
