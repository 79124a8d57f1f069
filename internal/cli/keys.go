package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"time"
)

type keysCmd struct {
	List   keysListCmd   `cmd:"" help:"List signing keys."`
	Rotate keysRotateCmd `cmd:"" help:"Replace the signing key with the next one."`
	Revoke keysRevokeCmd `cmd:"" help:"Revoke a signing key: everything that it signed becomes invalid."`

	Secrets             keysSecretsCmd             `cmd:"" help:"List the secrets that all nodes share, without themselves."`
	Keks                keysKEKsCmd                `cmd:"" name:"keks" help:"List the key-encryption keys, and how much is sealed under each."`
	RotateKEK           keysRotateKEKCmd           `cmd:"" name:"rotate-kek" help:"Seal all secrets under the key in kek_file_new."`
	RotateClusterSecret keysRotateClusterSecretCmd `cmd:"" help:"Replace the secret that all nodes share with a new one."`
}

type keysListCmd struct{ operator }

func (*keysListCmd) Help() string {
	return `It lists the oldest key first. A key is published before it signs. When the next key takes over, it is retired: it still
verifies its earlier signatures, but signs nothing new.

    issuer keys list
    issuer keys list --config /etc/issuer/issuer.yaml --json`
}

func (c *keysListCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	list, err := socket.Keys(ctx)
	if err != nil {
		return explain(socket, err)
	}
	return c.print(s, list, "KEY\tALG\tSTATE\tSINCE\tUNTIL", func(w io.Writer) {
		for _, k := range list {
			until := "-"
			if k.Until != nil {
				until = k.Until.Format(time.RFC3339)
			}
			if k.Reason != "" {
				until += " (" + k.Reason + ")"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.KID, k.Alg, k.State, k.Since.Format(time.RFC3339), until)
		}
	})
}

type keysRotateCmd struct {
	operator
	Now bool `help:"The next key signs at once. Verifiers that have not read the key set since refuse its tokens until they do."`
}

func (*keysRotateCmd) Help() string {
	return `The issuer publishes the next key, and signs with it when verifiers have had time to read it (signing.publish_ahead). The
previous key stays in the key set until the last token that it signed has expired:

    issuer keys rotate
    issuer keys rotate --now`
}

func (c *keysRotateCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	k, err := socket.RotateKey(ctx, c.Now)
	if err != nil {
		return explain(socket, err)
	}
	switch {
	case c.JSON:
		return printJSON(s, k)
	case k.State == "signing":
		fmt.Fprintf(s.out, "Key %s (%s) signs.\n", k.KID, k.Alg)
	case k.Changed:
		fmt.Fprintf(s.out, "Key %s (%s) is published, and signs from %s on.\n", k.KID, k.Alg, k.Until.Format(time.RFC3339))
	default:
		fmt.Fprintf(s.out, "Key %s (%s) is published already, and signs from %s on. With --now it signs at once.\n",
			k.KID, k.Alg, k.Until.Format(time.RFC3339))
	}
	return nil
}

type keysRevokeCmd struct {
	operator
	Key    string `arg:"" name:"kid" help:"The key, as issuer keys list shows it."`
	Reason string `default:"operator" placeholder:"TEXT" help:"The reason, for the log (${default})."`
}

func (*keysRevokeCmd) Help() string {
	return `The issuer removes the key from the key set, and everything that the key signed becomes inactive. If it was the signing key,
the next key or a new one takes over. Users stay logged in: devices get a new token at their next refresh.

    issuer keys revoke 0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I --reason leaked`
}

// kid is the form of a key id, which becomes a part of a path, and has 255 bytes at most.
var kid = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func (c *keysRevokeCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	if len(c.Key) > 255 || !kid.MatchString(c.Key) {
		return refused("there is no key %q: issuer keys list shows them", c.Key)
	}
	k, err := socket.RevokeKey(ctx, c.Key, c.Reason)
	if err != nil {
		return explain(socket, err)
	}
	switch {
	case c.JSON:
		return printJSON(s, k)
	case k.Changed:
		fmt.Fprintf(s.out, "Revoked key %s: everything that it signed is invalid.\n", k.KID)
	default:
		fmt.Fprintf(s.out, "Key %s was revoked before, at %s (%s).\n", k.KID, k.Since.Format(time.RFC3339), cmp.Or(k.Reason, "-"))
	}
	return nil
}
