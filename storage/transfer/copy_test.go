package transfer_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/storage/transfer"
)

// TestTables holds the schemas to each other: each table and column is in both databases with the same primary key, or is left out on
// purpose. Inserts must start no trigger but that of revocations, which are copied
// first, and those that end credentials, which are copied last.
func TestTables(t *testing.T) {
	t.Parallel()
	var lists [2][]transfer.Table
	for i, p := range []place{absentSQLite(t), newPostgres(t)} {
		db := p.open(t, true)
		tables, err := db.Tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for j := range tables {
			for k := range tables[j].Columns {
				if tables[j].Columns[k].Kind == transfer.Bool {
					tables[j].Columns[k].Kind = transfer.Integer
				}
			}
		}
		slices.SortFunc(tables, func(a, b transfer.Table) int { return strings.Compare(a.Name, b.Name) })
		lists[i] = tables
		if p.kind == "postgres" {
			got := query(t, p.name, "SELECT DISTINCT tgrelid::regclass || ' ' || tgname FROM pg_trigger WHERE tgtype & 4 <> 0 AND NOT tgisinternal")
			slices.Sort(got)
			want := []string{"rekeys rekeys_credentials", "removals removals_credentials", "revocations revocations_status"}
			if !slices.Equal(got, want) {
				t.Errorf("triggers on inserts = %q, want %q", got, want)
			}
			got = query(t, p.name, "SELECT attrelid::regclass::text FROM pg_attribute WHERE attname = '"+transfer.Order+
				"' AND attidentity <> '' ORDER BY 1")
			if !slices.Equal(got, transfer.Ordered) {
				t.Errorf("tables with an order = %q, want %q", got, transfer.Ordered)
			}
			// A table that the copy leaves out, and why: see docs/storage.md.
			got = query(t, p.name, "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "+
				"AND relnamespace = 'public'::regnamespace ORDER BY relname")
			var left []string
			for _, name := range got {
				if !slices.ContainsFunc(tables, func(t transfer.Table) bool { return t.Name == name }) && !strings.HasPrefix(name, "replay") {
					left = append(left, name)
				}
			}
			if want := []string{"goose_db_version", "history", "pings", "schema_compatibility", "swept_revocations"}; !slices.Equal(left, want) {
				t.Errorf("tables that are not copied = %q, want %q", left, want)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(lists[0]) < 30 || !reflect.DeepEqual(lists[0], lists[1]) {
		t.Errorf("the tables of SQLite and PostgreSQL differ:\n%v\n%v", lists[0], lists[1])
	}
}

// sums returns the sums of the tables of a database.
func sums(t *testing.T, p place) (list []transfer.Compared, numbers map[string]int64) {
	t.Helper()
	db := p.open(t, false)
	defer db.Close()
	tables, err := db.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(tables, func(a, b transfer.Table) int { return strings.Compare(a.Name, b.Name) })
	for _, table := range tables {
		c := transfer.Compared{Table: table.Name}
		if err := db.Rows(t.Context(), table, nil, func(row []any) error { c.Rows++; return c.Sum.Add(row) }); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	if numbers, err = db.Numbers(t.Context()); err != nil {
		t.Fatal(err)
	}
	return list, numbers
}

// TestRoundTrip copies random rows of every table through all pairs of databases. Counts, hashes and numbers stay the same. A source is not
// opened any more, until it is opened again by command.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	path := []place{absentSQLite(t), newPostgres(t), newPostgres(t), absentSQLite(t), newSQLite(t)}
	fill(t, path[0], 1, 40)
	want, numbers := sums(t, path[0])
	for i, from := range path[:len(path)-1] {
		to := path[i+1]
		r := mustRun(t, from, to)
		slices.SortFunc(r.Tables, func(a, b transfer.Compared) int { return strings.Compare(a.Table, b.Table) })
		if !slices.Equal(r.Tables, want) {
			t.Errorf("%s to %s: tables = %v, want %v", from.kind, to.kind, r.Tables, want)
		}
		if again := mustRun(t, from, to); !again.Already || len(again.Tables) != 0 {
			t.Errorf("Copy again = %+v, want nothing to do", again)
		}
		got, after := sums(t, to)
		if !slices.Equal(got, want) || !reflect.DeepEqual(after, numbers) {
			t.Errorf("%s to %s: sums = %v with %v, want %v with %v", from.kind, to.kind, got, after, want, numbers)
		}
		if to.kind == "postgres" { // what is created later comes after everything that was copied
			for sequence, highest := range map[string]string{
				"client_numbers": "SELECT max(seq) FROM clients", "revocation_numbers": "SELECT greatest(1::bigint << 51, max(seq)) FROM revocations",
				"grants_n_seq": "SELECT max(n) FROM grants", "signing_keys_n_seq": "SELECT max(n) FROM signing_keys",
				"withdrawals_id_seq": "SELECT greatest(1::bigint << 52, max(id)) FROM withdrawals",
			} {
				if got := query(t, to.name, "SELECT last_value >= ("+highest+") AND is_called FROM "+sequence); !slices.Equal(got, []string{"t"}) {
					t.Errorf("the sequence %s gives numbers of rows that were copied", sequence)
				}
			}
		}
		if _, err := from.store(t.Context()); err == nil || !strings.Contains(err.Error(), "issuer storage reopen "+from.kind+":") {
			t.Errorf("Open(source) = %v, want that it was copied away", err)
		}
	}
	last := path[len(path)-1]
	s, err := last.store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range path[:2] {
		db := p.open(t, false)
		if err := db.Reopen(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := db.Reopen(t.Context()); !errors.Is(err, transfer.ErrNotAway) {
			t.Errorf("Reopen again = %v, want %v", err, transfer.ErrNotAway)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := p.store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got, _ := sums(t, p); !slices.Equal(got, want) {
			t.Errorf("the records of the source changed")
		}
	}
	if _, err := run(t.Context(), path[0], path[1], transfer.Options{}); !errors.Is(err, transfer.ErrNotEmpty) {
		t.Errorf("Copy into the former target = %v, want %v", err, transfer.ErrNotEmpty)
	}
}

// TestInterrupted ends a copy at each of its steps, or ends the connection to PostgreSQL there. No store opens either database, until the
// same call has completed the copy.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	for _, direction := range []struct {
		name     string
		from, to place
		lose     bool
	}{
		{"from SQLite", newSQLite(t), newPostgres(t), false},
		{"from PostgreSQL", newPostgres(t), absentSQLite(t), false},
		{"to PostgreSQL whose connections are lost", newSQLite(t), newPostgres(t), true},
		{"from PostgreSQL whose connections are lost", newPostgres(t), newSQLite(t), true},
	} {
		t.Run(direction.name, func(t *testing.T) {
			from, to := direction.from, direction.to
			first := newSQLite(t)
			fill(t, first, 2, 12)
			if from.kind == "postgres" {
				mustRun(t, first, from)
			} else {
				from = first
			}
			want, _ := sums(t, from)
			for i := 0; ; i++ {
				ctx, cancel := context.WithCancel(t.Context())
				steps := 0
				r, err := run(ctx, from, to, transfer.Options{BatchRows: 5, Report: func(transfer.Step) {
					if steps++; steps < 1+i%3*3 {
						return
					}
					if direction.lose {
						database := to.name
						if from.kind == "postgres" {
							database = from.name
						}
						query(t, database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'issuer storage' "+
							"AND datname = current_database()")
					} else {
						cancel()
					}
				}})
				cancel()
				if r.Resumed != (i > 0) {
					t.Errorf("run %d: Resumed = %t", i, r.Resumed)
				}
				if err == nil {
					t.Fatalf("run %d = %+v, want that it was interrupted", i, r)
				}
				for _, p := range []place{from, to} {
					if _, err := p.store(t.Context()); err == nil || !strings.Contains(err.Error(), "issuer storage ") {
						t.Fatalf("run %d: Open(%s) = %v, want that it is marked", i, p.kind, err)
					}
				}
				if done := progressed(t, to); i == 10 || done > 25 {
					break
				}
			}
			r := mustRun(t, from, to)
			if got, _ := sums(t, to); !r.Resumed || !slices.Equal(got, want) {
				t.Errorf("the resumed copy = %v, want %v", got, want)
			}
		})
	}
}

// progressed returns how many tables were copied.
func progressed(t *testing.T, p place) (n int) {
	t.Helper()
	db := p.open(t, true)
	defer db.Close()
	done, err := db.Progress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range done {
		if at.Done {
			n++
		}
	}
	return n
}

// TestHeld starts issuers during a copy, and a copy while an issuer runs: both are refused.
func TestHeld(t *testing.T) {
	t.Parallel()
	from, to := newSQLite(t), newPostgres(t)
	fill(t, from, 3, 3)
	mustRun(t, from, to)
	from, to = to, newPostgres(t)
	for _, p := range []place{from, to} {
		s, err := p.store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run(t.Context(), from, to, transfer.Options{}); !errors.Is(err, transfer.ErrInUse) {
			t.Errorf("Copy beside an issuer = %v, want %v", err, transfer.ErrInUse)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// A node that lives through the copy has no connection at its beginning.
	checked := false
	if _, err := run(t.Context(), from, to, transfer.Options{Report: func(transfer.Step) {
		if checked {
			return
		}
		checked = true
		for _, p := range []place{from, to} {
			if _, err := p.store(t.Context()); err == nil {
				t.Errorf("Open during the copy succeeded")
			}
			if db, err := p.try(t.Context(), true); !errors.Is(err, transfer.ErrInUse) {
				t.Errorf("a second copy = %v, %v, want %v", db, err, transfer.ErrInUse)
			}
		}
	}}); err != nil || !checked {
		t.Fatal(err)
	}

	path := newSQLite(t)
	s, err := path.store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := path.try(t.Context(), false); !errors.Is(err, transfer.ErrInUse) {
		t.Errorf("OpenTransfer beside an issuer = %v, want %v", err, transfer.ErrInUse)
	}
}

// TestRefused tries targets and sources that cannot be copied.
func TestRefused(t *testing.T) {
	t.Parallel()
	source := newSQLite(t)
	fill(t, source, 4, 8)
	half := func(t *testing.T, to place) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if _, err := run(ctx, source, to, transfer.Options{BatchRows: 3, Report: func(transfer.Step) { cancel() }}); !errors.Is(err, context.Canceled) {
			t.Fatalf("Copy = %v, want %v", err, context.Canceled)
		}
	}
	for _, target := range []func(testing.TB) place{newSQLite, newPostgres} {
		to := target(t)
		half(t, to)
		other := newSQLite(t)
		fill(t, other, 5, 1)
		if _, err := run(t.Context(), other, to, transfer.Options{}); !errors.Is(err, transfer.ErrNotEmpty) {
			t.Errorf("Copy into a part of another copy = %v, want %v", err, transfer.ErrNotEmpty)
		}
		if _, err := run(t.Context(), to, target(t), transfer.Options{}); !errors.Is(err, transfer.ErrIncomplete) {
			t.Errorf("Copy of an incomplete copy = %v, want %v", err, transfer.ErrIncomplete)
		}
		db := source.open(t, false)
		if err := db.Reopen(t.Context()); err != nil {
			t.Fatal(err)
		}
		db.Close()
		if _, err := run(t.Context(), source, to, transfer.Options{}); !errors.Is(err, transfer.ErrNotEmpty) {
			t.Errorf("Copy of a source that was opened again = %v, want %v", err, transfer.ErrNotEmpty)
		}
		if s, err := source.store(t.Context()); err != nil {
			t.Errorf("Open after a copy that was given up = %v", err)
		} else {
			s.Close()
		}
		left := target(t)
		full := target(t)
		mustRun(t, other, full)
		mustRun(t, full, left)
		if _, err := run(t.Context(), source, full, transfer.Options{}); !errors.Is(err, transfer.ErrAway) {
			t.Errorf("Copy into a database that was copied away = %v, want %v", err, transfer.ErrAway)
		}
		if _, err := run(t.Context(), source, left, transfer.Options{}); !errors.Is(err, transfer.ErrNotEmpty) {
			t.Errorf("Copy into a database with records = %v, want %v", err, transfer.ErrNotEmpty)
		}
		old, newer := target(t), target(t)
		if old.kind == "sqlite" {
			fill(t, old, 6, 1)
			fill(t, newer, 6, 1)
		}
		old.exec(t, "DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)")
		if _, err := run(t.Context(), source, old, transfer.Options{}); !errors.Is(err, transfer.ErrOld) {
			t.Errorf("Copy into an older schema = %v, want %v", err, transfer.ErrOld)
		}
		newer.exec(t, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)")
		if _, err := run(t.Context(), newer, target(t), transfer.Options{}); err == nil || !strings.Contains(err.Error(), "newer release") {
			t.Errorf("Copy of a newer schema = %v, want that it is newer", err)
		}
		strange := target(t)
		if strange.kind == "sqlite" {
			fill(t, strange, 7, 1)
		}
		strange.exec(t, "CREATE TABLE surprises (id integer PRIMARY KEY)")
		if strange.kind == "sqlite" {
			_, err := run(t.Context(), strange, newPostgres(t), transfer.Options{})
			if !errors.Is(err, transfer.ErrSchema) || !strings.Contains(err.Error(), "surprises") {
				t.Errorf("Copy of a table that is not known = %v, want %v", err, transfer.ErrSchema)
			}
		} else if _, err := run(t.Context(), source, strange, transfer.Options{}); !errors.Is(err, transfer.ErrSchema) {
			t.Errorf("Copy without a table = %v, want %v", err, transfer.ErrSchema)
		}
	}
}

// TestDifference changes rows of a copy before it is complete, and afterwards. The table and the row are named, and no handle.
func TestDifference(t *testing.T) {
	t.Parallel()
	for _, target := range []func(testing.TB) place{newSQLite, newPostgres} {
		from, to := newSQLite(t), target(t)
		fill(t, from, 8, 5)
		mustRun(t, from, to)
		for _, change := range []struct{ text, table, key, what string }{
			{"UPDATE users SET gen = gen + 1 WHERE id = (SELECT max(id) FROM users)", "users", `id="`, "has another value of gen"},
			{"UPDATE names SET local = 'alice' WHERE key = (SELECT min(key) FROM names)", "names", "key=sha256:", "has another value of local"},
			{"DELETE FROM revocations WHERE seq = (SELECT min(seq) FROM revocations)", "revocations", "seq=", "is missing in the target"},
			{"INSERT INTO pushed (uri, client, request, expires_at) SELECT user_code, client, request, expires_at FROM device_codes " +
				"ORDER BY hash LIMIT 1", "pushed", "uri=sha256:", "is only in the target"},
		} {
			copied := target(t)
			if copied.kind == "postgres" {
				query(t, "postgres", fmt.Sprintf("DROP DATABASE %s", copied.name))
				query(t, "postgres", fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s", copied.name, to.name))
			} else {
				db := from.open(t, false)
				db.Close()
				mustRun(t, from, copied)
			}
			verify := func() error {
				source, target := from.open(t, false), copied.open(t, false)
				defer source.Close()
				defer target.Close()
				_, err := transfer.Verify(t.Context(), source, target, transfer.Options{})
				return err
			}
			if err := verify(); err != nil {
				t.Fatalf("Verify = %v", err)
			}
			copied.exec(t, change.text)
			var d *transfer.DifferenceError
			if err := verify(); !errors.As(err, &d) || d.Table != change.table || !strings.Contains(d.Key, change.key) || d.What != change.what {
				t.Errorf("%s: Verify = %v, want a difference in %s, %s…, that it %s", change.text, err, change.table, change.key, change.what)
			}
		}

		// Before the end, the copy finds the difference itself and does not complete the target.
		half := target(t)
		steps, changed := 0, errors.New("the users were copied")
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := run(ctx, from, half, transfer.Options{Report: func(s transfer.Step) {
			if steps++; s.Phase == transfer.Copied && s.Table == "users" {
				cancel(changed)
			}
		}})
		if context.Cause(ctx) != changed || err == nil {
			t.Fatalf("Copy = %v, want that it was interrupted", err)
		}
		half.exec(t, "UPDATE users SET disabled_at = disabled_at + 1 WHERE id = (SELECT min(id) FROM users)")
		var d *transfer.DifferenceError
		if _, err := run(t.Context(), from, half, transfer.Options{}); !errors.As(err, &d) || d.Table != "users" {
			t.Errorf("Copy = %v, want a difference in users", err)
		}
		if _, err := half.store(t.Context()); err == nil {
			t.Error("a target that differs was opened")
		}
	}
}

// TestOrder: SQLite reads each table along its primary key, from the beginning and from a key on, and sorts nothing: sorting takes memory
// for the whole table.
func TestOrder(t *testing.T) {
	t.Parallel()
	p := newSQLite(t)
	db := p.open(t, true)
	tables, err := db.Tables(t.Context())
	if err != nil || len(tables) == 0 {
		t.Fatalf("Tables = %v, %v", tables, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := sql.Open("sqlite", p.name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, table := range tables {
		key := strings.Join(table.Names()[:table.Key], ", ")
		places := strings.TrimSuffix(strings.Repeat("?, ", table.Key), ", ")
		for condition, args := range map[string][]any{"": nil, " WHERE (" + key + ") > (" + places + ")": make([]any, table.Key)} {
			rows, err := file.QueryContext(t.Context(), "EXPLAIN QUERY PLAN SELECT * FROM "+table.Name+condition+" ORDER BY "+key, args...)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(detail, "TEMP B-TREE") || condition != "" && !strings.HasPrefix(detail, "SEARCH") {
					t.Errorf("%s%s: %s", table.Name, condition, detail)
				}
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestErased: the progress of a copy holds keys, among them those of names. No byte of them stays in the file after the copy.
func TestErased(t *testing.T) {
	t.Parallel()
	from, to := newSQLite(t), newSQLite(t)
	fill(t, from, 9, 3)
	mustRun(t, from, to)
	mark := "copied-key-of-nobody"
	to.exec(t, "INSERT INTO names SELECT CAST(x'ffffffff' AS TEXT), '"+mark+"', 'gone', user_id, taken_at, 1, tables FROM names LIMIT 1") // the last key
	again := newSQLite(t)
	mustRun(t, to, again)
	again.exec(t, "PRAGMA secure_delete = on; DELETE FROM names WHERE local = 'gone'; PRAGMA wal_checkpoint(TRUNCATE)")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(again.name + suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(mark)) {
			t.Errorf("issuer.db%s has the key of a name that was deleted", suffix)
		}
	}
}
