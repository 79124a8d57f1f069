package sqlite

import (
	"fmt"
	"os"
)

// A place is where the files of a database were when it was opened. SQLite goes on with files that were removed or
// replaced, and would acknowledge what nobody finds afterwards: so each commit asks first whether they are still there.
type place struct {
	path  string
	files []placed
}

type placed struct {
	name string
	info os.FileInfo
}

// newPlace notes the database at path and its log, which is there while the database is open.
func newPlace(path string) (*place, error) {
	p := &place{path: path}
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, placed{name, info})
	}
	return p, nil
}

// there returns an error if a file was removed, moved away or replaced. One that is brought back is there again.
func (p *place) there() error {
	for _, f := range p.files {
		if info, err := os.Stat(f.name); err != nil || !os.SameFile(info, f.info) {
			return fmt.Errorf("%s was removed or replaced while it is open: bring it back, or restart to go on with what is there now", f.name)
		}
	}
	return nil
}
