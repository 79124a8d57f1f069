package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/qr"
)

// authorizeElsewhere shows a code, which the user enters in a browser on any device, and polls until they have decided (RFC 8628).
func (c *loginCmd) authorizeElsewhere(ctx context.Context, s *streams, app *client.Client) (client.Tokens, error) {
	flow, err := app.BeginDevice(ctx, c.asked())
	if err != nil {
		return client.Tokens{}, err
	}
	fmt.Fprintf(s.err, "To sign in, open this page on any device, such as your phone:\n\n  %s\n\nand enter the code\n\n  %s\n\n",
		printable(flow.VerificationURI), printable(flow.UserCode))
	if page := flow.VerificationURIComplete; page != "" {
		picture, err := qr.Text(page)
		if err != nil {
			return client.Tokens{}, err
		}
		fmt.Fprintf(s.err, "Or scan this, and compare the code:\n\n%s\n", picture)
	}
	tokens, err := app.FinishDevice(ctx, flow, pause)
	if err == nil && !strings.EqualFold(tokens.TokenType, "DPoP") {
		return tokens, errors.New("the issuer gave a token that is not bound to the key of this device")
	}
	return tokens, err
}

// asked returns the parameters of the login that the flags name.
func (c *loginCmd) asked() url.Values {
	ask := url.Values{}
	set(ask, "im_domain", c.Domain)
	set(ask, "im_device_name", cmp.Or(c.DeviceName, machine()))
	set(ask, "im_device_platform", platform())
	set(ask, "scope", strings.Join(c.Scope, " "))
	if len(c.Resource) > 0 {
		ask["resource"] = c.Resource
	}
	return ask
}

// pause waits for a time or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
