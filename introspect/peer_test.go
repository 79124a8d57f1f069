package introspect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
)

// vouched is a token of the peer school for a user who asks this issuer.
func vouched(t testing.TB, by *ecdsa.PrivateKey, now time.Time) string {
	t.Helper()
	payload, err := json.Marshal(claims.Set{
		Issuer: school, Subject: "im:pupil@school.example;id-type=user", Audience: []string{issuer}, ClientID: "school-app",
		Scope: "introspect", JTI: "school-token", SID: "school-session", JKT: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
		IssuedAt: now, Expires: now.Add(10 * time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := jose.Sign(by, jose.ES256, []byte(`{"typ":"at+jwt","alg":"ES256","kid":"school-1"}`), payload)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestPeerSeenBefore holds that a token of a peer that was accepted before is accepted no longer than a new one: all but its signature is
// checked again, and that too if the peer has another key.
func TestPeerSeenBefore(t *testing.T) {
	down := errors.New("the keys cannot be fetched")
	for name, test := range map[string]struct {
		change func(s *issuing, a *authority)
		err    error // instead of a "no"
	}{
		"suspended, or not its domain": {func(_ *issuing, a *authority) { a.speak = claims.ErrIssuer }, nil},
		"its key is not published":     {func(_ *issuing, a *authority) { a.key = claims.ErrIssuer }, nil},
		"its keys are not known now":   {func(_ *issuing, a *authority) { a.key = down }, down},
		"another key of that name":     {func(_ *issuing, a *authority) { a.peer = newPeerKey(t) }, nil},
		"expired":                      {func(s *issuing, _ *authority) { s.now = s.now.Add(10 * time.Minute) }, nil},
		"the clock was set back":       {func(s *issuing, _ *authority) { s.now = s.now.Add(-time.Hour) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, a := newNesting(t, 0)
			token, peer, now := vouched(t, a.peer, s.now), a.peer, s.now
			wantPeer := func(want bool, wantErr error) {
				t.Helper()
				if set, ok, err := s.Peer(t.Context(), token); ok != want || !errors.Is(err, wantErr) || ok && set.JTI != "school-token" {
					t.Errorf("Peer = %+v, %t, %v, want %t, %v", set, ok, err, want, wantErr)
				}
			}
			wantPeer(true, nil)
			wantPeer(true, nil)
			test.change(s, a)
			wantPeer(false, test.err)
			a.speak, a.key, a.peer, s.now = nil, nil, peer, now
			wantPeer(true, nil)
		})
	}
}

func newPeerKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestPeerIsNoTokenOfTheIssuer holds that what is remembered of a peer's token does not make it one of this issuer.
func TestPeerIsNoTokenOfTheIssuer(t *testing.T) {
	s, a := newNesting(t, 0)
	token := vouched(t, a.peer, s.now)
	for range 2 {
		if _, ok, err := s.Peer(t.Context(), token); !ok || err != nil {
			t.Fatalf("Peer = %t, %v, want true", ok, err)
		}
		if v, err := s.Introspect(t.Context(), peer, introspect.Question{Token: token}); err != nil || v.Active {
			t.Errorf("Introspect = %+v, %v, want inactive", v, err)
		}
		if _, ok, err := s.Own(t.Context(), token); ok || err != nil {
			t.Errorf("Own = %t, %v, want false", ok, err)
		}
	}
	own := s.issue(t, jose.TypeAccessToken, alice(audience(issuer)))
	if v, err := s.Introspect(t.Context(), peer, introspect.Question{Token: own}); err != nil {
		t.Fatalf("Introspect = %+v, %v", v, err)
	}
	if _, ok, err := s.Peer(t.Context(), own); ok || err != nil {
		t.Errorf("Peer = %t, %v, want false for a token of this issuer", ok, err)
	}
}

// TestPeerAllocations holds that a peer's token is parsed and verified once.
func TestPeerAllocations(t *testing.T) {
	s, a := newNesting(t, 0)
	token := vouched(t, a.peer, s.now)
	n := testing.AllocsPerRun(100, func() {
		if _, ok, err := s.Peer(t.Context(), token); !ok || err != nil {
			t.Fatalf("Peer = %t, %v, want true", ok, err)
		}
	})
	if n > 12 {
		t.Errorf("Peer takes %.0f allocations for a token that was seen before, want at most 12", n)
	}
}

// BenchmarkPeer compares a token of a peer that was seen before with one that was not.
func BenchmarkPeer(b *testing.B) {
	s, a := newNesting(b, 0)
	token := vouched(b, a.peer, s.now)
	run := func(b *testing.B, in *introspect.Introspector) {
		if _, ok, err := in.Peer(b.Context(), token); !ok || err != nil {
			b.Fatalf("Peer = %t, %v", ok, err)
		}
	}
	b.Run("seen", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			run(b, s.Introspector)
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fresh, err := introspect.New(introspect.Config{
				Issuer: issuer, Domains: []string{"example.com"}, Development: true, Keys: s, Revocations: s, Records: s, Authority: a,
				CacheBytes: 1, Now: func() time.Time { return s.now },
			})
			if err != nil {
				b.Fatal(err)
			}
			run(b, fresh)
		}
	})
}
