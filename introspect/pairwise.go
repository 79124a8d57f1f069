package introspect

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"

	"github.com/imidentity/issuer/claims"
)

// pseudonyms are the pairwise ids of one caller (as in OpenID Connect Core 1.0 §8.1): a keyed hash of the caller and of the user or
// device. They are the same for each question of the caller, and tell two callers nothing about each other's users.
type pseudonyms struct {
	key     [32]byte
	caller  string
	domains []string // the issuer's own
}

// What a pairwise id stands for. A user has the same one under the URI that is user and handle in one, as in XMPP.
const (
	kindPerson        = "person"
	kindDevice        = "device"
	kindForeignDevice = "foreign device"
	kindText          = "text" // a URI in a form that claims does not know
)

// prefixPairwise marks pairwise ids: no identifier of a user or a device begins like that.
const prefixPairwise = "pw_"

// of returns the pairwise id of something. Each part is preceded by its length, so that no two lists of parts are written alike.
func (p *pseudonyms) of(kind string, parts ...string) string {
	var text []byte
	for _, part := range append([]string{p.caller, kind}, parts...) {
		text = append(binary.BigEndian.AppendUint32(text, uint32(len(part))), part...)
	}
	mac := hmac.New(sha256.New, p.key[:])
	mac.Write(text)
	return prefixPairwise + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// uri returns the pairwise id for the URI of a user, a handle, a device or a group. Client ids have no colon and are returned
// unchanged, and so are the URLs of issuers.
//
// A device of the issuer's own domains is known by the domain and its id, which is unique there. Whether the ids of another
// domain's devices are unique is not known.
func (p *pseudonyms) uri(uri string) string {
	if !strings.Contains(uri, ":") || strings.HasPrefix(uri, "https://") || strings.HasPrefix(uri, "http://") {
		return uri
	}
	id, err := (claims.Parser{AllowSingleLabel: true}).Parse(uri)
	switch {
	case err != nil:
		return p.of(kindText, uri)
	case id.Type() != claims.TypeDevice:
		return p.of(kindPerson, id.Domain(), id.Local())
	case slices.Contains(p.domains, id.Domain()):
		return p.of(kindDevice, id.Domain(), id.Device())
	}
	return p.of(kindForeignDevice, id.Domain(), id.Local(), id.Device())
}

// replace replaces all that names a user or a device in an answer, and leaves out what people are called: handles, and the role of a
// member, which is free text.
func (p *pseudonyms) replace(a *Answer) {
	a.Username, a.Handle = "", ""
	a.Subject, a.Device = p.uri(a.Subject), p.uri(a.Device)
	p.actors(a.Actor)
	for i := range a.Tokens {
		l := &a.Tokens[i]
		l.Handle, l.OldHandle, l.Role = "", "", ""
		for _, uri := range []*string{&l.Issuer, &l.Subject, &l.Device, &l.SameAs, &l.MovedTo, &l.Member, &l.Guardian} {
			*uri = p.uri(*uri) // a statement that a user's own key signed has the user's URI as its issuer
		}
		p.actors(l.MayAct)
	}
}

func (p *pseudonyms) actors(a *Actor) {
	for ; a != nil; a = a.Actor {
		a.Subject, a.Issuer = p.uri(a.Subject), p.uri(a.Issuer)
	}
}

// Seen returns the value by which a caller knows the user or the device with a URI, as in the answers to it: the URI, or its pairwise
// id if the caller's policy says so.
func (i *Introspector) Seen(c Caller, uri string) string {
	if c.Release == nil || !c.Release.pairwise {
		return uri
	}
	names := i.pseudonyms(c)
	return names.uri(uri)
}

func (i *Introspector) pseudonyms(c Caller) pseudonyms {
	return pseudonyms{key: i.cfg.PairwiseKey, caller: c.Name, domains: i.cfg.Domains}
}

// veil returns what lies over the answers to a caller, nil for nothing.
func (i *Introspector) veil(c Caller) *veil {
	if c.Release == nil {
		return nil
	}
	return &veil{c.Release, i.pseudonyms(c)}
}
