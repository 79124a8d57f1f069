package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// TestIsAway holds that the errors of a store tell a server that is away from one that refuses.
func TestIsAway(t *testing.T) {
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if _, err := postgres.Migrate(t.Context(), server.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	store := open(t, server.URL("postgres"))
	ask := func() error {
		_, err := store.Newest(t.Context())
		return err
	}
	write := func() error {
		return store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.Newest(ctx)
			return err
		})
	}
	if err := errors.Join(ask(), write()); err != nil {
		t.Fatal(err)
	}
	execute(t, server.URL("postgres"), "ALTER TABLE clock RENAME TO elsewhere")
	if err := ask(); err == nil || postgres.IsAway(err) {
		t.Errorf("a missing table: %v, which is taken for a server that is away", err)
	}
	server.Signal(postgrestest.Immediate)
	for name, do := range map[string]func() error{"read": ask, "update": write} {
		if err := do(); err == nil || !postgres.IsAway(err) {
			t.Errorf("%s without a server: %v, which is not taken for one that is away", name, err)
		}
	}
}
