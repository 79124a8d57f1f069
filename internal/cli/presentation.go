package cli

import (
	"context"
	"fmt"

	"github.com/imidentity/issuer/dpop"
)

type presentationCmd struct {
	Device   deviceFlags `embed:""`
	Audience string      `required:"" placeholder:"URI" help:"The verifier: the URI of its domain, such as im:example.com, of a device or of a room."`
	Nonce    string      `required:"" placeholder:"N" help:"The nonce of the verifier."`
	Token    string      `required:"" placeholder:"T" help:"The access token that goes with the presentation."`
}

func (*presentationCmd) Help() string {
	return `A presentation shows a verifier outside HTTP, such as a chat server, who holds an access token. It is valid for a minute, for one
verifier and one nonce:

    issuer presentation --session FILE --audience im:example.com --nonce "$nonce" --token "$(issuer token --session FILE)"`
}

func (c *presentationCmd) Run(ctx context.Context, s *streams) error {
	signer, err := c.Device.signer(ctx)
	if err != nil {
		return err
	}
	text, err := signer.Presentation(dpop.PresentationParams{Audience: c.Audience, Nonce: c.Nonce, AccessToken: c.Token})
	if err != nil {
		return usage("%w", err)
	}
	fmt.Fprintln(s.out, text)
	return nil
}
