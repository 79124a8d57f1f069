package errtext_test

import (
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/errtext"
)

func TestClean(t *testing.T) {
	for text, want := range map[string]struct{ clean, strip string }{
		"":                   {"", ""},
		"scope im:handle ~!": {"scope im:handle ~!", "scope im:handle ~!"},
		`a "b" \c`:           {`a 'b' 'c`, "a b c"},
		"line\r\n\tfeed":     {"line???feed", "linefeed"},
		"\x00\x1f\x7f":       {"???", ""},
		"grün 🙂":             {"gr?n ?", "grn "},
		"cut \xf0\x9f":       {"cut ??", "cut "},
	} {
		if got := errtext.Clean(text); got != want.clean {
			t.Errorf("Clean(%q) = %q, want %q", text, got, want.clean)
		}
		if got := errtext.Strip(text); got != want.strip {
			t.Errorf("Strip(%q) = %q, want %q", text, got, want.strip)
		}
	}
}

func TestQuote(t *testing.T) {
	for value, want := range map[string]string{
		"":                      "''",
		"it's":                  "'it's'",
		`"`:                     "'''",
		strings.Repeat("a", 8):  "'aaaaaaaa'",
		strings.Repeat("a", 9):  "'aaaaaaaa...'",
		strings.Repeat("ü", 50): "'????...'",
		"seven77ü":              "'seven77?...'", // the cut lies inside a character
	} {
		if got := errtext.Quote(value, 8); got != want {
			t.Errorf("Quote(%q, 8) = %q, want %q", value, got, want)
		}
	}
}

// FuzzClean checks that what is written is allowed by RFC 6749 Appendix A, and that allowed text is not changed.
func FuzzClean(f *testing.F) {
	f.Add("The code is not valid.")
	f.Add("\"\\\x00\xff€")
	f.Fuzz(func(t *testing.T, text string) {
		for _, got := range []string{errtext.Clean(text), errtext.Strip(text), errtext.Quote(text, 20)} {
			for _, c := range []byte(got) {
				if c < 0x20 || c > 0x7e || c == 0x22 || c == 0x5c {
					t.Errorf("%q became %q, which holds %q", text, got, c)
				}
			}
			if errtext.Clean(got) != got || errtext.Strip(got) != got {
				t.Errorf("%q is allowed and was changed", got)
			}
		}
	})
}
