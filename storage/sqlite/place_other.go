//go:build !linux

package sqlite

import "os"

// A fileID identifies a file.
type fileID struct{ info os.FileInfo }

// identify finds the file of that name.
func identify(name string) (fileID, error) {
	info, err := os.Stat(name)
	return fileID{info}, err
}

func (f fileID) is(other fileID) bool { return os.SameFile(f.info, other.info) }
