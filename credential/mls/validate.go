package mls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
)

// Options are the requirements of a member on the credentials of others.
type Options struct {
	credential.Options
	// Verifiers has the verifiers of types of credentials. A type without one is refused, except for SDJWT: without one it is
	// verified by package credential/sdjwt.
	Verifiers map[Type]Verifier
}

// A Verifier verifies the content of a credential of one type, which [Parse] has read: envelope, signatures, binding, and the rules in o,
// whose time is that of the leaf. It returns what [Validate] returns, except that Validate compares the key with the leaf's.
type Verifier func(ctx context.Context, c *Credential, b Binding, o credential.Options) (credential.Credential, error)

// A Binding is what a credential must be bound to, in formats in which the holder signs a binding.
type Binding struct {
	// Room is the audience: the URI of the room. Empty in a KeyPackage.
	Room string
	// Home accepts the URI of the domain of the device as the audience.
	Home bool
	// Nonce is [Nonce] of SignatureKey, and SignatureKey the key that the credential must be bound to, as in the leaf.
	Nonce        string
	SignatureKey []byte
	CipherSuite  CipherSuite
	// Time is the latest time at which the binding can have been made.
	Time time.Time
}

// Accepts reports whether the audience of a binding is right for a credential of this device.
func (b *Binding) Accepts(audience string, device claims.ID) bool {
	if b.Room != "" && audience == b.Room {
		return true
	}
	return b.Home && !device.IsZero() && slices.Contains(claims.DomainURIs(device.Domain()), audience)
}

var (
	errNoVerifier = errors.New("credentials of this type are not accepted here")
	errType       = errors.New("not " + jose.TypeCredential)
	errNoDevice   = errors.New("missing: a member of a group is a device")
	errLeafKey    = errors.New("not the key that the credential is bound to")
)

// Validate validates the credential of a leaf (RFC 9420 §5.3.1): it is genuine, bound to the leaf's key and to the room or, in a
// KeyPackage, to the domain of the device, and neither it nor the leaf has ended.
//
// The error is as package credential says: nil for a good credential, a *[credential.Error] for a refusal, any other error if this cannot
// be known now or the arguments are incomplete. If [credential.Stands] holds for it, the credential is returned with it, also if it is
// the lifetime of a KeyPackage that is over.
func Validate(ctx context.Context, c *Credential, leaf Leaf, o Options) (credential.Credential, error) {
	switch {
	case o.Issuers == nil:
		return credential.Credential{}, errors.New("mls: Options needs Issuers")
	case leaf.Lifetime == nil && leaf.Room == "":
		return credential.Credential{}, errors.New("mls: a Leaf needs Room, or the Lifetime of a KeyPackage")
	}
	verify := o.Verifiers[c.Type]
	switch {
	case verify != nil:
	case c.Type == SDJWT:
		verify = verifySDJWT
	default:
		return credential.Credential{}, fault("credential_type", credential.CodeType, fmt.Errorf("%s: %w", c.Type, errNoVerifier))
	}
	at := o.Time()
	if !leaf.Time.IsZero() && leaf.Time.Before(at) {
		at = leaf.Time
	}
	refused, over := leaf.Lifetime.check(at, o.Leeway)
	if refused != nil {
		return credential.Credential{}, refused
	}
	b := Binding{Nonce: Nonce(leaf.SignatureKey), SignatureKey: leaf.SignatureKey, CipherSuite: leaf.CipherSuite, Time: at}
	if leaf.Lifetime == nil {
		b.Room, b.Home = leaf.Room, leaf.FromKeyPackage
	} else {
		b.Home = true
		if end := time.Unix(int64(leaf.Lifetime.NotAfter), 0); end.Before(at) {
			b.Time = end
		}
	}
	rules := o.Options
	rules.Now = func() time.Time { return at }
	got, err := verify(ctx, c, b, rules)
	if !credential.Stands(err) {
		return credential.Credential{}, err
	}
	switch key, err := leaf.CipherSuite.SignatureKey(got.Key); {
	case err != nil:
		return credential.Credential{}, err
	case !bytes.Equal(key, leaf.SignatureKey):
		return credential.Credential{}, fault("signature_key", credential.CodeKey, errLeafKey)
	case got.Identity.Device.IsZero():
		return credential.Credential{}, fault("device", credential.CodeClaim, errNoDevice)
	}
	if err == nil {
		err = over
	}
	return got, err
}

// verifySDJWT is the Verifier of SDJWT.
func verifySDJWT(ctx context.Context, c *Credential, b Binding, o credential.Options) (credential.Credential, error) {
	t, err := sdjwt.Parse(c.JWT)
	switch {
	case err != nil:
		return credential.Credential{}, err
	case t.Typ != jose.TypeCredential: // an access token, too
		return credential.Credential{}, fault("typ", credential.CodeType, errType)
	case t.KeyBinding == nil:
		return credential.Credential{}, fault(credential.BindingPart, credential.CodeNoBinding, nil)
	}
	// What is cheap comes before the signatures, and the wrong key before the wrong nonce.
	if err := checkKey(t, b.CipherSuite, b.SignatureKey); err != nil {
		return credential.Credential{}, err
	}
	device, err := deviceOf(t)
	if err != nil {
		return credential.Credential{}, err
	}
	if !b.Accepts(t.KeyBinding.Audience, device) {
		return credential.Credential{}, fault(credential.BindingPart, credential.CodeAudience, nil)
	}
	return t.Verify(ctx, sdjwt.Options{Options: o, Binding: &sdjwt.Binding{
		Audience: t.KeyBinding.Audience, Nonce: b.Nonce, BindingAge: credential.BindingAge{At: b.Time, AnyAge: true},
	}})
}

// checkKey checks that an SD-JWT is bound to the key of a leaf.
func checkKey(t *sdjwt.Token, suite CipherSuite, signatureKey []byte) error {
	key, err := t.Key()
	if err != nil {
		return err
	}
	own, err := suite.SignatureKey(key)
	if err == nil && !bytes.Equal(own, signatureKey) {
		err = fault("signature_key", credential.CodeKey, errLeafKey)
	}
	return err
}

// deviceOf returns the device that an SD-JWT is about. Nothing is verified.
func deviceOf(t *sdjwt.Token) (claims.ID, error) {
	var sub string
	err := jose.ReadMembers(t.Claims(), jose.Member{Name: "sub", Text: &sub, Required: true})
	var device claims.ID
	if err == nil {
		device, err = claims.Parser{AllowSingleLabel: true}.Parse(sub)
	}
	if err != nil {
		return device, fault("sub", credential.CodeClaim, err)
	}
	return device, nil
}
