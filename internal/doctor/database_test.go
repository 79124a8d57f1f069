package doctor_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/doctor"
)

// The doctor reads the database of a running issuer, finds damage, and reports nothing if there is no database yet.
func TestDatabase(t *testing.T) {
	for name, test := range map[string]struct {
		breaks func(t *testing.T, c *config.Config)
		status doctor.Status
		words  string
	}{
		"whole": {func(*testing.T, *config.Config) {}, doctor.OK, "is well-formed"},
		"damaged": {func(t *testing.T, c *config.Config) {
			path := filepath.Join(c.Data, "other.db")
			if err := os.WriteFile(path, bytes.Repeat([]byte("no database. "), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
			c.Storage = "sqlite:" + path
		}, doctor.Fail, "is damaged or not a database"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.adjust = func(c *config.Config) { test.breaks(t, c) }
			s.examine(t).want(t, "database", test.status, test.words)
		})
	}
	t.Run("none", func(t *testing.T) {
		s := newSite(t)
		s.adjust = func(c *config.Config) { c.Storage = "sqlite:" + filepath.Join(c.Data, "none.db") }
		for _, f := range s.examine(t) {
			if f.Check == "database" {
				t.Errorf("found %v of a database that does not exist", f)
			}
		}
	})
}
