package secretfile_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imidentity/issuer/internal/secretfile"
)

// The users and groups of the tests: carol and dave share a group, issuer has one of its own, and so has bob.
const (
	issuer, bob, carol, dave  = 1001, 1002, 1003, 1004
	ownGroup, shared, fsGroup = 2001, 2002, 2003 // nobody lists fsGroup
)

// accounts returns a user of a system with these files.
func accounts(t *testing.T, uid uint32, groups ...uint32) secretfile.User {
	t.Helper()
	dir := t.TempDir()
	u := secretfile.User{UID: uid, Groups: groups, Passwd: filepath.Join(dir, "passwd"), Group: filepath.Join(dir, "group")}
	for path, text := range map[string]string{
		u.Passwd: "root:x:0:0::/root:/bin/sh\nsync:x:4:0::/bin:/bin/sync\nissuer:x:1001:2001::/:/bin/false\n" +
			"bob:x:1002:2009::/:/bin/sh\ncarol:x:1003:2002::/:/bin/sh\ndave:x:1004:2010::/:/bin/sh\n",
		u.Group: "root:x:0:bob\nissuer:x:2001:\nstaff:x:2002:dave,issuer\n" +
			"empty:x:2004:\nforeign:x:2005:eve\nmany:x:2006:bob,carol,dave,eve,frank\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

// TestReviewE7WhoHasAccess lists who may share a file of secrets with the issuer: root, and nobody else.
func TestReviewE7WhoHasAccess(t *testing.T) {
	type attributes = secretfile.Attributes
	service := accounts(t, issuer, ownGroup, fsGroup)
	operator := accounts(t, 0, 0)
	nobody := accounts(t, 4711, fsGroup) // an arbitrary user id of a container
	for _, test := range []struct {
		name string
		user secretfile.User
		file attributes
		want string // in the error; empty for none
	}{
		{"own", service, attributes{Mode: 0o600, UID: issuer, GID: shared}, ""},
		{"LoadCredential by owner", service, attributes{Mode: 0o400, UID: issuer, GID: ownGroup}, ""},
		{"of root, own group", service, attributes{Mode: 0o640, UID: 0, GID: ownGroup}, ""},
		{"of root, own group, read-only", service, attributes{Mode: 0o440, UID: 0, GID: ownGroup}, ""},
		{"fsGroup", service, attributes{Mode: 0o440, UID: 0, GID: fsGroup}, ""},
		{"fsGroup of a writable volume", service, attributes{Mode: 0o660, UID: issuer, GID: fsGroup}, ""},
		{"fsGroup, no such user", nobody, attributes{Mode: 0o440, UID: 0, GID: fsGroup}, ""},
		{"group root, no such user", accounts(t, 4711, 0), attributes{Mode: 0o440, UID: 0, GID: 0}, ""},
		{"a group without members", service, attributes{Mode: 0o640, UID: issuer, GID: 2004}, ""},
		{"the operator checks", operator, attributes{Mode: 0o640, UID: 0, GID: ownGroup}, ""},
		{"the operator checks what is of the service", operator, attributes{Mode: 0o640, UID: issuer, GID: ownGroup}, ""},
		{"LoadCredential by list", service, attributes{Mode: 0o440, UID: 0, GID: 0,
			ACL: []secretfile.Entry{{ID: issuer, Permission: secretfile.MayRead}}}, ""},

		{"everybody", service, attributes{Mode: 0o644, UID: issuer, GID: ownGroup}, "every user (mode 0644): run `chmod 600 FILE`"},
		{"everybody writes", service, attributes{Mode: 0o602, UID: issuer, GID: ownGroup}, "every user (mode 0602)"},
		{"everybody, of root", service, attributes{Mode: 0o444, UID: 0, GID: ownGroup},
			"as root; in Kubernetes, set fsGroup and defaultMode: 0440"},
		{"a group with others", service, attributes{Mode: 0o640, UID: issuer, GID: shared},
			"users carol and dave by its group, staff (mode 0640): run `chmod 600 FILE`"},
		{"a group with others, of root", service, attributes{Mode: 0o440, UID: 0, GID: shared},
			"change its group from staff to a group whose only member is user 1001"},
		{"a group with others, checked", operator, attributes{Mode: 0o640, UID: 0, GID: shared},
			"users carol, dave and issuer by its group, staff"},
		{"a group with somebody from elsewhere", service, attributes{Mode: 0o640, UID: 0, GID: 2005}, "user eve by its group, foreign"},
		{"a group of many", service, attributes{Mode: 0o640, UID: 0, GID: 2006}, "users bob, carol, dave and 2 more"},
		{"a group that nobody knows", service, attributes{Mode: 0o640, UID: issuer, GID: 2999}, "group 2999, whose members are not known"},
		{"of somebody else, own group", service, attributes{Mode: 0o440, UID: bob, GID: ownGroup}, "its owner, user bob"},
		{"of somebody else, own group, checked", operator, attributes{Mode: 0o440, UID: bob, GID: ownGroup}, "users bob and issuer"},
		{"a list with others", service, attributes{Mode: 0o640, UID: issuer, GID: ownGroup, Group: secretfile.MayRead,
			ACL: []secretfile.Entry{{ID: bob, Permission: secretfile.MayRead}}}, "user bob by its group"},
		{"a list with others and no group", service, attributes{Mode: 0o640, UID: issuer, GID: ownGroup,
			ACL: []secretfile.Entry{{ID: bob, Permission: secretfile.MayRead}}},
			"open to user bob (mode 0640): run `setfacl -b FILE; chmod 600 FILE`"},
		{"a list with a group of others", service, attributes{Mode: 0o640, UID: issuer, GID: ownGroup,
			ACL: []secretfile.Entry{{ID: shared, Group: true, Permission: secretfile.MayRead}}}, "users carol and dave"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.user.Judge("FILE", test.file, secretfile.MayRead|secretfile.MayWrite)
			if test.want == "" {
				if err != nil {
					t.Errorf("Judge = %v, want nil", err)
				}
				return
			}
			if open := (*secretfile.OpenError)(nil); !errors.As(err, &open) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Judge = %v, want ...%s...", err, test.want)
			}
		})
	}
}

// TestReviewE7AccessControlList reads a list that the kernel keeps: a user in it is seen although the mode shows only a group.
func TestReviewE7AccessControlList(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(path, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	// As systemd gives a credential to the user of a service: entries of tag, permissions and id.
	grant := func(uid uint32) {
		t.Helper()
		list := binary.LittleEndian.AppendUint32(nil, 2)
		for _, e := range [][3]uint32{{1, 4, ^uint32(0)}, {2, 4, uid}, {4, 0, ^uint32(0)}, {16, 4, ^uint32(0)}, {32, 0, ^uint32(0)}} {
			list = binary.LittleEndian.AppendUint16(list, uint16(e[0]))
			list = binary.LittleEndian.AppendUint16(list, uint16(e[1]))
			list = binary.LittleEndian.AppendUint32(list, e[2])
		}
		if err := syscall.Setxattr(path, "system.posix_acl_access", list, 0); err != nil {
			t.Fatalf("set an access control list in %s: %v", path, err)
		}
	}
	grant(uint32(os.Geteuid()))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o440 {
		t.Fatalf("mode = %v, %v, want 0440: the mask stands for the group", info.Mode(), err)
	}
	if text, err := secretfile.Read(path); err != nil || string(text) != "secret" {
		t.Errorf("Read = %q, %v, want the secret", text, err)
	}
	grant(54321)
	if ok, err := secretfile.Readable(path, 54321); err != nil || !ok {
		t.Errorf("Readable by a user of the list = %v, %v, want true", ok, err)
	}
	if ok, err := secretfile.Readable(path, 54322); err != nil || ok {
		t.Errorf("Readable by somebody else = %v, %v, want false", ok, err)
	}
	if os.Geteuid() == 0 { // for root, one other user may be the service
		if err := os.Chown(path, 54322, 0); err != nil {
			t.Fatal(err)
		}
	}
	if open := (*secretfile.OpenError)(nil); !errors.As(secretfile.Check(path, secretfile.MayRead), &open) ||
		!strings.Contains(open.Who, "54321") {
		t.Errorf("Check = %v, want an error that names user 54321", open)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "..data", "secret")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("secret"), 0o400),
		os.Symlink("..data/secret", filepath.Join(dir, "secret")), syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if text, err := secretfile.Read(filepath.Join(dir, "secret")); err != nil || string(text) != "secret" {
		t.Errorf("Read = %q, %v, want what the link leads to", text, err)
	}
	for name, want := range map[string]error{"none": fs.ErrNotExist, "pipe": secretfile.ErrNotFile, ".": secretfile.ErrNotFile} {
		if _, err := secretfile.Read(filepath.Join(dir, name)); !errors.Is(err, want) {
			t.Errorf("Read of %s = %v, want %v", name, err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secretfile.Read(filepath.Join(dir, "large")); err == nil {
		t.Error("Read of a file over a MiB = nil, want an error")
	}
}
