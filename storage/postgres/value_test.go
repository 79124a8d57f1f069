package postgres

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzEscape holds that each text survives its stored form, that PostgreSQL takes that form, and that texts that PostgreSQL takes as they
// are keep their order.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "alice", "a\x00b", "\x01", "\x01\x01", "\x01AA", "\xff\xfe", "é\x00\xc3", "\x01\x02\x00", "\ufffd"} {
		f.Add(s, "a\x00")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range []string{a, b} {
			e := escape(s)
			if got := unescape(e); got != s {
				t.Errorf("unescape(escape(%q)) = %q", s, got)
			}
			if !utf8.ValidString(e) || strings.IndexByte(e, 0) >= 0 {
				t.Errorf("escape(%q) = %q, which PostgreSQL refuses", s, e)
			}
		}
		if utf8.ValidString(a) && utf8.ValidString(b) && strings.Compare(escape(a), escape(b)) != strings.Compare(a, b) {
			t.Errorf("%q and %q change their order as %q and %q", a, b, escape(a), escape(b))
		}
	})
}
