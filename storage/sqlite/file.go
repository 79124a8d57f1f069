package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

var errTaken = errors.New("in use by another process")

// createLocked locks the database at path, and creates its file if it does not exist.
func createLocked(path string) (*os.File, error) {
	lock, err := lockDatabase(path)
	if err != nil {
		return nil, err
	}
	// SQLite gives the log the mode of the database.
	db, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		lock.Close()
		return nil, unwritable(filepath.Dir(path), err)
	}
	return lock, db.Close()
}

// lockDatabase returns the open lock file of a database, which holds the lock until it is closed or the process ends. SQLite's own
// locks last for a transaction only. The lock is on a file of its own, because closing any descriptor of the database would drop
// the POSIX locks of SQLite on it.
func lockDatabase(path string) (_ *os.File, err error) {
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, fmt.Errorf("sqlite: folder %s does not exist: make it, so that the issuer can write to it", dir)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("sqlite: %s is not a file: set storage to another one, or move it away", path)
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("sqlite: %s is %w", path, errTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("sqlite: lock %s.lock: %w", path, err)
	}
	return lock, nil
}

func unwritable(dir string, err error) error {
	return fmt.Errorf("sqlite: folder %s must let the issuer write: %w", dir, err)
}
