package sqlite

import (
	"database/sql"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTriggersFindLiveCredentials: the end of a device or a user reads only the credentials that have not ended. A user can end many
// before that.
func TestTriggersFindLiveCredentials(t *testing.T) {
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
	triggers, err := db.QueryContext(t.Context(), "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%UPDATE credentials %'")
	if err != nil {
		t.Fatal(err)
	}
	var updates []string
	for triggers.Next() {
		var text string
		if err := triggers.Scan(&text); err != nil {
			t.Fatal(err)
		}
		update := regexp.MustCompile(`UPDATE credentials [^;]*`).FindString(text)
		updates = append(updates, regexp.MustCompile(`(NEW|OLD)\.\w+`).ReplaceAllString(update, "'x'"))
	}
	if err := triggers.Err(); err != nil || len(updates) != 5 {
		t.Fatalf("updates in triggers = %q, %v, want 5", updates, err)
	}
	for _, n := range []int{endDeviceCredentials, endKeyCredentials, endUserCredentials, endCredentialHandles} {
		updates = append(updates, texts[n])
	}
	for _, update := range updates {
		var id, parent, unused int
		var step string
		row := db.QueryRowContext(t.Context(), "EXPLAIN QUERY PLAN "+update, make([]any, strings.Count(update, "?"))...)
		if err := row.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatalf("%s: %v", update, err)
		}
		index := regexp.MustCompile(`USING (?:COVERING )?INDEX (\w+) \(domain=\? AND `).FindStringSubmatch(step)
		if index == nil {
			t.Errorf("%s: %s", update, step)
			continue
		}
		var live bool
		err := db.QueryRowContext(t.Context(), "SELECT sql LIKE '%WHERE ended_at = 0' FROM sqlite_master WHERE name = ?", index[1]).Scan(&live)
		if err != nil || !live {
			t.Errorf("%s: %s, %v, want an index of the live credentials", update, step, err)
		}
	}
}
