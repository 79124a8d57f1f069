package secretfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// names holds the users and groups of the system.
type names struct {
	users   map[uint32]string   // the first name of each user id
	ids     map[string]uint32   // the id of each name
	primary map[uint32][]uint32 // by group: the users with this primary group
	groups  map[uint32]string
	further map[uint32][]string // by group: its other members
}

// read reads the files of users and groups. A container may lack them.
func (u User) read() (*names, error) {
	n := &names{
		users: make(map[uint32]string), ids: make(map[string]uint32), primary: make(map[uint32][]uint32),
		groups: make(map[uint32]string), further: make(map[uint32][]string),
	}
	err := lines(u.Passwd, func(f []string) { // passwd(5): name:password:UID:GID:...
		uid, err := id(f[2])
		gid, err2 := id(f[3])
		if err == nil && err2 == nil {
			if _, ok := n.users[uid]; !ok {
				n.users[uid] = f[0]
			}
			n.ids[f[0]] = uid
			n.primary[gid] = append(n.primary[gid], uid)
		}
	})
	if err != nil {
		return nil, err
	}
	return n, lines(u.Group, func(f []string) { // group(5): name:password:GID:members
		if gid, err := id(f[2]); err == nil {
			n.groups[gid] = f[0]
			for member := range strings.SplitSeq(f[3], ",") {
				if member != "" {
					n.further[gid] = append(n.further[gid], member)
				}
			}
		}
	})
}

// lines calls each with the fields of every line that has at least four.
func lines(path string, each func(fields []string)) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the members of a group: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) >= 4 && !strings.HasPrefix(f[0], "#") {
			each(f)
		}
	}
	return nil
}

func id(text string) (uint32, error) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err
}

// members returns the names of the users in a group, and whether the files have the group. The group root counts as the user root:
// its members are administrators, or system accounts such as sync.
func (n *names) members(gid uint32) (list []string, known bool) {
	if gid == 0 {
		return nil, true
	}
	for _, uid := range n.primary[gid] {
		list = append(list, n.user(uid))
	}
	for _, name := range n.further[gid] {
		if uid, ok := n.ids[name]; ok {
			name = n.user(uid)
		}
		list = append(list, name)
	}
	_, known = n.groups[gid]
	return list, known
}

// user returns the name of a user, or the number if there is none.
func (n *names) user(uid uint32) string {
	return cmp.Or(n.users[uid], strconv.FormatUint(uint64(uid), 10))
}

func (n *names) group(gid uint32) string {
	return cmp.Or(n.groups[gid], strconv.FormatUint(uint64(gid), 10))
}
