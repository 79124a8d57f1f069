package xsign

import (
	"crypto"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// Devices is the list of all devices of a user: im-devices+jwt. A device that is not in it is not the user's.
type Devices struct {
	User              claims.ID
	ID                string    // jti; empty for a random one when it is signed
	IssuedAt, Expires time.Time // whole seconds, at most [MaxListLife] apart
	Seq               int64     // from 1, higher with each list of one master key, and of one device-signing key
	Devices           []Device  // may be empty

	hash string
}

// A Device is a device of a user, with the thumbprints of its keys (RFC 7638): that of its tokens, and others such as that of its leaves
// in MLS groups.
type Device struct {
	ID   claims.ID
	Keys []string
}

// Has reports whether the list has a device with a key.
func (d *Devices) Has(device claims.ID, key string) bool {
	for _, one := range d.Devices {
		if same(one.ID, device) && slices.Contains(one.Keys, key) {
			return true
		}
	}
	return false
}

type deviceClaims struct {
	Device string   `json:"device"`
	Keys   []string `json:"keys"`
}

// Sign signs the list with the device-signing key. The error is as in [Keys.Sign].
func (d *Devices) Sign(deviceSigning crypto.Signer) (string, error) {
	list := make([]deviceClaims, len(d.Devices))
	for i, one := range d.Devices {
		list[i] = deviceClaims{one.ID.String(), append([]string{}, one.Keys...)}
	}
	text, err := sign(deviceSigning, jose.TypeXSignDevices, false, struct {
		ISS     string         `json:"iss"`
		SUB     string         `json:"sub"`
		JTI     string         `json:"jti"`
		IAT     int64          `json:"iat"`
		EXP     int64          `json:"exp,omitempty"`
		Seq     int64          `json:"seq"`
		Devices []deviceClaims `json:"devices"`
	}{d.User.String(), d.User.String(), newID(d.ID), seconds(d.IssuedAt), seconds(d.Expires), d.Seq, list})
	if err == nil {
		_, err = ParseDevices(text, deviceSigning.Public())
	}
	return text, err
}

// ParseDevices parses a device list, and verifies the signature by the device-signing key. It checks no time. The error is an [*Error].
func ParseDevices(text string, deviceSigning crypto.PublicKey) (*Devices, error) {
	const typ = jose.TypeXSignDevices
	_, payload, err := parse(text, typ, deviceSigning)
	if err != nil {
		return nil, err
	}
	d := &Devices{hash: hash(payload)}
	var (
		c    common
		list []deviceClaims
	)
	issuer, subject, err := c.read(typ, payload, MaxListLife, readSeq(typ, &d.Seq),
		jose.Member{Name: "devices", Read: func(raw []byte) error {
			list = []deviceClaims{}
			return jose.ArrayText(raw, func(value string) error {
				var one deviceClaims
				err := jose.ReadMembers([]byte(value),
					jose.Member{Name: "device", Text: &one.Device, Required: true},
					jose.Member{Name: "keys", Read: func(raw []byte) (err error) { one.Keys, err = jose.Strings(raw); return err }})
				list = append(list, one)
				return err
			})
		}})
	switch {
	case err != nil:
		return nil, err
	case issuer != subject:
		return nil, refuse(typ, "sub", CodeUser, "not the issuer")
	case d.Seq == 0:
		return nil, &Error{typ, "seq", CodeClaim, errMissing}
	case list == nil:
		return nil, &Error{typ, "devices", CodeClaim, errMissing}
	}
	d.User, d.ID, d.IssuedAt, d.Expires = subject, c.jti, c.iat, c.exp
	return d, d.add(list)
}

// add reads the devices.
func (d *Devices) add(list []deviceClaims) error {
	const typ = jose.TypeXSignDevices
	d.Devices = make([]Device, 0, len(list))
	seen, keys := make(map[string]bool, len(list)), make(map[string]bool, len(list))
	for _, one := range list {
		names, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, "", "", one.Device)
		if err != nil {
			return &Error{typ, "devices", CodeClaim, err}
		}
		id := names.Device
		switch {
		case !owns(d.User, id) || id.Local() != d.User.Local():
			return refuse(typ, "devices", CodeUser, "a device of another user")
		case seen[account(id)]:
			return refuse(typ, "devices", CodeClaim, "a device is there twice")
		case len(one.Keys) == 0 || len(one.Keys) > MaxDeviceKeys:
			return refuse(typ, "devices", CodeClaim, "a device has 1 to %d keys", MaxDeviceKeys)
		}
		seen[account(id)] = true
		for _, key := range one.Keys {
			if !jose.IsThumbprint(key) {
				return &Error{typ, "devices", CodeClaim, errors.New("a key is not a thumbprint")}
			}
			if keys[key] {
				return refuse(typ, "devices", CodeKey, "a key is there twice")
			}
			keys[key] = true
		}
		d.Devices = append(d.Devices, Device{id, one.Keys})
	}
	return nil
}

// owns reports whether a device may be one of a user by its URI, which need not name the user.
func owns(user, device claims.ID) bool {
	id := claims.Identity{User: user, Device: device}
	return id.Check([]string{user.Domain()}, true) == nil
}

// check refuses a list in which a key of the user's own is that of a device, or the name of one: readers that know both by one kind of
// name could take one for the other (Matrix MSC1756).
func (d *Devices) check(k *Keys) error {
	own := []string{k.master, k.device, k.user}
	for _, one := range d.Devices {
		if slices.Contains(own, one.ID.Device()) {
			return refuse(jose.TypeXSignDevices, "devices", CodeKey, "a device has the name of a key that signs")
		}
		for _, key := range one.Keys {
			if slices.Contains(own, key) {
				return refuse(jose.TypeXSignDevices, "devices", CodeKey, "a device has a key that signs")
			}
		}
	}
	return nil
}
