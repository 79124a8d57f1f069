package mls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
)

var _ Verifier = VerifySDCWT

var errBound = errors.New("there is one already: only the issued credential can be bound")

// VerifySDCWT is the [Verifier] of SDCWT. Members that accept such credentials set it in [Options.Verifiers].
//
// The audience of the key binding token is the same as for SDJWT. Its cnonce is the SHA-256 of the leaf's signature_key: the bytes that
// [Nonce] writes in base64url.
func VerifySDCWT(ctx context.Context, c *Credential, b Binding, o credential.Options) (credential.Credential, error) {
	t, err := cwt.Parse(c.CWT)
	switch {
	case err != nil:
		return credential.Credential{}, err
	case t.KeyBinding == nil:
		return credential.Credential{}, fault(credential.BindingPart, credential.CodeNoBinding, nil)
	}
	// What is cheap comes before the signatures, and the wrong key before the wrong nonce.
	key, err := b.CipherSuite.SignatureKey(t.VC.Key)
	if err != nil {
		return credential.Credential{}, err
	}
	if !bytes.Equal(key, b.SignatureKey) {
		return credential.Credential{}, fault("signature_key", credential.CodeKey, errLeafKey)
	}
	device, err := deviceOfSDCWT(t)
	if err != nil {
		return credential.Credential{}, err
	}
	if !b.Accepts(t.KeyBinding.Audience, device) {
		return credential.Credential{}, fault(credential.BindingPart, credential.CodeAudience, nil)
	}
	nonce := sha256.Sum256(b.SignatureKey)
	return cwt.Verify(ctx, c.CWT, cwt.Options{Options: o, Binding: &cwt.Binding{
		Audience: t.KeyBinding.Audience, Nonce: nonce[:], BindingAge: credential.BindingAge{At: b.Time, AnyAge: true},
	}})
}

// BindSDCWT is [Bind] for an SD-CWT as it came from the issuer. The handle, if it has one, is always shown.
func BindSDCWT(issued []byte, holder crypto.Signer, suite CipherSuite, room string, now time.Time) (*Credential, error) {
	t, err := cwt.Parse(issued)
	if err != nil {
		return nil, err
	}
	if t.KeyBinding != nil {
		return nil, fault(credential.BindingPart, credential.CodeBinding, errBound)
	}
	key, err := suite.SignatureKey(holder.Public())
	if err != nil {
		return nil, err
	}
	audience := room
	if audience == "" {
		device, err := deviceOfSDCWT(t)
		if err != nil {
			return nil, err
		}
		audience = claims.DomainURI(device.Domain())
	}
	nonce := sha256.Sum256(key)
	kbt, err := t.Present(holder, cwt.Binding{Audience: audience, Nonce: nonce[:]}, now)
	if err != nil {
		return nil, err
	}
	return &Credential{Type: SDCWT, CWT: kbt}, nil
}

// deviceOfSDCWT returns the device that an SD-CWT is about. Nothing is verified.
func deviceOfSDCWT(t *cwt.Token) (claims.ID, error) {
	device, err := claims.Parser{AllowSingleLabel: true}.Parse(t.VC.Device)
	if err != nil {
		return device, fault("sub", credential.CodeClaim, err)
	}
	return device, nil
}
