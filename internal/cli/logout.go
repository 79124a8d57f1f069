package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/internal/client"
)

type logoutCmd struct {
	kept
	Force bool `help:"Remove the file even if the issuer cannot be reached."`
}

func (*logoutCmd) Help() string {
	return `It ends the session and its tokens at the issuer, and removes the session file. The device stays in your list of devices.

    issuer logout
    issuer logout --session walk/alice.json

If the issuer cannot be reached, the file stays and the exit code is 3: run the command again later. --force removes the file
anyway; the session then ends after it has been unused for long enough.`
}

func (c *logoutCmd) Run(ctx context.Context, s *streams) error {
	path, err := c.file()
	if err != nil {
		return err
	}
	held, err := client.HoldSession(ctx, path)
	if err != nil {
		return noSession(ctx, path, err)
	}
	defer held.Release()
	if err := end(ctx, held.Session); err != nil {
		if !c.Force {
			var e *exit
			if errors.As(err, &e) {
				return &exit{e.code, fmt.Errorf("%w. The session may still live there, and %s stays: --force removes it", e.err, path)}
			}
			return err
		}
		fmt.Fprintln(s.err, "issuer: not ended at the issuer:", err)
	}
	if err := held.Remove(); err != nil {
		return usage("remove the session: %w", err)
	}
	fmt.Fprintf(s.out, "Signed out of %s.\n", held.Issuer)
	return nil
}

// end ends a session at its issuer, by revoking its refresh token (RFC 7009 §2.1).
func end(ctx context.Context, session client.Session) error {
	app, err := clientOf(ctx, session)
	if err == nil {
		err = app.Revoke(ctx, cmp.Or(session.RefreshToken, session.AccessToken))
	}
	return answered(session.Issuer, err)
}
