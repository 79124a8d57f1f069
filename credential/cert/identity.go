package cert

import (
	"errors"
	"strings"

	"github.com/imidentity/issuer/claims"
)

var (
	errTwoDevices = errors.New("two devices")
	errTwoUsers   = errors.New("two users")
	errTwoHandles = errors.New("two handles")
	errNotBound   = errors.New("neither a device, a user nor a handle")
)

// readIdentity sorts the URIs of a subjectAltName by their types. There is at most one of each. The errors are those above or of package
// claims.
func readIdentity(uris []string, development bool) (claims.Identity, error) {
	var id claims.Identity
	p := claims.Parser{AllowSingleLabel: development}
	for _, uri := range uris {
		one, err := parseURI(p, uri)
		if err != nil {
			return claims.Identity{}, err
		}
		var (
			to    *claims.ID
			twice error
		)
		switch typ := one.Type(); {
		case typ == claims.TypeDevice:
			to, twice = &id.Device, errTwoDevices
		case typ == claims.TypeHandle:
			to, twice = &id.Handle, errTwoHandles
		case typ == claims.TypeUser && one.System() == claims.SystemMIMI && !id.User.IsZero():
			// In mimi: URIs a handle looks like a user: the first is the user, the second the handle.
			to, twice = &id.Handle, errTwoHandles
		case typ == claims.TypeUser:
			to, twice = &id.User, errTwoUsers
		default:
			return claims.Identity{}, errNotBound
		}
		if !to.IsZero() {
			return claims.Identity{}, twice
		}
		*to = one
		if one.System() == claims.SystemXMPP && one.Type() == claims.TypeHandle { // the bare JID is both
			if !id.User.IsZero() {
				return claims.Identity{}, errTwoUsers
			}
			id.User = one
		}
	}
	return id, nil
}

// uris returns the URIs of an identity, in the order of certificates: device, user, handle.
func uris(id claims.Identity) []string {
	var list []string
	for _, one := range []claims.ID{id.Device, id.User} {
		if !one.IsZero() {
			list = append(list, one.String())
		}
	}
	if !id.Handle.IsZero() && id.Handle != id.User { // an XMPP bare JID is both, and is written once
		list = append(list, id.Handle.String())
	}
	return list
}

// parseURI reads a URI strictly. A wireapp: URI has two spellings: Wire writes "!", and software in Go "%21".
func parseURI(p claims.Parser, uri string) (claims.ID, error) {
	if !strings.HasPrefix(uri, "wireapp:") {
		return p.Parse(uri)
	}
	p.Reading = claims.Lenient
	id, err := p.Parse(uri)
	if err != nil {
		return claims.ID{}, err
	}
	if strings.Replace(uri, "%21", "!", 1) != id.WireApp() {
		return claims.ID{}, &claims.Error{Code: claims.CodeNotCanonical, Part: claims.PartURI}
	}
	return id, nil
}

// domainOf returns the domain that URIs are about, in any spelling, or "" if none of them is an identifier. It only says whose roots are
// asked; the URIs are checked later.
func domainOf(uris []string, development bool) string {
	p := claims.Parser{Reading: claims.Lenient, AllowSingleLabel: development}
	for _, uri := range uris {
		if id, err := p.Parse(uri); err == nil && id.Domain() != "" {
			return id.Domain()
		}
	}
	return ""
}
