package sqlite

import "fmt"

// A place identifies the files of an open database. SQLite continues to use files that were removed or replaced, and would acknowledge
// data that is lost afterwards. So each commit first checks that they are still in place.
type place struct {
	path  string
	files []placed
}

type placed struct {
	name string
	id   fileID
}

// newPlace identifies the database at path and its log, which exists while the database is open.
func newPlace(path string) (*place, error) {
	p := &place{path: path}
	for _, name := range []string{path, path + "-wal"} {
		id, err := identify(name)
		if err != nil {
			return nil, err
		}
		p.files = append(p.files, placed{name, id})
	}
	return p, nil
}

// there returns an error while a file is removed, moved away or replaced. It may be brought back.
func (p *place) there() error {
	for _, f := range p.files {
		if id, err := identify(f.name); err != nil || !id.is(f.id) {
			return fmt.Errorf("%s was removed or replaced while it is open: bring it back, or restart to go on with what is there now",
				f.name)
		}
	}
	return nil
}
