package issuer

import (
	"crypto"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/statements"
)

// cwts write and read access tokens in the form of CWTs. Only this file knows that form.
type cwts struct {
	ring *keys.Ring
	now  func() time.Time
}

var _ oauth.CWTs = cwts{}

// Signer returns the function that signs with the present key, nil for a key of RSA.
func (c cwts) Signer() func(set claims.Set, key crypto.PublicKey) (string, error) {
	signer, err := cwt.NewSigner(c.ring.Signer())
	if err != nil {
		return nil
	}
	return func(set claims.Set, key crypto.PublicKey) (string, error) {
		if err := c.ring.Fresh(c.now()); err != nil { // the key may have been revoked
			return "", err
		}
		data, err := cwt.SignAccessToken(set, key, signer)
		if err != nil {
			return "", err
		}
		return cwt.Text(data), nil
	}
}

// Parse reads a CWT.
func (cwts) Parse(text string) (statements.UnverifiedToken, bool) {
	t, err := readCWT(text)
	if err != nil {
		return nil, false
	}
	return t, true
}

// parseCWT is [cwts.Parse] for introspection.
func parseCWT(text string) (introspect.UnverifiedToken, error) {
	t, err := readCWT(text)
	if err != nil {
		return nil, err
	}
	return t, nil
}

func readCWT(text string) (*cwt.AccessToken, error) {
	data, err := cwt.ReadText(text)
	if err != nil {
		return nil, err
	}
	return cwt.ParseAccessToken(data)
}
