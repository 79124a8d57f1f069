package claims

import "slices"

// An Identity holds the identifiers that a token or credential binds to a key. Those that it does not have are zero.
type Identity struct {
	Handle, User, Device ID
}

// Check is the rule for the identity of every token and credential, in whatever format: it names one domain, which is among domains, a
// user's handle and device belong to that user, and at least one identifier is there. The domains are in canonical form: those that
// the issuer of the token may speak for. Development also accepts domains that are reserved for tests and examples.
//
// The error is a [*ClaimError]. It names the user as "sub", as access tokens do.
func (id Identity) Check(domains []string, development bool) error {
	claim, first := "sub", id.User
	if first.IsZero() {
		claim, first = "device", id.Device
	}
	if first.IsZero() {
		claim, first = "handle", id.Handle
	}
	switch {
	case first.IsZero():
		return &ClaimError{"sub", ErrMissing}
	case reserved(first.domain, development):
		return &ClaimError{claim, &Error{Code: CodeReservedDomain, Part: PartDomain}}
	case !slices.Contains(domains, first.domain):
		return &ClaimError{claim, ErrDomain}
	case !id.Handle.IsZero() && id.Handle.domain != first.domain:
		return &ClaimError{"handle", ErrMismatch}
	case id.User.IsZero():
		return nil
	case id.Handle.system == SystemXMPP && id.User.system == SystemXMPP && id.Handle != id.User:
		return &ClaimError{"handle", ErrMismatch}
	case !id.Device.IsZero() && !id.Device.belongsTo(id.User):
		return &ClaimError{"device", ErrMismatch}
	}
	return nil
}

// Username returns the native form of the handle (RFC 7662 §2.2). A mimi: URI, which has no system, is written as @handle@domain.
func (id Identity) Username() string {
	if id.Handle.system == SystemMIMI {
		return "@" + id.Handle.local + "@" + displayDomain(id.Handle.domain)
	}
	return id.Handle.Native()
}

// Identity reads the identifiers of a user's token strictly, and checks that each has the type of its claim. It does not compare them
// or check the domain; [Set.Validate] does. The error is a [*ClaimError].
func (s *Set) Identity() (Identity, error) { return s.identity(Parser{AllowSingleLabel: true}) }

func (s *Set) identity(p Parser) (Identity, error) {
	if s.Subject == "" {
		_, err := p.Parse("")
		return Identity{}, &ClaimError{"sub", err}
	}
	return ParseIdentity(p, s.Subject, s.Handle, s.Device)
}

// ParseIdentity reads the URIs of a user, of a handle and of a device, of which each may be empty, and checks that each has its type. The
// error is a [*ClaimError] about "sub", "handle" or "device". [Identity.Check] compares them.
func ParseIdentity(p Parser, user, handle, device string) (Identity, error) {
	var id Identity
	for _, c := range []struct {
		claim, uri string
		want       Type
		to         *ID
	}{
		{"sub", user, TypeUser, &id.User},
		{"handle", handle, TypeHandle, &id.Handle},
		{"device", device, TypeDevice, &id.Device},
	} {
		if c.uri == "" {
			continue
		}
		parsed, err := p.Parse(c.uri)
		if err == nil && !parsed.names(c.want) {
			err = &Error{Code: CodeTypeMismatch, Part: PartType}
		}
		if err != nil {
			return Identity{}, &ClaimError{c.claim, err}
		}
		*c.to = parsed
	}
	return id, nil
}

// names reports whether id is acceptable as the type want: a mimi: URI may be a handle or a user, and the bare JID is both.
func (id ID) names(want Type) bool {
	switch {
	case id.typ == want:
		return true
	case id.system == SystemMIMI:
		return want == TypeHandle && id.typ == TypeUser
	case id.system == SystemXMPP:
		return want == TypeUser && id.typ == TypeHandle
	}
	return false
}

// belongsTo reports whether a device's user part is user. One of the two may be a mimi: URI, which has no system, and a mimi: device may
// omit the user.
func (id ID) belongsTo(user ID) bool {
	if id.domain != user.domain || id.system != user.system && id.system != SystemMIMI && user.system != SystemMIMI {
		return false
	}
	return id.local == user.local || id.local == ""
}
