package sqlite_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/storage/sqlite"
)

// copyDatabase copies the files of a database that a process has died over, or may yet be working on.
func copyDatabase(t *testing.T, to, from string) {
	t.Helper()
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(from + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// flip changes one byte anywhere in a file.
func flip(t *testing.T, path string) (at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at = rand.IntN(len(data))
	data[at] ^= byte(1 + rand.IntN(255))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return at
}

// TestDamagedLog changes any byte of a log: the database is refused, or lacks only the last update, which cannot be told from an
// update that a crash interrupted.
func TestDamagedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	s := open(t, path)
	const updates, rounds = 20, 100
	for n := range updates {
		put(t, s, fmt.Sprint(n), strings.Repeat("x", 6000)) // more than a page each
	}
	refused, without := 0, 0
	for range rounds {
		harmed := filepath.Join(t.TempDir(), "issuer.db")
		copyDatabase(t, harmed, path)
		at := flip(t, harmed+"-wal")
		s, err := sqlite.Open(t.Context(), harmed, sqlite.Options{})
		if err != nil {
			if !strings.Contains(err.Error(), harmed+"-wal away to go on without what was written last") {
				t.Errorf("byte %d: Open = %v, want what to do", at, err)
			}
			refused++
			continue
		}
		for n := range updates {
			if _, err := s.Secret(t.Context(), fmt.Sprint(n)); err != nil && n < updates-1 {
				t.Errorf("byte %d: update %d is gone: %v", at, n, err)
			} else if err != nil {
				without++
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if refused < rounds/2 {
		t.Errorf("%d of %d were refused, want most", refused, rounds)
	}
	t.Logf("%d bytes changed: %d refused, %d without the last update, %d not affected",
		rounds, refused, without, rounds-refused-without)
}

// TestCutLog cuts a log anywhere, as the death of a machine does: what is left is opened, and each update is there in
// whole or not at all.
func TestCutLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	s := open(t, path)
	const updates, rounds = 20, 50
	for n := range updates {
		put(t, s, fmt.Sprint(n), strings.Repeat("x", 6000))
	}
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for range rounds {
		cut := filepath.Join(t.TempDir(), "issuer.db")
		copyDatabase(t, cut, path)
		if err := os.Truncate(cut+"-wal", rand.Int64N(info.Size())); err != nil {
			t.Fatal(err)
		}
		if empty, err := os.Stat(cut); err != nil || empty.Size() == 0 {
			t.Fatalf("the file beside the log: %v, %v", empty, err)
		}
		s, err := sqlite.Open(t.Context(), cut, sqlite.Options{})
		if err != nil {
			t.Errorf("Open = %v, want nil", err)
			continue
		}
		there := true
		for n := range updates {
			_, err := s.Secret(t.Context(), fmt.Sprint(n))
			if err == nil && !there {
				t.Errorf("update %d is there, one before it is not", n)
			}
			there = err == nil
			if there {
				kept++
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("a log of %d updates cut %d times: opened each time, with %d updates in all, each in whole and none without those before it",
		updates, rounds, kept)
}

// TestDamageWhileOpen: after a read met a damaged page, Ping says so.
func TestDamageWhileOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	s := open(t, path)
	for n := range 200 {
		put(t, s, fmt.Sprint(n), strings.Repeat("x", 3000))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path) // with nothing in its caches
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v, want nil", err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("\xa5", len(data)/2)), int64(len(data)/2)); err != nil {
		t.Fatal(err)
	}
	failures := 0
	for n := range 200 {
		if _, err := s.Secret(t.Context(), fmt.Sprint(n)); err != nil {
			failures++
		}
	}
	if failures == 0 {
		t.Error("no read failed")
	}
	if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "restore the database from a backup") {
		t.Errorf("Ping = %v, want what to do", err)
	}
	t.Logf("half of the file overwritten while it was open: %d of 200 reads failed, and the store said what to do", failures)
}

// TestFilesGone: while the files are not in their place nothing is acknowledged, and the store continues when they are back.
func TestFilesGone(t *testing.T) {
	dir := t.TempDir()
	for _, gone := range []string{"", "issuer.db", "issuer.db-wal"} {
		t.Run("gone "+gone, func(t *testing.T) {
			folder := filepath.Join(dir, "data"+gone)
			if err := os.Mkdir(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			s := open(t, filepath.Join(folder, "issuer.db"))
			put(t, s, "before", "a")
			from, to := filepath.Join(folder, gone), filepath.Join(dir, "aside"+gone)
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
			err := s.Update(t.Context(), putter("meanwhile"))
			if err == nil || !strings.Contains(err.Error(), "was removed or replaced while it is open: bring it back") {
				t.Errorf("Update = %v, want what to do", err)
			}
			if err := s.Ping(t.Context()); err == nil {
				t.Error("Ping = nil")
			}
			if gone != "" { // nor when something else is there
				if err := os.WriteFile(from, []byte("else"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := s.Update(t.Context(), putter("meanwhile")); err == nil {
					t.Error("Update = nil")
				}
			}
			if err := os.Rename(to, from); err != nil {
				t.Fatal(err)
			}
			put(t, s, "after", "a")
			if _, err := s.Secret(t.Context(), "meanwhile"); err == nil {
				t.Error("an update that failed is there")
			}
			t.Log("away and back: nothing acknowledged meanwhile, 1 update acknowledged afterwards")
		})
	}
}
