package sqlite

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// A fileID is the device and the inode of a file.
type fileID struct {
	major, minor uint32
	inode        uint64
}

// identify finds the file of that name. It does not ask for the times of the file: once somebody did, Linux gives the file a new time
// at the next write, and the fsync after it takes twice as long, because it must store the inode as well.
func identify(name string) (fileID, error) {
	for {
		var s unix.Statx_t
		switch err := unix.Statx(unix.AT_FDCWD, name, unix.AT_STATX_SYNC_AS_STAT, unix.STATX_INO, &s); err {
		case nil:
			return fileID{s.Dev_major, s.Dev_minor, s.Ino}, nil
		case unix.EINTR:
		case unix.ENOSYS, unix.EPERM: // an old kernel, or a sandbox that does not know the call
			return identifyByStat(name)
		default:
			return fileID{}, &fs.PathError{Op: "statx", Path: name, Err: err}
		}
	}
}

func identifyByStat(name string) (fileID, error) {
	for {
		var s unix.Stat_t
		switch err := unix.Stat(name, &s); err {
		case nil:
			dev := uint64(s.Dev) // of another size on some machines
			return fileID{unix.Major(dev), unix.Minor(dev), s.Ino}, nil
		case unix.EINTR:
		default:
			return fileID{}, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
	}
}

func (f fileID) is(other fileID) bool { return f == other }
