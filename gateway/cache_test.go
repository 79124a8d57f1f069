package gateway_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/trust"
)

// TestKeyLeaves holds that a kept token falls when its key leaves the key set, or another key takes its kid.
func TestKeyLeaves(t *testing.T) {
	w := newWorld(t)
	token := w.a.issue(t, w.alice)
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonAllowed)
	w.a.change(func() { w.a.keys["k2"] = w.a.keys["k1"]; delete(w.a.keys, "k1") })
	w.clock.advance(trust.DefaultFresh)
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonUnknownKey)
	tokens, _, _ := w.Kept()
	if tokens != 0 {
		t.Errorf("%d tokens are kept, want none", tokens)
	}

	w = newWorld(t)
	token = w.a.issue(t, w.alice)
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonAllowed)
	w.a.change(func() { w.a.keys["k1"] = newKey(t) })
	w.clock.advance(trust.DefaultFresh)
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonBadSignature)
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), nil), gateway.ReasonAllowed)
}

// TestSuspended holds that the suspension of a peer takes effect at once, for tokens that were seen and for new ones.
func TestSuspended(t *testing.T) {
	w := newWorld(t)
	bob, alice := w.b.issue(t, w.bob), w.a.issue(t, w.alice)
	want(t, w.ask(t, w.bob, bob, nil), gateway.ReasonAllowed)
	if err := w.table.Suspend("b.example", true); err != nil {
		t.Fatal(err)
	}
	want(t, w.ask(t, w.bob, bob, nil), gateway.ReasonSuspended)
	want(t, w.ask(t, w.bob, w.b.issue(t, w.bob), nil), gateway.ReasonSuspended)
	set := w.b.serviceClaims(w.bob.JKT())
	service := w.b.sign(t, jose.TypeAccessToken, "k1", set.AppendJSON(nil))
	want(t, w.ask(t, w.bob, service, policy(t, gateway.PolicyConfig{Bots: true})), gateway.ReasonSuspended)
	want(t, w.ask(t, w.alice, alice, nil), gateway.ReasonAllowed)
	if err := w.table.Suspend("b.example", false); err != nil {
		t.Fatal(err)
	}
	want(t, w.ask(t, w.bob, bob, nil), gateway.ReasonAllowed)
}

// TestKeysUnavailable holds that an issuer that is down is never a refusal: at the start, for an hour, and for ever.
func TestKeysUnavailable(t *testing.T) {
	w := newWorld(t)
	w.a.change(func() { w.a.down = true })
	down := func(token string) {
		t.Helper()
		d := w.ask(t, w.alice, token, nil)
		want(t, d, gateway.ReasonNoKeys)
		if d.Status() != 503 || d.RetryAfter != 10*time.Second || d.Challenge != "" || d.Err == nil {
			t.Errorf("Decide = %+v, want 503 with Retry-After", d)
		}
	}
	down(w.a.issue(t, w.alice))
	w.clock.advance(10 * time.Second)
	down(w.a.issue(t, w.alice))
	w.a.change(func() { w.a.down = false })
	w.clock.advance(10 * time.Second)
	long := w.a.issue(t, w.alice, func(s *claims.Set) { s.Expires = s.IssuedAt.Add(24 * time.Hour) })
	want(t, w.ask(t, w.alice, long, nil), gateway.ReasonAllowed)

	w.a.change(func() { w.a.down = true })
	w.clock.advance(trust.DefaultStale - time.Second) // the keys from before are used for an hour
	want(t, w.ask(t, w.alice, long, nil), gateway.ReasonAllowed)
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), nil), gateway.ReasonAllowed)
	for range 3 {
		w.clock.advance(time.Hour)
		down(long)
		down(w.a.issue(t, w.alice))
	}
	want(t, w.ask(t, w.bob, w.b.issue(t, w.bob), nil), gateway.ReasonAllowed)
	w.a.change(func() { w.a.down = false })
	w.clock.advance(10 * time.Second)
	d := w.ask(t, w.alice, long, nil)
	want(t, d, gateway.ReasonAllowed)
	if !d.Seen {
		t.Error("Seen = false: the outage dropped the token")
	}
}

// TestSlowKeys holds that a decision ends with the context of its request while the issuer is slow, and that the proof can be used again.
func TestSlowKeys(t *testing.T) {
	w := newWorld(t)
	w.a.reached, w.a.hold = make(chan bool, 1), make(chan bool)
	r := w.request(t, w.alice, "GET", w.a.issue(t, w.alice))
	ctx, cancel := context.WithCancel(t.Context())
	decided := make(chan gateway.Decision)
	go func() { decided <- w.Decide(ctx, r, nil) }()
	<-w.a.reached
	cancel()
	d := <-decided
	want(t, d, gateway.ReasonNoKeys)
	if d.Status() != 503 || !errors.Is(d.Err, context.Canceled) {
		t.Errorf("Decide = %+v, want 503 because of the context", d)
	}
	close(w.a.hold)
	want(t, w.Decide(t.Context(), r, nil), gateway.ReasonAllowed)
}

// TestCacheBounds holds the cache to its bounds in entries and bytes, and what it counts to what tokens take.
func TestCacheBounds(t *testing.T) {
	issue := func(w *world, n int) (tokens []string) {
		for range n {
			tokens = append(tokens, w.a.issue(t, w.alice))
		}
		return tokens
	}
	w := newWorld(t, func(c *gateway.Config) { c.CacheEntries = 10 })
	for _, token := range issue(w, 40) {
		want(t, w.ask(t, w.alice, token, nil), gateway.ReasonAllowed)
		d := w.ask(t, w.alice, token, nil)
		if tokens, _, _ := w.Kept(); tokens > 10 || tokens < 1 || !d.Seen {
			t.Fatalf("%d tokens are kept (the last: %v), want at most 10, and the last", tokens, d.Seen)
		}
	}
	w = newWorld(t, func(c *gateway.Config) { c.CacheBytes = 20 << 10 })
	for _, token := range issue(w, 40) {
		want(t, w.ask(t, w.alice, token, nil), gateway.ReasonAllowed)
		if tokens, _, bytes := w.Kept(); bytes > 20<<10 || tokens < 1 {
			t.Fatalf("%d tokens with %d bytes are kept, want at most 20 kB", tokens, bytes)
		}
	}
	for _, change := range []func(*gateway.Config){
		func(c *gateway.Config) { c.CacheEntries = -1 }, func(c *gateway.Config) { c.CacheBytes = -1 },
	} {
		w = newWorld(t, change)
		token := w.a.issue(t, w.alice)
		want(t, w.ask(t, w.alice, token, nil), gateway.ReasonAllowed)
		if d := w.ask(t, w.alice, token, nil); d.Seen || d.Reason != gateway.ReasonAllowed {
			t.Errorf("Decide = %+v, want one without a cache", d)
		}
	}

	w = newWorld(t)
	const n = 2000
	tokens := issue(w, n)
	requests := make([]gateway.Request, n)
	for i, token := range tokens {
		requests[i] = w.request(t, w.alice, "GET", token)
	}
	before := heap()
	for i := range requests {
		if d := w.Decide(t.Context(), requests[i], nil); d.Reason != gateway.ReasonAllowed {
			want(t, d, gateway.ReasonAllowed)
		}
	}
	took := heap() - before
	_, _, counted := w.Kept()
	runtime.KeepAlive(requests)
	if took > int64(counted) {
		t.Errorf("%d tokens take %d bytes, and %d are counted", n, took, counted)
	}
	w.Forget()
	if tokens, devices, _ := w.Kept(); tokens != 0 || devices != 0 {
		t.Errorf("%d tokens and %d devices are kept after Forget", tokens, devices)
	}
}

// heap returns how many bytes are in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first one found in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAllocations bounds the allocations of a decision about a token that was seen, and about a new one.
func TestAllocations(t *testing.T) {
	w := newWorld(t)
	const runs = 100
	token := w.a.issue(t, w.alice)
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonAllowed)
	for name, test := range map[string]struct {
		token func() string
		most  float64
	}{
		"seen before": {func() string { return token }, 45},
		"first sight": {func() string { return w.a.issue(t, w.alice) }, 90},
	} {
		var requests []gateway.Request
		for range runs + 1 { // AllocsPerRun has one run beside those that it counts
			requests = append(requests, w.request(t, w.alice, "GET", test.token()))
		}
		n := 0
		got := testing.AllocsPerRun(runs, func() {
			if d := w.Decide(t.Context(), requests[n], nil); d.Outcome != gateway.Allowed {
				t.Fatal(d.Explanation)
			}
			n++
		})
		if got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", name, got, test.most)
		}
	}
}

// TestReplayRaced holds that of all verifiers that share a store, one lets a proof pass, once.
func TestReplayRaced(t *testing.T) {
	w := newProviders(t)
	secret := [32]byte{1}
	replay, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	var verifiers []*gateway.Verifier
	for range 2 {
		nonces, err := dpop.NewNonces([][32]byte{secret}, w.clock.now)
		if err != nil {
			t.Fatal(err)
		}
		proofs, err := dpop.NewVerifier(dpop.Config{Nonces: nonces, Replay: replay, Now: w.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		w.use(t, gateway.Config{Trust: w.table, Audience: []string{"im:a.example"}, Proofs: proofs, Now: w.clock.now, Development: true})
		verifiers = append(verifiers, w.Verifier)
	}
	for range 20 {
		r := w.request(t, w.alice, "POST", w.a.issue(t, w.alice))
		var allowed, replayed atomic.Int32
		var all sync.WaitGroup
		begin := make(chan struct{})
		for i := range 16 {
			all.Go(func() {
				<-begin
				switch d := verifiers[i%2].Decide(t.Context(), r, nil); d.Reason {
				case gateway.ReasonAllowed:
					allowed.Add(1)
				case gateway.ReasonReplayed:
					replayed.Add(1)
				default:
					want(t, d, gateway.ReasonReplayed)
				}
			})
		}
		close(begin)
		all.Wait()
		if allowed.Load() != 1 || replayed.Load() != 15 {
			t.Fatalf("%d allowed and %d replayed, want 1 and 15", allowed.Load(), replayed.Load())
		}
	}
}

// TestConcurrent has many requests with more tokens than the cache keeps, while tokens are forgotten and a peer is suspended: after each
// change the next request is decided by it.
func TestConcurrent(t *testing.T) {
	w := newWorld(t, func(c *gateway.Config) { c.CacheEntries = 4 })
	var tokens [8]string
	for i := range tokens {
		tokens[i] = w.b.issue(t, w.bob)
	}
	var allowed, refused atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 40 {
				switch d := w.ask(t, w.bob, tokens[(i+n)%len(tokens)], nil); d.Reason {
				case gateway.ReasonAllowed:
					allowed.Add(1)
				case gateway.ReasonSuspended:
					refused.Add(1)
				default:
					want(t, d, gateway.ReasonAllowed)
				}
			}
		})
	}
	all.Go(func() {
		for range 20 {
			if err := w.table.Suspend("b.example", true); err != nil {
				t.Error(err)
			}
			want(t, w.ask(t, w.bob, tokens[0], nil), gateway.ReasonSuspended)
			if err := w.table.Suspend("b.example", false); err != nil {
				t.Error(err)
			}
			want(t, w.ask(t, w.bob, tokens[0], nil), gateway.ReasonAllowed)
			w.Forget()
		}
	})
	all.Wait()
	if allowed.Load()+refused.Load() != 8*40 {
		t.Errorf("%d allowed and %d refused, want all requests decided", allowed.Load(), refused.Load())
	}
}
