package sqlite_test

import (
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/storage/storagetest"
)

// open opens the database at path, which the test closes if it does not do so itself.
func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatalf("Open = %v, want nil", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store { return open(t, sqlitetest.Temporary(t)) })
}

func TestStoreWithRelaxedDurability(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Store {
		s, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t),
			sqlite.Options{Readers: 1, RelaxedDurability: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
