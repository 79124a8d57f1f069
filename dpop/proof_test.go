package dpop_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	mathrand "math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
)

// FuzzProof signs whatever header and claims the fuzzer thinks of with the key that the server expects, or
// sends text as it is. What Check accepts has one spelling, and every check of RFC 9449 §4.3 is true of it, as
// another reader of JSON sees it.
func FuzzProof(f *testing.F) {
	seed := [32]byte{1}
	key := ed25519.NewKeyFromSeed(seed[:])
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	jkt, err := jose.Thumbprint(key.Public())
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1767323045, 0)
	store := newMemory(f, 0, func() time.Time { return now.Add(-time.Hour) })
	verifier, err := dpop.NewVerifier(dpop.Config{Replay: store, Now: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}

	f.Add(`{"typ":"dpop+jwt","alg":"EdDSA","jwk":`+string(jwk)+`}`,
		`{"jti":"1","htm":"POST","htu":"https://as.example/token","iat":1767323045}`, "")
	f.Add(`{"typ":"dpop+jwt","alg":"Ed25519","kid":"","jwk": `+string(jwk)+` ,"x":[{}]}`,
		` {"jti":"\u0031","htm":"POST","htu":"HTTPS://as.example:443/%74oken?q#f","iat":1.767323045e9,"nonce":"n","x":null}`,
		"")
	f.Add(`{"typ":"dpop+jwt","alg":"none","jwk":`+string(jwk)+`}`, `{"jti":"1","JTI":"2"}`, "")
	for _, pattern := range []string{"accepted/*.json", "refused/*.json"} {
		for _, v := range vectors(f, pattern) {
			f.Add("", "", v.Proof)
		}
	}
	f.Fuzz(func(t *testing.T, header, payload, text string) {
		if header != "" {
			b64 := base64.RawURLEncoding
			input := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(payload))
			text = input + "." + b64.EncodeToString(ed25519.Sign(key, []byte(input)))
		}
		p, err := verifier.Check(context.Background(), dpop.Request{Method: "POST", URL: endpoint, Proofs: []string{text}})
		if err != nil {
			var refused *dpop.ProofError
			if !errors.As(err, &refused) {
				t.Fatalf("Check = %v, want a ProofError", err)
			}
			wantRefused(t, "Check", err, refused.Part, dpop.ErrInvalidProof)
			return
		}

		parts := strings.Split(text, ".")
		if len(parts) != 3 {
			t.Fatalf("a proof of %d parts was accepted", len(parts))
		}
		var decoded [3][]byte
		for i, part := range parts {
			if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
				t.Fatal(err)
			}
			if again := base64.RawURLEncoding.EncodeToString(decoded[i]); again != part {
				t.Errorf("part %d is %q and re-encodes to %q", i, part, again)
			}
		}
		var h struct {
			Typ, Alg string
			Crit     any
			JWK      map[string]any
		}
		var c struct {
			JTI, HTM, HTU string
			IAT           float64
		}
		if err := json.Unmarshal(decoded[0], &h); err != nil {
			t.Fatalf("header: %v", err)
		}
		if err := json.Unmarshal(decoded[1], &c); err != nil {
			t.Fatalf("payload: %v", err)
		}
		if _, private := h.JWK["d"]; private || h.Typ != "dpop+jwt" || h.Alg != p.Alg || h.Crit != nil {
			t.Errorf("accepted header %s", decoded[0])
		}
		age := now.Sub(time.Unix(int64(c.IAT), 0))
		if c.JTI != p.JTI || c.JTI == "" || len(c.JTI) > 255 || c.HTM != "POST" || c.HTU != p.HTU ||
			age > time.Minute || age < -15*time.Second {
			t.Errorf("accepted claims %s", decoded[1])
		}
		if normal, err := dpop.NormalizeHTU(c.HTU); normal != endpoint || err != nil {
			t.Errorf("accepted htu %q", c.HTU)
		}
		if header != "" && p.JKT != jkt {
			t.Errorf("JKT = %s, want %s", p.JKT, jkt)
		}
		if err := jose.Verify(p.Alg, p.Key, []byte(parts[0]+"."+parts[1]), decoded[2]); err != nil {
			t.Errorf("Verify = %v", err)
		}
	})
}

// goodRequest returns a verifier with nonces and a request with an ES256 proof that it accepts.
func goodRequest(tb testing.TB) (*server, *ecdsa.PrivateKey, dpop.Request) {
	tb.Helper()
	s, key := newServer(tb, true), p256(tb)
	return s, key, dpop.Request{Method: "POST", URL: endpoint, Proofs: []string{s.make(tb, newSigner(tb, key), nil)}}
}

// Checking an ES256 proof makes at most 30 allocations, 19 of which are crypto/ecdsa's; the design counts on
// it.
func TestCheckAllocations(t *testing.T) {
	s, _, r := goodRequest(t)
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := s.Check(context.Background(), r); err != nil {
			t.Fatalf("Check = %v", err)
		}
	})
	if allocs > 30 {
		t.Errorf("Check of an ES256 proof makes %v allocations, want at most 30", allocs)
	}
	t.Logf("%v allocations", allocs)
}

// BenchmarkCheck checks ES256 proofs and, in the same run, verifies bare P-256 signatures. It reports how many
// verifications a check costs.
func BenchmarkCheck(b *testing.B) {
	b.Run("any key", func(b *testing.B) { benchmarkCheck(b, dpop.Config{}) })
	b.Run("key with a table", func(b *testing.B) { benchmarkCheck(b, dpop.Config{KeyTables: 1}) })
}

func benchmarkCheck(b *testing.B, cfg dpop.Config) {
	s, key, r := goodRequest(b)
	s.configure(b, cfg)
	for range 20 {
		if _, err := s.Check(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
	digest := sha256.Sum256([]byte("payload"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	var check, verify time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if _, err := s.Check(context.Background(), r); err != nil {
			b.Fatal(err)
		}
		check += time.Since(start)

		b.StopTimer()
		start = time.Now()
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			b.Fatal("the bare signature does not verify")
		}
		verify += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(float64(check)/float64(verify), "x-bare-verify")
}

func BenchmarkSpend(b *testing.B) {
	store := newMemory(b, 1<<30, nil)
	e, err := store.Epoch(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var key [32]byte
		random := mathrand.NewChaCha8([32]byte{byte(mathrand.Uint32())})
		for pb.Next() {
			random.Read(key[:])
			if err := store.Spend(b.Context(), e, key, until, netip.Addr{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkProof(b *testing.B) {
	for name, key := range map[string]crypto.Signer{"ES256": p256(b), "EdDSA": ed25519.NewKeyFromSeed(make([]byte, 32))} {
		b.Run(name, func(b *testing.B) {
			signer := newSigner(b, key)
			b.ReportAllocs()
			for b.Loop() {
				params := dpop.ProofParams{Method: "POST", URL: endpoint, Nonce: "nonce", AccessToken: "token"}
				if _, err := signer.Proof(params); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNormalizeHTU(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dpop.NormalizeHTU(endpoint); err != nil {
			b.Fatal(err)
		}
	}
}
