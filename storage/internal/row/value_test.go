package row_test

import (
	"slices"
	"testing"

	"github.com/imidentity/issuer/storage/internal/row"
)

// TestListsRoundTrip: lists with any text survive, in the short form that is parsed without encoding/json and in every other.
func TestListsRoundTrip(t *testing.T) {
	for _, want := range [][]string{
		nil, {"a"}, {""}, {"", ""}, {"a", "b"}, {","}, {`","`, "]"}, {`a"b`, "[", `\`}, {"<&>", "é", "\u2028", "\n"}, {`["a"]`},
	} {
		got, err := row.ParseList(row.Text(want))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q is stored as %s and read as %q, %v", want, row.Text(want), got, err)
		}
	}
	for _, bad := range []string{"", "[", `["a]`, `{"a":1}`, `[1]`, `["a",`} {
		if got, err := row.ParseList(bad); err == nil {
			t.Errorf("%s is read as %q, want an error", bad, got)
		}
	}
}
