package introspect_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
)

// A holding is an issuer that knows who holds a token, and Alice's token with the key that it is bound to.
type holding struct {
	*issuing
	replay *dpop.MemoryReplay
	signer *dpop.Signer
	token  string
}

// A brokenReplay fails while err is set.
type brokenReplay struct {
	dpop.Replay
	err error
}

func (b *brokenReplay) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, source netip.Addr) error {
	if b.err != nil {
		return b.err
	}
	return b.Replay.Spend(ctx, e, key, until, source)
}

func newHolderKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newHolder(t testing.TB) *dpop.Signer {
	t.Helper()
	signer, err := dpop.NewSigner(newHolderKey(t), "")
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// newHolding returns an issuer whose store of spent proofs is two minutes old.
func newHolding(t testing.TB, capacity int) (*holding, *brokenReplay) {
	t.Helper()
	s, a := newNesting(t, 0)
	h := &holding{issuing: s, signer: newHolder(t)}
	now := func() time.Time { return s.now }
	var err error
	if h.replay, err = dpop.NewMemoryReplay(dpop.MemoryConfig{Capacity: capacity, Now: now}); err != nil {
		t.Fatal(err)
	}
	broken := &brokenReplay{Replay: h.replay}
	s.Introspector, err = introspect.New(introspect.Config{
		Issuer: issuer, Domains: []string{"example.com"}, Development: true, Keys: s, Revocations: s, Records: s, Authority: a, Replay: broken, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.now = start.Add(2 * time.Minute)
	h.token = s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.JKT = h.signer.JKT() }))
	return h, broken
}

const roomURL = "https://rooms.example.net/v1/rooms/7"

// asker serves a URL and a domain, and may know why a token is not active.
var asker = introspect.Caller{
	Name: "rooms", Resources: []string{"https://rooms.example.net/v1", "im:rooms.example"}, Domains: []string{"example.com"},
	Scopes: []string{introspect.ScopeIntrospect, introspect.ScopeReason},
}

// proof returns a proof by the holder that was shown to asker, after a change.
func (h *holding) proof(t testing.TB, change func(*dpop.ProofParams, *introspect.Shown)) introspect.Shown {
	t.Helper()
	p := dpop.ProofParams{Method: "POST", URL: roomURL, Nonce: "n-1", AccessToken: h.token, IssuedAt: h.now}
	s := introspect.Shown{Method: "POST", URL: roomURL, Nonce: "n-1"}
	if change != nil {
		change(&p, &s)
	}
	if s.Proof != "" {
		return s
	}
	var err error
	if s.Proof, err = h.signer.Proof(p); err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *holding) presentation(t testing.TB, change func(*dpop.PresentationParams, *introspect.Shown)) introspect.Shown {
	t.Helper()
	p := dpop.PresentationParams{Audience: "im:example.com", Nonce: "n-2", AccessToken: h.token, IssuedAt: h.now}
	s := introspect.Shown{Audience: "im:example.com", Nonce: "n-2"}
	if change != nil {
		change(&p, &s)
	}
	if s.Presentation != "" {
		return s
	}
	var err error
	if s.Presentation, err = h.signer.Presentation(p); err != nil {
		t.Fatal(err)
	}
	return s
}

// about asks about Alice's token, and returns the answer as it goes over the wire.
func (h *holding) about(t testing.TB, caller introspect.Caller, shown introspect.Shown) string {
	t.Helper()
	verdict, err := h.Introspect(t.Context(), caller, introspect.Question{Token: h.token, Shown: shown})
	if err != nil {
		t.Fatalf("Introspect = %v, want an answer", err)
	}
	answer := verdict.Answer()
	return string(answer.AppendJSON(nil))
}

const invalidProof = `{"active":false,"reason":"invalid_proof"}`

func TestHolderVerified(t *testing.T) {
	h, _ := newHolding(t, 0)
	for name, shown := range map[string]introspect.Shown{
		"a proof": h.proof(t, nil),
		"a proof without a nonce": h.proof(t, func(p *dpop.ProofParams, s *introspect.Shown) {
			p.Nonce, s.Nonce = "", ""
		}),
		"a URL in another spelling": h.proof(t, func(p *dpop.ProofParams, s *introspect.Shown) {
			s.URL = "HTTPS://rooms.example.net:443/v1/x/../rooms/%37?since=1"
		}),
		"the URL of the resource itself": h.proof(t, func(p *dpop.ProofParams, s *introspect.Shown) {
			p.URL, s.URL = "https://rooms.example.net/v1", "https://rooms.example.net/v1"
		}),
		"a presentation": h.presentation(t, nil),
		"a presentation to a device": h.presentation(t, func(p *dpop.PresentationParams, s *introspect.Shown) {
			p.Audience, s.Audience = "im:u2/2f@example.com", "im:u2/2f@example.com"
		}),
		"a presentation to a resource": h.presentation(t, func(p *dpop.PresentationParams, s *introspect.Shown) {
			p.Audience, s.Audience = "im:rooms.example", "im:rooms.example"
		}),
	} {
		t.Run(name, func(t *testing.T) {
			got := h.about(t, asker, shown)
			if !strings.HasPrefix(got, `{"active":true,`) || !strings.HasSuffix(got, `"max_age":0,"holder":"verified"}`) {
				t.Errorf("Introspect = %s, want active, verified, and not to be cached", got)
			}
			if again := h.about(t, asker, shown); again != invalidProof {
				t.Errorf("Introspect = %s for what was used before, want %s", again, invalidProof)
			}
			if got := h.ask(t, asker, h.token); !strings.Contains(got, `"max_age":5,"holder":"unverified"`) {
				t.Errorf("Introspect = %s without it, want unverified", got)
			}
		})
	}
}

func TestHolderRefused(t *testing.T) {
	h, _ := newHolding(t, 0)
	other := newHolder(t)
	by := func(signer *dpop.Signer, make func() introspect.Shown) introspect.Shown {
		own := h.signer
		h.signer = signer
		defer func() { h.signer = own }()
		return make()
	}
	proof := func(change func(*dpop.ProofParams, *introspect.Shown)) func() introspect.Shown {
		return func() introspect.Shown { return h.proof(t, change) }
	}
	presentation := func(change func(*dpop.PresentationParams, *introspect.Shown)) func() introspect.Shown {
		return func() introspect.Shown { return h.presentation(t, change) }
	}
	for name, shown := range map[string]introspect.Shown{
		"a proof by another key":      by(other, proof(nil)),
		"a proof for another method":  proof(func(p *dpop.ProofParams, _ *introspect.Shown) { p.Method = "GET" })(),
		"a proof for another URL":     proof(func(p *dpop.ProofParams, _ *introspect.Shown) { p.URL += "/x" })(),
		"a proof with another nonce":  proof(func(p *dpop.ProofParams, _ *introspect.Shown) { p.Nonce = "n-2" })(),
		"a proof without the nonce":   proof(func(p *dpop.ProofParams, _ *introspect.Shown) { p.Nonce = "" })(),
		"a proof with a nonce":        proof(func(_ *dpop.ProofParams, s *introspect.Shown) { s.Nonce = "" })(),
		"a proof for another token":   proof(func(p *dpop.ProofParams, _ *introspect.Shown) { p.AccessToken += "A" })(),
		"a proof without a token":     proof(func(p *dpop.ProofParams, _ *introspect.Shown) { p.AccessToken = "" })(),
		"an old proof":                proof(func(p *dpop.ProofParams, _ *introspect.Shown) { p.IssuedAt = h.now.Add(-61 * time.Second) })(),
		"a proof of the future":       proof(func(p *dpop.ProofParams, _ *introspect.Shown) { p.IssuedAt = h.now.Add(16 * time.Second) })(),
		"no proof":                    proof(func(_ *dpop.ProofParams, s *introspect.Shown) { s.Proof = "a.b.c" })(),
		"a presentation as a proof":   proof(func(_ *dpop.ProofParams, s *introspect.Shown) { s.Proof = h.presentation(t, nil).Presentation })(),
		"a presentation by another":   by(other, presentation(nil)),
		"a presentation to another":   presentation(func(p *dpop.PresentationParams, _ *introspect.Shown) { p.Audience = "im:example.org" })(),
		"a presentation, other nonce": presentation(func(p *dpop.PresentationParams, _ *introspect.Shown) { p.Nonce = "n-1" })(),
		"a presentation, other token": presentation(func(p *dpop.PresentationParams, _ *introspect.Shown) { p.AccessToken = "A" })(),
		"an old presentation":         presentation(func(p *dpop.PresentationParams, _ *introspect.Shown) { p.IssuedAt = h.now.Add(-61 * time.Second) })(),
		"a proof as a presentation":   presentation(func(_ *dpop.PresentationParams, s *introspect.Shown) { s.Presentation = h.proof(t, nil).Proof })(),
		"a long text as a proof":      proof(func(_ *dpop.ProofParams, s *introspect.Shown) { s.Proof = strings.Repeat("a", 1<<20) })(),
		"a token as a presentation":   presentation(func(_ *dpop.PresentationParams, s *introspect.Shown) { s.Presentation = h.token })(),
		"a presentation cut short": presentation(func(_ *dpop.PresentationParams, s *introspect.Shown) {
			s.Presentation = h.presentation(t, nil).Presentation[:200]
		})(),
		"a proof with another ending":  proof(func(_ *dpop.ProofParams, s *introspect.Shown) { s.Proof = h.proof(t, nil).Proof + "A" })(),
		"a method in another spelling": proof(func(_ *dpop.ProofParams, s *introspect.Shown) { s.Method = "post" })(),
	} {
		t.Run(name, func(t *testing.T) {
			if got := h.about(t, asker, shown); got != invalidProof {
				t.Errorf("Introspect = %s, want %s", got, invalidProof)
			}
			unknowing := asker
			unknowing.Scopes = []string{introspect.ScopeIntrospect}
			if got := h.about(t, unknowing, shown); got != inactive {
				t.Errorf("Introspect = %s to a caller that may not know why, want %s", got, inactive)
			}
		})
	}
	if n := h.replay.Len(); n != 0 {
		t.Errorf("%d of them were spent, want none", n)
	}
	t.Run("a token without a key", func(t *testing.T) {
		token := h.issue(t, jose.TypeAccessToken, alice(service))
		v, err := h.Introspect(t.Context(), asker, introspect.Question{Token: token, Shown: h.proof(t, func(p *dpop.ProofParams, _ *introspect.Shown) { p.AccessToken = token })})
		if err != nil || v.Active || v.Reason != introspect.InvalidProof {
			t.Errorf("Introspect = %+v, %v, want inactive", v, err)
		}
	})
	t.Run("a token that the caller does not see", func(t *testing.T) {
		stranger := asker
		stranger.Domains = []string{"example.org"}
		if got := h.about(t, stranger, h.proof(t, nil)); got != inactive || h.replay.Len() != 0 {
			t.Errorf("Introspect = %s, %d spent, want %s and none", got, h.replay.Len(), inactive)
		}
	})
}

// What was shown must be for the caller, whatever token it is about.
func TestHolderOfAnotherCaller(t *testing.T) {
	h, _ := newHolding(t, 0)
	at := func(url string) introspect.Shown { return introspect.Shown{Proof: "x", Method: "GET", URL: url} }
	to := func(audience string) introspect.Shown {
		return introspect.Shown{Presentation: "x", Audience: audience, Nonce: "n"}
	}
	for name, test := range map[string]struct {
		shown introspect.Shown
		want  error
	}{
		"another host":               {at("https://else.example.net/v1/rooms"), introspect.ErrNotItsURL},
		"a longer name":              {at("https://rooms.example.net/v10"), introspect.ErrNotItsURL},
		"above it":                   {at("https://rooms.example.net/"), introspect.ErrNotItsURL},
		"out of it":                  {at("https://rooms.example.net/v1/../v2/rooms"), introspect.ErrNotItsURL},
		"out of it, encoded":         {at("https://rooms.example.net/v1/%2e%2E/v2"), introspect.ErrNotItsURL},
		"http":                       {at("http://rooms.example.net/v1/rooms"), introspect.ErrNotItsURL},
		"another port":               {at("https://rooms.example.net:8443/v1/rooms"), introspect.ErrNotItsURL},
		"as user information":        {at("https://rooms.example.net@else.example.net/v1/rooms"), introspect.ErrNotItsURL},
		"no URL":                     {at("im:rooms.example"), introspect.ErrNotItsURL},
		"another domain":             {to("im:example.org"), introspect.ErrNotItsName},
		"a device of another domain": {to("im:u1/1f@example.org"), introspect.ErrNotItsName},
		"a URL of another":           {to("https://else.example.net/v1"), introspect.ErrNotItsName},
		"no name":                    {to("example.com"), introspect.ErrNotItsName},
		"a name that goes on":        {to("im:example.com.example.org"), introspect.ErrNotItsName},
	} {
		for _, token := range []string{h.token, "never-issued"} {
			if v, err := h.Introspect(t.Context(), asker, introspect.Question{Token: token, Shown: test.shown}); !errors.Is(err, test.want) {
				t.Errorf("%s: Introspect = %+v, %v, want %v", name, v, err, test.want)
			}
		}
	}
}

// What was shown counts once for each owner of callers, however many of its callers ask at once. Nobody can use it up for another.
func TestHolderOnce(t *testing.T) {
	h, _ := newHolding(t, 0)
	second, another := asker, asker
	second.Name, second.Owner = "rooms-2", "rooms"
	another.Name = "another"
	for _, shown := range []introspect.Shown{h.proof(t, nil), h.presentation(t, nil)} {
		var wg sync.WaitGroup
		var mu sync.Mutex
		verified := make(map[string]int)
		for n := range 16 {
			caller := []introspect.Caller{asker, second, another, asker}[n%4]
			wg.Go(func() {
				v, err := h.Introspect(context.Background(), caller, introspect.Question{Token: h.token, Shown: shown})
				mu.Lock()
				defer mu.Unlock()
				switch owner := map[bool]string{true: "another", false: "rooms"}[caller.Name == "another"]; {
				case err != nil:
					t.Errorf("Introspect = %v", err)
				case v.Holder == introspect.Verified:
					verified[owner]++
				case v.Reason != introspect.InvalidProof:
					t.Errorf("Introspect = %+v, want verified or refused", v)
				}
			})
		}
		wg.Wait()
		if verified["rooms"] != 1 || verified["another"] != 1 {
			t.Errorf("verified %v, want once for each owner", verified)
		}
	}
}

// What cannot be known is no refusal.
func TestHolderUnknown(t *testing.T) {
	h, broken := newHolding(t, 0)
	ask := func(s introspect.Shown) (introspect.Verdict, error) {
		return h.Introspect(t.Context(), asker, introspect.Question{Token: h.token, Shown: s})
	}
	broken.err = errAway
	for _, shown := range []introspect.Shown{h.proof(t, nil), h.presentation(t, nil)} {
		if v, err := ask(shown); !errors.Is(err, errAway) {
			t.Errorf("Introspect = %+v, %v, want %v", v, err, errAway)
		}
	}
	broken.err = nil
	// A store that is as young as the proof may have forgotten it.
	young, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Now: func() time.Time { return h.now }})
	if err != nil {
		t.Fatal(err)
	}
	broken.Replay = young
	for _, shown := range []introspect.Shown{h.proof(t, nil), h.presentation(t, nil)} {
		if v, err := ask(shown); err == nil {
			t.Errorf("Introspect = %+v with a store that has just begun, want an error", v)
		}
	}
	h.now = h.now.Add(76 * time.Second)
	if v, err := ask(h.proof(t, nil)); err != nil || v.Holder != introspect.Verified {
		t.Errorf("Introspect = %+v, %v later, want verified", v, err)
	}
	if v, err := newIssuing(t, 0).Introspect(t.Context(), asker, introspect.Question{Token: "x", Shown: h.proof(t, nil)}); err != nil || v.Active {
		t.Errorf("Introspect = %+v, %v about no token, want inactive", v, err)
	}
}

// An owner that fills the store is refused, and others are not.
func TestHolderFull(t *testing.T) {
	h, _ := newHolding(t, 8)
	var full error
	for n := range 20 {
		caller := asker
		caller.Name, caller.Owner = fmt.Sprint("user ", n), "https://id.flood.example" // any number of users of one issuer
		if _, full = h.Introspect(t.Context(), caller, introspect.Question{Token: h.token, Shown: h.proof(t, nil)}); full != nil {
			break
		}
	}
	if !errors.Is(full, dpop.ErrReplayFull) {
		t.Fatalf("Introspect = %v for an owner that asks very often, want %v", full, dpop.ErrReplayFull)
	}
	if got := h.about(t, asker, h.proof(t, nil)); !strings.Contains(got, `"verified"`) {
		t.Errorf("Introspect = %s for another owner, want verified", got)
	}
}
