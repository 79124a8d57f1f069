package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/demo"
	"github.com/imidentity/issuer/internal/server"
)

type serveCmd struct {
	Config       string `placeholder:"FILE" help:"Settings file. See the README for its keys."`
	Dev          bool   `help:"Run for development, with an OpenID provider of its own (people alice and bob); loopback only."`
	Data         string `default:"./data" placeholder:"DIR" help:"Where --dev keeps its database and dev.env (${default})."`
	Listen       string `placeholder:"HOST:PORT" help:"Where the issuer listens, instead of what the settings say; with --dev, 127.0.0.1:8080."`
	DevIDPListen string `name:"dev-idp-listen" default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Where the provider of --dev listens (${default})."`
	AddrFile     string `placeholder:"FILE" help:"Write the addresses to FILE as JSON, once they are served."`
	LogFormat    string `enum:"text,json," default:"" placeholder:"text|json" help:"Log format, instead of what the settings say."`
}

func (c *serveCmd) Run(ctx context.Context, s *streams) error {
	if c.Dev == (c.Config != "") {
		return usage("serve needs either --config FILE or --dev")
	}
	if c.Dev {
		return c.dev(ctx, s)
	}
	cfg, err := load(c.Config, s)
	if err != nil {
		return err
	}
	if c.Listen != "" {
		cfg.Listen = c.Listen
	}
	if c.LogFormat != "" {
		cfg.Log.Format = c.LogFormat
	}
	log := newLog(s, cfg.Log)
	instance, err := server.Open(ctx, cfg, server.Options{Log: log})
	if err != nil {
		return usage("start: %w", err)
	}
	public, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return usage("start: %w", errors.Join(err, instance.Close()))
	}
	admin, err := server.ListenAdmin(cfg.AdminSocket())
	if err != nil {
		return usage("start: %w", errors.Join(err, public.Close(), instance.Close()))
	}
	if err := c.announce(cfg.Issuer, cfg.AdminSocket(), ""); err != nil {
		return usage("start: %w", errors.Join(err, public.Close(), admin.Close(), instance.Close()))
	}
	log.Info("serving", slog.String("issuer", cfg.Issuer), slog.String("listen", public.Addr().String()))
	return instance.Serve(ctx, public, admin)
}

func (c *serveCmd) dev(ctx context.Context, s *streams) error {
	log := newLog(s, config.Log{Format: c.LogFormat, Level: "info"})
	dev, err := demo.Start(ctx, demo.Options{Data: c.Data, Listen: c.Listen, ProviderListen: c.DevIDPListen, Log: log})
	if err != nil {
		return usage("start: %w", err)
	}
	if err := c.announce(dev.Issuer, dev.Admin, dev.Provider); err != nil {
		return usage("start: %w", errors.Join(err, dev.Close()))
	}
	log.Info("serving for development: not for the Internet", slog.String("issuer", dev.Issuer),
		slog.String("idp", dev.Provider), slog.String("env", dev.EnvFile))
	return dev.Wait()
}

// announce writes the address file, whole or not at all.
func (c *serveCmd) announce(issuer, admin, idp string) error {
	if c.AddrFile == "" {
		return nil
	}
	body, err := json.Marshal(struct {
		Issuer string `json:"issuer"`
		Admin  string `json:"admin"`
		IDP    string `json:"idp,omitempty"`
	}{issuer, admin, idp})
	if err != nil {
		return err
	}
	temp := c.AddrFile + ".part"
	if err := os.WriteFile(temp, append(body, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the address file: %w", err)
	}
	return os.Rename(temp, c.AddrFile)
}

func newLog(s *streams, l config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // checked when it was read; info if empty
	options := &slog.HandlerOptions{Level: level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(s.err, options))
	}
	return slog.New(slog.NewTextHandler(s.err, options))
}

// load reads a settings file; its faults are the user's to mend.
func load(path string, s *streams) (*config.Config, error) {
	cfg, err := config.Load(path, s.env)
	if err != nil {
		return nil, &exit{exitUsage, err}
	}
	return cfg, nil
}

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Say everything that is wrong with a settings file."`
}

type configCheckCmd struct {
	File string `arg:"" help:"The settings file."`
}

func (c *configCheckCmd) Run(s *streams) error {
	cfg, err := load(c.File, s)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s is good: issuer %s, %s, %s.\n", filepath.Base(c.File), cfg.Issuer,
		count(len(cfg.Domains), "domain"), count(len(cfg.Clients), "client"))
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
