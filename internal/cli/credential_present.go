package cli

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/client"
)

type credentialPresentCmd struct {
	File       string `arg:"" help:"File with the credential; - reads it from standard input."`
	Key        string `xor:"key" placeholder:"FILE" help:"Private key of the credential, PEM (PKCS #8 or EC), if it is not the device's own."`
	Session    string `xor:"key" placeholder:"FILE" help:"The session file with the device's own key (issuer/session.json in your configuration folder)."`
	Audience   string `required:"" placeholder:"URI" help:"The verifier: the URI of its domain, such as im:example.com, of a device or of a room."`
	Nonce      string `required:"" placeholder:"N" help:"The nonce of the verifier."`
	ShowHandle bool   `help:"Show the handle, too. Without it, the verifier sees user and device. A CWT always shows it."`
}

func (*credentialPresentCmd) Help() string {
	return `A presentation shows a credential to one verifier, which has chosen the nonce. It is valid for a minute:

    issuer credential present credential.txt --audience im:example.org --nonce "$nonce"
    issuer credential present mls.txt --key mls.pem --audience im:example.org --nonce "$nonce" --show-handle`
}

func (c *credentialPresentCmd) Run(ctx context.Context, s *streams) error {
	text, err := s.read(c.File)
	if err != nil {
		return usage("read the credential: %w", err)
	}
	key, err := c.key(ctx)
	if err != nil {
		return err
	}
	if data, ok := readCWT(text); ok {
		return c.presentCWT(s, data, key)
	}
	token, err := sdjwt.Parse(text)
	if err != nil {
		return refused("%s holds no credential: %w", c.File, err)
	}
	if token.KeyBinding != nil {
		return refused("%s is a presentation already: present the credential that it was made of", c.File)
	}
	var disclose []string
	if c.ShowHandle {
		disclose = []string{"handle"}
	}
	shown, err := token.Present(key, sdjwt.Binding{Audience: c.Audience, Nonce: c.Nonce}, time.Now(), disclose...)
	switch {
	case errors.Is(err, credential.CodeKey):
		return usage("the credential in %s is bound to another key: name its key with --key", c.File)
	case errors.Is(err, credential.CodeDisclosure):
		return refused("the credential in %s has no handle to show", c.File)
	case err != nil:
		return usage("%s: %w", c.File, err)
	}
	fmt.Fprintln(s.out, shown)
	return nil
}

// key returns the key of the flags. It makes none: a new key could not be that of the credential.
func (c *credentialPresentCmd) key(ctx context.Context) (crypto.Signer, error) {
	if c.Key != "" {
		key, err := readKey(c.Key)
		if err != nil {
			return nil, usage("%w", err)
		}
		return key, nil
	}
	path, err := (&kept{c.Session}).file()
	if err != nil {
		return nil, err
	}
	session, err := client.ReadSession(path)
	if err != nil {
		return nil, noSession(ctx, path, err)
	}
	return session.PrivateKey()
}
