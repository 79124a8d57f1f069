package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

// appended appends records to the chain of a node, whose hashes say to which branch they belong.
func appended(t *testing.T, s storage.Store, node, branch string, n int) {
	t.Helper()
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		head, err := tx.AuditHead(ctx, node)
		for i := range int64(n) {
			r := storage.AuditRecord{Node: node, Seq: head.Seq + i + 1, Record: branch, Private: []byte("private"), At: backupTime, Domain: "example.com", User: "user"}
			copy(r.Hash[:], branch)
			if err == nil {
				err = tx.AppendAudit(ctx, r)
			}
			if err == nil {
				err = tx.InsertSignedHead(ctx, storage.SignedHead{Node: node, Seq: r.Seq, At: backupTime, Token: branch})
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// chainOf describes the chain of a node: the branch of each record, and whether its private part is there; the heads after a dash.
func chainOf(t *testing.T, s storage.Store, node string) string {
	t.Helper()
	records, err := s.AuditRecords(t.Context(), node, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	heads, err := s.SignedHeads(t.Context(), node, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%d%s", r.Seq, r.Record)
		if r.Private == nil {
			b.WriteString("!")
		}
	}
	b.WriteString("-")
	for _, h := range heads {
		fmt.Fprintf(&b, "%d%s", h.Seq, h.Token)
	}
	return b.String()
}

// A restored database has the whole chain of the previous one, if that continues the chain of the backup, and what was erased since
// stays erased. A chain that went another way stays as the backup has it.
func TestRestoreAudit(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "issuer.db"), filepath.Join(dir, "backup.db")
	s := open(t, path)
	appended(t, s, "one", "a", 2)
	appended(t, s, "forked", "a", 2)
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	appended(t, s, "one", "b", 2)
	appended(t, s, "since", "a", 2)
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EraseAudit(ctx, "example.com", "user", 100)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	appended(t, s, "one", "c", 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	alter(t, path, "DROP TRIGGER audit_is_not_changed", "UPDATE audit SET hash = zeroblob(32), record = 'x' WHERE node = 'forked'")
	if _, err := sqlite.Restore(t.Context(), path, backup, sqlite.RestoreOptions{}); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	for node, want := range map[string]string{
		"one": "1a!2a!3b!4b!5c-1a2a3b4b5c", "since": "1a!2a!-1a2a", "forked": "1a!2a!-1a2a", "none": "-",
	} {
		if got := chainOf(t, s, node); got != want {
			t.Errorf("chain of %s = %s, want %s", node, got, want)
		}
	}
}

// alter runs statements on the database of a closed store.
func alter(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range statements {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// The database itself refuses statements that would change the log, whatever program runs them.
func TestAuditIsNotChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	s := open(t, path)
	appended(t, s, "one", "a", 2)
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return tx.AppendAudit(ctx, storage.AuditRecord{Node: "one", Seq: 3, Record: "last", At: backupTime})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range []string{
		"UPDATE audit SET record = 'x'", "UPDATE audit SET hash = zeroblob(32)", "UPDATE audit SET seq = seq + 10",
		"UPDATE audit SET node = 'x'", "UPDATE audit SET at = 1", "UPDATE audit SET user_id = 'x'", "UPDATE audit SET private = x'00'",
		"DELETE FROM audit WHERE seq = 3", "DELETE FROM audit",
	} {
		if _, err := db.ExecContext(t.Context(), text); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := chainOf(t, open(t, path), "one"), "1a2a3last!-1a2a"; got != want {
		t.Errorf("chain = %s, want %s", got, want)
	}
}
