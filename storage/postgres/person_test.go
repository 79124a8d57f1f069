package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// migrated returns a store and a connection of their own server. The tests of this file look behind the contract.
func migrated(t *testing.T) (*Store, *pgx.Conn) {
	t.Helper()
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if _, err := Migrate(t.Context(), server.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), server.URL("postgres"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	c, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return s, c
}

// A column is one of a table.
type column struct{ table, name, kind string }

// schema returns the columns of each table, but for those that only number rows. Partitions have the columns of their table.
func schema(t *testing.T, c *pgx.Conn) map[string][]column {
	t.Helper()
	rows, err := c.Query(t.Context(), "SELECT table_name, column_name, data_type FROM information_schema.columns "+
		"WHERE table_schema = 'public' AND table_name NOT LIKE 'goose_db_version%' "+
		"AND table_name NOT LIKE 'replays\\_%' ORDER BY ordinal_position")
	if err != nil {
		t.Fatal(err)
	}
	tables := make(map[string][]column)
	for rows.Next() {
		var col column
		if err := rows.Scan(&col.table, &col.name, &col.kind); err != nil {
			t.Fatal(err)
		}
		if internal[col.table] != col.name {
			tables[col.table] = append(tables[col.table], col)
		}
	}
	if err := rows.Err(); err != nil || len(tables) == 0 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	return tables
}

// decided holds that of each table and each column it is decided whether they are about users: then they are shown to the user, or
// withheld, and deleted with the user.
func decided(t *testing.T, tables map[string][]column) {
	names := func(table string) (names []string) {
		for _, c := range tables[table] {
			names = append(names, c.name)
		}
		return names
	}
	for _, p := range parts {
		columns := strings.Split(p.columns, ", ")
		for _, c := range names(p.table) {
			if !slices.Contains(columns, c) {
				t.Errorf("the column %s.%s is neither shown nor withheld: add it to the columns of the table", p.table, c)
			}
		}
		for _, c := range append(columns, strings.Split(p.withheld, ", ")...) {
			if c != "" && !slices.Contains(names(p.table), c) {
				t.Errorf("the table %s has no column %s", p.table, c)
			}
		}
		if impersonal[p.table] != "" {
			t.Errorf("the table %s is in parts and in impersonal", p.table)
		}
	}
	for table := range tables {
		personal := slices.ContainsFunc(parts, func(p part) bool { return p.table == table })
		if !personal && impersonal[table] == "" {
			t.Errorf("nothing says whether the table %s has rows about users: add it to parts or to impersonal", table)
		}
		if !personal && table != "removals" && (slices.Contains(names(table), "user_id") || slices.Contains(names(table), "subject")) {
			t.Errorf("the table %s names users, and is in impersonal", table)
		}
	}
	for table := range impersonal {
		if tables[table] == nil {
			t.Errorf("there is no table %s", table)
		}
	}
}

// fill adds a row to each table of parts, whose texts contain a mark and the names of table and column.
func fill(t *testing.T, c *pgx.Conn, tables map[string][]column, user, mark string) {
	t.Helper()
	for _, p := range parts {
		var columns []string
		var values []any
		for i, col := range tables[p.table] {
			name := col.name
			value := any(fmt.Sprintf("%s.%s of %s", p.table, name, mark))
			switch {
			case name == "domain":
				value = "example.com"
			case name == "user_id", p.table == "users" && name == "id":
				value = user
			case name == "owner", p.table == "revocations" && name == "key":
				value = "example.com/" + user
			case name == "kind" && p.table == "revocations":
				value = "user"
			case name == "device_id", p.table == "devices" && name == "id":
				value = "the device of " + mark
			case name == "subject", name == "issuer":
				value = "the <" + name + "> & of " + mark
			case name == "scopes", name == "audience", name == "amr":
				value = `["` + value.(string) + `"]`
			case name == "node":
				value = "node"
			case name == "record": // says nothing of a person but the id
				value = `{"kind":"test"}`
			case name == "private":
				value = []byte(`["` + value.(string) + `"]`)
			case name == "claims":
				value = []byte(`{"claim":"` + value.(string) + `"}`)
			case name == "person":
				text, err := json.Marshal([]string{"the <issuer> & of " + mark, "the <subject> & of " + mark, value.(string)})
				if err != nil {
					t.Fatal(err)
				}
				value = text
			case col.kind == "boolean":
				value = true
			case col.kind == "bigint" && (strings.HasSuffix(name, "_at") || name == "at" || name == "auth_time"):
				value = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC).UnixMilli()
			case p.table == "withdrawals" && name == "id":
				continue // given by the database
			case col.kind == "bigint":
				value = len(mark) + i
			case col.kind == "bytea":
				value = []byte(fmt.Sprintf("%-32s", value))[:32]
			}
			columns, values = append(columns, name), append(values, value)
		}
		insert := "INSERT INTO " + p.table + " (" + strings.Join(columns, ", ") + ") VALUES (" + parameters(len(values)) + ")"
		if _, err := c.Exec(t.Context(), insert, values...); err != nil {
			t.Fatalf("%s: %v", insert, err)
		}
	}
}

// TestPersonalRecords holds that each table and column is decided about; that a user is shown each column of each table about them but
// the withheld ones, and nothing about others; and that after the removal nothing of the user is left but what expires with their tokens.
func TestPersonalRecords(t *testing.T) {
	s, c := migrated(t)
	tables := schema(t, c)
	decided(t, tables)
	fill(t, c, tables, "id-of-alice", "ALICE")
	fill(t, c, tables, "id-of-bob", "BOB")
	list, err := s.PersonalRecords(t.Context(), "example.com", "id-of-alice")
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		if list[i].Name != p.table || len(list[i].Rows) != 1 {
			t.Errorf("%s: %q, want one row", p.table, list[i])
			continue
		}
		row := list[i].Rows[0]
		var object map[string]any
		if err := json.Unmarshal([]byte(row), &object); err != nil {
			t.Errorf("%s: %s: %v", p.table, row, err)
		}
		for _, c := range strings.Split(p.columns, ", ") {
			_, shown := object[c]
			withheld := slices.Contains(strings.Split(p.withheld, ", "), c)
			if shown == withheld {
				t.Errorf("%s: %s, withheld: %v, row %s", p.table, c, withheld, row)
			}
			if withheld && strings.Contains(row, p.table+"."+c+" of") {
				t.Errorf("%s: %s is shown in %s", p.table, c, row)
			}
		}
		if strings.Contains(row, "BOB") || strings.Contains(row, "id-of-bob") {
			t.Errorf("%s: the row is about another user: %s", p.table, row)
		}
		if strings.Contains(p.columns, "created_at") && object["created_at"] != "2026-03-14T15:09:26.000Z" {
			t.Errorf("%s: no time in %s", p.table, row)
		}
	}

	removal := storage.Removal{Domain: "example.com", User: "id-of-alice", At: time.Now()}
	for first, more := true, true; more; first = false {
		err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) (err error) {
			if first {
				err = tx.BeginRemoval(ctx, removal)
			}
			if err == nil {
				more, err = tx.ContinueRemoval(ctx, removal, 3)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for user, want := range map[string]int{"id-of-alice": 0, "id-of-bob": 1} {
		if list, err = s.PersonalRecords(t.Context(), "example.com", user); err != nil {
			t.Fatal(err)
		}
		for i, p := range parts {
			if left := len(list[i].Rows); left != want && (want == 1 || p.table != "revocations" && p.table != "audit") {
				t.Errorf("%s: %d rows of %s, want %d", p.table, left, user, want)
			}
		}
	}
	// The audit log does not change, but for erasures, which the removal has made, and cuts below a signed head.
	for _, change := range []string{"UPDATE audit SET record = 'x'", "UPDATE audit SET private = 'x'", "DELETE FROM audit", "TRUNCATE audit"} {
		if _, err := c.Exec(t.Context(), change); err == nil {
			t.Errorf("%s = nil, want an error", change)
		}
	}
}
