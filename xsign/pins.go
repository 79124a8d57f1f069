package xsign

import (
	"crypto"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// How says how a verifier knows a master key.
type How string

// The ways to know a master key.
const (
	ByHand   How = "hand"      // the verifier compared it
	ByVouch  How = "vouch"     // the verifier's own user-signing key vouched for it; good as long as there is such a vouch
	FirstUse How = "first_use" // it was the first one that a server showed
)

// A Pin is the memory of a verifier about one user.
type Pin struct {
	Master string    `json:"master"` // thumbprint of the master key
	How    How       `json:"how"`
	At     time.Time `json:"at"` // since when
	// Introducer says that the verifier has marked the user as an introducer, whose public vouches count. Verify never sets it.
	Introducer bool `json:"introducer,omitempty"`
	// Keys and Devices are the newest statements that were seen of this master key, and ListKey is the thumbprint of the key that signed
	// that list. The list of a former master key counts, too, if its successor has kept that key: else a server could show an old list.
	Keys    Seen   `json:"keys,omitzero"`
	Devices Seen   `json:"devices,omitzero"`
	ListKey string `json:"list_key,omitempty"`
	// Former are thumbprints of master keys that this one has followed.
	Former []string `json:"former,omitempty"`
}

// Seen is the highest sequence number of a kind of statement, and the hash of its content.
type Seen struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// check returns CodeOlder for a statement that is older than what was seen, and CodeConflict for another one with the same number.
func (s Seen) check(typ string, seq int64, hash string) error {
	switch {
	case seq < s.Seq:
		return refuse(typ, "seq", CodeOlder, "%d, and %d was seen before", seq, s.Seq)
	case seq == s.Seq && hash != s.Hash:
		return refuse(typ, "seq", CodeConflict, "another content with number %d was seen before", seq)
	}
	return nil
}

// Pins is the memory of a verifier, by user. Keep it where no server can change it. Use its methods: the im: and the mimi: URI of a user
// are one key of the map.
type Pins map[string]Pin

// Of returns the pin of a user.
func (p Pins) Of(user claims.ID) (Pin, bool) {
	pin, ok := p[account(user)]
	return pin, ok
}

// With returns pins in which a user has a pin. It does not change p.
func (p Pins) With(user claims.ID, pin Pin) Pins {
	q := maps.Clone(p)
	if q == nil {
		q = Pins{}
	}
	q[account(user)] = pin
	return q
}

// Without returns pins in which a user has no pin. It does not change p.
func (p Pins) Without(user claims.ID) Pins {
	q := maps.Clone(p)
	delete(q, account(user))
	return q
}

// ByHand returns pins in which the verifier has compared the master key of a user at a time. What was seen of the same key stays; the keys
// before it do not matter any more.
func (p Pins) ByHand(user claims.ID, master string, at time.Time) Pins {
	pin, ok := p.Of(user)
	if !ok || pin.Master != master {
		pin = Pin{Master: master}
	}
	pin.How, pin.At, pin.Former = ByHand, at, nil
	return p.With(user, pin)
}

// Own holds the vouches and distrusts of the verifier. Make it with [ReadOwn]; a nil *Own has none.
type Own struct {
	user      claims.ID
	vouches   []*Vouch
	distrusts []*Distrust
}

// ReadOwn reads the verifier's own vouches and distrusts, and verifies them by the verifier's user-signing key. Keep them beside the pins:
// a server that is asked for them could leave a distrust out. A statement that is refused is an error, because a distrust must not end
// unnoticed, as when the user-signing key is replaced: then the verifier signs those that shall stay again. The error is an [*Error].
func ReadOwn(user claims.ID, userSigning crypto.PublicKey, statements []string) (*Own, error) {
	if len(statements) > MaxOwn {
		return nil, refuse("", "", CodeTooMany, "more than %d statements", MaxOwn)
	}
	o := &Own{user: user}
	for _, text := range statements {
		var by claims.ID
		typ := jose.TypeVouch
		v, err := ParseVouch(text, userSigning)
		switch {
		case err == nil:
			by, o.vouches = v.By, append(o.vouches, v)
		case errors.Is(err, CodeType):
			typ = jose.TypeDistrust
			d, err := ParseDistrust(text, userSigning)
			if err != nil {
				return nil, err
			}
			by, o.distrusts = d.By, append(o.distrusts, d)
		default:
			return nil, err
		}
		if !same(by, user) {
			return nil, refuse(typ, "iss", CodeUser, "not by the verifier")
		}
	}
	return o, nil
}

// vouched returns the newest own vouch for a user, expired or not, and if master is not empty the newest one for that key; nil if there is
// none.
func (o *Own) vouched(user claims.ID, master string, now time.Time) *Vouch {
	var newest *Vouch
	if o == nil {
		return nil
	}
	for _, v := range o.vouches {
		if !same(v.User, user) || master != "" && v.Master != master || v.IssuedAt.After(now.Add(skew)) {
			continue
		}
		if newest == nil || v.IssuedAt.After(newest.IssuedAt) || v.IssuedAt.Equal(newest.IssuedAt) && v.ID > newest.ID {
			newest = v
		}
	}
	return newest
}

// distrusted returns the own distrust of one of some master keys of a user; nil if there is none.
func (o *Own) distrusted(user claims.ID, masters ...string) *Distrust {
	if o == nil {
		return nil
	}
	for _, d := range o.distrusts {
		if same(d.User, user) && slices.Contains(masters, d.Master) {
			return d
		}
	}
	return nil
}

// known returns the pin of a user: the stored one, unless a vouch that is newer, or stronger than a first use, is for another master key.
// Without both, a distrusted master key is known, too: the user does not come back unnoticed with another one.
func (o *Own) known(pins Pins, user claims.ID, now time.Time) (Pin, bool) {
	pin, ok := pins.Of(user)
	if v := o.vouched(user, "", now); v != nil {
		switch {
		case !ok, pin.Master != v.Master && (pin.How == FirstUse || v.IssuedAt.After(pin.At)):
			return Pin{Master: v.Master, How: ByVouch, At: v.IssuedAt}, true
		case pin.Master == v.Master && pin.How == FirstUse:
			pin.How, pin.At = ByVouch, v.IssuedAt
		}
	}
	if !ok && o != nil {
		for _, d := range o.distrusts {
			if same(d.User, user) {
				return Pin{Master: d.Master, At: d.IssuedAt}, true
			}
		}
	}
	return pin, ok
}
