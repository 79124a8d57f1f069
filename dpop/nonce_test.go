package dpop_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// A nonce is good in its minute, in the one after, and for a node that is a minute behind.
func TestNonceSteps(t *testing.T) {
	for _, tt := range []struct {
		minutes int
		good    bool
	}{{-3, false}, {-2, false}, {-1, true}, {0, true}, {1, true}, {2, false}, {3, false}, {60, false}} {
		s := newServer(t, true)
		s.clock.turn(-time.Duration(s.clock.now().Second()) * time.Second) // to the start of a minute
		signer := newSigner(t, p256(t))
		made := s.clock.now()
		nonce := s.nonce(t)
		for _, second := range []time.Duration{0, 59 * time.Second} {
			s.clock.turn(time.Duration(tt.minutes)*time.Minute + second)
			p, err := s.check(s.make(t, signer, func(p *dpop.ProofParams) { p.Nonce = nonce }))
			switch {
			case !tt.good:
				wantRefused(t, "Check", err, "nonce", dpop.ErrUseNonce)
			case err != nil:
				t.Errorf("Check %d minutes and %v later = %v", tt.minutes, second, err)
			case !p.NonceTime.Equal(made):
				t.Errorf("NonceTime %d minutes and %v later = %v, want %v", tt.minutes, second, p.NonceTime, made)
			}
			s.clock.turn(-time.Duration(tt.minutes)*time.Minute - second)
		}
	}
}

func TestNonceRequired(t *testing.T) {
	s := newServer(t, true)
	signer := newSigner(t, p256(t))
	for name, nonce := range map[string]string{
		"missing": "", "foreign": "eyJ7S_zG.eyJH0-Z.HX4w-7v", "cut": s.nonce(t)[1:], "longer": s.nonce(t) + "A",
		"other case": strings.ToLower(s.nonce(t)) + "x",
	} {
		// The nonce comes before iat: a client without a clock is to get one.
		for _, offset := range []time.Duration{0, time.Hour, -48 * time.Hour} {
			_, err := s.check(s.make(t, signer, func(p *dpop.ProofParams) {
				p.Nonce, p.IssuedAt = nonce, s.clock.now().Add(offset)
			}))
			wantRefused(t, name, err, "nonce", dpop.ErrUseNonce)
		}
	}
}

// RFC 9449 §8.1: a nonce is made of NQCHARs. One minute has one nonce, another minute another.
func TestNonceForm(t *testing.T) {
	s := newServer(t, true)
	seen := map[string]bool{}
	for range 10 {
		nonce := s.nonce(t)
		for _, c := range []byte(nonce) {
			if c != 0x21 && (c < 0x23 || c > 0x5b) && (c < 0x5d || c > 0x7e) {
				t.Errorf("Nonce = %q, which has the octet %#x", nonce, c)
			}
		}
		if len(nonce) != 22 || seen[nonce] || s.nonce(t) != nonce {
			t.Errorf("Nonce = %q, want 22 octets, new ones each minute", nonce)
		}
		seen[nonce] = true
		s.clock.turn(time.Minute)
	}
}

// With a good nonce a client's clock may be off by a day.
func TestIssuedAtWithNonce(t *testing.T) {
	s := newServer(t, true)
	signer := newSigner(t, p256(t))
	for offset, good := range map[time.Duration]bool{
		0: true, time.Hour: true, -time.Hour: true, 24 * time.Hour: true, -24 * time.Hour: true,
		24*time.Hour + time.Second: false, -24*time.Hour - time.Second: false,
	} {
		_, err := s.check(s.make(t, signer, func(p *dpop.ProofParams) { p.IssuedAt = p.IssuedAt.Add(offset) }))
		if good && err != nil {
			t.Errorf("Check with iat %v off = %v", offset, err)
		}
		if !good {
			wantRefused(t, "Check", err, "iat", dpop.ErrInvalidProof)
		}
	}
}

// The error tells a client how to set its clock.
func TestClockError(t *testing.T) {
	s := newServer(t, false)
	signer := newSigner(t, p256(t))
	for offset, want := range map[time.Duration]string{
		-time.Hour:       "dpop: iat: iat is 3600 s behind the server, whose time is 1767323165",
		90 * time.Second: "dpop: iat: iat is 90 s ahead of the server, whose time is 1767323165",
	} {
		_, err := s.check(s.make(t, signer, func(p *dpop.ProofParams) { p.IssuedAt = p.IssuedAt.Add(offset) }))
		var clock *dpop.ClockError
		if !errors.As(err, &clock) || !clock.Server.Equal(s.clock.now()) || clock.Client.Sub(clock.Server) != offset ||
			err.Error() != want {
			t.Errorf("Check = %v, want %s", err, want)
		}
	}
}

// Two nodes whose secrets overlap accept each other's nonces all through a change of the secret.
func TestNonceSecretsOverlap(t *testing.T) {
	a, b := newServer(t, true), newServer(t, true)
	b.store = a.store
	b.configure(t, dpop.Config{})
	signer := newSigner(t, p256(t))
	agree := func(stage string) {
		t.Helper()
		for _, pair := range [][2]*server{{a, b}, {b, a}} {
			if _, err := pair[1].check(pair[0].make(t, signer, nil)); err != nil {
				t.Errorf("%s: Check of the other node's nonce = %v", stage, err)
			}
		}
	}
	set := func(s *server, secrets ...byte) {
		t.Helper()
		list := make([][32]byte, len(secrets))
		for i, c := range secrets {
			list[i][0] = c
		}
		if err := s.nonces.SetSecrets(list); err != nil {
			t.Fatal(err)
		}
	}
	old := a.make(t, signer, nil)
	agree("one secret")
	set(a, 1, 2)
	agree("a knows the new secret")
	set(b, 1, 2)
	agree("both know it")
	set(a, 2, 1)
	agree("a uses it")
	set(b, 2, 1)
	agree("both use it")
	if _, err := a.check(old); err != nil {
		t.Errorf("Check of a nonce from before = %v", err)
	}
	set(a, 2)
	set(b, 2)
	agree("the old one is gone")
	_, err := a.check(old)
	wantRefused(t, "Check of a nonce of a dropped secret", err, "nonce", dpop.ErrUseNonce)

	if err := a.nonces.SetSecrets(nil); err == nil {
		t.Error("SetSecrets(nil) = nil, want an error")
	}
	if _, err := dpop.NewNonces(nil, nil); err == nil {
		t.Error("NewNonces(nil) = nil, want an error")
	}
}

// A store that was emptied has forgotten what was spent, so nothing from before is accepted.
func TestEmptiedStoreWithNonces(t *testing.T) {
	s := newServer(t, true)
	signer := newSigner(t, p256(t))
	text := s.make(t, signer, nil)
	checked, err := s.check(text)
	if err != nil {
		t.Fatalf("Check = %v", err)
	}
	if err := s.Spend(context.Background(), checked, netip.Addr{}); err != nil {
		t.Fatalf("Spend = %v", err)
	}
	old := s.nonce(t)
	s.store.current.Store(newMemory(t, 0, s.clock.now))

	err = s.Spend(context.Background(), checked, netip.Addr{})
	wantRefused(t, "Spend of a proof checked before", err, "nonce", dpop.ErrUseNonce)
	_, err = s.check(text)
	wantRefused(t, "Check of a spent proof", err, "nonce", dpop.ErrUseNonce)
	if fresh := s.nonce(t); fresh == old {
		t.Error("the nonce is the one from before")
	}
	if p, err := s.check(s.make(t, signer, nil)); err != nil {
		t.Errorf("Check with a new nonce = %v", err)
	} else if err := s.Spend(context.Background(), p, netip.Addr{}); err != nil {
		t.Errorf("Spend with a new nonce = %v", err)
	}
}

// With nonces off there is only iat to tell what was made before: the store's first 15 seconds accept nothing
// that may be from then.
func TestEmptiedStoreWithoutNonces(t *testing.T) {
	s := newServer(t, false)
	signer := newSigner(t, p256(t))
	texts := map[time.Duration]string{}
	for _, offset := range []time.Duration{-60 * time.Second, 0, 15 * time.Second} {
		texts[offset] = s.make(t, signer, func(p *dpop.ProofParams) { p.IssuedAt = p.IssuedAt.Add(offset) })
		p, err := s.check(texts[offset])
		if err != nil {
			t.Fatalf("Check = %v", err)
		}
		if err := s.Spend(context.Background(), p, netip.Addr{}); err != nil {
			t.Fatalf("Spend = %v", err)
		}
	}
	late, err := s.check(s.make(t, signer, nil))
	if err != nil {
		t.Fatalf("Check = %v", err)
	}
	s.clock.turn(time.Second)
	s.store.current.Store(newMemory(t, 0, s.clock.now))
	err = s.Spend(context.Background(), late, netip.Addr{})
	wantRefused(t, "Spend of a proof checked before", err, "iat", dpop.ErrInvalidProof)
	for range 80 {
		for offset, text := range texts {
			_, err := s.check(text)
			wantRefused(t, "Check of a proof that was spent, iat "+offset.String(), err, "iat", dpop.ErrInvalidProof)
		}
		s.clock.turn(time.Second)
	}
	if _, err := s.check(s.make(t, signer, nil)); err != nil {
		t.Errorf("Check of a new proof = %v", err)
	}
	if nonce := s.nonce(t); nonce != "" {
		t.Errorf("Nonce with nonces off = %q, want none", nonce)
	}
}

// A spent proof stays spent for as long as any node may accept it.
func TestSpentForLife(t *testing.T) {
	for _, nonces := range []bool{true, false} {
		s := newServer(t, nonces)
		signer := newSigner(t, p256(t))
		text := s.make(t, signer, func(p *dpop.ProofParams) { p.IssuedAt = p.IssuedAt.Add(15 * time.Second) })
		p, err := s.check(text)
		if err != nil {
			t.Fatalf("Check = %v", err)
		}
		if err := s.Spend(context.Background(), p, netip.Addr{}); err != nil {
			t.Fatalf("Spend = %v", err)
		}
		life := 0
		for range 300 {
			p, err := s.check(text)
			if err != nil {
				break
			}
			wantRefused(t, "Spend", s.Spend(context.Background(), p, netip.Addr{}), "jti", dpop.ErrReplayed)
			life++
			s.clock.turn(time.Second)
		}
		if life < 60 || life > 120 {
			t.Errorf("with nonces %v a proof is good for %d s, want 60 to 120", nonces, life)
		}
	}
}
