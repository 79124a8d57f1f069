package account

import (
	"encoding/base64"
	"fmt"
	"io"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// A Domain is the naming of one domain.
type Domain struct {
	// Names makes identifiers in the domain's identifier system.
	Names claims.Namespace
	// MIMI selects mimi: URIs instead of im: URIs.
	MIMI bool
	// Policy is what new handles must meet besides the rules of the identifier system.
	Policy claims.Policy
	// Rename says who renames the users of the domain.
	Rename RenameRule
}

// NewDomain returns the domain of that name in an identifier system: generic, wxyz, wire or xmpp. The error is that of
// [claims.NewNamespace].
func NewDomain(name string, system claims.System, mimi, development bool, protected []string) (Domain, error) {
	names, err := claims.NewNamespace(system, name, development)
	if err != nil {
		return Domain{}, err
	}
	return Domain{
		Names: names, MIMI: mimi,
		Policy: claims.Policy{Protected: protected, Development: development},
	}, nil
}

// URI writes an identifier in the form of the domain.
func (d Domain) URI(id claims.ID) string {
	if d.MIMI {
		return id.MIMI()
	}
	return id.IM()
}

// self is the domain's own URI: im:example.com or mimi://example.com.
func (d Domain) self() string { return d.URI(d.Names.DomainID()) }

// An Identity holds the URIs of a user and a device.
type Identity struct{ Handle, User, Device string }

// Identify returns the URIs of a user and a device. If d is zero, the URI of the device is empty.
func (a *Accounts) Identify(u storage.User, d storage.Device) (Identity, error) {
	domain, ok := a.domains[u.Domain]
	if !ok {
		return Identity{}, fmt.Errorf("account: user of the unknown domain %s", u.Domain)
	}
	user, err := domain.Names.User(u.ID)
	if err != nil {
		return Identity{}, fmt.Errorf("account: user id: %v", err)
	}
	handle, err := domain.Names.Handle(u.Handle)
	if err != nil {
		return Identity{}, fmt.Errorf("account: handle: %v", err)
	}
	id := Identity{Handle: domain.URI(handle), User: domain.URI(user)}
	if d.ID == "" {
		return id, nil
	}
	device, err := domain.Names.Device(u.ID, d.ID)
	if err != nil {
		return Identity{}, fmt.Errorf("account: device id: %v", err)
	}
	id.Device = domain.URI(device)
	return id, nil
}

// Display returns the handle of a user as people write it: @alice@example.com.
func (a *Accounts) Display(u storage.User) (string, error) {
	domain, ok := a.domains[u.Domain]
	if !ok {
		return "", fmt.Errorf("account: user of the unknown domain %s", u.Domain)
	}
	handle, err := domain.Names.Handle(u.Handle)
	if err != nil {
		return "", fmt.Errorf("account: handle: %v", err)
	}
	return claims.Text(handle), nil
}

// DomainURI returns the URI of a domain, in the form that it writes identifiers in.
func (a *Accounts) DomainURI(domain string) (string, error) {
	d, ok := a.domains[domain]
	if !ok {
		return "", fmt.Errorf("account: unknown domain %s", domain)
	}
	return d.self(), nil
}

// userID returns the id of a new user: the handle itself in XMPP, which has no other id, else the id that the provider names,
// else 128 random bits, in base64url or, for Wire, as a UUID of version 4.
func (a *Accounts) userID(d Domain, s SignIn, handle claims.ID) (claims.ID, error) {
	switch {
	case d.Names.System() == claims.SystemXMPP:
		return handle, nil
	case s.User != "":
		id, err := d.Names.User(s.User)
		if err != nil {
			return claims.ID{}, fmt.Errorf("%w: %v", ErrUserID, err) // %v: callers take a claims.Error for one about the handle
		}
		return id, nil
	}
	var raw [16]byte
	if _, err := io.ReadFull(a.rand, raw[:]); err != nil {
		return claims.ID{}, fmt.Errorf("make a user id: %w", err)
	}
	if d.Names.System() == claims.SystemWire {
		raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80 // RFC 9562 §5.4
		return d.Names.User(fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:]))
	}
	return d.Names.User(base64.RawURLEncoding.EncodeToString(raw[:]))
}
