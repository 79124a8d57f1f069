package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/client"
)

// defaultData is the data folder if no flag names one.
const defaultData = "./data"

// operator holds the flags that tell commands for operators where the running issuer is: its admin socket, or its listener for
// operators over the network. No command opens the database of a running issuer.
type operator struct {
	Config string `xor:"where" placeholder:"FILE" help:"Settings file of the issuer; it names the admin socket."`
	Data   string `xor:"where" placeholder:"DIR" help:"Data folder of the issuer, without --config; it holds the admin socket (./data)."`
	JSON   bool   `name:"json" help:"Print JSON."`

	ServerURL string `name:"server" xor:"where" placeholder:"URL" help:"URL of the issuer's listener for operators, its admin_url, instead of the admin socket ($$ISSUER_SERVER)."`
	KeyFile   string `name:"key" placeholder:"FILE" help:"With --server: private key of the client, PEM ($$ISSUER_KEY)."`
	ClientID  string `name:"client" placeholder:"ID" help:"With --server: the client with the scope admin ($$ISSUER_CLIENT)."`
}

// socket returns the admin API of the issuer.
func (o *operator) socket(s *streams) (client.Admin, error) {
	if server := o.server(s); server != "" {
		return o.remote(s, server)
	}
	if o.KeyFile != "" || o.ClientID != "" {
		return client.Admin{}, usage("--key and --client go with --server URL; without it, the admin socket is used")
	}
	if o.Config == "" {
		return client.Socket(filepath.Join(cmp.Or(o.Data, defaultData), "admin.sock")), nil
	}
	cfg, err := load(o.Config, s)
	if err != nil {
		return client.Admin{}, err
	}
	return client.Socket(cfg.AdminSocket()), nil
}

// server returns the URL of the listener for operators, and "" for the admin socket. Flags take precedence over the environment.
func (o *operator) server(s *streams) string {
	if o.Config != "" || o.Data != "" {
		return ""
	}
	return strings.TrimSuffix(cmp.Or(o.ServerURL, s.getenv("ISSUER_SERVER")), "/")
}

// remote returns the admin API over the network.
func (o *operator) remote(s *streams, server string) (client.Admin, error) {
	file, id := cmp.Or(o.KeyFile, s.getenv("ISSUER_KEY")), cmp.Or(o.ClientID, s.getenv("ISSUER_CLIENT"))
	switch {
	case file == "":
		return client.Admin{}, usage("--server needs --key FILE, or ISSUER_KEY: the private key of the client")
	case id == "":
		return client.Admin{}, usage("--server needs --client ID, or ISSUER_CLIENT: the client with the scope admin")
	}
	key, kid, err := readClientKey(file, "")
	if err != nil {
		return client.Admin{}, usage("--key: %w", err)
	}
	admin, err := client.Remote(client.RemoteConfig{Server: server, ClientID: id, Key: key, KID: kid})
	if err != nil {
		return client.Admin{}, usage("--server %s: %w: give the admin_url of the issuer's settings", server, err)
	}
	return admin, nil
}

// all returns the entries of a list.
func all[T any](list iter.Seq2[T, error]) ([]T, error) {
	entries := []T{}
	for entry, err := range list {
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// explain returns an error of the admin API in the operator's words, with its exit code.
func explain(socket client.Admin, err error) error {
	var (
		e       *client.Error
		nowhere *client.NotAdminError
		scope   *client.NoScopeError
		clock   *client.ClockError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &nowhere):
		return usage("%w: --server takes the admin_url of the issuer's settings, not the URL where people sign in", nowhere)
	case errors.As(err, &scope):
		return refused("%w: add admin to the scopes of that client in the issuer's settings, and send the issuer SIGHUP", scope)
	case errors.As(err, &clock):
		return usage("%w: set the clock of this machine", clock)
	case !errors.As(err, &e) && socket.Network():
		return unknown("no issuer answers at %s: is the URL right, is the issuer running, and is its certificate trusted here? (%w)",
			socket, root(err))
	case !errors.As(err, &e):
		return unknown("no issuer answers at %s: is it running, and is --data or --config right? (%w)", socket, root(err))
	case e.Status >= http.StatusInternalServerError:
		return unknown("%w", e)
	case e.Status == http.StatusBadRequest: // the arguments were sent as they are
		return usage("%s", cmp.Or(e.Description, e.Error()))
	}
	return refused("%s", cmp.Or(e.Description, e.Error()))
}

// root returns err without the text of net/http about a URL that the operator did not write.
func root(err error) error {
	if e := (*url.Error)(nil); errors.As(err, &e) {
		return e.Err
	}
	return err
}

// print writes rows as JSON, or as a table.
func (o *operator) print(s *streams, rows any, header string, line func(w io.Writer)) error {
	if o.JSON {
		return printJSON(s, rows)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, header)
	line(w)
	return w.Flush()
}

type devicesCmd struct {
	List   devicesListCmd   `cmd:"" help:"List devices."`
	Show   devicesShowCmd   `cmd:"" help:"Show a device: its key, its platform, when it was seen and how it logged in."`
	Remove devicesRemoveCmd `cmd:"" help:"Remove a device: its sessions and tokens end, and its key cannot be used again."`
}

type devicesListCmd struct {
	operator
	Domain string `placeholder:"NAME" help:"Domain of the devices; not needed if the issuer serves only one."`
	User   string `placeholder:"ID" help:"Only the devices of this user."`
}

func (*devicesListCmd) Help() string {
	return `It lists the devices of the issuer of serve --dev, or of an issuer with a settings file, in the order of their ids:

    issuer devices list
    issuer devices list --config /etc/issuer/issuer.yaml --user 7kHb3h043lahTHszoAokdg`
}

func (c *devicesListCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	list, err := all(socket.Devices(ctx, client.List{Domain: c.Domain, User: c.User}))
	if err != nil {
		return explain(socket, err)
	}
	return c.print(s, list, "DEVICE\tNAME\tHANDLE\tUSER\tDOMAIN\tCLIENT\tSINCE\tREMOVED", func(w io.Writer) {
		for _, d := range list {
			removed := "-"
			if d.RemovedAt != nil {
				removed = d.RemovedAt.Format(time.RFC3339) + " (" + d.RemovedReason + ")"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, cmp.Or(d.Name, "-"), cmp.Or(d.Handle, "-"), d.User, d.Domain,
				d.Client, d.CreatedAt.Format(time.RFC3339), removed)
		}
	})
}

// A deviceTarget names a device.
type deviceTarget struct {
	Device string `arg:"" help:"The device id, or its URI (im:USER/DEVICE@DOMAIN)."`
	Domain string `placeholder:"NAME" help:"Domain of the device; not needed with a URI, or if the issuer serves only one."`
}

type devicesRemoveCmd struct {
	operator
	deviceTarget
	Reason string `default:"operator" placeholder:"TEXT" help:"The reason, for the log (${default})."`
}

func (*devicesRemoveCmd) Help() string {
	return `Name the device by its id, or by the URI in its tokens:

    issuer devices remove 8c1969eb0e727f63 --reason lost
    issuer devices remove im:7kHb3h043lahTHszoAokdg/8c1969eb0e727f63@example.com`
}

func (c *devicesRemoveCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	domain, id, err := c.device(ctx, socket)
	if err != nil {
		return err
	}
	d, err := socket.RemoveDevice(ctx, domain, id, c.Reason)
	if err != nil {
		return explain(socket, err)
	}
	if c.JSON {
		return c.print(s, d, "", nil)
	}
	fmt.Fprintf(s.out, "Removed device %s of user %s in %s.\n", d.ID, d.User, d.Domain)
	return nil
}

// device returns the domain and id of the device: from its URI, or from its id and the domain given or the issuer's only one.
func (c *deviceTarget) device(ctx context.Context, socket client.Admin) (domain, id string, err error) {
	if isURI(c.Device) {
		return deviceURI(c.Device)
	}
	if c.Domain != "" {
		return c.Domain, c.Device, nil
	}
	for d, err := range socket.Devices(ctx, client.List{}) {
		if err != nil {
			return "", "", explain(socket, err)
		}
		if d.ID == c.Device {
			return d.Domain, d.ID, nil
		}
	}
	return "", "", refused("there is no device %q: issuer devices list shows them", c.Device)
}

// isURI reports whether an argument is a URI and no id.
func isURI(text string) bool { return strings.Contains(text, ":") }

// deviceURI returns the domain and id of the device of a URI.
func deviceURI(text string) (domain, id string, err error) {
	uri, err := claims.ParseLenient(text)
	if err != nil || uri.Type() != claims.TypeDevice {
		return "", "", usage("%q is not the URI of a device, such as im:USER/DEVICE@DOMAIN", text)
	}
	return uri.Domain(), uri.Device(), nil
}

// onlyDomain returns the domain that a flag names or, without one, the only domain of the issuer. What names the entry that is sought.
func onlyDomain(ctx context.Context, socket client.Admin, flag, what string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	domains, err := all(socket.Domains(ctx))
	if err != nil {
		return "", explain(socket, err)
	}
	if len(domains) != 1 {
		return "", usage("the issuer serves several domains: name that of %s with --domain", what)
	}
	return domains[0].Name, nil
}
