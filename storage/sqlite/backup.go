package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/imidentity/issuer/storage"
)

// backupID is the application id of a backup, "imib". A store does not open one, because it does not contain what was issued and
// revoked after it was made. [Restore] takes care of that.
const backupID = 1768778082

// Backup writes the database as it is at one moment to the new file to, with mode 0600. Reads and writes continue meanwhile. The
// file appears complete and durable, or not at all. Keys in it are sealed as in the database: without the key-encryption key, which
// is not in it, a backup is useless.
func (s *Store) Backup(ctx context.Context, to string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("sqlite: back up to %s: %w", to, err)
		}
	}()
	if to, err = filepath.Abs(to); err != nil {
		return err
	}
	if _, err := os.Lstat(to); err == nil {
		return storage.ErrBackupExists
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(to)
	f, err := os.CreateTemp(dir, ".issuer-backup-*") // mode 0600
	if err != nil {
		return err
	}
	part := f.Name()
	defer os.Remove(part)
	if err := f.Close(); err != nil {
		return err
	}
	if err := s.writer.place.there(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(s.writer.place.path, commonPragmas)+"&mode=ro")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", part)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := mark(ctx, part, backupID); err != nil {
		return err
	}
	if err := durable(part); err != nil {
		return err
	}
	if err := os.Link(part, to); errors.Is(err, fs.ErrExist) { // and not Rename, which would replace
		return storage.ErrBackupExists
	} else if err != nil {
		return err
	}
	return durable(dir)
}

// mark writes an application id into the database at path, which must not be open.
func mark(ctx context.Context, path string, id int) error {
	db, err := sql.Open("sqlite", dsn(path, append([]string{"journal_mode(delete)"}, commonPragmas...)))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", id))
	return errors.Join(err, db.Close())
}

// durable syncs a file, or the names in a folder, to disk.
func durable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
