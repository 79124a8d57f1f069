// Package secretfile reads files of secrets and decides who else may read or change a file.
//
// A file that only its owner may access is accepted. Access by a group is accepted too if the group has no members except root and
// the user of the program: Kubernetes (fsGroup) and distributions (root:GROUP 0640) provide secrets in that way. systemd's
// LoadCredential adds an access control list, which is read as well. Symbolic links, as in a projected volume, are followed, and
// the file at their end is checked.
//
// The members of a group are read from /etc/passwd and /etc/group, not from a directory service such as LDAP.
package secretfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// maxSize is the largest size of a file. The largest secret is a private key in PEM.
const maxSize = 1 << 20

// ErrNotFile is returned for anything but a regular file, such as a folder, a socket or a device.
var ErrNotFile = errors.New("is not a regular file")

// A Permission is a set of ways to access a file.
type Permission uint16

// Permissions, with the values of the lowest mode bits.
const (
	MayWrite Permission = 2
	MayRead  Permission = 4
)

// An OpenError says that other users than that of the program have access to a file.
type OpenError struct {
	Path   string
	Mode   fs.FileMode
	Who    string // "every user", "user bob", "group 2000, whose members are unknown"
	Remedy string
}

// Error returns one line that names the file, who has access, the mode and the remedy.
func (e *OpenError) Error() string {
	return fmt.Sprintf("%s is open to %s (mode %04o): %s", e.Path, e.Who, e.Mode.Perm(), e.Remedy)
}

// Read returns the content of the file at path. It returns an [*OpenError] if others may read or change it, and
// [fs.ErrNotExist] or [fs.ErrPermission] as the system does.
func Read(path string) ([]byte, error) {
	// A named pipe without a writer would block.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it was only read
	a, err := attributesOf(file)
	if err != nil {
		return nil, err
	}
	if !a.Mode.IsRegular() {
		return nil, fmt.Errorf("%s %w", path, ErrNotFile)
	}
	if err := Process().Judge(path, a, MayRead|MayWrite); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxSize+1))
	if err == nil && len(text) > maxSize {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxSize)
	}
	return text, err
}

// Check returns an [*OpenError] if other users than that of the program have one of the permissions on the file or folder at path.
func Check(path string, p Permission) error {
	a, err := attributesAt(path)
	if err != nil {
		return err
	}
	return Process().Judge(path, a, p)
}

// A User is a user and the groups that its program runs in.
type User struct {
	UID    uint32
	Groups []uint32
	// Passwd and Group are the files that list users and groups.
	Passwd, Group string
}

// Process returns the user that this process runs as.
func Process() User {
	u := User{UID: uint32(os.Geteuid()), Groups: []uint32{uint32(os.Getegid())}, Passwd: "/etc/passwd", Group: "/etc/group"}
	groups, _ := os.Getgroups()
	for _, g := range groups {
		u.Groups = append(u.Groups, uint32(g))
	}
	return u
}

// Judge returns an [*OpenError] if users other than root and u have one of the permissions on a file with these attributes.
//
// Root may be an operator who checks the files of a service that runs as another user. So for root, access by one other user is
// accepted.
func (u User) Judge(path string, a Attributes, p Permission) error {
	shared := a.class(modeOther) | a.class(modeGroup)
	for _, e := range a.ACL {
		shared |= e.Permission
	}
	if shared&p == 0 {
		return nil
	}
	if a.class(modeOther)&p != 0 {
		return u.open(path, a, "every user", "")
	}
	names, err := u.read()
	if err != nil {
		return err
	}
	owner := names.user(a.UID)
	with := []string{owner} // the users with access
	group := func(gid uint32) *OpenError {
		members, known := names.members(gid)
		if !known && !slices.Contains(u.Groups, gid) {
			return u.open(path, a, fmt.Sprintf("group %d, whose members are not known here", gid), "")
		}
		with = append(with, members...)
		return nil
	}
	if a.class(modeGroup)&p != 0 {
		if err := group(a.GID); err != nil {
			return err
		}
	}
	for _, e := range a.ACL {
		switch {
		case e.Permission&p == 0:
		case !e.Group:
			with = append(with, names.user(e.ID))
		default:
			if err := group(e.ID); err != nil {
				return err
			}
		}
	}
	var others []string
	for _, name := range with {
		if name != names.user(0) && name != names.user(u.UID) && !slices.Contains(others, name) {
			others = append(others, name)
		}
	}
	switch {
	case len(others) == 0 || u.UID == 0 && len(others) == 1:
		return nil
	case others[0] == owner && u.UID != 0:
		return u.open(path, a, "its owner, user "+owner, "")
	case a.class(modeGroup)&p != 0:
		return u.open(path, a, users(others)+" by its group, "+names.group(a.GID), names.group(a.GID))
	}
	return u.open(path, a, users(others), "")
}

// users joins names, as in "user bob" and "users bob, carol and 3 more".
func users(names []string) string {
	const most = 3
	switch n := len(names); {
	case n == 1:
		return "user " + names[0]
	case n > most:
		names = append(names[:most:most], fmt.Sprintf("%d more", n-most))
	}
	return "users " + strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// open makes an error with a remedy, which depends on the owner of the file. Shared is a group with too many members, or empty.
func (u User) open(path string, a Attributes, who, shared string) *OpenError {
	e := &OpenError{Path: path, Mode: a.Mode, Who: who}
	private := 0o600
	if a.Mode.IsDir() {
		private = 0o700
	}
	switch {
	case a.UID == u.UID || u.UID == 0:
		e.Remedy = fmt.Sprintf("run `chmod %o %s`", private, path)
		if len(a.ACL) > 0 {
			e.Remedy = fmt.Sprintf("run `setfacl -b %s; chmod %o %s`", path, private, path)
		}
	case shared != "":
		e.Remedy = fmt.Sprintf("change its group from %s to a group whose only member is user %s", shared, name(u.UID))
	default:
		e.Remedy = fmt.Sprintf("run `chown root:%s %s; chmod %o %s` as root; in Kubernetes, set fsGroup and defaultMode: 0440",
			groupName(u.Groups[0]), path, private&^0o200|0o040, path)
	}
	return e
}

func name(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

func groupName(gid uint32) string {
	number := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(number); err == nil {
		return g.Name
	}
	return number
}
