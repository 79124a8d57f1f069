// Command issuer is the DPoP token issuer and introspection service for instant-messaging identity. See issuer help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/imidentity/issuer/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal asks, a second one ends the process at once
	code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ())
	stop()
	os.Exit(code)
}
