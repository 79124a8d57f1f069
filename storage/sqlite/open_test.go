package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

// put stores a secret in s.
func put(t *testing.T, s storage.Store, name, value string) {
	t.Helper()
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return tx.PutSecret(ctx, name, []byte(value))
	})
	if err != nil {
		t.Fatalf("Update = %v, want nil", err)
	}
}

// putter returns an update that stores a secret.
func putter(name string) func(context.Context, storage.Tx) error {
	return func(ctx context.Context, tx storage.Tx) error { return tx.PutSecret(ctx, name, []byte("a")) }
}

// raw runs SQL on the file at path past the store.
func raw(t *testing.T, path, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	for i := range 3 {
		s := open(t, path)
		for j := range i {
			if got, err := s.Secret(t.Context(), fmt.Sprint(j)); err != nil || string(got) != "kept" {
				t.Errorf("Secret %d = %q, %v, want it kept", j, got, err)
			}
		}
		put(t, s, fmt.Sprint(i), "kept")
		if err := s.Close(); err != nil {
			t.Fatalf("Close = %v, want nil", err)
		}
		if _, err := os.Stat(path + "-wal"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("log after Close: %v, want none", err)
		}
	}
}

func TestFilesAreForTheOwnerAlone(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := filepath.Join(t.TempDir(), "issuer.db")
	put(t, open(t, path), "a", "a")
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(path + suffix)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("issuer.db%s: %v, %v, want mode 0600", suffix, info, err)
		}
	}
}

func TestOddPaths(t *testing.T) {
	for _, name := range []string{"a b.db", "50%25?mode=memory#x&_pragma=y.db", "ünï;'\".db"} {
		path := filepath.Join(t.TempDir(), name)
		s := open(t, path)
		put(t, s, "a", "a")
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v, want a database", name, info, err)
		}
	}
	dir := t.TempDir()
	t.Chdir(dir)
	open(t, "relative.db")
	if _, err := os.Stat(filepath.Join(dir, "relative.db")); err != nil {
		t.Errorf("relative.db: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	garbage := func(t *testing.T, path string) {
		if err := os.WriteFile(path, bytes.Repeat([]byte("not a database. "), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := func(t *testing.T, path string) {
		s := open(t, path)
		for i := range 100 {
			put(t, s, fmt.Sprint(i), strings.Repeat("x", 1000))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		setUp func(t *testing.T, path string)
		want  string
	}{
		{"garbage", garbage, "is damaged or not a database: restore it from a backup"},
		{"cut short", func(t *testing.T, path string) {
			made(t, path)
			if err := os.Truncate(path, 40_000); err != nil {
				t.Fatal(err)
			}
		}, "is damaged or not a database: restore it from a backup"},
		{"overwritten", func(t *testing.T, path string) {
			made(t, path)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(data[200:], bytes.Repeat([]byte{0xa5}, 50_000))
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is damaged or not a database: restore it from a backup"},
		{"another program's", func(t *testing.T, path string) { raw(t, path, "CREATE TABLE songs (title TEXT)") },
			"belongs to another program"},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is not a file"},
		{"no folder", func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, "does not exist: make it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "folder", "issuer.db")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			test.setUp(t, path)
			for range 2 { // the first refusal leaves no lock behind
				_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
				if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), filepath.Dir(path)) {
					t.Errorf("Open = %v, want %q and the path", err, test.want)
				}
			}
		})
	}
}

func TestOpenRefusesNewerSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	raw(t, path, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
	_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if !errors.Is(err, storage.ErrSchemaNewer) || !strings.Contains(err.Error(), "999") || !strings.Contains(err.Error(), path) {
		t.Errorf("Open = %v, want %v, the version and the path", err, storage.ErrSchemaNewer)
	}
}

func TestOpenKeepsToItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlite.Open(ended, path, sqlite.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v, want %v", err, context.Canceled)
	}
	open(t, path)
}

// hold opens the database and keeps it until its input ends.
func hold(path string) error {
	s, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	if _, err := os.Stdin.Read(make([]byte, 1)); err == nil {
		return errors.New("unexpected input")
	}
	return s.Close()
}

func TestSecondProcessIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	for _, end := range []func(p process) error{
		func(p process) error { return p.stdin.Close() },
		func(p process) error { return p.Process.Kill() },
	} {
		p := start(t, "hold", path)
		p.line(t)
		_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		if err == nil || !strings.Contains(err.Error(), path+" is in use by another process") {
			t.Errorf("Open = %v, want in use", err)
		}
		if err := end(p); err != nil {
			t.Fatal(err)
		}
		_ = p.Wait()
		if err := open(t, path).Close(); err != nil {
			t.Errorf("Close = %v, want nil", err)
		}
	}
}

// openWithoutRights opens the database as a user whom permissions bind, and prints the error.
func openWithoutRights(path string) error {
	if os.Geteuid() == 0 {
		if err := errors.Join(syscall.Setgid(65534), syscall.Setuid(65534)); err != nil {
			return err
		}
	}
	_, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	_, err = fmt.Println(err)
	return err
}

func TestOpenInReadOnlyFolder(t *testing.T) {
	// Not TempDir: the folders above it are for their owner alone, who is root perhaps.
	dir, err := os.MkdirTemp("", "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	p := start(t, "unwanted", filepath.Join(dir, "issuer.db"))
	got := p.line(t)
	if want := "folder " + dir + " must let the issuer write"; !strings.Contains(got, want) {
		t.Errorf("Open = %s, want %q", got, want)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}
