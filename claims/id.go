package claims

import "strings"

// A System is a family of identifiers with its own grammar and its own rules of comparison.
type System string

// The systems that this package reads.
const (
	SystemGeneric System = "generic" // @handle@domain, user@domain, user/device@domain
	SystemEmail   System = "email"   // RFC 5321 mailboxes
	SystemXMPP    System = "xmpp"    // RFC 7622 addresses
	SystemIRC     System = "irc"     // RFC 2812 nicks, users and channels; the domain is the network
	SystemSIP     System = "sip"     // RFC 3261 addresses of record and contacts, RFC 5627 GRUUs
	SystemWire    System = "wire"    // UUIDs and 64-bit device numbers
	SystemWXYZ    System = "wxyz"    // the example system of draft-mahy-mimi-identity
	SystemMIMI    System = "mimi"    // a mimi: URI whose native system is not known
)

// A Type is the kind of thing that an identifier names.
type Type string

// The types. Only handles, users and devices are bound in tokens; the other types name domains, rooms and groups.
const (
	TypeDomain    Type = "domain"
	TypeHandle    Type = "handle" // public, may change
	TypeUser      Type = "user"   // stable; in mimi: URIs a handle looks the same
	TypeDevice    Type = "device" // one client with its own key
	TypeChannel   Type = "channel"
	TypeTeam      Type = "team"
	TypeGroup     Type = "group"
	TypePseudonym Type = "pseudonym"
)

// UnscopedDomain is the domain of identifiers without one, where a domain is required (draft-mahy-mimi-identity-00, section 3).
const UnscopedDomain = "local.invalid"

// An ID is one identifier in canonical form. Only parsing and a [Namespace] make one, and it never changes. Two IDs are equal as Go
// values exactly if they are [ID.Equal]. The zero ID names nothing.
type ID struct {
	system System
	typ    Type
	domain string
	local  string
	device string
}

// IsZero reports whether id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// System returns the system whose rules id follows.
func (id ID) System() System { return id.system }

// Type returns the type of id.
func (id ID) Type() Type { return id.typ }

// Domain returns the provider's domain in lower-case A-labels, and [UnscopedDomain] if there is none. It is empty for SIP
// contacts, which have a network address instead.
func (id ID) Domain() string { return id.domain }

// Local returns the handle, user id, channel, team, group or pseudonym without its sigil (IRC channels, whose sigil is
// part of the name, keep it). For a device it is the user part, which may be empty.
func (id ID) Local() string { return id.local }

// Device returns the device part of a device; for a SIP contact the address, with the port if it has one.
func (id ID) Device() string { return id.device }

// Unscoped reports whether id has no provider domain. Such an identifier is valid only inside the domain that issued it.
func (id ID) Unscoped() bool { return id.domain == UnscopedDomain }

// Equal reports whether a and b have the same system, type and canonical bytes.
func (id ID) Equal(other ID) bool { return id == other }

// IM returns the canonical im: URI. It returns "" for a mimi: URI that is more than a domain, and for an XMPP resource without
// localpart.
func (id ID) IM() string {
	var buf [256]byte
	return string(id.appendIM(buf[:0]))
}

// MIMI returns the mimi: URI of draft-mahy-mimi-identity-05. It returns "" for a SIP contact, an XMPP resource without localpart, and
// a name with a slash or dots that a mimi: segment cannot contain. The form does not keep the system, and does not tell a handle
// from a user id.
func (id ID) MIMI() string {
	var buf [256]byte
	return string(id.appendMIMI(buf[:0]))
}

// Native returns the native form of the system, and "" for mimi: URIs. XMPP, email and generic forms have U-labels, the others
// A-labels. IRC forms omit the network.
func (id ID) Native() string { return string(id.appendNative(nil)) }

// String returns the im: URI, else the mimi: URI, else the native form.
func (id ID) String() string {
	var buf [256]byte
	b := id.appendURI(buf[:0])
	if len(b) == 0 {
		b = id.appendNative(b)
	}
	return string(b)
}

// appendURI appends the canonical URI, or nothing if id has no URI.
func (id ID) appendURI(b []byte) []byte {
	if id.system == SystemMIMI {
		return id.appendMIMI(b)
	}
	return id.appendIM(b)
}

func (id ID) appendIM(b []byte) []byte {
	switch {
	case id.IsZero(), id.system == SystemMIMI && id.typ != TypeDomain:
		return b
	case id.typ == TypeDevice && id.local == "":
		return b
	}
	b = append(b, "im:"...)
	sys := families[id.system]
	if sys.prefix {
		b = append(b, id.system...)
		b = append(b, '=')
	}
	if id.typ == TypeDomain {
		return append(b, id.domain...)
	}
	if id.system == SystemIRC {
		return id.appendIRCTarget(b)
	}
	b = appendEncoded(b, id.sigil(), &imLiteral)
	local, device := id.local, id.device
	if id.typ == TypeChannel {
		local, device, _ = strings.Cut(local, "/") // a channel of a WXYZ team
	}
	b = appendEncoded(b, local, &imLiteral)
	switch {
	case id.domain == "": // a SIP contact: the address stands in place of the domain
		return appendEncoded(append(b, '@'), device, &imLiteral)
	case device != "":
		b = appendEncoded(append(b, '/'), device, &imLiteral)
	}
	b = append(append(b, '@'), id.domain...)
	if id.system == SystemGeneric && id.typ == TypeUser {
		b = append(b, ";id-type=user"...)
	}
	return b
}

// sigil returns the characters that mark the type of id in its system, if there are any.
func (id ID) sigil() string {
	joined := id.typ == TypeChannel && strings.IndexByte(id.local, '/') >= 0
	for i := range families[id.system].shapes {
		if sh := &families[id.system].shapes[i]; sh.typ == id.typ && sh.joined == joined {
			return sh.sigil
		}
	}
	return ""
}

func (id ID) appendNative(b []byte) []byte {
	if id.IsZero() || id.system == SystemMIMI {
		return b
	}
	return families[id.system].appendNative(b, id, id.sigil())
}
