package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// TestNumbersAfterFailover: after the promotion of a standby that has not all commits, no number of a revocation or a client is given again,
// neither by the connections of nodes that were there before nor by a new one. A standby is not used.
func TestNumbersAfterFailover(t *testing.T) {
	primary, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(primary.Stop)
	if _, err := postgres.Migrate(t.Context(), primary.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Stop)
	if err := standby.CatchUp(primary); err != nil {
		t.Fatal(err)
	}
	if s, err := postgres.Open(t.Context(), standby.URL("postgres"), postgres.Options{}); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Open of a standby = %v, %v, want %v", s, err, storage.ErrUnavailable)
	}
	url := postgrestest.URLOf("postgres", standby, primary)
	s := open(t, url)
	change := func(s storage.Store, id string) (revoked, client int64) {
		t.Helper()
		if err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			r, err := tx.Revoke(ctx, storage.Revocation{Kind: storage.RevokeToken, Key: id})
			revoked = r.Seq
			return errors.Join(err, tx.InsertClient(ctx, storage.Client{ID: id, Registration: []byte("{}")}))
		}); err != nil {
			t.Fatal(err)
		}
		c, err := s.Client(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return revoked, c.Seq
	}
	change(s, "kept")
	if err := standby.CatchUp(primary); err != nil {
		t.Fatal(err)
	}
	if err := standby.Detach(); err != nil {
		t.Fatal(err)
	}
	var revoked, client int64
	for i := range 50 { // more than PostgreSQL takes from a sequence at a time
		revoked, client = change(s, fmt.Sprint("lost ", i))
	}
	primary.Signal(postgrestest.Immediate)
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	var history int64
	for i, node := range []*postgres.Store{s, open(t, url)} {
		r, c := change(node, fmt.Sprint("new ", i))
		if storage.History(r) <= storage.History(revoked) || storage.History(c) <= storage.History(client) {
			t.Errorf("the numbers after the failover are %d and %d, want later histories than those of %d and %d", r, c, revoked, client)
		}
		if i > 0 && storage.History(r) != history {
			t.Errorf("another node began history %d, want %d for all", storage.History(r), history)
		}
		history = storage.History(r)
	}
	// A restart is no failover.
	if err := standby.Restart(postgrestest.Fast); err != nil {
		t.Fatal(err)
	}
	if err := standby.Restart(postgrestest.Immediate); err != nil {
		t.Fatal(err)
	}
	if r, _ := change(s, "restarted"); storage.History(r) != history {
		t.Errorf("a restart began history %d, want %d", storage.History(r), history)
	}
}

// TestRoleWithoutRights: the issuer needs no rights beyond those of the owner of its database to see on which server it is.
func TestRoleWithoutRights(t *testing.T) {
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	execute(t, server.URL("postgres"), "CREATE ROLE plain LOGIN", "CREATE DATABASE plain OWNER plain")
	url := "postgres://plain@/plain?host=" + server.Folder()
	if _, err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	s := open(t, url)
	revoke(t, s, "token")
	execute(t, url, "DO $$ BEGIN ASSERT (SELECT server FROM history) ~ '^[0-9]+/[0-9A-F]{8}$'; END $$")
}
