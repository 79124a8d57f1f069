package cwt

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

// holderAlgorithms are the signature algorithms of holders, by their names in JOSE.
var holderAlgorithms = []string{jose.ES256, jose.EdDSA}

// A Binding is what a key binding is for: the verifier, and the transaction. The same nonce must not be accepted twice; the verifier
// sees to that.
type Binding struct {
	Audience string // aud: the verifier, as agreed between both
	Nonce    []byte // cnonce, chosen by the verifier

	// Only for verifiers.
	credential.BindingAge
}

// A KeyBinding is what a key binding token says (draft-ietf-spice-sd-cwt-07 §8.1). Nothing of it is verified.
type KeyBinding struct {
	Audience string
	Nonce    []byte
	IssuedAt time.Time
	// Expires and NotBefore are zero if they are not there, as is usual.
	Expires, NotBefore time.Time

	msg *message
}

// readBinding reads the payload of a key binding token. The error is a refusal.
//
// The draft allows a token without iat that has a cti, and one without cnonce. Nothing would limit its use.
func readBinding(m *message) (*KeyBinding, error) {
	o, err := readClaims(m.payload)
	if err != nil {
		return nil, inPart(credential.BindingPart, err)
	}
	o.code, o.part = credential.CodeBinding, credential.BindingPart
	const implied = "the holder's key stands for it"
	o.forbid(labelIss, "iss", implied) // §8.1
	o.forbid(labelSub, "sub", implied)
	o.forbid(labelCnf, "cnf", implied)
	o.require(labelAud, "aud")
	o.require(labelIat, "iat")
	o.require(labelCnonce, "cnonce")
	o.bytes(labelCti, "cti")
	b := &KeyBinding{
		Audience: o.text(labelAud, "aud"), Nonce: o.bytes(labelCnonce, "cnonce"), IssuedAt: o.time(labelIat, "iat"),
		Expires: o.time(labelExp, "exp"), NotBefore: o.time(labelNbf, "nbf"), msg: m,
	}
	o.onlyNames(nil)
	// §9, step 6
	if b.NotBefore.After(b.IssuedAt) {
		o.fail("nbf", errors.New("later than iat"))
	}
	if !b.Expires.IsZero() && !b.IssuedAt.Before(b.Expires) {
		o.fail("exp", errors.New("not later than iat"))
	}
	if o.err != nil {
		return nil, o.err
	}
	return b, nil
}

// inPart names the part in which a refusal happened.
func inPart(part string, err error) error {
	if refused := (*credential.Error)(nil); errors.As(err, &refused) {
		inner := *refused
		inner.Part = part
		if refused.Part != "" {
			inner.Part += ": " + refused.Part
		}
		return &inner
	}
	return err
}

// checkBinding makes all checks of a key binding but that of its signature.
func (t *Token) checkBinding(b *Binding, now time.Time, leeway time.Duration) error {
	kb := t.KeyBinding
	switch {
	case kb == nil:
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeNoBinding}
	case !kb.msg.fits(t.VC.Key):
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeAlgorithm}
	case kb.Audience != b.Audience:
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeAudience}
	case subtle.ConstantTimeCompare(kb.Nonce, b.Nonce) != 1:
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeNonce}
	case !b.Fresh(kb.IssuedAt, kb.NotBefore, kb.Expires, now, leeway):
		return &credential.Error{Part: credential.BindingPart, Code: credential.CodeAge}
	}
	return t.checkWithin(leeway)
}

// checkWithin checks that the key binding is not valid at a time at which the credential is not (§9, step 6). That it was made before
// the credential expired is checked later, see [Verify].
func (t *Token) checkWithin(leeway time.Duration) error {
	kb := t.KeyBinding
	switch {
	case kb.Expires.After(t.VC.Expires):
		return refuse(credential.BindingPart, credential.CodeBinding, "it outlives the credential")
	case kb.IssuedAt.Add(leeway).Before(t.VC.IssuedAt):
		return refuse(credential.BindingPart, credential.CodeBinding, "it is older than the credential")
	case !kb.NotBefore.IsZero() && kb.NotBefore.Before(t.vc.notBefore):
		return refuse(credential.BindingPart, credential.CodeBinding, "it is valid before the credential")
	}
	return nil
}

// check returns an error if b would accept a key binding that is for any verifier or any transaction.
func (b *Binding) check() error {
	if err := credential.CheckBinding(b.Audience, b.Nonce, b.BindingAge); err != nil {
		return fmt.Errorf("cwt: %w", err)
	}
	return nil
}
