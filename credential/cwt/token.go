package cwt

import (
	"crypto"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

// A Token is the credential of a device, alone or in a key binding token. Nothing of it is verified.
type Token struct {
	// VC is what the credential says.
	VC VC
	// KID is the name of the key that the credential claims to be signed with.
	KID string
	// KeyBinding is nil if the credential is alone.
	KeyBinding *KeyBinding

	data []byte // the credential alone
	msg  *message
	vc   *vc
}

// Parse reads a credential, alone or in a key binding token. It verifies no signature and checks no time. The error is a
// [*credential.Error] with [credential.CodeMalformed], CodeTooLarge, CodeType, CodeAlgorithm, CodeDisclosure, CodeClaim or CodeBinding.
func Parse(data []byte) (*Token, error) {
	m, header, err := readAny(data)
	switch {
	case err != nil:
		return nil, err
	case kindCredential.is(header):
		return parseCredential(data, m, header)
	case !kindBinding.is(header):
		return nil, refuse("typ", credential.CodeType, "neither a credential (293) nor a key binding token (294)")
	}
	if err := m.readHeader(header, kindBinding); err != nil {
		return nil, inPart(credential.BindingPart, err)
	}
	binding, err := readBinding(m)
	if err != nil {
		return nil, err
	}
	inner, header, err := readAny(m.kcwt)
	if err == nil && !kindCredential.is(header) {
		err = refuse("typ", credential.CodeType, "not %v", kindCredential[0])
	}
	if err != nil {
		return nil, err
	}
	t, err := parseCredential(m.kcwt, inner, header)
	if err != nil {
		return nil, err
	}
	t.KeyBinding = binding
	return t, nil
}

func parseCredential(data []byte, m *message, header *object) (*Token, error) {
	if err := m.readHeader(header, kindCredential); err != nil {
		return nil, err
	}
	c, err := readVC(m.payload)
	if err != nil {
		return nil, err
	}
	return &Token{VC: c.VC, KID: m.kid, data: slices.Clone(data), msg: m, vc: c}, nil
}

// Bytes returns the credential alone, without key binding.
func (t *Token) Bytes() []byte { return slices.Clone(t.data) }

// Present returns a presentation: a key binding token with the credential in it (draft-ietf-spice-sd-cwt-07 §8.1), signed by the holder.
//
// The error is a [*credential.Error] with [credential.CodeKey] if the holder's key is not the one in the credential, and CodeBinding if
// now is not in the time of the credential. Any other error is about an incomplete b, or comes from the holder.
func (t *Token) Present(holder crypto.Signer, b Binding, now time.Time) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if own, err := jose.Thumbprint(holder.Public()); err != nil || own != t.vc.jkt {
		return nil, &credential.Error{Part: "cnf", Code: credential.CodeKey}
	}
	if now = now.Truncate(time.Second); now.Before(t.VC.IssuedAt) || !now.Before(t.VC.Expires) {
		return nil, refuse(credential.BindingPart, credential.CodeBinding, "it is not the time of the credential now")
	}
	s, err := newSigner(jose.AlgorithmFor(holder.Public()), holder)
	if err != nil {
		return nil, err
	}
	p := payload{labelAud: b.Audience, labelCnonce: b.Nonce}
	p.time(labelIat, now)
	data, err := encoding.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("cwt: bind the key: %w", err)
	}
	return sign(s, kindBinding, cose.ProtectedHeader{headerKcwt: cbor.RawMessage(t.data)}, data)
}
