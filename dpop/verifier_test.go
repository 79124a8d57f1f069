package dpop_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

const endpoint = "https://as.example/token"

// A server is a verifier with its parts in reach.
type server struct {
	*dpop.Verifier
	clock   *clock
	nonces  *dpop.Nonces // nil: off
	store   *swapStore
	secrets [][32]byte
}

// A swapStore can be emptied, and can fail.
type swapStore struct {
	current atomic.Pointer[dpop.MemoryReplay]
	err     error
}

func (s *swapStore) Epoch(ctx context.Context) (dpop.Epoch, error) {
	if s.err != nil {
		return dpop.Epoch{}, s.err
	}
	return s.current.Load().Epoch(ctx)
}

func (s *swapStore) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, source netip.Addr) error {
	if s.err != nil {
		return s.err
	}
	return s.current.Load().Spend(ctx, e, key, until, source)
}

func newServer(t testing.TB, nonces bool) *server {
	t.Helper()
	s := &server{clock: newClock(), store: &swapStore{}, secrets: [][32]byte{{1}}}
	s.store.current.Store(newMemory(t, 0, s.clock.now))
	s.clock.turn(2 * time.Minute) // past the first seconds of the epoch
	if nonces {
		var err error
		if s.nonces, err = dpop.NewNonces(s.secrets, s.clock.now); err != nil {
			t.Fatal(err)
		}
	}
	s.configure(t, dpop.Config{})
	return s
}

func (s *server) configure(t testing.TB, cfg dpop.Config) {
	t.Helper()
	cfg.Nonces, cfg.Replay, cfg.Now = s.nonces, s.store, s.clock.now
	var err error
	if s.Verifier, err = dpop.NewVerifier(cfg); err != nil {
		t.Fatalf("NewVerifier = %v", err)
	}
}

func (s *server) nonce(t testing.TB) string {
	t.Helper()
	nonce, err := s.Nonce(context.Background())
	if err != nil {
		t.Fatalf("Nonce = %v", err)
	}
	return nonce
}

// check checks a proof for POST to the endpoint.
func (s *server) check(proof string) (*dpop.Proof, error) {
	return s.Check(context.Background(), dpop.Request{Method: "POST", URL: endpoint, Proofs: []string{proof}})
}

// make makes a good proof for POST to the endpoint, changed by edit.
func (s *server) make(t testing.TB, signer *dpop.Signer, edit func(p *dpop.ProofParams)) string {
	t.Helper()
	p := dpop.ProofParams{Method: "POST", URL: endpoint, Nonce: s.nonce(t), IssuedAt: s.clock.now()}
	if edit != nil {
		edit(&p)
	}
	proof, err := signer.Proof(p)
	if err != nil {
		t.Fatalf("Proof = %v", err)
	}
	return proof
}

func newSigner(t testing.TB, key crypto.Signer) *dpop.Signer {
	t.Helper()
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatalf("NewSigner = %v", err)
	}
	return signer
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// wantRefused fails unless err refuses that part and is of that kind, and of no other.
func wantRefused(t *testing.T, what string, err error, part string, kind error) {
	t.Helper()
	var refused *dpop.ProofError
	if !errors.As(err, &refused) || refused.Part != part || !errors.Is(err, kind) {
		t.Errorf("%s = %v, want part %s and %v", what, err, part, kind)
		return
	}
	if nonce := errors.Is(err, dpop.ErrUseNonce); nonce == errors.Is(err, dpop.ErrInvalidProof) {
		t.Errorf("%s = %v, which is both %v and %v, or neither", what, err, dpop.ErrUseNonce, dpop.ErrInvalidProof)
	}
	// RFC 6749 §5.2: what may stand in an error_description.
	for _, c := range []byte(refused.Part + refused.Err.Error()) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			t.Errorf("%s = %q, which no error_description may hold", what, refused.Err)
		}
	}
}

func TestCheckEveryAlgorithm(t *testing.T) {
	s := newServer(t, true)
	s.configure(t, dpop.Config{Algorithms: []string{"ES256", "ES384", "ES512", "EdDSA", "PS256", "RS256"}})
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for alg, key := range map[string]crypto.Signer{
		"ES256": p256(t), "ES384": p384, "ES512": p521, "EdDSA": ed, "Ed25519": ed, "PS256": rsaKey, "RS256": rsaKey,
	} {
		t.Run(alg, func(t *testing.T) {
			signer, err := dpop.NewSigner(key, alg)
			if err != nil {
				t.Fatalf("NewSigner = %v", err)
			}
			text := s.make(t, signer, func(p *dpop.ProofParams) { p.JTI = "a proof by " + alg })
			p, err := s.check(text)
			if err != nil {
				t.Fatalf("Check = %v", err)
			}
			if p.Alg != alg || p.JKT != signer.JKT() || p.JTI != "a proof by "+alg || p.HTM != "POST" ||
				p.HTU != endpoint || p.Nonce != s.nonce(t) || !p.IssuedAt.Equal(s.clock.now()) || p.ATH != "" {
				t.Errorf("Check = %+v", p)
			}
			if !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(p.Key) {
				t.Errorf("Key = %v, want %v", p.Key, key.Public())
			}
			if age := s.clock.now().Sub(p.NonceTime); age < 0 || age >= time.Minute {
				t.Errorf("NonceTime = %v, want the minute of %v", p.NonceTime, s.clock.now())
			}
			if err := s.Spend(context.Background(), p, netip.Addr{}); err != nil {
				t.Errorf("Spend = %v", err)
			}
			p, err = s.check(text)
			if err != nil {
				t.Fatalf("second Check = %v, want no error: it spends nothing", err)
			}
			wantRefused(t, "second Spend", s.Spend(context.Background(), p, netip.Addr{}), "jti", dpop.ErrReplayed)
		})
	}
}

func TestCheckHeaders(t *testing.T) {
	s := newServer(t, true)
	signer := newSigner(t, p256(t))
	good := s.make(t, signer, nil)
	for _, tt := range []struct {
		name   string
		proofs []string
		part   string
		kind   error
	}{
		{"none", nil, "header", dpop.ErrNoProof},
		{"two", []string{good, good}, "header", dpop.ErrInvalidProof},
		{"empty", []string{""}, "form", dpop.ErrInvalidProof},
		{"two in one", []string{good + ", " + good}, "form", dpop.ErrInvalidProof},
		{"two parts", []string{good[:strings.LastIndexByte(good, '.')]}, "form", dpop.ErrInvalidProof},
		{"space around", []string{" " + good}, "header", dpop.ErrInvalidProof},
		{"longer than 8 KiB", []string{good + strings.Repeat("A", 8<<10)}, "size", dpop.ErrInvalidProof},
	} {
		_, err := s.Check(context.Background(), dpop.Request{Method: "POST", URL: endpoint, Proofs: tt.proofs})
		wantRefused(t, tt.name, err, tt.part, tt.kind)
	}
	if _, err := s.check(good); err != nil {
		t.Errorf("Check = %v, want no error: what was refused before changes nothing", err)
	}
}

// htu is held against the configured URL, both normalised; the rest of the rules is in TestNormalizeHTU.
func TestCheckURL(t *testing.T) {
	s := newServer(t, true)
	signer := newSigner(t, p256(t))
	for _, tt := range []struct {
		url, htu string
		part     string // "": accepted
	}{
		{"https://rs.example/a?q=1", "https://rs.example/a", ""},
		{"https://rs.example/a", "https://rs.example/a?q=1#f", ""},
		{"https://RS.example:443/%7ea", "https://rs.example/~a", ""},
		{"https://rs.example/prefix/a", "https://rs.example/a", "htu"},
		{"https://rs.example/a%2Fb", "https://rs.example/a/b", "htu"},
	} {
		nonce := s.nonce(t)
		proof, err := signer.Proof(dpop.ProofParams{Method: "GET", URL: tt.htu, Nonce: nonce, IssuedAt: s.clock.now()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Check(context.Background(), dpop.Request{Method: "GET", URL: tt.url, Proofs: []string{proof}})
		if tt.part == "" && err != nil {
			t.Errorf("Check(%s) of htu %s = %v", tt.url, tt.htu, err)
		}
		if tt.part != "" {
			wantRefused(t, tt.htu, err, tt.part, dpop.ErrInvalidProof)
		}
	}
	proof := s.make(t, signer, nil)
	_, err := s.Check(context.Background(), dpop.Request{Method: "POST", URL: "as.example/token", Proofs: []string{proof}})
	if err == nil || errors.Is(err, dpop.ErrInvalidProof) || errors.Is(err, dpop.ErrUseNonce) {
		t.Errorf("Check against a bad configured URL = %v, want an error that does not blame the proof", err)
	}
}

func TestCheckAccessToken(t *testing.T) {
	s := newServer(t, true)
	signer := newSigner(t, p256(t))
	for token, part := range map[string]string{"token": "", "other": "ath", "": "ath"} {
		proof := s.make(t, signer, func(p *dpop.ProofParams) { p.AccessToken = token })
		p, err := s.Check(context.Background(), dpop.Request{
			Method: "POST", URL: endpoint, Proofs: []string{proof}, AccessToken: "token",
		})
		if part != "" {
			wantRefused(t, "proof for "+token, err, part, dpop.ErrInvalidProof)
		} else if err != nil || p.ATH != dpop.ATH("token") {
			t.Errorf("Check = %+v, %v", p, err)
		}
	}
}

// A store that does not answer is no verdict on the proof.
func TestStoreFails(t *testing.T) {
	for _, nonces := range []bool{true, false} {
		s := newServer(t, nonces)
		text := s.make(t, newSigner(t, p256(t)), nil)
		p, err := s.check(text)
		if err != nil {
			t.Fatalf("Check = %v", err)
		}
		gone := errors.New("connection refused")
		s.store.err = gone
		_, checked := s.check(text)
		spent := s.Spend(context.Background(), p, netip.Addr{})
		_, nonce := s.Nonce(context.Background())
		for what, err := range map[string]error{"Check": checked, "Spend": spent, "Nonce": nonce} {
			if what == "Nonce" && !nonces {
				continue // nothing to ask the store for
			}
			if !errors.Is(err, gone) || errors.Is(err, dpop.ErrInvalidProof) || errors.Is(err, dpop.ErrUseNonce) {
				t.Errorf("%s = %v, want %v and no verdict", what, err, gone)
			}
		}
		s.store.err = dpop.ErrReplayFull
		err = s.Spend(context.Background(), p, netip.Addr{})
		if !errors.Is(err, dpop.ErrReplayFull) || errors.Is(err, dpop.ErrInvalidProof) {
			t.Errorf("Spend = %v, want %v", err, dpop.ErrReplayFull)
		}
		s.store.err = nil
		if err := s.Spend(context.Background(), p, netip.Addr{}); err != nil {
			t.Errorf("Spend when the store is back = %v", err)
		}
	}
}

func TestSpendInParallel(t *testing.T) {
	s := newServer(t, true)
	text := s.make(t, newSigner(t, p256(t)), nil)
	var accepted atomic.Int32
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			p, err := s.check(text)
			if err != nil {
				t.Errorf("Check = %v", err)
				return
			}
			if err := s.Spend(context.Background(), p, netip.Addr{}); err == nil {
				accepted.Add(1)
			} else if !errors.Is(err, dpop.ErrReplayed) {
				t.Errorf("Spend = %v, want %v", err, dpop.ErrReplayed)
			}
		})
	}
	group.Wait()
	if accepted.Load() != 1 {
		t.Errorf("%d of 20 parallel requests spent the proof, want 1", accepted.Load())
	}
}

// Proofs are told apart by key and jti together, and by namespace.
func TestSpendApart(t *testing.T) {
	s := newServer(t, true)
	a, b := newSigner(t, p256(t)), newSigner(t, p256(t))
	spend := func(signer *dpop.Signer, jti string) error {
		t.Helper()
		p, err := s.check(s.make(t, signer, func(p *dpop.ProofParams) { p.JTI = jti }))
		if err != nil {
			t.Fatalf("Check = %v", err)
		}
		return s.Spend(context.Background(), p, netip.Addr{})
	}
	for _, namespace := range []string{"", "a", "b", "aa"} {
		s.configure(t, dpop.Config{Namespace: namespace})
		for _, signer := range []*dpop.Signer{a, b} {
			for _, jti := range []string{"1", "2", "11", strings.Repeat("j", 255)} {
				if err := spend(signer, jti); err != nil {
					t.Errorf("Spend = %v", err)
				}
				// The same jti in another proof of the same key is a replay too (RFC 9449 §4.2: jti is unique).
				wantRefused(t, "Spend of the same jti", spend(signer, jti), "jti", dpop.ErrReplayed)
			}
		}
	}
}

func TestNewVerifier(t *testing.T) {
	store := newMemory(t, 0, nil)
	for name, cfg := range map[string]dpop.Config{
		"no store":          {},
		"no algorithm":      {Replay: store, Algorithms: []string{}},
		"none":              {Replay: store, Algorithms: []string{"ES256", "none"}},
		"HMAC":              {Replay: store, Algorithms: []string{"HS256"}},
		"long namespace":    {Replay: store, Namespace: strings.Repeat("n", 256)},
		"unknown algorithm": {Replay: store, Algorithms: []string{"ES521"}},
	} {
		if v, err := dpop.NewVerifier(cfg); err == nil {
			t.Errorf("NewVerifier with %s = %v, want an error", name, v)
		}
	}
	v, err := dpop.NewVerifier(dpop.Config{Replay: store})
	if err != nil {
		t.Fatalf("NewVerifier = %v", err)
	}
	want := []string{"ES256", "EdDSA", "Ed25519", "ES384"}
	if got := v.Algorithms(); !slices.Equal(got, want) {
		t.Errorf("Algorithms = %q, want %q", got, want)
	}
}
