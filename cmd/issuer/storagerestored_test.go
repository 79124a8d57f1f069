package main

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// TestStorageRestored: after an older state of a PostgreSQL database was restored, one command ends everything that was issued, and users
// log in again. It does nothing while a node runs.
func TestStorageRestored(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	v := newVictim(t, "storage: postgres", "storage_url_file: url", "replay: storage")
	connect := func(database string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(v.folder, "url"), []byte(server.URL(database)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	execute := func(sql string) {
		t.Helper()
		c, err := pgx.Connect(t.Context(), server.URL("template1"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	execute("CREATE DATABASE issuer")
	connect("issuer")
	restored := []string{"storage", "restored", "--config", v.config()}
	v.run(t, 0, "^Took step 1 ", "migrate", "up", "--config", v.config())
	v.start(t)
	s, revoked := v.session(t, person(0)), v.session(t, person(1))
	v.run(t, 2, "stop all nodes first", restored...)
	v.stop(t)
	execute("CREATE DATABASE older TEMPLATE issuer")

	v.start(t)
	if err := revoked.Client.Revoke(t.Context(), revoked.RefreshToken); err != nil {
		t.Fatal(err)
	}
	s.refresh(t)
	later := v.session(t, person(2)) // who is not known in the older state
	v.stop(t)

	connect("older")
	v.run(t, 0, `^The database was restored to a state of .*\nEnded 2 sessions, revoked [1-9][0-9]* signing keys?, `, restored...)
	v.run(t, 0, `Ended 0 sessions, revoked 0 signing keys, `, restored...) // again
	v.start(t)
	v.becomes(t, "/readyz", http.StatusOK)
	for name, login := range map[string]*login{"a session": s, "a revoked session": revoked, "a later session": later} {
		if v.active(t, login.AccessToken) {
			t.Errorf("the access token of %s from before is active", name)
		}
		if err := login.tryRefresh(t); err == nil {
			t.Errorf("%s from before is refreshed", name)
		}
	}
	again := v.session(t, person(0))
	again.refresh(t)
	if !v.active(t, again.AccessToken) {
		t.Error("a new token is inactive")
	}
	v.run(t, 0, "", "audit", "verify", "--config", v.config())
	v.end(t)
}
