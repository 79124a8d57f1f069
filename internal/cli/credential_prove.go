package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/dpop"
)

type credentialProveCmd struct {
	Device   deviceFlags `embed:""`
	Nonce    string      `required:"" placeholder:"N" help:"A nonce for credentials: the c_nonce of the issuer's nonce endpoint."`
	Issuer   string      `placeholder:"URL" help:"The issuer of the credential ($$ISSUER)."`
	ClientID string      `placeholder:"ID" help:"The client of the access token. It may be left out."`
}

func (*credentialProveCmd) Help() string {
	return `A request of a credential proves that its sender holds the key of the credential. A proof is valid once, for some minutes:

    issuer credential prove --key mls.pem --issuer https://im-id.example.com --nonce "$nonce"

issuer credential get makes the whole request.`
}

func (c *credentialProveCmd) Run(ctx context.Context, s *streams) error {
	issuer := strings.TrimSuffix(cmp.Or(c.Issuer, s.getenv("ISSUER")), "/")
	if issuer == "" {
		return usage("prove needs the issuer: --issuer URL, or ISSUER in the environment")
	}
	signer, err := c.Device.signer(ctx)
	if err != nil {
		return err
	}
	proof, err := signer.KeyProof(dpop.KeyProofParams{Audience: issuer, Client: c.ClientID, Nonce: c.Nonce})
	if err != nil {
		return usage("%w", err)
	}
	fmt.Fprintln(s.out, proof)
	return nil
}
