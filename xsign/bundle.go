package xsign

import (
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// A Bundle holds the statements of one user as a server stores them: texts, of which nothing is verified.
type Bundle struct {
	// Keys is the newest im-keys+jwt.
	Keys string `json:"keys"`
	// Succession are the im-succession+jwt of earlier master keys, the oldest first. The last one is not among them: it is in Keys. So a
	// verifier who was away for several changes can follow them.
	Succession []string `json:"succession,omitempty"`
	// Devices is the newest im-devices+jwt. Without it, no device of a known user can be judged.
	Devices string `json:"devices,omitempty"`
}

// Contents are the statements of a bundle whose signatures are verified, up from the master key that the bundle itself names. Whether that
// is the user's is for [Verify].
type Contents struct {
	Keys *Keys
	// Masters are the thumbprints of the master keys, the oldest first, the present one last.
	Masters []string
	// Devices is the device list; nil if it is absent or refused.
	Devices *Devices
	// DevicesErr says why the list was refused.
	DevicesErr error
}

// Open parses and verifies a bundle of a user. It checks no time. A device list that is refused does not make the bundle refused. The
// error is an [*Error].
func (b *Bundle) Open(user claims.ID) (*Contents, error) {
	k, err := ParseKeys(b.Keys)
	if err != nil {
		return nil, err
	}
	if !same(k.User, user) {
		return nil, refuse(jose.TypeXSignKeys, "sub", CodeUser, "another user")
	}
	c := &Contents{Keys: k}
	if c.Masters, err = b.masters(k); err != nil {
		return nil, err
	}
	if b.Devices == "" {
		c.DevicesErr = refuse(jose.TypeXSignDevices, "", CodeMissing, "the bundle has no device list")
		return c, nil
	}
	d, err := ParseDevices(b.Devices, k.DeviceSigning)
	if err == nil && !same(d.User, user) {
		err = refuse(jose.TypeXSignDevices, "sub", CodeUser, "another user")
	}
	if err == nil {
		err = d.check(k)
	}
	if err != nil {
		c.DevicesErr = err
	} else {
		c.Devices = d
	}
	return c, nil
}

// masters returns the chain of master keys that ends with that of k. The new master key signs the last link, too, because it is in k;
// each other one is signed by the former key alone.
func (b *Bundle) masters(k *Keys) ([]string, error) {
	const typ = jose.TypeSuccession
	links := slices.Clone(b.Succession)
	switch {
	case k.Succeeds != "":
		links = append(links, k.Succeeds)
	case len(links) > 0:
		return nil, refuse(typ, "", CodeSuccession, "the keys name no former master key")
	}
	if len(links) > MaxSuccession {
		return nil, refuse(typ, "", CodeSuccession, "more than %d former master keys", MaxSuccession)
	}
	var chain []string
	next := ""
	for _, text := range links {
		s, err := ParseSuccession(text)
		switch {
		case err != nil:
			return nil, err
		case !same(s.User, k.User):
			return nil, refuse(typ, "sub", CodeUser, "another user")
		case next != "" && next != s.former:
			return nil, refuse(typ, "", CodeSuccession, "not by the key that the one before names")
		case slices.Contains(chain, s.former):
			return nil, refuse(typ, "", CodeSuccession, "a circle of master keys")
		}
		chain, next = append(chain, s.former), s.Next
	}
	switch {
	case next != "" && next != k.master:
		return nil, refuse(typ, "master", CodeSuccession, "not the master key of the keys")
	case slices.Contains(chain, k.master):
		return nil, refuse(typ, "", CodeSuccession, "a circle of master keys")
	}
	return append(chain, k.master), nil
}

// current returns why a statement does not count now, or nil.
func current(typ string, issued, expires, now time.Time) error {
	switch {
	case issued.After(now.Add(skew)):
		return refuse(typ, "iat", CodeNotYetValid, "in the future")
	case !expires.IsZero() && !now.Before(expires):
		return refuse(typ, "exp", CodeExpired, "expired on %s", expires.Format("2 Jan 2006"))
	}
	return nil
}
