package claims

// A Namespace is a domain of an issuer and the system of its names. It makes the identifiers of the domain.
type Namespace struct {
	system      System
	domain      string
	singleLabel bool
}

// NewNamespace returns the namespace of domain, in any spelling, in one of the systems that identifiers are issued in:
// generic, WXYZ, Wire and XMPP; for others the error is [CodeUnknownSystem]. Domains that others could not find are refused with
// [CodeReservedDomain] or [CodeSingleLabel]; development also accepts single labels, and names for tests and examples (RFC 2606,
// RFC 6761).
func NewNamespace(system System, domain string, development bool) (Namespace, error) {
	switch system {
	case SystemGeneric, SystemWXYZ, SystemWire, SystemXMPP:
	default:
		return Namespace{}, &Error{Code: CodeUnknownSystem, Part: PartSystem}
	}
	name, err := CheckDomain(domain, development)
	if err != nil {
		return Namespace{}, err
	}
	return Namespace{system: system, domain: name, singleLabel: development}, nil
}

// System returns the system of n's names.
func (n Namespace) System() System { return n.system }

// Domain returns the domain in lower-case A-labels.
func (n Namespace) Domain() string { return n.domain }

// Handle returns the handle whose local part is local, without sigil and in any spelling.
func (n Namespace) Handle(local string) (ID, error) { return n.id(TypeHandle, local, nil) }

// User returns the user of that id. In XMPP the handle is the user too, and the ID has [TypeHandle].
func (n Namespace) User(id string) (ID, error) {
	if n.system == SystemXMPP {
		return n.Handle(id)
	}
	return n.id(TypeUser, id, nil)
}

// Device returns the device of that id, which belongs to the user of that id.
func (n Namespace) Device(user, device string) (ID, error) { return n.id(TypeDevice, user, &device) }

// Handle returns the generic handle @local@domain, from any spelling of it. Like [User] and [Device] it accepts any domain that [Parse]
// accepts; [NewNamespace] is stricter and knows other systems.
func Handle(domain, local string) (ID, error) { return generic(domain).Handle(local) }

// User returns the generic user of that id.
func User(domain, id string) (ID, error) { return generic(domain).User(id) }

// Device returns the generic device of that id, which belongs to the user of that id.
func Device(domain, user, device string) (ID, error) { return generic(domain).Device(user, device) }

func generic(domain string) Namespace { return Namespace{system: SystemGeneric, domain: domain} }

// id reads the parts like those of a native name. Offsets in errors count from the start of the part. The parts cannot change the type
// of the result.
func (n Namespace) id(typ Type, local string, device *string) (ID, error) {
	if n.system == "" {
		return ID{}, &Error{Code: CodeUnknownSystem, Part: PartSystem}
	}
	sigil := ID{system: n.system, typ: typ}.sigil()
	q := parts{
		system: n.system,
		typ:    typ,
		domain: part{name: PartDomain, text: n.domain, present: true},
		local:  part{name: PartLocal, text: sigil + local, at: -len(sigil), present: true},
	}
	if device != nil {
		q.device = part{name: PartDevice, text: *device, present: true}
	}
	for _, p := range []part{q.domain, q.local, q.device} {
		if i, code := checkText(p.text); code != "" {
			return ID{}, p.fail(code, i)
		}
	}
	p := Parser{AllowSingleLabel: n.singleLabel}
	return p.read(q)
}
