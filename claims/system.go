package claims

import "strings"

// A shape is one kind of name in a system: its sigil and its parts.
type shape struct {
	sigil  string // comes before the local part, after percent-decoding
	typ    Type
	local  *profile
	device *profile // nil: the name has one part
	joined bool     // both parts make one name, as in ##team/channel
}

// A family describes a system.
type family struct {
	prefix   bool    // im: URIs have the prefix "system="
	unscoped bool    // a native form may omit the domain
	shapes   []shape // the first one that fits is used
	// split splits the native form into parts.
	split func(text part) (parts, error)
	// read makes an identifier of parts. Nil means by shapes.
	read func(p *Parser, fam *family, q parts) (ID, error)
	// appendNative appends the native form of id with the sigil of its type.
	appendNative func(b []byte, id ID, sigil string) []byte
}

// shape returns the first shape that fits a name whose local part decodes to local.
func (f *family) shape(local string, device bool) *shape {
	for i := range f.shapes {
		if sh := &f.shapes[i]; strings.HasPrefix(local, sh.sigil) && (sh.device != nil) == device {
			return sh
		}
	}
	return nil
}

// families is the table of systems.
var families = map[System]*family{
	SystemGeneric: {
		unscoped: true,
		shapes: []shape{
			{sigil: "@", typ: TypeHandle, local: &handleName},
			{typ: TypeDevice, local: &opaqueID, device: &opaqueID},
			{typ: TypeUser, local: &opaqueID},
		},
		split:        splitGeneric,
		appendNative: appendGeneric,
	},
	SystemEmail: {
		shapes:       []shape{{typ: TypeHandle, local: &mailbox}},
		split:        splitEmail,
		appendNative: appendGeneric,
	},
	SystemXMPP: {
		prefix: true,
		shapes: []shape{
			{typ: TypeDevice, local: &jidLocal, device: &jidResource},
			{typ: TypeHandle, local: &jidLocal},
		},
		split:        splitJID,
		appendNative: appendJID,
	},
	SystemIRC: {
		prefix:       true,
		read:         readIRC,
		split:        splitIRC,
		appendNative: appendIRC,
	},
	SystemSIP: {
		prefix: true,
		shapes: []shape{
			{typ: TypeDevice, local: &sipUser, device: &sipInstance},
			{typ: TypeHandle, local: &sipUser},
		},
		read:         readSIP,
		split:        splitSIP,
		appendNative: appendSIP,
	},
	SystemWire: {
		prefix: true,
		shapes: []shape{
			{sigil: "@", typ: TypeHandle, local: &wireHandle},
			{typ: TypeDevice, local: &wireUser, device: &wireDevice},
			{typ: TypeUser, local: &wireUser},
		},
		split:        splitWire,
		appendNative: appendWire,
	},
	SystemWXYZ: {
		prefix:   true,
		unscoped: true,
		shapes: []shape{
			{sigil: "##", typ: TypeChannel, local: &roomName, device: &roomName, joined: true},
			{sigil: "##", typ: TypeTeam, local: &roomName},
			{sigil: "#", typ: TypeChannel, local: &roomName},
			{sigil: "@", typ: TypeHandle, local: &handleName},
			{sigil: "$", typ: TypeGroup, local: &wxyzID},
			{typ: TypeDevice, local: &wxyzID, device: &opaqueID},
			{typ: TypeUser, local: &wxyzID},
		},
		split:        splitWXYZ,
		appendNative: appendGeneric,
	},
	SystemMIMI: {
		read: readMIMI,
	},
}
