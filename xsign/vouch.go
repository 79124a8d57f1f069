package xsign

import (
	"crypto"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// A Vouch says that its author has compared the master key of another user: im-vouch+jwt.
type Vouch struct {
	By, User          claims.ID
	ID                string    // jti; empty for a random one when it is signed
	IssuedAt, Expires time.Time // whole seconds, at most [MaxLife] apart
	Master            string    // thumbprint of the user's master key
	How               string    // how it was compared: "qr", "numbers"
	Handle            claims.ID // the handle that the author knows the user by; zero if the vouch says nothing about it
	Public            bool      // whether others than the author may see it
}

// Sign signs the vouch with the author's user-signing key. The error is as in [Keys.Sign].
func (v *Vouch) Sign(userSigning crypto.Signer) (string, error) {
	text, err := signOpinion(userSigning, jose.TypeVouch, v)
	if err == nil {
		_, err = ParseVouch(text, userSigning.Public())
	}
	return text, err
}

// ParseVouch parses a vouch, and verifies the signature by the author's user-signing key. It checks no time. The error is an [*Error].
func ParseVouch(text string, userSigning crypto.PublicKey) (*Vouch, error) {
	return parseOpinion(text, jose.TypeVouch, userSigning)
}

// A Distrust says that its author distrusts the master key of another user: im-distrust+jwt. Its end is optional, and it counts for
// its author beyond that, until the author has withdrawn it: trust must not come back because time has passed.
type Distrust struct {
	By, User          claims.ID
	ID                string // jti; empty for a random one when it is signed
	IssuedAt, Expires time.Time
	Master            string // thumbprint of the distrusted master key
	Handle            claims.ID
	Public            bool
}

// Sign signs the distrust with the author's user-signing key. The error is as in [Keys.Sign].
func (d *Distrust) Sign(userSigning crypto.Signer) (string, error) {
	text, err := signOpinion(userSigning, jose.TypeDistrust, &Vouch{
		d.By, d.User, d.ID, d.IssuedAt, d.Expires, d.Master, "", d.Handle, d.Public,
	})
	if err == nil {
		_, err = ParseDistrust(text, userSigning.Public())
	}
	return text, err
}

// ParseDistrust parses a distrust, and verifies the signature by the author's user-signing key. The error is an [*Error].
func ParseDistrust(text string, userSigning crypto.PublicKey) (*Distrust, error) {
	v, err := parseOpinion(text, jose.TypeDistrust, userSigning)
	if err != nil {
		return nil, err
	}
	return &Distrust{v.By, v.User, v.ID, v.IssuedAt, v.Expires, v.Master, v.Handle, v.Public}, nil
}

// signOpinion signs a vouch, or a distrust, which is the same without how.
func signOpinion(userSigning crypto.Signer, typ string, v *Vouch) (string, error) {
	handle := ""
	if !v.Handle.IsZero() {
		handle = v.Handle.String()
	}
	return sign(userSigning, typ, false, struct {
		ISS    string `json:"iss"`
		SUB    string `json:"sub"`
		JTI    string `json:"jti"`
		IAT    int64  `json:"iat"`
		EXP    int64  `json:"exp,omitempty"`
		Master string `json:"master"`
		How    string `json:"how,omitempty"`
		Handle string `json:"handle,omitempty"`
		Public bool   `json:"public"`
	}{v.By.String(), v.User.String(), newID(v.ID), seconds(v.IssuedAt), seconds(v.Expires), v.Master, v.How, handle, v.Public})
}

func parseOpinion(text, typ string, userSigning crypto.PublicKey) (*Vouch, error) {
	_, payload, err := parse(text, typ, userSigning)
	if err != nil {
		return nil, err
	}
	var (
		v      Vouch
		c      common
		handle string
		public *bool
	)
	members := []jose.Member{
		{Name: "master", Text: &v.Master, Required: true}, {Name: "handle", Text: &handle},
		{Name: "public", Read: func(raw []byte) error {
			is := string(raw) == "true"
			if public = &is; !is && string(raw) != "false" {
				return refuse(typ, "public", CodeClaim, "neither true nor false")
			}
			return nil
		}},
	}
	life := time.Duration(0)
	if typ == jose.TypeVouch {
		life, members = MaxLife, append(members, jose.Member{Name: "how", Text: &v.How, Required: true, Max: maxHow})
	}
	v.By, v.User, err = c.read(typ, payload, life, members...)
	switch {
	case err != nil:
		return nil, err
	case same(v.By, v.User):
		return nil, refuse(typ, "sub", CodeUser, "the author")
	case !jose.IsThumbprint(v.Master):
		return nil, refuse(typ, "master", CodeClaim, "not a thumbprint")
	case public == nil:
		return nil, &Error{typ, "public", CodeClaim, errMissing}
	}
	id, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, c.sub, handle, "")
	if err != nil {
		return nil, &Error{typ, "handle", CodeClaim, err}
	}
	if !id.Handle.IsZero() && id.Handle.Domain() != v.User.Domain() {
		return nil, refuse(typ, "handle", CodeClaim, "of another domain than the user")
	}
	v.ID, v.IssuedAt, v.Expires, v.Handle, v.Public = c.jti, c.iat, c.exp, id.Handle, *public
	return &v, nil
}
