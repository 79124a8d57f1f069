package cli

import (
	"context"
	"fmt"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/credential/sdjwt"
)

// readCWT returns the bytes of a CWT in base64url, and false if text is something else: a CWT begins with tag 18.
func readCWT(text string) ([]byte, bool) {
	data, err := cwt.ReadText(text)
	return data, err == nil && len(data) > 0 && data[0] == 0xd2
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
