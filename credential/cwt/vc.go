package cwt

import (
	"cmp"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/veraison/go-cose"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// names are the names of the claims that identify.
var names = credential.Names{User: nameUser, Handle: nameHandle, Device: "sub"}

// nameUser is the name of the claim of the user's URI in a credential.
const nameUser = "user"

// vcNames are the claims of a credential that have no number.
var vcNames = []string{nameUser, nameHandle}

// maxID is how long the text of a cti may be, in bytes.
const maxID = 256

// A VC is the credential of a device as its issuer makes it: an SD-CWT of the type [credential.VCT], in which nothing is hidden. So the
// handle, if there is one, is shown to every verifier; the format dc+sd-jwt can hide it.
type VC struct {
	Issuer string // iss: the URL of the issuer
	ID     string // cti, unique at the issuer; its bytes are those of the jti
	// Device, User and Handle are URIs: sub, user and handle. The handle may be empty.
	Device, User, Handle string
	// Key is the device's key, or another one that the device holds: the COSE_Key in cnf. It is of P-256 or Ed25519.
	Key crypto.PublicKey
	// IssuedAt and Expires are iat and exp, in whole seconds.
	IssuedAt, Expires time.Time
	// Status is its place in a status list; nil if it has none.
	Status *statuslist.Reference
}

// Sign returns the credential as it is sent to its holder. The error is about an incomplete or contradictory credential, a key of the
// wrong kind, or comes from s.
func (v *VC) Sign(s *Signer) ([]byte, error) {
	data, err := v.encode()
	if err == nil {
		_, err = readVC(data)
	}
	if err != nil {
		return nil, fmt.Errorf("cwt: make a credential: %w", err)
	}
	return sign(s.cose, kindCredential, cose.ProtectedHeader{headerKid: []byte(s.kid)}, data)
}

func (v *VC) encode() ([]byte, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	key, err := coseKey(v.Key)
	if err != nil {
		return nil, err
	}
	p := payload{
		labelIss: v.Issuer, labelSub: v.Device, labelCti: []byte(v.ID), labelVct: credential.VCT, labelCnf: payload{confirmKey: key},
	}
	p.time(labelExp, v.Expires)
	p.time(labelIat, v.IssuedAt)
	p.text(nameUser, v.User)
	p.text(nameHandle, v.Handle)
	if v.Status != nil {
		p.status(v.Status.Index, v.Status.URI)
	}
	return encoding.Marshal(p)
}

// check returns an error if a verifier would refuse the credential.
func (v *VC) check() error {
	for _, c := range [...]struct{ name, value string }{{"Issuer", v.Issuer}, {"ID", v.ID}, {"Device", v.Device}, {"User", v.User}} {
		if c.value == "" {
			return errors.New(c.name + " is missing")
		}
	}
	life := v.Expires.Sub(v.IssuedAt)
	switch {
	case v.IssuedAt.IsZero(), life < time.Second, life > credential.MaxLife:
		return errors.New("it must expire after it was issued, at most a year later")
	case !slices.Contains(holderAlgorithms, jose.AlgorithmFor(v.Key)):
		return errors.New("its key is neither of P-256 nor of Ed25519")
	}
	id, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, v.User, v.Handle, v.Device)
	if err != nil {
		return err
	}
	// Which domains the issuer speaks for is its own matter.
	return id.Check([]string{id.User.Domain()}, true)
}

// A vc is the credential that was read from a payload.
type vc struct {
	VC
	notBefore time.Time
	jkt       string
}

// readVC reads the payload of a credential. The error is a refusal.
func readVC(data []byte) (*vc, error) {
	o, err := readClaims(data)
	if err != nil {
		return nil, err
	}
	if vct, _ := o.items[labelVct].(string); vct != credential.VCT {
		return nil, refuse("vct", credential.CodeType, "not that of a device's credential")
	}
	for _, claim := range [...]struct {
		label any
		name  string
	}{
		{labelIss, "iss"}, {labelSub, "sub"}, {labelCti, "cti"}, {labelIat, "iat"}, {labelExp, "exp"}, {labelCnf, "cnf"},
		{nameUser, nameUser},
	} {
		o.require(claim.label, claim.name)
	}
	o.forbid(labelAud, "aud", "a credential is not for some verifiers only")
	c := &vc{notBefore: o.time(labelNbf, "nbf"), VC: VC{
		Issuer: o.text(labelIss, "iss"), ID: o.id(labelCti, "cti"), Device: o.text(labelSub, "sub"), User: o.text(nameUser, nameUser),
		Handle: o.text(nameHandle, nameHandle), IssuedAt: o.time(labelIat, "iat"), Expires: o.time(labelExp, "exp"),
	}}
	if len(c.ID) > maxID {
		o.fail("cti", fmt.Errorf("longer than %d bytes", maxID))
	}
	if c.notBefore.After(c.IssuedAt) { // draft-ietf-spice-sd-cwt-07 §9, step 3
		o.fail("nbf", errors.New("later than iat"))
	}
	if index, uri, ok := o.status(); ok {
		c.Status = &statuslist.Reference{Index: index, URI: uri}
	}
	o.onlyNames(vcNames)
	cnf := o.object(labelCnf, "cnf")
	if o.err != nil {
		return nil, o.err
	}
	// RFC 8747 §3.1: there is one key. A verifier that takes the first of two would accept another holder than one that takes the last.
	key := cnf.object(confirmKey, "COSE_Key")
	if key == nil || len(cnf.items) != 1 {
		return nil, cmp.Or(cnf.err, error(refuse("cnf", credential.CodeClaim, "not a COSE_Key alone")))
	}
	public, err := readKey(key)
	if err != nil {
		return nil, err
	}
	c.Key, c.jkt = public.Public, public.JKT
	return c, nil
}
