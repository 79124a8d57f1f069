package transfer_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/storage/transfer"
)

// server is shared by the tests.
var server struct {
	sync.Mutex
	*postgrestest.Server
	databases atomic.Int64
}

func TestMain(m *testing.M) {
	code := m.Run()
	if server.Server != nil {
		server.Stop()
	}
	os.Exit(code)
}

// query runs SQL in a database of the shared server.
func query(t testing.TB, database, text string) []string {
	t.Helper()
	rows, err := server.Query(database, text)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// postgresDatabase returns the name of a new database with the schema and without records.
func postgresDatabase(t testing.TB) string {
	t.Helper()
	server.Lock()
	defer server.Unlock()
	if server.Server == nil {
		s, err := postgrestest.New()
		if err != nil {
			t.Fatal(err)
		}
		server.Server = s
		query(t, "postgres", "CREATE DATABASE migrated")
		if _, err := postgres.Migrate(context.Background(), s.URL("migrated")); err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprintf("copy_%d", server.databases.Add(1))
	query(t, "postgres", "CREATE DATABASE "+name+" TEMPLATE migrated")
	return name
}

// A place is a database that can be opened again and again.
type place struct {
	kind string
	name string // a path, or the name of a PostgreSQL database
}

// newSQLite returns a database without records. To make one takes less time than the migrations of absentSQLite.
func newSQLite(t testing.TB) place { return place{"sqlite", sqlitetest.Temporary(t)} }

// absentSQLite returns a database that does not exist.
func absentSQLite(t testing.TB) place {
	return place{"sqlite", filepath.Join(t.TempDir(), "issuer.db")}
}

func newPostgres(t testing.TB) place {
	return place{"postgres", postgresDatabase(t)}
}

// try opens a database for a copy, and creates it if it is to be one of SQLite.
func (p place) try(ctx context.Context, create bool) (transfer.Database, error) {
	if p.kind == "sqlite" {
		db, err := sqlite.OpenTransfer(ctx, p.name, create)
		if err != nil {
			return nil, err
		}
		return db, nil
	}
	db, err := postgres.OpenTransfer(ctx, server.URL(p.name))
	if err != nil {
		return nil, err
	}
	return db, nil
}

func (p place) open(t testing.TB, create bool) transfer.Database {
	t.Helper()
	db, err := p.try(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() }) // most tests close it before
	return db
}

// store opens a database as an issuer does.
func (p place) store(ctx context.Context) (interface {
	storage.Store
	Close() error
}, error,
) {
	if p.kind == "sqlite" {
		return sqlite.Open(ctx, p.name, sqlite.Options{})
	}
	return postgres.Open(ctx, server.URL(p.name), postgres.Options{})
}

// exec runs SQL in a database that no issuer has open.
func (p place) exec(t testing.TB, text string) {
	t.Helper()
	if p.kind == "postgres" {
		query(t, p.name, text)
		return
	}
	db, err := sql.Open("sqlite", p.name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

// run copies one database into another.
func run(ctx context.Context, from, to place, o transfer.Options) (r transfer.Result, err error) {
	source, err := from.try(ctx, false)
	if err != nil {
		return r, err
	}
	defer source.Close()
	target, err := to.try(ctx, true)
	if err != nil {
		return r, err
	}
	defer target.Close()
	return transfer.Copy(ctx, source, target, o)
}

func mustRun(t testing.TB, from, to place) transfer.Result {
	t.Helper()
	r, err := run(t.Context(), from, to, transfer.Options{})
	if err != nil {
		t.Fatalf("Copy = %v", err)
	}
	return r
}

// texts are odd ones: PostgreSQL stores some of them in an escaped form, and orders them differently.
var texts = []string{"plain", "", "zero\x00byte", "\x00", "\x01", "\x01\x01", "\x01AB", "not UTF-8 \xff\xfe", "ünïcödé 😀", "quote ' \" \\ \n\t"}

// value returns a random value for a column, NULL for some of those that may be.
func value(r *rand.Rand, t transfer.Table, column int) any {
	name := t.Columns[column].Name
	odd := texts[r.IntN(len(texts))]
	switch t.Columns[column].Kind {
	case transfer.Integer:
		if !slices.Contains([]string{"findable", "redirect_given", "allowed", "tells_handle", "handle_only", "public"}, name) {
			return r.Int64N(1 << 50)
		}
		fallthrough
	case transfer.Bool:
		return r.Int64N(2)
	case transfer.Text:
		return fmt.Sprintf("%s%x", odd, r.Uint64())
	}
	nullable := slices.Contains([]string{"private", "person", "secret", "old_secret", "managed_by"}, name) ||
		t.Name == "upstream_tokens" && name == "sealed"
	if nullable && r.IntN(2) == 0 {
		return nil
	}
	if column >= t.Key && name != "user_code" && r.IntN(3) == 0 {
		return []byte{}
	}
	return fmt.Appendf(nil, "%s%x", odd, r.Uint64())
}

// fill writes n random rows into each table of an empty SQLite database, and a revocation of all tokens of a user who has signed in since.
func fill(t *testing.T, p place, seed uint64, n int) {
	t.Helper()
	ctx := t.Context()
	db := p.open(t, true)
	tables, err := db.Tables(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Begin(ctx, 1, tables); err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(tables, func(a, b transfer.Table) int { // inserts have a trigger that must find no sessions
		switch {
		case a.Name == "revocations":
			return -1
		case b.Name == "revocations":
			return 1
		}
		return 0
	})
	random := rand.New(rand.NewPCG(seed, 0))
	for _, table := range tables {
		var rows [][]any
		for i := range n {
			row := make([]any, len(table.Columns))
			for j, c := range table.Columns {
				row[j] = value(random, table, j)
				switch {
				case table.Name == "clock" && c.Name == "id":
					row[j] = int64(1)
				case table.Name == "revocations" && c.Name == "kind" && i == 0:
					row[j] = "gen"
				case table.Name == "revocations" && c.Name == "key" && i == 0:
					row[j] = "example.com/back"
				case table.Name == "grants" && i == 0 && c.Name == "domain":
					row[j] = "example.com"
				case table.Name == "grants" && i == 0 && c.Name == "user_id":
					row[j] = "back"
				case table.Name == "grants" && i == 0 && c.Name == "ended_at":
					row[j] = int64(0)
				}
			}
			rows = append(rows, row)
			if table.Name == "clock" {
				break
			}
		}
		if err := db.Append(ctx, table, rows, transfer.Progress{}); err != nil {
			t.Fatalf("%s: %v", table.Name, err)
		}
	}
	if err := db.Raise(ctx, map[string]int64{"revocations": 1 << 51, "withdrawals": 1 << 52}); err != nil {
		t.Fatal(err)
	}
	if err := db.Complete(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
