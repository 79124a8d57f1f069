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

// TestRestoreEndsCredentials holds that after a restore no list shows a credential of before as valid: neither one of the backup, nor one
// that was issued since, in a list of the backup or in a later one. The lists stay until the last of them has expired, and give no entry.
func TestRestoreEndsCredentials(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "issuer.db"), filepath.Join(dir, "backup.db")
	s := open(t, path)
	at := backupTime
	issue := func(id string, list int64, index int) {
		t.Helper()
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			if _, err := tx.StatusList(ctx, list); err != nil {
				if err := tx.InsertStatusList(ctx, storage.StatusList{
					ID: list, Kind: storage.CredentialStatuses, Domain: "example.com", Size: 1024, Available: 768, Used: 256, CreatedAt: at,
					ExpiresAt: at.Add(time.Hour),
				}); err != nil {
					return err
				}
			}
			return tx.InsertCredential(ctx, storage.Credential{
				ID: id, Domain: "example.com", User: "user-before", Device: "device-before", JKT: "jkt", Handle: "before",
				Status: storage.StatusEntry{List: list, Index: index}, IssuedAt: at, ExpiresAt: at.Add(storage.LongestCredential),
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	issued(t, s, "before")
	issue("of the backup", 1, 1)
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	issue("since", 1, 2)
	issue("in a later list", 2, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now := at.Add(48 * time.Hour)
	r, err := sqlite.Restore(t.Context(), path, backup, sqlite.RestoreOptions{Now: func() time.Time { return now }})
	if err != nil || r.Credentials != 1 {
		t.Fatalf("Restore = %+v, %v, want one credential ended", r, err)
	}
	s = open(t, path)
	for _, list := range []int64{1, 2} {
		l, err := s.StatusList(t.Context(), list)
		if err != nil || !l.EndedAt.Equal(now) || l.ExpiresAt.Before(now.Add(storage.LongestCredential)) || l.Kind != storage.CredentialStatuses {
			t.Errorf("StatusList = %+v, %v, want it ended, for as long as a credential may live", l, err)
		}
	}
	if c, err := s.Credential(t.Context(), "of the backup"); err != nil || !c.EndedAt.Equal(now) || c.EndedReason != "restored" {
		t.Errorf("Credential = %+v, %v, want it ended", c, err)
	}
	err = s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.TakeStatusEntries(ctx, storage.CredentialStatuses, "example.com", 1, now)
		return err
	})
	if !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("TakeStatusEntries = %v, want no entry of an ended list", err)
	}
}
