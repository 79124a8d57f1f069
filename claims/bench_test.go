package claims_test

import (
	"runtime"
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

// TestLinear counts the bytes that parsers allocate for hostile texts: twice the text, at most about twice the work. Beyond
// the limit of 4096 bytes nothing is read at all.
func TestLinear(t *testing.T) {
	work := func(s string) uint64 {
		const runs = 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			_, _ = claims.ParseLenient(s)
			for _, system := range systems {
				_, _ = claims.Parser{Reading: claims.Registration, Network: network}.ParseNative(system, s)
			}
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / runs
	}
	for _, h := range []struct{ head, unit, tail string }{
		{"im:", "@", "example.com"}, {"im:", "%", "@example.com"}, {"im:", "%41", "@example.com"}, {"im:%40", "é", "@example.com"},
		{"im:a@", "a.", "com"}, {"im:a@", "\u00AD", "a.com"}, {"im:a@", "日", ".com"}, {"im:a@b.c", ";id-type=user", ""},
		{"im:xmpp=a/", "\u0301", "@example.com"}, {"im:xmpp=", "\u05D0", "@example.com"}, {"im:irc=example.com/#", "~", ",ischannel"},
		{"im:irc=example.com/", "!", ",isuser"}, {"mimi://example.com/r/", "%CC%81", ""}, {"mimi://example.com", "/d", ""},
		{"sip:a@example.com", ";gr", ""}, {"wireapp://", "!", "@example.com"}, {"##", "\u0301a", ""}, {"", "/", ""}, {"", "ß", ""}, {"", "\xFF",
			""},
	} {
		text := func(size int) string {
			n := max(0, size-len(h.head)-len(h.tail)) / len(h.unit)
			return h.head + strings.Repeat(h.unit, n) + h.tail
		}
		work(text(1024)) // tables are made at first use
		for size := 512; size <= 2048; size *= 2 {
			if once, twice := work(text(size)), work(text(2*size)); twice > 2*once+once/2+8192 {
				t.Errorf("%q: %d bytes allocate %d, %d allocate %d", h.head+h.unit, size, once, 2*size, twice)
			}
		}
		if got := work(text(1 << 20)); got > 4096 {
			t.Errorf("%q: a mebibyte allocates %d bytes, want it refused unread", h.head+h.unit, got)
		}
	}
}
