package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/internal/client"
)

type placesPublishCmd struct {
	profileFlag
	kept
}

func (*placesPublishCmd) Help() string {
	return `The issuer stores your profile in place of an earlier one, and serves it to all who ask. It looks at none of your places. The profile
must be signed by the master key that issuer xsign publish has stored. It needs a session with the scope account:

    issuer login --scope "im:handle im:device account"
    issuer xsign publish
    issuer places publish

The exit code is 1 if the issuer refuses, and 3 if it cannot be reached.`
}

func (c *placesPublishCmd) Run(ctx context.Context, s *streams) error {
	path, err := c.profilePath()
	if err != nil {
		return err
	}
	p, text, err := readProfile(path)
	switch {
	case err != nil:
		return err
	case p == nil:
		return noProfile(path)
	}
	app, token, err := c.profileToken(ctx)
	if err != nil {
		return err
	}
	stored, err := app.PutProfile(ctx, token, text)
	if refusal := (*client.Error)(nil); errors.As(err, &refusal) && refusal.Code == "no_keys" {
		return refused("the issuer has no master key of yours: publish it first with issuer xsign publish")
	}
	if err != nil {
		return answered(app.Server.Issuer, err)
	}
	fmt.Fprintf(s.out, "Published with %s. Others get it from %s.\n", count(len(p.Places), "place"), printable(stored.URL))
	if stored.Address == "" {
		fmt.Fprintln(s.out, "The address of a profile cannot name this issuer, which is at a port or an IP address: a server with a name "+
			"must pass requests on to it.")
	} else {
		fmt.Fprintf(s.out, "Each place must show %s.\n", printable(stored.Address))
	}
	return nil
}

// profileToken returns a client of the issuer, and a token with which a user stores a profile.
func (k *kept) profileToken(ctx context.Context) (*client.Client, string, error) {
	path, err := k.file()
	if err != nil {
		return nil, "", err
	}
	return issuerToken(ctx, path, accountScope, noScopeFor(k.Session, accountScope, "publish a profile"))
}

type placesUnpublishCmd struct {
	kept
}

func (*placesUnpublishCmd) Help() string {
	return `The issuer deletes your profile. Contacts who have seen it notice that it is gone, and do not know any more what your places name.
The profile stays in your file. Remove its address from the places, too:

    issuer places unpublish

The exit code is 1 if the issuer has none or refuses, and 3 if it cannot be reached.`
}

func (c *placesUnpublishCmd) Run(ctx context.Context, s *streams) error {
	app, token, err := c.profileToken(ctx)
	if err != nil {
		return err
	}
	err = app.DeleteProfile(ctx, token)
	if refusal := (*client.Error)(nil); errors.As(err, &refusal) && refusal.Code == "not_found" {
		return refused("the issuer has no profile of yours")
	}
	if err != nil {
		return answered(app.Server.Issuer, err)
	}
	fmt.Fprintf(s.out, "%s does not serve your profile any more.\n", app.Server.Issuer)
	return nil
}
