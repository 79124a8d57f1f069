package nested_test

import (
	"crypto"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// renamed is Alice's token with one statement inside, both signed with ES256.
func renamed() string { return aliceToken(inside(value(nested.RenamedFrom, rename()))) }

// bare returns a function that checks the two signatures of [renamed] and nothing else.
func bare(b *testing.B, token string) func() {
	var input, signature [2][]byte
	for i, t := range []string{token, innerToken(b, token, "tokens[0]")} {
		dot := len(t) - 87 // the signature has 86 characters
		s, err := jose.DecodeBase64(t[dot+1:])
		if err != nil {
			b.Fatal(err)
		}
		input[i], signature[i] = []byte(t[:dot]), s
	}
	var key crypto.PublicKey = signers[home].key.Public()
	return func() {
		for i := range input {
			if err := jose.Verify(jose.ES256, key, input[i], signature[i]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkOpen opens a token with one embedded token and, in the same run, checks the two signatures alone. It reports
// what opening costs beyond 1.2 times those, which is not to be more than 12 µs.
func BenchmarkOpen(b *testing.B) {
	token, o := renamed(), options()
	signatures := bare(b, token)
	var opening, checking time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if _, err := nested.Open(b.Context(), token, o); err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		signatures()
		opening += middle.Sub(start)
		checking += time.Since(middle)
	}
	b.ReportMetric(float64(opening.Nanoseconds())/float64(b.N), "open-ns/op")
	b.ReportMetric(float64(opening)/float64(checking), "x-bare-verify")
	b.ReportMetric((float64(opening)-1.2*float64(checking))/float64(b.N), "ns-beyond-1.2x")
}

// What opening allocates has a ceiling; 38 allocations are crypto/ecdsa's.
func TestOpenAllocations(t *testing.T) {
	token, o := renamed(), options()
	n := testing.AllocsPerRun(100, func() {
		if _, err := nested.Open(t.Context(), token, o); err != nil {
			t.Fatal(err)
		}
	})
	const most = 115
	if n > most {
		t.Errorf("opening a token with one embedded token makes %v allocations, want at most %v", n, most)
	}
}
