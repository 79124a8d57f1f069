package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
)

// TestEndRestoredCredentials holds that in a restored state no list shows a credential as valid, also one that the state does not know. The
// lists stay until the last credential has expired, and give no entry.
func TestEndRestoredCredentials(t *testing.T) {
	url := database(t)
	s := open(t, url)
	at := time.Date(2026, 3, 14, 15, 0, 0, 0, time.UTC)
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(
			tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: "alice", Handle: "alice", Gen: 1, CreatedAt: at}),
			tx.InsertDevice(ctx, storage.Device{Domain: "example.com", ID: "phone", User: "alice", JKT: "jkt", CreatedAt: at}),
			tx.InsertStatusList(ctx, storage.StatusList{
				ID: 1, Kind: storage.CredentialStatuses, Domain: "example.com", Size: 1024, Available: 768, Used: 256, CreatedAt: at,
				ExpiresAt: at.Add(time.Hour),
			}),
			tx.InsertCredential(ctx, storage.Credential{
				ID: "credential", Domain: "example.com", User: "alice", Device: "phone", JKT: "jkt", Handle: "alice",
				Status: storage.StatusEntry{List: 1, Index: 1}, IssuedAt: at, ExpiresAt: at.Add(time.Hour),
			}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now := at.Add(48 * time.Hour)
	if r, err := postgres.EndRestored(t.Context(), url, now); err != nil || r.Credentials != 1 {
		t.Fatalf("EndRestored = %+v, %v, want one credential ended", r, err)
	}
	s = open(t, url)
	l, err := s.StatusList(t.Context(), 1)
	if err != nil || !l.EndedAt.Equal(now) || l.ExpiresAt.Before(now.Add(storage.LongestCredential)) {
		t.Errorf("StatusList = %+v, %v, want it ended, for as long as a credential may live", l, err)
	}
	if ends, err := s.CredentialEnds(t.Context(), 1, 0); err != nil || len(ends) != 1 || ends[0].Index != 1 || ends[0].HandleOnly {
		t.Errorf("CredentialEnds = %+v, %v, want that of the credential", ends, err)
	}
	err = s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.TakeStatusEntries(ctx, storage.CredentialStatuses, "example.com", 1, now)
		return err
	})
	if !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("TakeStatusEntries = %v, want no entry of an ended list", err)
	}
}
