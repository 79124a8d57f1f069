package dpop_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// What was spent while the clock was ahead is refused when the clock, set right in between, comes to that time again:
// presentations always, and proofs where nonces are off.
func TestReviewB4SpentBeforeTheClockWasSetBack(t *testing.T) {
	for name, back := range map[string]func(s *server) (ahead time.Duration){
		"set back": func(s *server) time.Duration { return time.Hour },
		"set back after a restart": func(s *server) time.Duration {
			before := s.clock.now()
			s.clock.turn(-4 * time.Minute)
			m, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Newest: before, Now: s.clock.now})
			if err != nil {
				t.Fatal(err)
			}
			s.store.current.Store(m)
			s.clock.turn(4 * time.Minute)
			return 4 * time.Minute
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, signer := newServer(t, false), newSigner(t, p256(t))
			s.clock.turn(time.Hour)
			r, params := shown(s, signer)
			r.Presentation = present(t, signer, params)
			proof := s.make(t, signer, nil)
			use := func() (presented, proven error) {
				p, presented := s.CheckPresentation(t.Context(), r)
				if presented == nil {
					presented = s.SpendPresentation(t.Context(), p, netip.Addr{})
				}
				q, proven := s.check(proof)
				if proven == nil {
					proven = s.Spend(t.Context(), q, netip.Addr{})
				}
				return presented, proven
			}
			if presented, proven := use(); presented != nil || proven != nil {
				t.Fatalf("first use = %v, %v", presented, proven)
			}
			ahead := back(s)
			s.clock.turn(-ahead)
			for i := range 64 { // other clients go on, and the store sees that the clock went back
				e, err := s.store.Epoch(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				err = s.store.Spend(t.Context(), e, [32]byte{byte(i)}, s.clock.now().Add(2*time.Minute), netip.Addr{})
				if err != nil && !errors.Is(err, dpop.ErrStaleEpoch) {
					t.Fatal(err)
				}
			}
			s.clock.turn(ahead)
			presented, proven := use()
			for what, err := range map[string]error{"presentation": presented, "proof": proven} {
				wantRefused(t, "second use of the "+what, err, "iat", dpop.ErrInvalidProof)
			}
			s.clock.turn(30 * time.Second) // and nobody is kept out for longer than that
			if _, err := s.check(s.make(t, signer, nil)); err != nil {
				t.Errorf("Check of a new proof = %v", err)
			}
		})
	}
}
