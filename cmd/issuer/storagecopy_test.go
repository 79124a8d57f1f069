package main

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// killedCopy starts a copy and kills it once it has said a line that begins with after.
func killedCopy(t *testing.T, after string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "issuer", append([]string{"storage", "copy"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := []string{}
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said = append(said, lines.Text())
		if strings.HasPrefix(lines.Text(), after) {
			_ = cmd.Process.Kill()
			break
		}
	}
	_ = cmd.Wait() // it tells of the signal
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Errorf("the copy ended with %v before it was killed after %q: %q", cmd.ProcessState, after, said)
	}
}

// bulk adds rows to the database of an issuer that has stopped, so that a copy takes a while.
func bulk(t *testing.T, database string) {
	t.Helper()
	db, err := sql.Open("sqlite", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 120000) "+
		"INSERT INTO spent_ids (kind, key, expires_at) SELECT 'bulk', CAST(n AS BLOB), 4000000000000 FROM counted"); err != nil {
		t.Fatal(err)
	}
}

// An eventsPage is the answer of the feed.
type eventsPage struct {
	Events []struct{ Kind string }
	Cursor string
}

// events reads the feed after a cursor, and waits for an event; without a cursor it begins.
func (v *victim) events(t *testing.T, cursor string) (page eventsPage) {
	t.Helper()
	query := url.Values{}
	if cursor != "" {
		query.Set("after", cursor)
		query.Set("wait", "60") // it answers as soon as there is an event
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.issuer+"/events?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("watcher", "test")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the feed after %q = %d, %v", cursor, resp.StatusCode, err)
	}
	return page
}

// TestStorageCopy moves an issuer from SQLite to PostgreSQL and back, by a copy that is killed several times. Meanwhile the issuer starts on
// neither database. Afterwards sessions go on, what was revoked stays so, the audit log is whole, and the feed goes on from its cursor.
func TestStorageCopy(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	v := newVictim(t, "  - id: watcher", "    auth: secret", "    secret_sha256: "+secretHash, "    scopes: [feed]", "    domains: [example.com]",
		"replay: storage")
	onSQLite := v.settings(t)
	onPostgres := onSQLite + "storage: postgres\nstorage_url_file: url\n"
	use := func(settings string) { v.write(t, filepath.Join("..", "issuer.yaml"), settings) }
	file := filepath.Join(v.folder, "url")
	v.write(t, filepath.Join("..", "url"), strings.Replace(server.URL("postgres"), "issuer@", "issuer:pass-word@", 1)+"\n")
	there := []string{"--from", "sqlite:" + v.database, "--to", "postgres:" + file}

	v.start(t)
	s, revoked, later := v.session(t, person(0)), v.session(t, person(1)), v.session(t, person(2))
	revoke := func(l *login) {
		t.Helper()
		if err := l.Client.Revoke(t.Context(), l.RefreshToken); err != nil {
			t.Fatal(err)
		}
	}
	revoke(revoked)
	cursor := v.events(t, "").Cursor
	revoke(later)
	s.refresh(t)
	v.run(t, 2, "in use by another process: stop the issuer first", append([]string{"storage", "copy"}, there...)...)
	v.stop(t)
	bulk(t, v.database)
	v.run(t, 2, "schema of the database is older than this release: run `issuer migrate up`", append([]string{"storage", "copy"}, there...)...)
	use(onPostgres)
	v.run(t, 0, "^Took step 1 ", "migrate", "up", "--config", v.config())

	for _, after := range []string{"copied audit:", "copied grants:", "copied signing_keys:", "copied spent_ids:"} {
		killedCopy(t, after, there...)
		use(onSQLite)
		v.refused(t, 2, "copied, to another database: start the issuer with that one")
		use(onPostgres)
		v.refused(t, 2, "incomplete copy of another database: run the same")
	}
	if out := v.run(t, 0, "^Copied [0-9]+ rows from sqlite:", append([]string{"storage", "copy"}, there...)...); strings.Contains(out, "pass-word") {
		t.Errorf("the output has the password: %s", out)
	}
	v.run(t, 0, "is a complete copy of sqlite:.* already", append([]string{"storage", "copy"}, there...)...)
	v.run(t, 0, `"rows": 120`, append([]string{"storage", "verify", "--json"}, there...)...)
	use(onSQLite)
	v.refused(t, 2, "issuer storage reopen sqlite:")

	works := func(ended ...*login) {
		t.Helper()
		v.start(t)
		if !v.active(t, s.AccessToken) {
			t.Error("a token from before the copy is inactive")
		}
		_, err := s.repeat().Refresh(t.Context(), s.RefreshToken)
		wantCode(t, "a proof that was spent before the copy", err, "use_dpop_nonce")
		s.refresh(t)
		for _, l := range ended {
			if v.active(t, l.AccessToken) {
				t.Error("a token that was revoked before the copy is active")
			}
			wantCode(t, "a refresh token that was revoked before the copy", l.tryRefresh(t), "invalid_grant")
		}
		v.run(t, 0, "main: records 1 to ", "audit", "verify", "--config", v.config())
	}
	use(onPostgres)
	works(revoked, later)
	page := v.events(t, cursor)
	if len(page.Events) == 0 {
		t.Errorf("the feed after the copy = %+v, want what was revoked after the cursor", page)
	}
	another := v.session(t, person(1))
	revoke(another)
	next := v.events(t, page.Cursor)
	if len(next.Events) == 0 {
		t.Errorf("the feed = %+v, want what was revoked after the copy", next)
	}
	v.run(t, 2, "connections of nodes, or of another copy, are open: stop all nodes first", "storage", "copy", "--from", "postgres:"+file,
		"--to", "sqlite:"+filepath.Join(v.data, "back.db"))
	v.stop(t)

	back := filepath.Join(v.data, "back.db")
	v.run(t, 2, "move it away, or name another file", "storage", "copy", "--from", "postgres:"+file, "--to", "sqlite:"+v.database)
	killedCopy(t, "copied spent_ids:", "--from", "postgres:"+file, "--to", "sqlite:"+back)
	v.run(t, 0, "^Copied [0-9]+ rows from postgres:", "storage", "copy", "--from", "postgres:"+file, "--to", "sqlite:"+back)
	v.refused(t, 2, "issuer storage reopen")
	use(onSQLite + "storage: sqlite:" + back + "\n")
	v.database = back
	works(revoked, later, another)
	if last := v.events(t, page.Cursor); len(last.Events) != len(next.Events) {
		t.Errorf("the feed after the way back = %+v, want %+v", last, next)
	}
	v.stop(t)
	v.run(t, 0, "can start on postgres:", "storage", "reopen", "postgres:"+file)
	v.run(t, 2, "not marked as copied", "storage", "reopen", "sqlite:"+back)
	use(onPostgres)
	v.start(t)
	v.becomes(t, "/readyz", http.StatusOK)
	v.stop(t)
	if log, err := os.ReadFile(filepath.Join(v.folder, "log")); err != nil || strings.Contains(string(log), "pass-word") {
		t.Errorf("the log has the password, %v", err)
	}
}
