package cwt

import (
	"context"
	"errors"

	"github.com/imidentity/issuer/credential"
)

// Options are the requirements of a verifier.
type Options struct {
	credential.Options
	// Binding is what the key binding must say. Required, unless WithoutBinding is set.
	Binding *Binding
	// WithoutBinding expects a credential without key binding, and refuses one that has it. So anyone who has seen the credential can
	// show it. It is for holders, who check a credential that they get.
	WithoutBinding bool
}

// Verify verifies a presentation of a device's credential: its form and type, the issuer's signature, the key binding
// (draft-ietf-spice-sd-cwt-07 §9), and the rules of [credential.Options]. The order is: what is cheap, signatures, trust, times, status.
//
// The error is a [*credential.Error]. If [credential.Stands] holds for it, the credential is returned with it; otherwise no credential
// is. Any other error means that the answer cannot be known now, or that the options are incomplete.
func Verify(ctx context.Context, data []byte, o Options) (credential.Credential, error) {
	if err := o.check(); err != nil {
		return credential.Credential{}, err
	}
	t, err := Parse(data)
	if err != nil {
		return credential.Credential{}, err
	}
	c, err := t.verify(ctx, &o)
	if err != nil {
		return credential.Credential{}, err
	}
	err = o.Check(ctx, names, &c)
	if err == nil && t.KeyBinding != nil && !t.KeyBinding.IssuedAt.Before(t.VC.Expires.Add(o.Leeway)) { // §9, step 6
		err = refuse(credential.BindingPart, credential.CodeBinding, "it is younger than the credential's end")
	}
	if !credential.Stands(err) {
		return credential.Credential{}, err
	}
	return c, err
}

func (o *Options) check() error {
	switch {
	case o.Issuers == nil:
		return errors.New("cwt: Options needs Issuers")
	case o.WithoutBinding && o.Binding != nil:
		return errors.New("cwt: Options has both Binding and WithoutBinding")
	case o.WithoutBinding:
		return nil
	case o.Binding == nil:
		return errors.New("cwt: Options needs Binding, or WithoutBinding")
	}
	return o.Binding.check()
}

// verify reads the identifiers and verifies the signatures.
func (t *Token) verify(ctx context.Context, o *Options) (credential.Credential, error) {
	v := t.vc
	c := credential.Credential{
		Format: credential.SDCWT, ID: v.ID, Issuer: v.Issuer, Key: v.Key, JKT: v.jkt, From: v.IssuedAt, Until: v.Expires, Status: v.Status,
	}
	var err error
	if c.Identity, err = o.Parse(names, v.User, v.Handle, v.Device); err != nil {
		return c, err
	}
	if o.WithoutBinding {
		if t.KeyBinding != nil {
			return c, refuse(credential.BindingPart, credential.CodeBinding, "not expected")
		}
	} else if err := t.checkBinding(o.Binding, o.Time(), o.Leeway); err != nil {
		return c, err
	}
	if err := t.msg.verifyIssuer(ctx, &o.Options, v.Issuer); err != nil || o.WithoutBinding {
		return c, err
	}
	kb := t.KeyBinding.msg
	if err := kb.verify(kb.name, v.Key); err != nil {
		return c, &credential.Error{Part: credential.BindingPart, Code: credential.CodeKey}
	}
	return c, nil
}
