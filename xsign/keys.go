package xsign

import (
	"crypto"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// Keys are the keys of a user, as the master key states them: im-keys+jwt.
type Keys struct {
	User              claims.ID
	ID                string    // jti; empty for a random one when it is signed
	IssuedAt, Expires time.Time // whole seconds, at most [MaxLife] apart
	Seq               int64     // from 1, higher with each change
	// Master signs the keys and successions, DeviceSigning the device list, UserSigning vouches and distrusts. They are three different
	// keys. Sign takes Master from the signer.
	Master, DeviceSigning, UserSigning crypto.PublicKey
	// Succeeds is the statement of the former master key that names this one; empty if there is none.
	Succeeds string

	master, device, user string // the thumbprints
	hash                 string
}

// Sign signs the keys with the master key. The error is an [*Error] if [ParseKeys] would refuse the statement, or comes from the signer.
func (k *Keys) Sign(master crypto.Signer) (string, error) {
	var below [2]jose.Key
	for i, key := range []struct {
		name   string
		public crypto.PublicKey
	}{{"device_signing", k.DeviceSigning}, {"user_signing", k.UserSigning}} {
		if err := checkKey(key.public); err != nil {
			return "", &Error{jose.TypeXSignKeys, key.name, CodeKey, err}
		}
		jwk, err := jose.MarshalJWK(key.public)
		if err != nil {
			return "", &Error{jose.TypeXSignKeys, key.name, CodeKey, err}
		}
		below[i].Kid = string(jwk)
	}
	text, err := sign(master, jose.TypeXSignKeys, true, struct {
		ISS      string  `json:"iss"`
		SUB      string  `json:"sub"`
		JTI      string  `json:"jti"`
		IAT      int64   `json:"iat"`
		EXP      int64   `json:"exp,omitempty"`
		Seq      int64   `json:"seq"`
		Keys     rawKeys `json:"keys"`
		Succeeds string  `json:"succeeds,omitempty"`
	}{
		k.User.String(), k.User.String(), newID(k.ID), seconds(k.IssuedAt), seconds(k.Expires), k.Seq,
		rawKeys{raw(below[0].Kid), raw(below[1].Kid)}, k.Succeeds,
	})
	if err == nil {
		_, err = ParseKeys(text)
	}
	return text, err
}

type rawKeys struct {
	DeviceSigning raw `json:"device_signing"`
	UserSigning   raw `json:"user_signing"`
}

// raw is JSON.
type raw string

// MarshalJSON returns the JSON.
func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// ParseKeys parses the keys of a user, and verifies the signature by the master key that the statement itself names: the caller decides
// whether that is the user's. It checks no time. The error is an [*Error].
func ParseKeys(text string) (*Keys, error) {
	const typ = jose.TypeXSignKeys
	key, payload, err := parse(text, typ, nil)
	if err != nil {
		return nil, err
	}
	k := &Keys{Master: key, hash: hash(payload)}
	if k.master, err = Thumbprint(key); err != nil {
		return nil, &Error{typ, "jwk", CodeKey, err}
	}
	var c common
	issuer, subject, err := c.read(typ, payload, MaxLife, readSeq(typ, &k.Seq),
		jose.Member{Name: "succeeds", Text: &k.Succeeds},
		jose.Member{Name: "keys", Read: func(data []byte) error {
			return jose.ReadMembers(data,
				jose.Member{Name: "device_signing", Read: readKeyTo(&k.DeviceSigning, &k.device)},
				jose.Member{Name: "user_signing", Read: readKeyTo(&k.UserSigning, &k.user)})
		}})
	switch {
	case err != nil:
		return nil, err
	case issuer != subject:
		return nil, refuse(typ, "sub", CodeUser, "not the issuer")
	case k.Seq == 0:
		return nil, &Error{typ, "seq", CodeClaim, errMissing}
	case k.device == "" || k.user == "":
		return nil, &Error{typ, "keys", CodeClaim, errMissing}
	case k.device == k.master, k.user == k.master, k.device == k.user:
		return nil, refuse(typ, "keys", CodeKey, "one key has two purposes")
	}
	k.User, k.ID, k.IssuedAt, k.Expires = subject, c.jti, c.iat, c.exp
	return k, nil
}

// readKeyTo reads a key below the master key.
func readKeyTo(key *crypto.PublicKey, thumbprint *string) func([]byte) error {
	return func(data []byte) (err error) {
		if *key, *thumbprint, err = readKey(data); err != nil {
			return refuse(jose.TypeXSignKeys, "keys", CodeKey, "%v", err)
		}
		return nil
	}
}

// A Succession is the statement of a master key that another one follows it: im-succession+jwt. It counts if the new master key has it in
// [Keys], or if it is one of the earlier ones in a [Bundle].
type Succession struct {
	User     claims.ID
	ID       string // jti; empty for a random one when it is signed
	IssuedAt time.Time
	// Former is the master key that signs, which Sign takes from the signer. Next is the thumbprint of the one that follows it.
	Former crypto.PublicKey
	Next   string

	former string
}

// Sign signs the succession with the former master key. The error is as in [Keys.Sign].
func (s *Succession) Sign(former crypto.Signer) (string, error) {
	text, err := sign(former, jose.TypeSuccession, true, struct {
		ISS    string `json:"iss"`
		SUB    string `json:"sub"`
		JTI    string `json:"jti"`
		IAT    int64  `json:"iat"`
		Master string `json:"master"`
	}{s.User.String(), s.User.String(), newID(s.ID), seconds(s.IssuedAt), s.Next})
	if err == nil {
		_, err = ParseSuccession(text)
	}
	return text, err
}

// ParseSuccession parses a succession, and verifies the signature by the former master key that the statement itself names. The error is an
// [*Error].
func ParseSuccession(text string) (*Succession, error) {
	const typ = jose.TypeSuccession
	key, payload, err := parse(text, typ, nil)
	if err != nil {
		return nil, err
	}
	s := &Succession{Former: key}
	if s.former, err = Thumbprint(key); err != nil {
		return nil, &Error{typ, "jwk", CodeKey, err}
	}
	var c common
	issuer, subject, err := c.read(typ, payload, 0, jose.Member{Name: "master", Text: &s.Next, Required: true})
	switch {
	case err != nil:
		return nil, err
	case issuer != subject:
		return nil, refuse(typ, "sub", CodeUser, "not the issuer")
	case !c.exp.IsZero():
		return nil, refuse(typ, "exp", CodeClaim, "a succession has no end")
	case !jose.IsThumbprint(s.Next):
		return nil, refuse(typ, "master", CodeClaim, "not a thumbprint")
	case s.Next == s.former:
		return nil, refuse(typ, "master", CodeSuccession, "a key does not follow itself")
	}
	s.User, s.ID, s.IssuedAt = subject, c.jti, c.iat
	return s, nil
}
