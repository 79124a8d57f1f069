package sqlite

import (
	"database/sql"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestTextsArePrepared prepares every SQL text, which the store does only when it first uses one.
func TestTextsArePrepared(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "issuer.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n, text := range texts {
		if s.writer.conn.stmts[n].handle != 0 {
			continue
		}
		if err := s.writer.conn.prepare(n); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// wide are steps of a query plan that read a whole table, or all rows of a domain.
var wide = regexp.MustCompile(`^SCAN (users|links|names|devices|grants|codes|statements|revocations|spent_ids|[a-z])\b|\(domain=\?\)$`)

// TestPlansUseIndexes: no statement reads all rows of a table, or of a domain, to find some of them. SQLite decides that without
// knowing how many rows there are.
func TestPlansUseIndexes(t *testing.T) {
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
	// These read a domain or all on purpose, or a table that has a few rows.
	all := []int{census, selectDevices, selectStatements, selectWithdrawal, selectCovered, selectRevocations, selectProviderUsers, countProviderUsers}
	steps := 0
	for n, text := range texts {
		if slices.Contains(all, n) {
			continue
		}
		rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, make([]any, 20)...)
		if err != nil {
			continue // BEGIN and the like have no plan
		}
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Error(err)
			}
			if steps++; wide.MatchString(step) {
				t.Errorf("%s: %s", text, step)
			}
		}
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}
	if steps < len(texts) {
		t.Errorf("%d steps of %d statements were looked at", steps, len(texts))
	}
}
