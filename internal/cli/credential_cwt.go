package cli

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/credential/sdjwt"
)

// readCWT returns the bytes of a CWT in base64url, and false if text is something else: a CWT begins with tag 18.
func readCWT(text string) ([]byte, bool) {
	data, err := cwt.ReadText(text)
	return data, err == nil && len(data) > 0 && data[0] == 0xd2
}

// readSDCWT reads a CWT for [credentialGetCmd].
func readSDCWT(text string) (one gotCredential, key crypto.PublicKey, err error) {
	data, err := cwt.ReadText(text)
	if err != nil {
		return one, nil, err
	}
	token, err := cwt.Parse(data)
	if err != nil {
		return one, nil, err
	}
	return gotCredential{ID: token.VC.ID, Credential: text, Device: token.VC.Device, ExpiresAt: token.VC.Expires}, token.VC.Key, nil
}

// presentCWT prints a key binding token of a CWT.
func (c *credentialPresentCmd) presentCWT(s *streams, data []byte, key crypto.Signer) error {
	token, err := cwt.Parse(data)
	switch {
	case err != nil:
		return refused("%s holds no credential: %w", c.File, err)
	case token.KeyBinding != nil:
		return refused("%s is a presentation already: present the credential that it was made of", c.File)
	case c.ShowHandle && token.VC.Handle == "":
		return refused("the credential in %s has no handle to show", c.File)
	}
	shown, err := token.Present(key, cwt.Binding{Audience: c.Audience, Nonce: []byte(c.Nonce)}, time.Now())
	switch {
	case errors.Is(err, credential.CodeKey):
		return usage("the credential in %s is bound to another key: name its key with --key", c.File)
	case errors.Is(err, credential.CodeBinding):
		return refused("the credential in %s cannot be presented: %w", c.File, err)
	case err != nil:
		return usage("%s: %w", c.File, err)
	}
	_, err = fmt.Fprintln(s.out, cwt.Text(shown))
	return err
}

// showCWT prints a CWT of any kind.
func (c *credentialShowCmd) showCWT(s *streams, data []byte) error {
	diagnostic, err := cwt.Diagnose(data)
	switch {
	case err != nil:
		return refused("%s: %w", c.File, err)
	case c.JSON:
		return printJSON(s, map[string]string{"diagnostic": diagnostic})
	}
	_, err = fmt.Fprintf(s.out, "Nothing of this is checked: anyone could have written it.\n\n%s\n", diagnostic)
	return err
}

// verifyCredential verifies a credential in the format that text has: SD-JWT VC, or SD-CWT.
func verifyCredential(ctx context.Context, text string, o sdjwt.Options) (credential.Credential, error) {
	data, ok := readCWT(text)
	if !ok {
		return sdjwt.Verify(ctx, text, o)
	}
	options := cwt.Options{Options: o.Options, WithoutBinding: o.WithoutBinding}
	if b := o.Binding; b != nil {
		options.Binding = &cwt.Binding{Audience: b.Audience, Nonce: []byte(b.Nonce), BindingAge: b.BindingAge}
	}
	return cwt.Verify(ctx, data, options)
}
