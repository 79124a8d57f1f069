package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/sasl"
	"github.com/imidentity/issuer/introspect"
)

type saslHelperCmd struct {
	Caller        callerFlags `embed:""`
	Domain        []string    `required:"" placeholder:"NAME" help:"Domain of the chat server. May be repeated."`
	Scope         []string    `placeholder:"SCOPE" help:"Scope that tokens must have. May be repeated."`
	FollowHandles bool        `help:"Accept handles of any identifier system. A renamed user then has another account, and the next owner of a handle gets its account."`
	Socket        string      `placeholder:"FILE" help:"Listen on this Unix socket (mode 0660), instead of standard input and output."`
	Check         bool        `help:"Only check that the issuer answers this client, and exit."`
	LogFormat     string      `enum:"text,json" default:"text" placeholder:"text|json" help:"Log format."`
}

func (*saslHelperCmd) Help() string {
	return `A chat server asks this helper about users who sign in with an access token and a presentation. The helper speaks a line protocol
on standard input and output, or on a Unix socket: docs/sasl.md describes it. contrib/prosody has a module for Prosody.

    issuer sasl-helper --domain example.com --issuer https://im-id.example.com --client-id xmpp \
      --secret-file /etc/issuer/xmpp-secret --socket /run/issuer-sasl/socket

It runs until its input ends or it receives SIGTERM, and then exits with code 0. The exit code is 2 for a mistake in the arguments, and
3 if it cannot read or write. With --check it is 0 if the issuer answers, 1 if it refuses this client, and 3 if it does not answer.`
}

func (c *saslHelperCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := c.Caller.config(s, "sasl-helper")
	if err != nil {
		return err
	}
	if !client.Safe(cfg.Issuer) {
		return usage("the issuer must be an https URL, or on this machine: %s", cfg.Issuer)
	}
	cfg.Parallel = sasl.MaxRequests
	issuer, err := introspect.NewClient(cfg)
	if err != nil {
		return usage("%w", err)
	}
	checker, err := sasl.NewChecker(sasl.Config{Issuer: issuer, Domains: c.Domain, Scopes: c.Scope, FollowHandles: c.FollowHandles})
	if err != nil {
		return usage("%w", err)
	}
	if c.Check {
		return c.check(ctx, s, issuer)
	}
	var handler slog.Handler = slog.NewTextHandler(s.err, nil)
	if c.LogFormat == "json" {
		handler = slog.NewJSONHandler(s.err, nil)
	}
	log := slog.New(handler)
	helper := sasl.NewHelper(checker, log)
	if c.Socket == "" {
		err = helper.Serve(ctx, s.in, s.out)
	} else {
		var l net.Listener
		if l, err = listenSocket(c.Socket); err == nil {
			log.Info("sasl: listening", slog.String("socket", c.Socket))
			err = errors.Join(notify(s, "READY=1"), helper.Listen(ctx, l))
		}
	}
	if err != nil {
		return unknown("%w", err)
	}
	return nil
}

// check asks the issuer about a text that is no token.
func (c *saslHelperCmd) check(ctx context.Context, s *streams, issuer *introspect.Client) error {
	_, err := issuer.Introspect(ctx, introspect.Question{Token: "check"})
	var refusal *introspect.CallerError
	switch {
	case errors.As(err, &refusal):
		return refused("%s", refusalText(refusal))
	case err != nil:
		return unknown("%w", err)
	}
	fmt.Fprintln(s.out, "The issuer answers this client.")
	return nil
}

// listenSocket makes a Unix socket that the owner and the group of this process can connect to. It replaces one that a dead process
// left behind.
func listenSocket(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("the socket %s is in use: does another helper run?", path)
	}
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("%s exists and is not a socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket: %w", err)
	}
	mask := syscall.Umask(0o117) // the socket has its mode from the start
	l, err := net.Listen("unix", path)
	syscall.Umask(mask)
	if err != nil {
		return nil, fmt.Errorf("make the socket: %w", err)
	}
	return l, nil
}
