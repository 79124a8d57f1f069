package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// schema returns the columns of each table of a new database.
func schema(t *testing.T, db *sql.DB) map[string][]string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT s.name, c.name FROM sqlite_schema s, pragma_table_info(s.name) c "+
		"WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite_%' AND s.name <> 'goose_db_version'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	tables := make(map[string][]string)
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		tables[table] = append(tables[table], column)
	}
	if err := rows.Err(); err != nil || len(tables) == 0 {
		t.Fatalf("%d tables, %v", len(tables), err)
	}
	return tables
}

// TestSchemaIsDecided holds that of each table and each column it is decided whether they are about users: then they are shown to the
// user, or withheld, and deleted with the user.
func TestSchemaIsDecided(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	s, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tables := schema(t, db)
	for _, p := range parts {
		columns := strings.Split(p.columns, ", ")
		for _, c := range tables[p.table] {
			if !slices.Contains(columns, c) {
				t.Errorf("the column %s.%s is neither shown nor withheld: add it to the columns of the table", p.table, c)
			}
		}
		for _, c := range append(columns, strings.Split(p.withheld, ", ")...) {
			if c != "" && !slices.Contains(tables[p.table], c) {
				t.Errorf("the table %s has no column %s", p.table, c)
			}
		}
		if impersonal[p.table] != "" {
			t.Errorf("the table %s is in parts and in impersonal", p.table)
		}
	}
	for table, columns := range tables {
		personal := slices.ContainsFunc(parts, func(p part) bool { return p.table == table })
		if !personal && impersonal[table] == "" {
			t.Errorf("nothing says whether the table %s has rows about users: add it to parts or to impersonal", table)
		}
		if !personal && table != "removals" && (slices.Contains(columns, "user_id") || slices.Contains(columns, "subject")) {
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
func fill(t *testing.T, db *sql.DB, user, mark string) {
	t.Helper()
	tables := schema(t, db)
	for _, p := range parts {
		var types []string
		rows, err := db.QueryContext(t.Context(), "SELECT type FROM pragma_table_info(?)", p.table)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				t.Fatal(err)
			}
			types = append(types, text)
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		var values []any
		for i, c := range tables[p.table] {
			value := any(fmt.Sprintf("%s.%s of %s", p.table, c, mark))
			switch {
			case c == "domain":
				value = "example.com"
			case c == "user_id", p.table == "users" && c == "id", c == "owner", p.table == "revocations" && c == "key":
				if value = user; c == "owner" || c == "key" {
					value = "example.com/" + user
				}
			case c == "kind" && p.table == "revocations":
				value = "user"
			case c == "device_id", p.table == "devices" && c == "id":
				value = "the device of " + mark
			case c == "subject", c == "issuer":
				value = "the <" + c + "> & of " + mark
			case c == "scopes", c == "audience", c == "amr":
				value = `["` + value.(string) + `"]`
			case c == "node":
				value = "node"
			case p.table == "audit" && c == "hash":
				value = []byte(strings.Repeat("h", 32))
			case c == "record": // says nothing of a person but the id
				value = `{"kind":"test"}`
			case c == "private":
				value = []byte(`["` + value.(string) + `"]`)
			case c == "claims":
				value = []byte(`{"claim":"` + value.(string) + `"}`)
			case c == "person":
				text, err := json.Marshal([]string{"the <issuer> & of " + mark, "the <subject> & of " + mark, value.(string)})
				if err != nil {
					t.Fatal(err)
				}
				value = text
			case types[i] == "INTEGER" && (strings.HasSuffix(c, "_at") || c == "at" || c == "auth_time"):
				value = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC).UnixMilli()
			case types[i] == "INTEGER":
				value = len(mark) + i
				if p.table != "audit" && p.table != "signed_documents" && slices.Contains([]string{"seq", "id"}, c) {
					value = nil
				}
			case types[i] == "BLOB":
				value = []byte(fmt.Sprintf("%-32s", value))[:32]
			}
			values = append(values, value)
		}
		insert := "INSERT INTO " + p.table + " (" + strings.Join(tables[p.table], ", ") + ") VALUES (?" + strings.Repeat(", ?", len(values)-1) + ")"
		if _, err := db.ExecContext(t.Context(), insert, values...); err != nil {
			t.Fatalf("%s: %v", insert, err)
		}
	}
}

// TestPersonalRecords holds that a user is shown each column of each table about them but the withheld ones, and nothing about others; and
// that after the removal nothing of the user is left anywhere in the files but what expires with their tokens.
func TestPersonalRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	s, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fill(t, db, "id-of-alice", "ALICE")
	fill(t, db, "id-of-bob", "BOB")
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
		for _, c := range strings.Split(p.columns, ", ") {
			withheld := slices.Contains(strings.Split(p.withheld, ", "), c)
			if strings.Contains(row, `"`+c+`":`) == withheld {
				t.Errorf("%s: %s, withheld: %v, row %s", p.table, c, withheld, row)
			}
			if withheld && strings.Contains(row, p.table+"."+c+" of") {
				t.Errorf("%s: %s is shown in %s", p.table, c, row)
			}
		}
		if strings.Contains(row, "BOB") || strings.Contains(row, "id-of-bob") {
			t.Errorf("%s: the row is about another user: %s", p.table, row)
		}
		if strings.Contains(p.columns, "created_at") && !strings.Contains(row, `"created_at":"2026-03-14T15:09:26.000Z"`) {
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
	if list, err = s.PersonalRecords(t.Context(), "example.com", "id-of-alice"); err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		if left := len(list[i].Rows); left != 0 && p.table != "revocations" && p.table != "audit" {
			t.Errorf("%s: %d rows are left", p.table, left)
		}
	}
	if _, err := db.ExecContext(t.Context(), "PRAGMA secure_delete = on; DELETE FROM revocations WHERE key = 'example.com/id-of-alice'"); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(text, []byte("ALICE")); i >= 0 {
			t.Errorf("the name is in the file %s: %q", filepath.Base(path+suffix), text[max(i-60, 0):i+5])
		}
		if suffix == "" && !bytes.Contains(text, []byte("BOB")) {
			t.Error("the row of another user is not in the file")
		}
	}
	if list, err = s.PersonalRecords(t.Context(), "example.com", "id-of-bob"); err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		if len(list[i].Rows) != 1 {
			t.Errorf("%s: %d rows of another user, want one", p.table, len(list[i].Rows))
		}
	}
}

// TestDataPage holds that docs/data.md has a row for each table.
func TestDataPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/data.md")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "issuer.db")
	s, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tables := schema(t, db)
	for table := range tables {
		if !bytes.Contains(page, []byte("\n| `"+table+"` |")) {
			t.Errorf("docs/data.md has no row for the table %s", table)
		}
	}
	for line := range strings.Lines(string(page)) {
		if name, ok := strings.CutPrefix(line, "| `"); ok {
			if name, _, _ = strings.Cut(name, "`"); tables[name] == nil {
				t.Errorf("docs/data.md has a row for %s, which is no table", name)
			}
		}
	}
}
