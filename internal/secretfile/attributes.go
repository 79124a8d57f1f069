package secretfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// Attributes are the owner of a file and the permissions on it.
type Attributes struct {
	Mode     fs.FileMode
	UID, GID uint32
	// ACL lists the users and groups of the access control list. If there is one, Mode shows its mask as the permissions of the
	// group, and Group holds the actual permissions of the owning group.
	ACL   []Entry
	Group Permission
}

// An Entry holds the permissions of a user or group in an access control list, other than the owner and the owning group.
type Entry struct {
	ID         uint32
	Group      bool
	Permission Permission
}

const (
	modeOther = 0
	modeGroup = 3
)

// class returns the permissions of the owning group or of all others.
func (a Attributes) class(shift int) Permission {
	if shift == modeGroup && a.ACL != nil {
		return a.Group
	}
	return Permission(a.Mode.Perm()>>shift) & (MayRead | MayWrite)
}

// attributesOf returns the attributes of an open file.
func attributesOf(f *os.File) (Attributes, error) {
	info, err := f.Stat()
	if err != nil {
		return Attributes{}, err
	}
	return attributes(info, fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

// attributesAt returns the attributes of the file at path.
func attributesAt(path string) (Attributes, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Attributes{}, err
	}
	return attributes(info, path)
}

func attributes(info fs.FileInfo, path string) (Attributes, error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Attributes{}, errors.New("this system does not report the owner of " + info.Name())
	}
	a := Attributes{Mode: info.Mode(), UID: stat.Uid, GID: stat.Gid}
	if a.Mode.Perm()&0o070 == 0 {
		return a, nil // the mask of an access control list would be empty
	}
	acl, err := readACL(path)
	if err != nil {
		return a, fmt.Errorf("read the access control list: %w", err)
	}
	if err := a.addACL(acl); err != nil {
		return a, fmt.Errorf("read the access control list: %w", err)
	}
	return a, nil
}

// Readable reports whether a user may read the file at path, by the attributes of the file alone.
func Readable(path string, uid uint32) (bool, error) {
	a, err := attributesAt(path)
	if err != nil {
		return false, err
	}
	names, err := Process().read()
	if err != nil {
		return false, err
	}
	in := func(gid uint32) bool {
		members, _ := names.members(gid)
		return slices.Contains(members, names.user(uid))
	}
	switch {
	case uid == 0:
		return true, nil
	case a.UID == uid:
		return a.Mode.Perm()&0o400 != 0, nil
	case a.class(modeOther)&MayRead != 0, a.class(modeGroup)&MayRead != 0 && in(a.GID):
		return true, nil
	}
	return slices.ContainsFunc(a.ACL, func(e Entry) bool {
		return e.Permission&MayRead != 0 && (!e.Group && e.ID == uid || e.Group && in(e.ID))
	}), nil
}
