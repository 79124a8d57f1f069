package claims_test

import (
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
)

const deviceURI = "im:BFuVxW5BfqaMEfJDc8R7Qw/4c7@example.com"

func BenchmarkParse(b *testing.B) {
	for name, uri := range map[string]string{
		"Device": deviceURI,
		"Wire":   "im:wire=0fd3e0dc-a2ff-4965-8873-509f0af0a75c/72b@example.com",
		"MIMI":   "mimi://example.com/d/BFuVxW5BfqaMEfJDc8R7Qw/4c7",
		"Han":    "im:%40%E6%97%A5%E6%9C%AC@example.com",
		"IDN":    "im:%40alice@xn--bcher-kva.example",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := claims.Parse(uri); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSetJSON(b *testing.B) {
	s := userSet()
	data := s.AppendJSON(nil)
	b.Run("Append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			data = s.AppendJSON(data[:0])
		}
	})
	b.Run("Parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := claims.ParseSet(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Validate", func(b *testing.B) {
		b.ReportAllocs()
		e := expect()
		for b.Loop() {
			if err := s.Validate(e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestParseAllocations holds parsing of a canonical device URI to its budget, four allocations.
func TestParseAllocations(t *testing.T) {
	for _, uri := range []string{deviceURI, "im:wire=0fd3e0dc-a2ff-4965-8873-509f0af0a75c/72b@example.com", "mimi://example.com/d/u/1"} {
		got := testing.AllocsPerRun(100, func() {
			if _, err := claims.Parse(uri); err != nil {
				t.Fatal(err)
			}
		})
		if got > 4 {
			t.Errorf("Parse(%q) made %v allocations, want at most 4", uri, got)
		}
	}
}

var _ = strings.Repeat
