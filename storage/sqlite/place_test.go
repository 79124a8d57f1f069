package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestIdentify: a file is the same under another name, and neither a copy nor what replaces it is the same file.
func TestIdentify(t *testing.T) {
	dir := t.TempDir()
	name := func(n string) string { return filepath.Join(dir, n) }
	for _, n := range []string{"a", "copy"} {
		if err := os.WriteFile(name(n), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Link(name("a"), name("link")), os.Symlink(name("a"), name("symlink"))); err != nil {
		t.Fatal(err)
	}
	for how, identify := range identifiers {
		id := func(n string) fileID {
			f, err := identify(name(n))
			if err != nil {
				t.Fatalf("%s: %v", how, err)
			}
			return f
		}
		a := id("a")
		for n, same := range map[string]bool{"a": true, "link": true, "symlink": true, "copy": false, ".": false} {
			if got := id(n).is(a); got != same {
				t.Errorf("%s: %s is the file: %v, want %v", how, n, got, same)
			}
		}
		if _, err := identify(name("none")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a file that does not exist = %v, want %v", how, err, fs.ErrNotExist)
		}
	}
	ids := map[string]fileID{}
	for how, identify := range identifiers {
		ids[how], _ = identify(name("a"))
		for other, id := range ids {
			if !id.is(ids[how]) {
				t.Errorf("%s and %s disagree", how, other)
			}
		}
	}
}
