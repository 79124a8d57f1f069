package sdjwt

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// Options are the requirements of a verifier.
type Options struct {
	credential.Options
	// Binding is what the key binding must say. Required, unless WithoutBinding is set.
	Binding *Binding
	// WithoutBinding expects a credential without key binding, and refuses one that has it (RFC 9901 §4). So anyone who has seen the
	// credential can show it. It is for holders, who check a credential that they get.
	WithoutBinding bool
}

// issuerAlgorithms are the signature algorithms of issuers. The key of the issuer decides which one it is.
var issuerAlgorithms = []string{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.Ed25519, jose.PS256, jose.RS256}

// maxID is how long a jti may be, in bytes.
const maxID = 256

// notHidden are the claims at the top level that must not be selectively disclosable: those of draft-ietf-oauth-sd-jwt-vc §2.2.2.3, and
// those of the type [credential.VCT] except for the handle.
var notHidden = []string{
	"iss", "nbf", "exp", "cnf", "vct", "vct#integrity", "aka_vcts", "status", "iat", "jti", "aud", names.Device, names.User,
}

// knownClaims and knownMethods are the claims, and the members of cnf, whose names are refused in another case.
var (
	knownClaims  = append(slices.Clip(notHidden), names.Handle)
	knownMethods = append(slices.Clip(otherMethods), "jwk")
)

// otherMethods are the names of other ways to name a key than `jwk` (RFC 7800 §3, RFC 8705 §3.1, RFC 9449 §6.1).
var otherMethods = []string{"jwe", "kid", "jku", "jkt", "x5t#S256"}

// Verify verifies a presentation of a device's credential: its form, type and disclosures, the issuer's signature, the key binding
// (RFC 9901 §7.3), and the rules of [credential.Options]. The order is: what is cheap, signatures, trust, times, status.
//
// The error is a [*credential.Error]. If [credential.Stands] holds for it, the credential is returned with it; otherwise no credential
// is. Any other error means that the answer cannot be known now, or that the options are incomplete.
func Verify(ctx context.Context, text string, o Options) (credential.Credential, error) {
	if err := o.check(); err != nil {
		return credential.Credential{}, err
	}
	t, err := Parse(text)
	if err != nil {
		return credential.Credential{}, err
	}
	return t.verify(ctx, &o)
}

// Verify is the function Verify, for a presentation that was parsed already.
func (t *Token) Verify(ctx context.Context, o Options) (credential.Credential, error) {
	if err := o.check(); err != nil {
		return credential.Credential{}, err
	}
	return t.verify(ctx, &o)
}

func (t *Token) verify(ctx context.Context, o *Options) (credential.Credential, error) {
	c, err := t.read(&o.Options)
	if err != nil {
		return credential.Credential{}, err
	}
	if o.WithoutBinding {
		if t.KeyBinding != nil {
			return credential.Credential{}, refuse(credential.BindingPart, credential.CodeBinding, "not expected")
		}
	} else if err := t.checkBinding(c.Key, o.Binding, o.Time(), o.Leeway); err != nil {
		return credential.Credential{}, err
	}
	if err := o.VerifySignature(ctx, c.Issuer, t.Kid, t.jws.Verify); err != nil {
		return credential.Credential{}, err
	}
	if !o.WithoutBinding {
		if err := t.verifyBinding(c.Key); err != nil {
			return credential.Credential{}, err
		}
	}
	err = o.Check(ctx, names, &c)
	if !credential.Stands(err) {
		return credential.Credential{}, err
	}
	return c, err
}

func (o *Options) check() error {
	switch {
	case o.Issuers == nil:
		return errors.New("sdjwt: Options needs Issuers")
	case o.WithoutBinding && o.Binding != nil:
		return errors.New("sdjwt: Options has both Binding and WithoutBinding")
	case o.WithoutBinding:
		return nil
	case o.Binding == nil:
		return errors.New("sdjwt: Options needs Binding, or WithoutBinding")
	}
	return o.Binding.check()
}

// read reads the credential of a device. Nothing is verified. The error is a refusal.
func (t *Token) read(o *credential.Options) (credential.Credential, error) {
	c := credential.Credential{Format: credential.SDJWT}
	switch {
	case t.Typ != jose.TypeCredential: // RFC 8725 §3.11
		return c, refuse("typ", credential.CodeType, "not %s", jose.TypeCredential)
	case !jose.Allows(issuerAlgorithms, t.Alg):
		return c, &credential.Error{Part: "alg", Code: credential.CodeAlgorithm}
	case t.Kid == "":
		return c, refuse("kid", credential.CodeMalformed, "missing")
	}
	if err := t.checkHidden(); err != nil {
		return c, err
	}
	var vct, user, handle, device string
	var notBefore time.Time
	var cnf confirmation
	for _, m := range t.claims {
		var err error
		switch m.name {
		case "vct":
			vct, err = jose.String(m.value)
		case "iss":
			c.Issuer, err = jose.String(m.value)
		case names.Device:
			device, err = jose.String(m.value)
		case names.User:
			user, err = jose.String(m.value)
		case names.Handle:
			if handle, err = jose.String(m.value); err == nil && handle == "" {
				err = errors.New("empty")
			}
		case "jti":
			if c.ID, err = jose.String(m.value); err == nil && len(c.ID) > maxID {
				err = fmt.Errorf("longer than %d bytes", maxID)
			}
		case "iat":
			c.From, err = jose.NumericDate(m.value)
		case "nbf":
			notBefore, err = jose.NumericDate(m.value)
		case "exp":
			c.Until, err = jose.NumericDate(m.value)
		case "cnf":
			err = cnf.read(m.value)
		case "aud":
			// RFC 7519 §4.1.3: a verifier that is not named must refuse. A credential is for everybody.
			err = errors.New("a credential is not for some verifiers only")
		case "status":
			var ref statuslist.Reference
			ref, err = statuslist.ParseReference([]byte(m.value))
			c.Status = &ref
		default:
			if err := jose.CheckCase(m.name, knownClaims); err != nil {
				return c, &credential.Error{Part: "payload", Code: credential.CodeClaim, Err: err}
			}
		}
		if err != nil {
			return c, &credential.Error{Part: m.name, Code: credential.CodeClaim, Err: err}
		}
	}
	for _, claim := range [...]struct {
		name    string
		missing bool
	}{
		{"vct", vct == ""}, {"iss", c.Issuer == ""}, {names.Device, device == ""}, {names.User, user == ""}, {"jti", c.ID == ""},
		{"iat", c.From.IsZero()}, {"exp", c.Until.IsZero()},
	} {
		if claim.missing {
			return c, refuse(claim.name, credential.CodeClaim, "missing")
		}
	}
	if vct != credential.VCT {
		return c, refuse("vct", credential.CodeType, "not that of a device's credential")
	}
	if err := cnf.check(); err != nil {
		return c, err
	}
	c.Key, c.JKT = cnf.key.Public, cnf.key.JKT
	if notBefore.After(c.From) {
		c.From = notBefore
	}
	var err error
	c.Identity, err = o.Parse(names, user, handle, device)
	return c, err
}

// checkHidden refuses disclosures of claims that must not be hidden, and digests in such claims.
func (t *Token) checkHidden() error {
	for i, d := range t.disclosures {
		if slices.Contains(notHidden, d.Claim) {
			return refuse(disclosureName(i), credential.CodeDisclosure, "%s must not be hidden", d.Claim)
		}
	}
	for _, claim := range t.hiding {
		if slices.Contains(notHidden, claim) {
			return refuse(claim, credential.CodeDisclosure, "nothing in it may be hidden")
		}
	}
	return nil
}

// A confirmation is the claim cnf.
type confirmation struct {
	key   jose.Key
	found bool
}

// read reads one public key, as cnf.jwk (RFC 9901 §4.1.2, RFC 7800 §3.2), and no other confirmation method (§3.1).
func (c *confirmation) read(raw string) error {
	return jose.ObjectText(raw, func(name, value string) (err error) {
		switch {
		case name == "jwk":
			c.found = true
			c.key, err = jose.ParseJWK([]byte(value))
			return err
		case slices.Contains(otherMethods, name):
			return errors.New("not the only confirmation method")
		}
		return jose.CheckCase(name, knownMethods)
	})
}

// check returns a refusal if there is no key, or one of a kind that holders do not have.
func (c *confirmation) check() error {
	switch {
	case !c.found:
		return refuse("cnf", credential.CodeClaim, "it has no jwk, or is missing")
	case !jose.Allows(algorithms, jose.AlgorithmFor(c.key.Public)):
		return &credential.Error{Part: "cnf", Code: credential.CodeAlgorithm}
	}
	return nil
}

// Key returns the key that the SD-JWT is bound to: its cnf.jwk. The error is a [*credential.Error] with [credential.CodeClaim] if there is
// none, or CodeAlgorithm.
func (t *Token) Key() (crypto.PublicKey, error) {
	key, err := t.key()
	return key.Public, err
}

// key is Key with the thumbprint.
func (t *Token) key() (jose.Key, error) {
	var cnf confirmation
	for _, m := range t.claims {
		if m.name == "cnf" {
			if err := cnf.read(m.value); err != nil {
				return jose.Key{}, &credential.Error{Part: "cnf", Code: credential.CodeClaim, Err: err}
			}
		}
	}
	return cnf.key, cnf.check()
}
