package server_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// TestBackup holds what an operator is told of a backup, and that nobody else can ask for one.
func TestBackup(t *testing.T) {
	s := start(t, nil)
	s.login(t, newDevice(t), "alice")
	to := filepath.Join(t.TempDir(), "backup.db")
	ask := func(to string) answer {
		return s.operate(t, http.MethodPost, "/admin/backup", url.Values{"to": {to}})
	}
	for _, path := range []string{"", "backup.db", "../backup.db"} {
		wantError(t, ask(path), http.StatusBadRequest, "invalid_request")
	}
	a := ask(to)
	info, err := os.Stat(to)
	if err != nil || a.status != http.StatusOK || a.text("file") != to || a.json["bytes"] != float64(info.Size()) {
		t.Errorf("answer = %v, want the file and its %v octets, %v", a, info, err)
	}
	if changes := sqlitetest.Changes(s.rows(t), sqlitetest.Rows(t, to)); len(changes) > 0 {
		t.Errorf("the backup differs: %q", changes)
	}
	for _, path := range []string{to, filepath.Join(to, "below"), filepath.Join(filepath.Dir(to), "nowhere", "backup.db"), s.database()} {
		wantError(t, ask(path), http.StatusConflict, "backup_refused")
	}
	if a := s.send(t, s.http, s.request(t, http.MethodPost, "/admin/backup?to="+url.QueryEscape(to+"2"), "")); a.status != http.StatusNotFound {
		t.Errorf("answer of the public side = %v, want 404", a)
	}
}

// TestReviewD7TimeOfBackup holds that a restore says when the backup was made.
func TestReviewD7TimeOfBackup(t *testing.T) {
	s := start(t, nil)
	to := filepath.Join(t.TempDir(), "backup.db")
	s.clock.advance(90 * time.Second)
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/backup", url.Values{"to": {to}}), http.StatusOK)
	want := s.clock.now()
	r, err := sqlite.Restore(t.Context(), filepath.Join(t.TempDir(), "issuer.db"), to, sqlite.RestoreOptions{Now: s.clock.now})
	if off := want.Sub(r.Taken); err != nil || off < 0 || off > time.Second {
		t.Errorf("the backup is of %v, %v, want %v", r.Taken, err, want)
	}
}
