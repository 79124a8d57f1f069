package cli

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/imidentity/issuer/types/api"
)

type wireCmd struct {
	Key wireKeyCmd `cmd:"" help:"Print the public key by which step-ca verifies the issuer's tokens."`
}

type wireKeyCmd struct {
	operator
	New    bool `help:"Replace the key by another one first. step-ca refuses the issuer's tokens until it has the new key."`
	Base64 bool `name:"base64" help:"Print the PEM in base64 alone, as it belongs into dpop.key of ca.json."`
}

func (*wireKeyCmd) Help() string {
	return `The issuer has one key for the tokens that step-ca takes at its challenge wire-dpop-01. It makes the key when it starts with a
domain that has wire.provisioners, and never replaces it by itself. All nodes have the same key:

    issuer wire key
    issuer wire key --base64 --config /etc/issuer/issuer.yaml

With --new, another key signs from now on. Put it into ca.json at once, and reload step-ca:

    issuer wire key --new`
}

func (c *wireKeyCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	var k api.WireKey
	if c.New {
		k, err = socket.ReplaceWireKey(ctx)
	} else {
		k, err = socket.WireKey(ctx)
	}
	if err != nil {
		return explain(socket, err)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(k.PEM))
	switch {
	case c.JSON:
		return printJSON(s, k)
	case c.Base64:
		fmt.Fprintln(s.out, encoded)
	default:
		fmt.Fprintf(s.out, "Key %s (%s):\n\n%s\nIn ca.json, as dpop.key:\n\n%s\n", k.KID, k.Alg, k.PEM, encoded)
	}
	return nil
}
