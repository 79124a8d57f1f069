package dpop_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// TestKeyTables holds that a verifier accepts and refuses the same proofs of a key before and after the key has a table.
func TestKeyTables(t *testing.T) {
	plain := newServer(t, true)
	hot := newServer(t, true)
	hot.configure(t, dpop.Config{KeyTables: 1})
	signer, other := newSigner(t, p256(t)), newSigner(t, p256(t))
	changed := func(text string, part int) string { // one character of a part is another one
		parts := strings.Split(text, ".")
		middle := len(parts[part]) / 2
		c := "A"
		if parts[part][middle] == 'A' {
			c = "B"
		}
		parts[part] = parts[part][:middle] + c + parts[part][middle+1:]
		return strings.Join(parts, ".")
	}
	for round := range 40 { // the table is made within them
		for _, s := range []*server{plain, hot} {
			text := s.make(t, signer, nil)
			p, err := s.check(text)
			if err != nil || p.JKT != signer.JKT() {
				t.Fatalf("round %d: Check = %v, %v", round, p, err)
			}
			if err := s.Spend(context.Background(), p, netip.Addr{}); err != nil {
				t.Fatalf("round %d: Spend = %v", round, err)
			}
			wantRefused(t, "the same proof again", s.Spend(context.Background(), p, netip.Addr{}), "jti", dpop.ErrReplayed)
			_, err = s.check(changed(text, 2))
			wantRefused(t, "another signature", err, "signature", dpop.ErrInvalidProof)
			theirs := s.make(t, other, nil)
			_, err = s.check(text[:strings.LastIndexByte(text, '.')] + theirs[strings.LastIndexByte(theirs, '.'):])
			wantRefused(t, "the signature of another key", err, "signature", dpop.ErrInvalidProof)
			_, err = s.check(theirs[:strings.IndexByte(theirs, '.')] + text[strings.IndexByte(text, '.'):])
			wantRefused(t, "another key in the header", err, "signature", dpop.ErrInvalidProof)
			_, err = s.check(s.make(t, signer, func(p *dpop.ProofParams) { p.Method = "GET" }))
			wantRefused(t, "another method", err, "htm", dpop.ErrInvalidProof)
		}
	}
}
