package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/edge"
)

// gatewayFlags tell commands for operators where the admin socket of the running gateway is.
type gatewayFlags struct {
	Config string `xor:"where" placeholder:"FILE" help:"Settings file of the gateway; it names the admin socket."`
	Data   string `xor:"where" placeholder:"DIR" help:"Data folder of the gateway, without --config; it holds the admin socket (./gateway-data)."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// socket returns the admin interface of the gateway.
func (f *gatewayFlags) socket(s *streams) (edge.Admin, error) {
	if f.Config == "" {
		return edge.Admin(filepath.Join(cmp.Or(f.Data, "./gateway-data"), "gateway.sock")), nil
	}
	cfg, err := config.LoadGateway(f.Config, s.env)
	if err != nil {
		return "", err
	}
	return edge.Admin(cfg.AdminSocket()), nil
}

// explainGateway returns an error of the admin interface in the operator's words, with its exit code.
func explainGateway(socket edge.Admin, err error) error {
	var e *edge.Refused
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &e):
		return unknown("no gateway answers at %s: is it running, and is --data or --config right? (%w)", socket, root(err))
	case e.Status >= http.StatusInternalServerError:
		return unknown("%w", e)
	case e.Status == http.StatusBadRequest:
		return usage("%w", e)
	}
	return refused("%w", e)
}

type gatewayPeersCmd struct{ gatewayFlags }

func (*gatewayPeersCmd) Help() string {
	return `It lists the domains that the gateway trusts, their issuers, and how long ago the keys were fetched. Keys are fetched for the first
token that needs them:

    issuer gateway peers --config gateway.yaml`
}

func (c *gatewayPeersCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	peers, err := socket.Peers(ctx)
	if err != nil {
		return explainGateway(socket, err)
	}
	if c.JSON {
		return printJSON(s, peers)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "DOMAIN\tISSUER\tSTATE\tKEYS\tFETCHED\tPROBLEM")
	for _, p := range peers {
		state, fetched := "trusted", "never"
		if p.Suspended {
			state = "suspended"
		}
		if p.Fixed {
			fetched = "from a file"
		} else if p.Fetched != nil {
			fetched = p.Fetched.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", p.Domain, cmp.Or(p.Issuer, "not found yet"), state, p.Keys, fetched,
			cmp.Or(p.Problem, "-"))
	}
	return w.Flush()
}

type gatewaySuspendCmd struct {
	gatewayFlags
	Domain string `arg:"" help:"The domain of the peer."`
}

func (*gatewaySuspendCmd) Help() string {
	return `From the moment at which the command returns, the running gateway refuses all tokens of users of the domain, also those that it
has verified before. The suspension is stored in the data folder, and outlives a restart and a change of settings. With several
gateways, suspend the peer at each:

    issuer gateway suspend b.example --config gateway.yaml`
}

func (c *gatewaySuspendCmd) Run(ctx context.Context, s *streams) error {
	return c.suspend(ctx, s, c.Domain, true)
}

type gatewayResumeCmd struct {
	gatewayFlags
	Domain string `arg:"" help:"The domain of the peer."`
}

func (*gatewayResumeCmd) Help() string {
	return `It lifts what issuer gateway suspend did. A peer that is suspended in the settings stays suspended:

    issuer gateway resume b.example --config gateway.yaml`
}

func (c *gatewayResumeCmd) Run(ctx context.Context, s *streams) error {
	return c.suspend(ctx, s, c.Domain, false)
}

func (f *gatewayFlags) suspend(ctx context.Context, s *streams, domain string, suspended bool) error {
	socket, err := f.socket(s)
	if err != nil {
		return err
	}
	if err := socket.Suspend(ctx, domain, suspended); err != nil {
		return explainGateway(socket, err)
	}
	switch {
	case f.JSON:
		return printJSON(s, map[string]any{"domain": domain, "suspended": suspended})
	case suspended:
		fmt.Fprintf(s.out, "Suspended %s: its tokens are refused from now on.\n", domain)
	default:
		fmt.Fprintf(s.out, "Resumed %s: its tokens are accepted again.\n", domain)
	}
	return nil
}

type gatewayCheckCmd struct {
	gatewayFlags
	Token  string `placeholder:"TOKEN" help:"The access token, or - for standard input."`
	Proof  string `placeholder:"PROOF" help:"The DPoP proof of the request."`
	Bearer bool   `help:"Send the token under the scheme Bearer."`
	Method string `default:"GET" placeholder:"METHOD" help:"The method of the request (${default})."`
	URL    string `name:"url" placeholder:"URL" help:"The public URL of the request."`
}

func (*gatewayCheckCmd) Help() string {
	return `It prints each check and the decision, for a request that a client might send. The running gateway is asked, and the proof is not
spent. If no gateway runs, the settings alone decide; then --config is needed, and any nonce is accepted.

    issuer gateway check --config gateway.yaml --token "$token" --proof "$proof" --method GET --url https://chat.a.example/rooms

JSON has the members outcome, reason, explanation, route, upstream and steps, and who sent the request. The exit code is 0 if the
request is allowed, 1 if it is refused, and 3 if that cannot be known now.`
}

func (c *gatewayCheckCmd) Run(ctx context.Context, s *streams) error {
	if c.URL == "" {
		return usage("gateway check needs --url URL: the URL that the client writes")
	}
	question := edge.Check{Method: c.Method, URL: c.URL}
	token := c.Token
	if token == "-" {
		var err error
		if token, err = readLine(s.in); err != nil {
			return usage("read the token: %w", err)
		}
	}
	if token != "" {
		scheme := "DPoP "
		if c.Bearer {
			scheme = "Bearer "
		}
		question.Authorization = []string{scheme + token}
	}
	if c.Proof != "" {
		question.DPoP = []string{c.Proof}
	}
	answer, err := c.ask(ctx, s, question)
	if err != nil {
		return err
	}
	if err := c.print(s, answer); err != nil {
		return unknown("print the answer: %w", err)
	}
	switch answer.Outcome {
	case "allowed":
		return nil
	case "unknown":
		return &exit{code: exitUnknown}
	}
	return &exit{code: exitNo}
}

// ask asks the running gateway or, if there is none, decides by the settings.
func (c *gatewayCheckCmd) ask(ctx context.Context, s *streams, question edge.Check) (edge.Checked, error) {
	socket, err := c.socket(s)
	if err != nil {
		return edge.Checked{}, err
	}
	answer, err := socket.Check(ctx, question)
	stopped := errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
	if !stopped || c.Config == "" {
		return answer, explainGateway(socket, err)
	}
	cfg, err := config.LoadGateway(c.Config, s.env)
	if err != nil {
		return edge.Checked{}, err
	}
	instance, err := edge.Open(ctx, cfg, edge.Options{CheckOnly: true})
	if err != nil {
		return edge.Checked{}, gatewayNotOpened(err)
	}
	fmt.Fprintln(s.err, "issuer: no gateway runs: decided by the settings alone, and any nonce is accepted")
	return instance.Check(ctx, question), instance.Close()
}

func (c *gatewayCheckCmd) print(s *streams, answer edge.Checked) error {
	if c.JSON {
		return printJSON(s, answer)
	}
	w := tabwriter.NewWriter(s.out, 0, 4, 2, ' ', 0)
	for _, step := range answer.Steps {
		mark := "ok"
		if !step.Passed {
			mark = "no"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", mark, step.Check, step.Detail)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s: %s\n", answer.Outcome, answer.Reason)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(s.out, "%s: %s\n", name, value)
		}
	}
	line("user", answer.User)
	line("handle", answer.Handle)
	line("device", answer.Device)
	line("client", answer.ClientID)
	line("issuer", answer.Issuer)
	line("cause", answer.Cause)
	if answer.Shadowed {
		_, err := io.WriteString(s.out, "The route only watches: the request would pass.\n")
		return err
	}
	return nil
}
