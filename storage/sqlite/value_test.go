package sqlite

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/storage"
)

// TestListsRoundTrip: lists with any text survive, in the short form that is parsed without encoding/json and in every other.
func TestListsRoundTrip(t *testing.T) {
	for _, want := range [][]string{
		nil, {"a"}, {""}, {"", ""}, {"a", "b"}, {","}, {`","`, "]"}, {`a"b`, "[", `\`}, {"<&>", "é", "\u2028", "\n"}, {`["a"]`},
	} {
		got, err := parseList(text(want))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is stored as %s and read as %q, %v", want, text(want), got, err)
		}
	}
	for _, bad := range []string{"", "[", `["a]`, `{"a":1}`, `[1]`, `["a",`} {
		if got, err := parseList(bad); err == nil {
			t.Errorf("%s is read as %q, want an error", bad, got)
		}
	}
}

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
		hash   digest
		kind   storage.RevocationKind
		other  uint8
	)
	for _, test := range []struct {
		text string
		dest any
	}{
		{"SELECT 'a'", &number}, {"SELECT NULL", &number}, {"SELECT 1.5", &number}, {"SELECT 1", &word}, {"SELECT NULL", &word},
		{"SELECT x'00'", &word}, {"SELECT 'a'", &blob}, {"SELECT x'00'", &hash}, {"SELECT NULL", &hash}, {"SELECT 1", &kind},
		{"SELECT 'a'", new(list)}, {"SELECT '%zz'", new(form)}, {"SELECT 1", &other},
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
