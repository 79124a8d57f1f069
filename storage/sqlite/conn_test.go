package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/imidentity/issuer/storage"
)

// TestConnectionsThatCannotBeOpened: a file that does not exist, one that is no database, and a setting that does not parse are
// errors.
func TestConnectionsThatCannotBeOpened(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage")
	if err := os.WriteFile(garbage, []byte("this file is not a database, and has more than a hundred bytes, so that SQLite reads "+
		"its head and finds that it is none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path    string
		pragmas []string
	}{
		"no file":     {filepath.Join(dir, "none"), readerPragmas},
		"no database": {garbage, writerPragmas(Options{})},
		"no setting":  {garbage, []string{"cache_size(("}},
	} {
		if c, err := openConn(test.path, test.pragmas); err == nil {
			t.Errorf("%s: openConn = nil, want an error", name)
			_ = c.close()
		}
	}
}

// TestReadersStayWithTheirFile: a connection that is first needed while another file is in place of the database is not opened, which is
// an outage and no answer of that file. It is opened when the database is back.
func TestReadersStayWithTheirFile(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "issuer.db"), filepath.Join(dir, "other.db")
	for _, path := range []string{path, other} {
		s, err := Open(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.Context(), path, Options{Readers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.PutSecret(ctx, "a", []byte("a")) }); err != nil {
		t.Fatal(err)
	}
	aside := filepath.Join(dir, "aside.db")
	if err := errors.Join(os.Rename(path, aside), os.Rename(other, path)); err != nil {
		t.Fatal(err)
	}
	outages := 0
	for range 10 { // on one connection after the other
		switch value, err := s.Secret(t.Context(), "a"); {
		case errors.Is(err, storage.ErrNotFound):
			t.Error("Secret is answered from the other file")
		case err != nil:
			outages++
		case string(value) != "a":
			t.Errorf("Secret = %q", value)
		}
	}
	if outages == 0 {
		t.Error("no connection was refused")
	}
	if err := errors.Join(os.Rename(path, other), os.Rename(aside, path)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := s.Secret(t.Context(), "a"); err != nil {
			t.Errorf("Secret = %v after the database was brought back, want nil", err)
		}
	}
}

// TestStatementsArePreparedOnce: the plan of a statement does not depend on the values of its parameters, so it is not prepared again for
// another one, as SQLite does by itself for a limit.
func TestStatementsArePreparedOnce(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "issuer.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		for limit := range 20 {
			if _, err := tx.DeviceCredentials(ctx, "example.com", "device", time.Unix(int64(limit), 0), limit); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c := s.writer.conn
	for n, text := range texts {
		handle := c.stmts[n].handle
		if handle == 0 {
			continue
		}
		runs := sqlite3.Xsqlite3_stmt_status(c.tls, handle, sqlite3.SQLITE_STMTSTATUS_RUN, 0)
		if again := sqlite3.Xsqlite3_stmt_status(c.tls, handle, sqlite3.SQLITE_STMTSTATUS_REPREPARE, 0); again > 0 {
			t.Errorf("%q was prepared again %d times in %d runs", text, again, runs)
		}
	}
}
