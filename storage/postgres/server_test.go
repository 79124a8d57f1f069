package postgres_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// server is shared by the tests of the package. Each of them has a database of its own, a copy of a migrated one.
var server struct {
	sync.Mutex
	*postgrestest.Server
	databases atomic.Int64
	free      chan string // databases that a test has left
}

const template = "template_of_tests"

func TestMain(m *testing.M) {
	code := m.Run()
	if server.Server != nil {
		server.Stop()
	}
	os.Exit(code)
}

// shared returns the server, which the first test starts.
func shared(t testing.TB) *postgrestest.Server {
	t.Helper()
	server.Lock()
	defer server.Unlock()
	if server.Server != nil {
		return server.Server
	}
	s, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	server.Server, server.free = s, make(chan string, 100)
	execute(t, s.URL("postgres"), "CREATE DATABASE "+template)
	if done, err := postgres.Migrate(context.Background(), s.URL(template)); err != nil || len(done) == 0 {
		t.Fatalf("Migrate = %v, %v", done, err)
	}
	return s
}

// execute runs statements in the database at a URL.
func execute(t testing.TB, url string, statements ...string) {
	t.Helper()
	c, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	for _, s := range statements {
		if _, err := c.Exec(context.Background(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// clean makes a database empty, as it was after its migration: a new one takes a second on a busy machine.
const clean = `DO $$
DECLARE
    t text;
BEGIN
    SET LOCAL session_replication_role = replica; -- no triggers
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public'
        AND tablename NOT IN ('goose_db_version', 'schema_compatibility', 'pings', 'swept_revocations', 'replay_birth', 'history')
    LOOP
        EXECUTE 'DELETE FROM ' || quote_ident(t);
    END LOOP;
    UPDATE swept_revocations SET last = 0;
    UPDATE replay_birth SET last = 0;
    ALTER SEQUENCE revocation_numbers RESTART;
    ALTER SEQUENCE client_numbers RESTART;
END $$`

// database returns the URL of a migrated, empty database.
func database(t testing.TB) string {
	t.Helper()
	s := shared(t)
	var url string
	select {
	case url = <-server.free:
	default:
		name := fmt.Sprintf("test_%d", server.databases.Add(1))
		execute(t, s.URL("postgres"), "CREATE DATABASE "+name+" TEMPLATE "+template)
		url = s.URL(name)
	}
	t.Cleanup(func() {
		execute(t, url, clean)
		server.free <- url
	})
	return url
}

// open opens the database at a URL, which the test closes if it does not do so itself.
func open(t testing.TB, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, postgres.Options{})
	if err != nil {
		t.Fatalf("Open = %v, want nil", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
