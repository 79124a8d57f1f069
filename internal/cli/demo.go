package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"

	"github.com/imidentity/issuer/internal/demo"
)

type demoCmd struct {
	Keep bool `help:"Keep serving after the demo, and print URLs and commands to try."`
}

func (*demoCmd) Help() string {
	return `It runs an issuer, an OpenID provider, an app, a service and the gateway of another provider in a temporary folder, and tries attacks, which
must fail:

    issuer demo
    issuer demo --keep`
}

func (c *demoCmd) Run(ctx context.Context, s *streams) error {
	err := demo.Run(ctx, demo.Story{
		Out: s.out, Colour: isTerminal(s.out), Keep: c.Keep,
		Log: slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if taken := (*demo.AddressError)(nil); errors.As(err, &taken) && c.Keep {
		return usage("demo: %w: stop the program that listens there, or leave out --keep", err)
	} else if err != nil {
		return refused("demo: %w", err)
	}
	return nil
}

// isTerminal reports whether w is a terminal with colours.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("NO_COLOR") == ""
}
