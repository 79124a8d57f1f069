package sqlite

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// TestValuesOfAnotherType: a value that cannot be read into its place, or a wrong number of parameters, is an error that is no answer.
func TestValuesOfAnotherType(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "issuer.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var (
		number int64
		word   string
		blob   []byte
		hash   row.Digest
		kind   storage.RevocationKind
		other  uint8
	)
	for _, test := range []struct {
		text string
		dest any
	}{
		{"SELECT 'a'", &number}, {"SELECT NULL", &number}, {"SELECT 1.5", &number}, {"SELECT 1", &word}, {"SELECT NULL", &word},
		{"SELECT x'00'", &word}, {"SELECT 'a'", &blob}, {"SELECT x'00'", &hash}, {"SELECT NULL", &hash}, {"SELECT 1", &kind},
		{"SELECT 'a'", new(row.List)}, {"SELECT '%zz'", new(row.Form)}, {"SELECT 1", &other},
	} {
		c, err := openConn(s.writer.place.path, readerPragmas)
		if err != nil {
			t.Fatal(err)
		}
		before := texts
		texts = append(slices.Clone(texts), test.text)
		c.stmts = append(c.stmts, stmt{})
		if found, err := c.one(len(texts)-1, []any{test.dest}, nil); err == nil {
			t.Errorf("%s into %T = %v, nil, want an error", test.text, test.dest, found)
		}
		if _, err := c.one(len(texts)-1, nil, []any{"superfluous"}); err == nil {
			t.Errorf("%s with a parameter = nil, want an error", test.text)
		}
		if _, err := c.one(selectUser, nil, []any{"a", strings.Builder{}}); err == nil {
			t.Error("a parameter of an unknown type is accepted")
		}
		texts = before
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}
}
