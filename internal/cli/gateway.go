package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/edge"
	"github.com/imidentity/issuer/internal/issuer"
)

type gatewayCmd struct {
	Serve   gatewayServeCmd   `cmd:"" default:"withargs" help:"Run the gateway. This is what issuer gateway does by itself."`
	Check   gatewayCheckCmd   `cmd:"" help:"Explain step by step whether a request would be let through."`
	Peers   gatewayPeersCmd   `cmd:"" help:"List the peers of a running gateway, with the state of their keys."`
	Suspend gatewaySuspendCmd `cmd:"" help:"Stop trusting a domain at once."`
	Resume  gatewayResumeCmd  `cmd:"" help:"Trust a suspended domain again."`
	Example gatewayExampleCmd `cmd:"" help:"Print a settings file of the gateway with every key, its default and its meaning."`

	Validate gatewayValidateCmd `cmd:"" help:"List every error in a settings file of the gateway."`
}

type gatewayServeCmd struct {
	Config    string `placeholder:"FILE" help:"Settings file: see docs/gateway.md for its keys."`
	Upstream  string `placeholder:"URL" help:"Be a reverse proxy for the service at this origin, in place of answering a proxy."`
	Listen    string `placeholder:"HOST:PORT" help:"Where the gateway listens, instead of what the settings say; port 0 takes any."`
	AddrFile  string `placeholder:"FILE" help:"Write the addresses to FILE as JSON, once they are served."`
	LogFormat string `enum:"text,json," default:"" placeholder:"text|json" help:"Log format, instead of what the settings say."`
	LogLevel  string `enum:"debug,info,warn,error," default:"" placeholder:"debug|info|warn|error" help:"Log level, instead of what the settings say."`
}

func (*gatewayServeCmd) Help() string {
	return `The gateway lets only those requests through to your services that have a valid token and a proof, also from users of other domains.
A proxy asks it (nginx, Caddy, HAProxy, Traefik, Envoy), or it is a reverse proxy itself:

    issuer gateway example > gateway.yaml
    issuer gateway --config gateway.yaml
    issuer gateway --config gateway.yaml --upstream http://127.0.0.1:8000
    issuer gateway serve --config gateway.yaml --log-level debug

It serves until it receives Ctrl-C or SIGTERM, and then finishes the requests in progress. On SIGHUP it reads the settings file again;
the log names what needs a restart.`
}

func (c *gatewayServeCmd) Run(ctx context.Context, s *streams) error {
	if c.Config == "" {
		return usage("gateway needs --config FILE: issuer gateway example prints one")
	}
	defer holdHeap(heapFloor)()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP) // from now on the signal does not end the process
	defer signal.Stop(reload)
	cfg, err := c.settings(s)
	if err != nil {
		return err
	}
	log, flush := newLog(s, cfg.Log)
	defer flush()
	instance, err := edge.Open(ctx, cfg, edge.Options{Log: log, Build: thisBuild()})
	if err != nil {
		return gatewayNotOpened(err)
	}
	listeners, err := c.listen(cfg)
	if err != nil {
		return usage("start: %w", errors.Join(err, instance.Close()))
	}
	if err := c.announce(cfg, listeners); err != nil {
		return usage("start: %w", errors.Join(err, closeAll(listeners), instance.Close()))
	}
	log.Info("serving", slog.String("listen", listeners.Public.Addr().String()), slog.String("admin", cfg.AdminSocket()),
		slog.String("proxy", cmp.Or(cfg.Proxy, "none")))
	go follow(ctx, reload, log, s, c.settings, instance.Reload)
	return managed(ctx, s, log, func() error { return instance.Serve(ctx, listeners) })
}

// gatewayNotOpened returns the error for a gateway that does not start: a mistake to correct, or a store that does not answer now.
func gatewayNotOpened(err error) error {
	if faults := (config.Errors)(nil); errors.As(err, &faults) {
		return faults
	}
	var network net.Error
	if errors.As(err, &network) {
		return unknown("start: %w", err)
	}
	return usage("start: %w", err)
}

// settings reads the settings file. Flags take precedence.
func (c *gatewayServeCmd) settings(s *streams) (*config.Gateway, error) {
	env := s.env
	if c.Upstream != "" {
		env = append(env[:len(env):len(env)], "GATEWAY_UPSTREAM="+c.Upstream)
	}
	cfg, err := config.LoadGateway(c.Config, env)
	if faults := (config.Errors)(nil); errors.As(err, &faults) {
		for i := range faults {
			if faults[i].File == "environment GATEWAY_UPSTREAM" && c.Upstream != "" {
				faults[i].File = "--upstream"
			}
		}
		return nil, faults
	}
	if err != nil {
		return nil, err
	}
	cfg.Listen = cmp.Or(c.Listen, cfg.Listen)
	cfg.Log = config.Log{Format: cmp.Or(c.LogFormat, cfg.Log.Format), Level: cmp.Or(c.LogLevel, cfg.Log.Level)}
	return cfg, nil
}

// listen opens the listeners of the settings, or none of them.
func (c *gatewayServeCmd) listen(cfg *config.Gateway) (l edge.Listeners, err error) {
	if l.Public, err = net.Listen("tcp", cfg.Listen); err != nil {
		return l, fmt.Errorf("%w: choose another address with listen in the settings, or with --listen HOST:PORT", err)
	}
	if l.Admin, err = issuer.ListenAdmin(cfg.AdminSocket()); err != nil {
		return l, errors.Join(err, closeAll(l))
	}
	if cfg.MetricsListen != "" {
		if l.Health, err = net.Listen("tcp", cfg.MetricsListen); err != nil {
			return l, errors.Join(fmt.Errorf("%w: choose another address with metrics_listen", err), closeAll(l))
		}
	}
	return l, nil
}

func closeAll(l edge.Listeners) (err error) {
	for _, one := range []net.Listener{l.Public, l.Admin, l.Health} {
		if one != nil {
			err = errors.Join(err, one.Close())
		}
	}
	return err
}

// announce writes the address file.
func (c *gatewayServeCmd) announce(cfg *config.Gateway, l edge.Listeners) error {
	if c.AddrFile == "" {
		return nil
	}
	admin, err := filepath.Abs(cfg.AdminSocket()) // readers of the file may be in another folder
	if err != nil {
		return err
	}
	a := struct {
		Listen string `json:"listen"`
		Admin  string `json:"admin"`
		Health string `json:"health,omitempty"`
	}{l.Public.Addr().String(), admin, ""}
	if l.Health != nil {
		a.Health = l.Health.Addr().String()
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return writeAddresses(c.AddrFile, text)
}

type gatewayValidateCmd struct {
	File string `arg:"" help:"The settings file."`
	JSON bool   `name:"json" help:"Print JSON."`
}

func (*gatewayValidateCmd) Help() string {
	return `It reads the file and the GATEWAY_ variables of the environment, as issuer gateway does, but starts nothing:

    issuer gateway validate gateway.yaml

JSON is {"valid", "faults"}; faults is an array of {"file", "line", "path", "message"}. The exit code is 0 if the file is valid, else 2.`
}

func (c *gatewayValidateCmd) Run(s *streams) error {
	cfg, err := config.LoadGateway(c.File, s.env)
	var faults config.Errors
	if err != nil && (!c.JSON || !errors.As(err, &faults)) {
		return err
	}
	if c.JSON {
		answer := struct {
			Valid  bool    `json:"valid"`
			Faults []fault `json:"faults"`
		}{err == nil, faultsOf(faults)}
		if err := printJSON(s, answer); err != nil {
			return unknown("%w", err)
		}
		if !answer.Valid {
			return &exit{code: exitUsage}
		}
		return nil
	}
	fmt.Fprintf(s.out, "%s is valid: %s, %s.\n", filepath.Base(c.File), count(len(cfg.Peers), "peer"), count(len(cfg.Routes), "route"))
	return nil
}

type gatewayExampleCmd struct{}

func (*gatewayExampleCmd) Help() string {
	return `The printed file is valid. Replace the names with your own:

    issuer gateway example > gateway.yaml`
}

func (*gatewayExampleCmd) Run(s *streams) error {
	_, err := io.WriteString(s.out, config.GatewayExample)
	return err
}
