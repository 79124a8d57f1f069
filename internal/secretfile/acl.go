package secretfile

import (
	"encoding/binary"
	"errors"
)

// Tags of the entries of an access control list, and the version of its form (linux/posix_acl_xattr.h).
const (
	aclVersion  = 2
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
)

// addACL reads an access control list in the form of the attribute system.posix_acl_access (acl(5)): a version, and entries
// of tag, permissions and id. An empty list leaves a as it is.
func (a *Attributes) addACL(list []byte) error {
	if len(list) == 0 {
		return nil
	}
	if len(list)%8 != 4 || binary.LittleEndian.Uint32(list) != aclVersion {
		return errors.New("unknown format")
	}
	mask := MayRead | MayWrite
	acl := []Entry{}
	for e := list[4:]; len(e) > 0; e = e[8:] {
		p := Permission(binary.LittleEndian.Uint16(e[2:])) & (MayRead | MayWrite)
		id := binary.LittleEndian.Uint32(e[4:])
		switch binary.LittleEndian.Uint16(e) {
		case aclUser:
			acl = append(acl, Entry{ID: id, Permission: p})
		case aclGroup:
			acl = append(acl, Entry{ID: id, Group: true, Permission: p})
		case aclGroupObj:
			a.Group = p
		case aclMask:
			mask = p
		}
	}
	for i := range acl {
		acl[i].Permission &= mask
	}
	a.Group &= mask
	a.ACL = acl
	return nil
}
