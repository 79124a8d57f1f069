package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/imidentity/issuer/types/api"
)

type keysKEKsCmd struct{ operator }

func (*keysKEKsCmd) Help() string {
	return `It lists the key-encryption keys of the node that is asked, and how many signing keys and cluster secrets are sealed under each. A
key under which nothing is sealed can be removed, unless a backup needs it:

    issuer keys keks
    issuer keys keks --config /etc/issuer/issuer.yaml --json`
}

func (c *keysKEKsCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	list, err := socket.KeyEncryptionKeys(ctx)
	if err != nil {
		return explain(socket, err)
	}
	return c.show(s, list)
}

func (o *operator) show(s *streams, list []api.KeyEncryptionKey) error {
	return o.print(s, list, "KEY\tSTATE\tSECRETS", func(w io.Writer) {
		for _, k := range list {
			fmt.Fprintf(w, "%s\t%s\t%d\n", k.ID, k.State, k.Secrets)
		}
	})
}

type keysRotateKEKCmd struct{ operator }

func (*keysRotateKEKCmd) Help() string {
	return `First name the new key in kek_file_new on every node, and restart them. Then this seals all secrets under it, while all nodes run.
It continues if it is interrupted:

    issuer keys rotate-kek
    issuer keys rotate-kek --config /etc/issuer/issuer.yaml

When nothing is sealed under the old key, set kek_file to the new one on every node, remove kek_file_new, and restart them. Keep the old
key as long as the backups that were made under it.`
}

func (c *keysRotateKEKCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	list, err := socket.RotateKEK(ctx)
	if err != nil {
		return explain(socket, err)
	}
	return c.show(s, list)
}
