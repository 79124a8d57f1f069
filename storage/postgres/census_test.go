package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
)

// A census that takes many statements counts each row once.
func TestCensusInParts(t *testing.T) {
	t.Cleanup(postgres.SetCensusBlocks(1))
	s := open(t, database(t))
	const users = 500 // some ten blocks
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		for i := range users {
			id := fmt.Sprintf("user%d", i)
			if err := tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: id, CreatedAt: now}); err != nil {
				return err
			}
			err := tx.InsertDevice(ctx, storage.Device{Domain: "example.com", ID: fmt.Sprint(i), User: id, JKT: id, CreatedAt: now})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Census(t.Context(), now)
	if want := (storage.Census{Users: users, Devices: users}); err != nil || got != want {
		t.Errorf("Census = %+v, %v, want %+v", got, err, want)
	}
}
