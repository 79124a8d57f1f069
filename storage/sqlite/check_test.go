package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

// large makes a database that is too large to be read in full at each start, and returns how many secrets are in it, named by
// their numbers.
func large(t *testing.T, path string) (secrets int) {
	t.Helper()
	s := open(t, path)
	secrets = 2000
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		for n := range secrets {
			if err := tx.PutSecret(ctx, fmt.Sprint(n), bytes.Repeat([]byte("x"), 3000)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() <= 4<<20 {
		t.Fatalf("the database: %v, %v, want more than 4 MiB", info, err)
	}
	return secrets
}

// harm overwrites pages in the second half of a database.
func harm(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, 40960), info.Size()/2/4096*4096); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e.Name()+" "+string(data))
	}
	return list
}

// TestCheckFindsDamage: a large database with a damaged page opens. Reads that need the page fail and never find nothing, Check
// finds it without them, and then the store is not healthy.
func TestCheckFindsDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	secrets := large(t, path)
	harm(t, path)
	before := files(t, filepath.Dir(path))
	if err := sqlite.CheckFile(t.Context(), path); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("CheckFile = %v, want what to do", err)
	}
	if !slices.Equal(files(t, filepath.Dir(path)), before) {
		t.Error("CheckFile changed the files")
	}

	s := open(t, path)
	if s.Damaged() || s.Ping(t.Context()) != nil {
		t.Error("the store is not healthy before the damage was found")
	}
	if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("Check = %v, want what to do", err)
	}
	if err := s.Ping(t.Context()); !s.Damaged() || err == nil {
		t.Errorf("Damaged = %v, Ping = %v after the damage was found, want true and an error", s.Damaged(), err)
	}
	if err := sqlite.CheckFile(t.Context(), path); err == nil {
		t.Error("CheckFile beside the store = nil, want an error")
	}
	failed := 0
	for n := range secrets {
		switch _, err := s.Secret(t.Context(), fmt.Sprint(n)); {
		case errors.Is(err, storage.ErrNotFound):
			t.Errorf("secret %d is not found: an outage is answered as a no", n)
		case err != nil:
			failed++
		}
	}
	if failed == 0 || failed > secrets/2 {
		t.Errorf("%d of %d reads failed, want few", failed, secrets)
	}
	t.Logf("10 pages overwritten: %d of %d reads failed, none found nothing", failed, secrets)
}

// TestOpenFindsDamageCheaply: what the head of a large database tells, and everything that a migration would read, is checked at
// the start.
func TestOpenFindsDamageCheaply(t *testing.T) {
	for name, harmed := range map[string]func(t *testing.T, path string){
		"cut short": func(t *testing.T, path string) {
			if err := os.Truncate(path, 5<<20); err != nil {
				t.Fatal(err)
			}
		},
		"cut within a page": func(t *testing.T, path string) {
			if err := os.Truncate(path, 5<<20+1); err != nil {
				t.Fatal(err)
			}
		},
		"before a migration": func(t *testing.T, path string) {
			raw(t, path, "DELETE FROM goose_db_version WHERE version_id = (SELECT max(version_id) FROM goose_db_version)")
			harm(t, path)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "issuer.db")
			large(t, path)
			harmed(t, path)
			_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
			if err == nil || !strings.Contains(err.Error(), "is damaged or not a database: restore it from a backup") {
				t.Errorf("Open = %v, want it refused as damaged", err)
			}
		})
	}
}

// TestCheckBesideWrites: a whole database passes while others write, and a check does not outlive the store.
func TestCheckBesideWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	if err := sqlite.CheckFile(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("CheckFile without a database = %v, want %v", err, fs.ErrNotExist)
	}
	large(t, path)
	s := open(t, path)
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				stopped <- n
				return
			default:
				if err := s.Update(context.Background(), putter(fmt.Sprint("new ", n%100))); err != nil {
					t.Errorf("Update = %v, want nil", err)
				}
			}
		}
	}()
	for range 5 {
		if err := errors.Join(s.Check(t.Context()), sqlite.CheckFile(t.Context(), path)); err != nil {
			t.Errorf("Check, CheckFile = %v, want nil", err)
		}
	}
	close(stop)
	if n := <-stopped; n == 0 {
		t.Error("nothing was written meanwhile")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Check(ended); !errors.Is(err, context.Canceled) || s.Damaged() {
		t.Errorf("Check with an ended context = %v, want %v", err, context.Canceled)
	}
	checked := make(chan error)
	go func() { checked <- s.Check(context.Background()) }()
	if err := s.Close(); err != nil {
		t.Errorf("Close = %v, want nil", err)
	}
	<-checked
	if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("log after Close: %v, want none", err)
	}
	if err := s.Check(t.Context()); err == nil {
		t.Error("Check after Close = nil, want an error")
	}
}
