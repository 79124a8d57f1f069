package sdjwt

import (
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// names are the names of the claims that identify.
var names = credential.Names{User: "user", Handle: "handle", Device: "sub"}

// A VC is the credential of a device as its issuer makes it: an SD-JWT VC of the type [credential.VCT]. Only the handle is selectively
// disclosable; the device's URI names the user anyway.
type VC struct {
	Issuer string // iss: the URL of the issuer
	ID     string // jti, unique at the issuer
	// Device, User and Handle are URIs: sub, user and handle. The handle may be empty.
	Device, User, Handle string
	// Key is the device's key, or another one that the device holds: cnf.jwk.
	Key crypto.PublicKey
	// IssuedAt and Expires are iat and exp, in whole seconds.
	IssuedAt, Expires time.Time
	// Status is its place in a status list; nil if it has none.
	Status *statuslist.Reference
}

// A Signer signs the claims of a credential. The key ring in package keys is one.
type Signer interface {
	// Sign returns claims, which is JSON, as a compact JWS whose header names typ, the algorithm and the key.
	Sign(typ string, claims []byte) (string, error)
}

// Sign returns the credential as it is sent to its holder, with the disclosure of the handle. Salts come from random; nil means
// [rand.Reader].
//
// Every credential has exactly one digest. Without a handle it is a decoy, so that a verifier to whom no handle is shown cannot tell
// whether there is one (RFC 9901 §10.4).
//
// The error is about an incomplete or contradictory credential, a key of the wrong kind, or comes from s or random.
func (v *VC) Sign(s Signer, random io.Reader) (string, error) {
	if random == nil {
		random = rand.Reader
	}
	if err := v.check(); err != nil {
		return "", fmt.Errorf("sdjwt: make a credential: %w", err)
	}
	jwk, err := jose.MarshalJWK(v.Key)
	if err != nil {
		return "", fmt.Errorf("sdjwt: make a credential: %w", err)
	}
	var disclosure, hash string
	if v.Handle == "" {
		hash, err = newDecoy(random)
	} else if disclosure, err = newDisclosure(random, names.Handle, v.Handle); err == nil {
		hash, disclosure = digest(disclosure), disclosure+"~"
	}
	if err != nil {
		return "", err
	}
	b := make([]byte, 0, 1024)
	for _, member := range [...]struct{ name, value string }{
		{`{"iss":`, v.Issuer}, {`,"vct":`, credential.VCT}, {`,"sub":`, v.Device}, {`,"user":`, v.User}, {`,"jti":`, v.ID},
	} {
		b = appendString(append(b, member.name...), member.value)
	}
	b = strconv.AppendInt(append(b, `,"iat":`...), v.IssuedAt.Unix(), 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), v.Expires.Unix(), 10)
	b = append(append(append(b, `,"cnf":{"jwk":`...), jwk...), '}')
	if v.Status != nil {
		b = v.Status.AppendJSON(append(b, `,"status":`...))
	}
	b = append(append(append(b, `,"_sd":["`...), hash...), `"],"_sd_alg":"sha-256"}`...)
	signed, err := s.Sign(jose.TypeCredential, b)
	if err != nil {
		return "", fmt.Errorf("sdjwt: sign: %w", err)
	}
	return signed + "~" + disclosure, nil
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
		return errors.New("the end must be after the beginning, by at most a year")
	case len(v.ID) > maxID:
		return fmt.Errorf("the id is longer than %d bytes", maxID)
	case !jose.Allows(algorithms, jose.AlgorithmFor(v.Key)):
		return errors.New("the key is not one of ECDSA or Ed25519")
	}
	id, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, v.User, v.Handle, v.Device)
	if err != nil {
		return err
	}
	// The caller decides for which domains it issues credentials.
	return id.Check([]string{id.User.Domain()}, true)
}
