package sqlite_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

// TestRestoreStatusLists checks that no entry of a status list is given again after a restore, and that those given before have ended,
// also the ones that the backup does not know.
func TestRestoreStatusLists(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "issuer.db"), filepath.Join(dir, "backup.db")
	at := backupTime
	list := func(id int64) storage.StatusList {
		return storage.StatusList{ID: id, Domain: "example.com", Size: 1024, Available: 1000, CreatedAt: at, ExpiresAt: at.Add(1000 * time.Hour)}
	}
	s := open(t, path)
	issued(t, s, "before")
	update := func(fn func(ctx context.Context, tx storage.Tx) error) {
		t.Helper()
		if err := s.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	update(func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.TakeStatusEntries(ctx, storage.SessionStatuses, "example.com", 1, at)
		if !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("TakeStatusEntries without a list = %v, want %v", err, storage.ErrNotFound)
		}
		err = tx.InsertStatusList(ctx, list(1))
		_, err2 := tx.TakeStatusEntries(ctx, storage.SessionStatuses, "example.com", 8, at)
		return errors.Join(err, err2, tx.SetGrantStatus(ctx, "grant-before", storage.StatusEntry{List: 1, Index: 7}))
	})
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	update(func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.TakeStatusEntries(ctx, storage.SessionStatuses, "example.com", 8, at)
		return errors.Join(err, tx.InsertStatusList(ctx, list(2)))
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now := at.Add(time.Hour)
	r, err := sqlite.Restore(t.Context(), path, backup, sqlite.RestoreOptions{Now: func() time.Time { return now }})
	if err != nil || !r.Carried {
		t.Fatalf("Restore = %+v, %v", r, err)
	}
	s = open(t, path)
	for id := range int64(2) {
		l, err := s.StatusList(t.Context(), id+1)
		if err != nil || !l.EndedAt.Equal(now) || l.Used != l.Available || !l.ExpiresAt.Equal(now.Add(storage.StatusGrace)) {
			t.Errorf("StatusList(%d) = %+v, %v, want it ended and used up", id+1, l, err)
		}
	}
	if ended, err := s.EndedStatuses(t.Context(), 1, now); err != nil || len(ended) != 1 || ended[0] != 7 {
		t.Errorf("EndedStatuses = %v, %v, want that of the session", ended, err)
	}
	update(func(ctx context.Context, tx storage.Tx) error {
		if l, err := tx.TakeStatusEntries(ctx, storage.SessionStatuses, "example.com", 1, at); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("TakeStatusEntries = %+v, %v, want %v", l, err, storage.ErrNotFound)
		}
		return nil
	})
}
