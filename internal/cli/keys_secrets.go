package cli

import (
	"context"
	"fmt"
	"io"
	"time"
)

type keysSecretsCmd struct{ operator }

func (*keysSecretsCmd) Help() string {
	return `It lists the cluster secrets that the nodes accept, oldest first. Nonces, refresh tokens and cursors are made with the current
one:

    issuer keys secrets
    issuer keys secrets --config /etc/issuer/issuer.yaml --json`
}

func (c *keysSecretsCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	list, err := socket.ClusterSecrets(ctx)
	if err != nil {
		return explain(socket, err)
	}
	return c.print(s, list, "SECRET\tSTATE\tSINCE\tUNTIL", func(w io.Writer) {
		for _, k := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.ID, k.State, timeOr(k.Since, "-"), timeOr(k.Until, "-"))
		}
	})
}

// timeOr writes a time that may be absent.
func timeOr(t *time.Time, absent string) string {
	if t == nil {
		return absent
	}
	return t.Format(time.RFC3339)
}

type keysRotateClusterSecretCmd struct {
	operator
	Leaked bool `help:"The old secret has leaked: it ends at once, and every user must sign in again."`
}

func (*keysRotateClusterSecretCmd) Help() string {
	return `The issuer makes a new cluster secret. All nodes accept it at once, and use it ten minutes later. What was made with the old one
stays valid for its life, and no client notices:

    issuer keys rotate-cluster-secret

With --leaked, the new secret is used at once and the old one ends. All refresh tokens are then invalid:

    issuer keys rotate-cluster-secret --leaked`
}

func (c *keysRotateClusterSecretCmd) Run(ctx context.Context, s *streams) error {
	socket, err := c.socket(s)
	if err != nil {
		return err
	}
	k, err := socket.RotateClusterSecret(ctx, c.Leaked)
	if err != nil {
		return explain(socket, err)
	}
	switch {
	case c.JSON:
		return printJSON(s, k)
	case k.State == "current":
		fmt.Fprintf(s.out, "Cluster secret %s is used now. The ones before it have ended: every user must sign in again.\n", k.ID)
	default:
		fmt.Fprintf(s.out, "Cluster secret %s is accepted, and used from %s on.\n", k.ID, timeOr(k.Until, "-"))
	}
	return nil
}
