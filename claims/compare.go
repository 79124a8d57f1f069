package claims

// A Registry knows which names of a domain belong together.
type Registry interface {
	// SameAccount reports whether two identifiers of one domain belong to one account, for example a handle and a user id.
	SameAccount(a, b ID) bool
}

// SameAccount reports whether a and b name the same account: both belong to one domain, and have the same mimi: form or are linked
// by the registry of that domain, which may be nil. Accounts in two domains are never the same, and names without a domain
// cannot be compared. Domains and rooms are not accounts.
func SameAccount(a, b ID, registry Registry) bool {
	if !a.account() || !b.account() || !sameDomain(a, b) {
		return false
	}
	if m := a.MIMI(); m != "" && m == b.MIMI() {
		return true
	}
	return registry != nil && registry.SameAccount(a, b)
}

// SameClient reports whether a and b are devices of one domain with the same user part and device part.
func SameClient(a, b ID) bool {
	return a.typ == TypeDevice && b.typ == TypeDevice && sameDomain(a, b) && a.local == b.local && a.device == b.device
}

func (id ID) account() bool {
	switch id.typ {
	case TypeHandle, TypeUser, TypeDevice, TypePseudonym:
		return true
	}
	return false
}

// sameDomain reports whether a and b belong to one provider.
func sameDomain(a, b ID) bool {
	return a.domain == b.domain && a.domain != "" && !a.Unscoped()
}

// A Client is a device with the handle and the key of its token.
type Client struct {
	Identity
	JKT string // thumbprint of the device's key
}

// A History holds the changes of clients that an issuer has recorded.
type History interface {
	// Renamed reports whether the user's handle was changed from old to new, in one step or several.
	Renamed(user, old, new ID) bool
	// Rekeyed reports whether the key of the device was changed from old to new, in one step or several.
	Rekeyed(device ID, old, new string) bool
}

// Successor reports whether next is the same client as prev at a later time: the same device of the same user, in the same domain.
// The handle or the key may differ only if the issuer recorded the change. A nil history has no changes.
func Successor(prev, next Client, history History) bool {
	if !SameClient(prev.Device, next.Device) || prev.User.IsZero() || prev.User != next.User {
		return false
	}
	if prev.Handle != next.Handle && (history == nil || !history.Renamed(prev.User, prev.Handle, next.Handle)) {
		return false
	}
	return prev.JKT == next.JKT || history != nil && history.Rekeyed(prev.Device, prev.JKT, next.JKT)
}
