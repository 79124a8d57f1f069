package postgres_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestDiagram holds the data model in docs/storage.md to the schema: each table is named there, and each column of the diagram exists with
// its type.
func TestDiagram(t *testing.T) {
	text, err := os.ReadFile("../../docs/storage.md")
	if err != nil {
		t.Fatal(err)
	}
	_, model, found := strings.Cut(string(text), "## The data model\n")
	if !found {
		t.Fatal("docs/storage.md has no data model")
	}
	model, _, _ = strings.Cut(model, "\n## ")
	columns := make(map[string]string) // their types, by "table.column"
	tables := make(map[string]bool)
	db, err := pgx.Connect(t.Context(), database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	rows, err := db.Query(t.Context(), "SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns "+
		"WHERE table_schema = 'public' AND table_name <> 'goose_db_version' AND table_name NOT LIKE 'replays\\__%'") // not its partitions
	if err != nil {
		t.Fatal(err)
	}
	var table, column, kind string
	_, err = pgx.ForEachRow(rows, []any{&table, &column, &kind}, func() error {
		tables[table], columns[table+"."+column] = true, kind
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) < 30 {
		t.Fatalf("the schema has %d tables", len(tables))
	}
	for name := range tables {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(model) {
			t.Errorf("the data model does not name the table %s", name)
		}
	}
	described := 0
	entity := regexp.MustCompile(`(?m)^    (\w+) \{\n((?:        .*\n)+)    \}`)
	for _, e := range entity.FindAllStringSubmatch(model, -1) {
		for line := range strings.Lines(e[2]) {
			words := strings.Fields(line)
			if got := columns[e[1]+"."+words[1]]; got != words[0] {
				t.Errorf("the column %s of %s is %q in the diagram and %q in the schema", words[1], e[1], words[0], got)
			}
			described++
		}
	}
	if described < 50 {
		t.Errorf("the diagram has %d columns", described)
	}
}
