package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/demo"
	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/storage"
)

type serveCmd struct {
	Config       string        `placeholder:"FILE" help:"Settings file: see docs/settings.md for its keys. With --dev, it overrides the settings of the development issuer."`
	Dev          bool          `help:"Run for development, with a built-in OpenID provider (users alice and bob); loopback only."`
	Data         string        `placeholder:"DIR" help:"Where --dev keeps its database and dev.env (./data)."`
	DevIDPListen string        `name:"dev-idp-listen" placeholder:"HOST:PORT" help:"Where the provider of --dev listens (127.0.0.1:8081)."`
	Listen       string        `placeholder:"HOST:PORT" help:"Where the issuer listens, instead of what the settings say; port 0 takes any. With --dev, 127.0.0.1:8080."`
	AddrFile     string        `placeholder:"FILE" help:"Write the addresses to FILE as JSON, once they are served."`
	LogFormat    string        `enum:"text,json," default:"" placeholder:"text|json" help:"Log format, instead of what the settings say."`
	LogLevel     string        `enum:"debug,info,warn,error," default:"" placeholder:"debug|info|warn|error" help:"Log level, instead of what the settings say."`
	ClockOffset  time.Duration `placeholder:"DURATION" help:"For tests, with development: true in the settings: how far the clock of the issuer is ahead of the system's, such as 90s; negative for behind."`
	AcceptClock  bool          `help:"Trust the system clock even if it is behind the latest time in the database, or a month ahead of it."`
}

func (*serveCmd) Help() string {
	return `The first command is for trying it out, the second for production:

    issuer serve --dev
    issuer serve --config /etc/issuer/issuer.yaml

--dev prints the URL, the users to sign in as, and commands to try. ISSUER_ variables override its settings, as usual.
--config FILE overrides them, too: FILE needs only the settings that differ, such as a client of yours.

    ISSUER_LIFETIMES__ACCESS=1m issuer serve --dev --log-level debug
    issuer serve --dev --config my-app.yaml

It serves until it receives Ctrl-C or SIGTERM, and then finishes the requests in progress. On SIGHUP it reads the
settings file again: clients, peers and limits change without dropping a request, and the log names what needs a restart.

If the log says that the clock is not trusted, but the clock is correct:

    issuer serve --config /etc/issuer/issuer.yaml --accept-clock`
}

func (c *serveCmd) Run(ctx context.Context, s *streams) error {
	switch {
	case !c.Dev && c.Config == "":
		return usage("serve needs --config FILE, or --dev to try it out")
	case !c.Dev && c.Data != "":
		return usage("--data needs --dev; with --config, the settings name the data folder")
	case !c.Dev && c.DevIDPListen != "":
		return usage("--dev-idp-listen needs --dev")
	}
	defer holdHeap(heapFloor)()
	if c.Dev {
		return c.dev(ctx, s)
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP) // from now on the signal does not end the process
	defer signal.Stop(reload)
	cfg, err := c.settings(s)
	if err != nil {
		return err
	}
	log, flush := newLog(s, cfg.Log)
	defer flush()
	instance, err := issuer.Open(ctx, cfg, issuer.Options{Log: log, Now: c.now(), AcceptClock: c.AcceptClock, Build: thisBuild()})
	if err != nil {
		return notOpened("start", err)
	}
	given, err := activated(cfg)
	if err != nil {
		return usage("start: %w", errors.Join(err, instance.Close()))
	}
	l, err := issuer.Listen(cfg, given)
	if err != nil {
		return notListening(errors.Join(err, instance.Close()))
	}
	listen := l.Public.Addr().String()
	if err := c.announce(addresses{cfg.Issuer, listen, cfg.AdminSocket(), cfg.AdminURL, addressOf(l.Monitor), ""}); err != nil {
		return usage("start: %w", errors.Join(err, l.Close(), instance.Close()))
	}
	if l.Operators != nil {
		log.Info("serving operators", slog.String("url", cfg.AdminURL), slog.String("listen", addressOf(l.Operators)))
	}
	if l.Monitor != nil {
		log.Info("serving metrics", slog.String("listen", addressOf(l.Monitor)))
	}
	log.Info("serving", slog.String("issuer", cfg.Issuer), slog.String("listen", listen))
	go follow(ctx, reload, log, s, c.settings, instance.Reload)
	return managed(ctx, s, log, func() error { return instance.Serve(ctx, l) })
}

// addressOf returns the address of a listener, and "" for none.
func addressOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// notListening returns the error for an address or a socket that cannot be listened on.
func notListening(err error) error {
	if at := (*issuer.ListenError)(nil); errors.As(err, &at) {
		how := at.Setting + " in the settings"
		if at.Setting == "listen" {
			how += ", or with --listen HOST:PORT"
		}
		return usage("start: %w: choose another address with %s", err, how)
	}
	return usage("start: %w", err)
}

// managed runs serve, and tells the service manager that it is ready and, when ctx ends, that it stops.
func managed(ctx context.Context, s *streams, log *slog.Logger, serve func() error) error {
	tell := func(state string) {
		if err := notify(s, state); err != nil {
			log.Warn("service manager", slog.Any("error", err))
		}
	}
	tell("READY=1") // the sockets are open, and connections wait in their queue
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { tell("STOPPING=1"); close(told) })
	err := serve()
	if !stop() {
		<-told
	}
	return err
}

// settings reads the settings file. Flags take precedence.
func (c *serveCmd) settings(s *streams) (*config.Config, error) {
	cfg, err := load(c.Config, s)
	if err != nil {
		return nil, err
	}
	if c.ClockOffset != 0 && !cfg.Development {
		return nil, usage("--clock-offset is for tests: it needs development: true in the settings")
	}
	if c.Listen != "" {
		cfg.Listen = c.Listen
	}
	cfg.Log = c.log(cfg.Log)
	return cfg, nil
}

// now returns the clock of the issuer; nil for that of the system.
func (c *serveCmd) now() func() time.Time {
	if c.ClockOffset == 0 {
		return nil
	}
	return func() time.Time { return time.Now().Add(c.ClockOffset) }
}

// log returns the settings of the log. Flags take precedence.
func (c *serveCmd) log(l config.Log) config.Log {
	return config.Log{Format: cmp.Or(c.LogFormat, l.Format), Level: cmp.Or(c.LogLevel, l.Level)}
}

// follow reads the settings again at each signal and applies them, until ctx ends.
func follow[C any](
	ctx context.Context, signals <-chan os.Signal, log *slog.Logger, s *streams, read func(*streams) (C, error), apply func(C) error,
) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		cfg, err := read(s)
		if err == nil {
			err = apply(cfg)
		}
		logUnread(log, err)
	}
}

// logUnread logs why settings were not read again; nil logs nothing.
func logUnread(log *slog.Logger, err error) {
	if err == nil {
		return
	}
	if faults := (config.Errors)(nil); errors.As(err, &faults) {
		for _, e := range faults {
			log.Error("settings", slog.Any("error", e))
		}
	} else {
		log.Error("settings", slog.Any("error", err))
	}
	log.Error("settings not read again: the previous settings stay in effect")
}

func (c *serveCmd) dev(ctx context.Context, s *streams) error {
	var overlay []byte
	if c.Config != "" {
		var err error
		if overlay, err = os.ReadFile(c.Config); err != nil {
			return usage("read the settings: %w", err)
		}
	}
	log, flush := slog.New(slog.DiscardHandler), func() {}
	defer func() { flush() }()
	dev, err := demo.Start(ctx, demo.Options{
		Data: c.Data, Listen: c.Listen, ProviderListen: c.DevIDPListen, Overlay: overlay, Name: c.Config, Env: s.env,
		AcceptClock: c.AcceptClock, Now: c.now(), Build: thisBuild(),
		Log: func(l config.Log) *slog.Logger { log, flush = newLog(s, c.log(l)); return log },
	})
	if faults := (config.Errors)(nil); errors.As(err, &faults) {
		return faults
	}
	if taken := (*demo.AddressError)(nil); errors.As(err, &taken) {
		return usage("start: %w: choose another address with %s HOST:PORT (port 0 takes any free one)", err, taken.Flag)
	} else if at := (*issuer.ListenError)(nil); errors.As(err, &at) {
		return notListening(err)
	} else if err != nil {
		return notOpened("start", err)
	}
	listen := strings.TrimPrefix(dev.Issuer, "http://")
	if err := c.announce(addresses{dev.Issuer, listen, dev.Admin, dev.Operators, dev.Metrics, dev.Provider}); err != nil {
		return usage("start: %w", errors.Join(err, dev.Close()))
	}
	log.Info("serving for development only: do not expose it to the Internet", slog.String("issuer", dev.Issuer),
		slog.String("idp", dev.Provider), slog.String("env", dev.EnvFile))
	greet(s, dev)
	return dev.Wait()
}

// greet prints where the development issuer is, who can sign in, and commands to try.
func greet(s *streams, dev *demo.Dev) {
	program := "issuer"
	if strings.Contains(os.Args[0], "/") { // it may not be in PATH
		program = shellWord(os.Args[0])
	}
	fmt.Fprintf(s.out, `
The development issuer runs at %[1]s, for this machine only. Ctrl-C stops it.
Sign in as alice (password alice) or bob (password bob).

In another terminal:

  . %[2]s
  %[3]s login
  %[3]s introspect "$(%[3]s token)"

`, dev.Issuer, shellWord(dev.EnvFile), program)
}

// shellWord quotes a word for a shell.
func shellWord(word string) string {
	if strings.ContainsFunc(word, func(r rune) bool { return !strings.ContainsRune("/._-+:@%,=", r) && !isAlphanumeric(r) }) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	if !strings.Contains(word, "/") {
		return "./" + word
	}
	return word
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// notOpened returns the error for a database that is not opened: a mistake to correct, or a database that is unavailable now.
func notOpened(to string, err error) error {
	if errors.Is(err, storage.ErrUnavailable) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) {
		return unknown("%s: %w", to, err)
	}
	return usage("%s: %w", to, err)
}

// addresses is the content of the address file: the issuer's URL, its listening address, its admin socket, its URL for operators, its
// listening address for monitoring, and the URL of the development provider.
type addresses struct {
	Issuer string `json:"issuer"`
	Listen string `json:"listen"`
	Admin  string `json:"admin"`

	AdminURL string `json:"admin_url,omitempty"`
	Metrics  string `json:"metrics,omitempty"`
	IDP      string `json:"idp,omitempty"`
}

// announce writes the address file atomically.
func (c *serveCmd) announce(a addresses) error {
	if c.AddrFile == "" {
		return nil
	}
	var err error
	if a.Admin, err = filepath.Abs(a.Admin); err != nil { // readers of the file may be in another folder
		return err
	}
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return writeAddresses(c.AddrFile, body)
}

// writeAddresses writes an address file, so that its readers see the whole of it or nothing.
func writeAddresses(file string, body []byte) error {
	temp := file + ".part"
	if err := os.WriteFile(temp, append(body, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the address file: %w", err)
	}
	return os.Rename(temp, file)
}

// load reads a settings file. Its error is a [config.Errors] for mistakes in the file.
func load(path string, s *streams) (*config.Config, error) {
	cfg, err := config.Load(path, s.env)
	if err != nil {
		return nil, err
	}
	return cfg, nil
}
