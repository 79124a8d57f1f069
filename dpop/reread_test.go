package dpop_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// A node is the store as one of several nodes sees it: it remembers the epoch until it spends a proof.
type node struct {
	*swapStore
	remembered atomic.Pointer[dpop.Epoch]
	reread     atomic.Int32 // how often it asked the store
}

func (n *node) Epoch(ctx context.Context) (dpop.Epoch, error) {
	if e := n.remembered.Load(); e != nil {
		return *e, nil
	}
	return n.Reread(ctx)
}

func (n *node) Reread(ctx context.Context) (dpop.Epoch, error) {
	n.reread.Add(1)
	e, err := n.swapStore.Epoch(ctx)
	if err == nil {
		n.remembered.Store(&e)
	}
	return e, err
}

// newNode returns a server that shares the store of another one.
func newNode(t *testing.T, s *server) (*server, *node) {
	t.Helper()
	n := &node{swapStore: s.store}
	other := &server{clock: s.clock, nonces: s.nonces, store: s.store}
	var err error
	other.Verifier, err = dpop.NewVerifier(dpop.Config{Nonces: s.nonces, Replay: n, Now: s.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	return other, n
}

// TestNodesLearnEpoch holds that a node that remembers an old epoch accepts the nonces of a node that has seen the new one, so that a client
// whose requests go to both in turn is not sent from one to the other.
func TestNodesLearnEpoch(t *testing.T) {
	s := newServer(t, true)
	one, _ := newNode(t, s)
	two, _ := newNode(t, s)
	signer := newSigner(t, p256(t))
	old := one.make(t, signer, nil)
	for _, node := range []*server{one, two} {
		if _, err := node.check(old); err != nil {
			t.Fatalf("Check = %v", err)
		}
	}
	s.store.current.Store(newMemory(t, 0, s.clock.now))
	proof, err := one.check(old) // it does not know yet
	if err != nil {
		t.Fatalf("Check = %v", err)
	}
	wantRefused(t, "Spend", s.Spend(context.Background(), proof, netip.Addr{}), "nonce", dpop.ErrUseNonce)

	fresh := s.make(t, signer, nil)
	for name, node := range map[string]*server{"one": one, "two": two} {
		if p, err := node.check(fresh); err != nil {
			t.Errorf("Check of a nonce of the new epoch at %s = %v", name, err)
		} else if err := node.Spend(context.Background(), p, netip.Addr{}); err != nil && !errors.Is(err, dpop.ErrReplayed) {
			t.Errorf("Spend at %s = %v", name, err)
		}
		_, err := node.check(old)
		wantRefused(t, "Check of a nonce of the old epoch at "+name, err, "nonce", dpop.ErrUseNonce)
	}
}

// TestRereadBounded holds that any number of unknown nonces, sent at once, make a node ask the store a few times, and that a store that does
// not answer is no refusal.
func TestRereadBounded(t *testing.T) {
	s := newServer(t, true)
	one, n := newNode(t, s)
	signer := newSigner(t, p256(t))
	unknown := one.make(t, signer, func(p *dpop.ProofParams) { p.Nonce = "unknown" })
	before := n.reread.Load()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 250 {
				if _, err := one.check(unknown); !errors.Is(err, dpop.ErrUseNonce) {
					t.Errorf("Check = %v, want %v", err, dpop.ErrUseNonce)
				}
			}
		})
	}
	group.Wait()
	if asked := n.reread.Load() - before; asked < 1 || asked > 1900 {
		t.Errorf("2000 unknown nonces made a node ask %d times, want some", asked)
	}

	two, _ := newNode(t, s)
	unknown = two.make(t, signer, func(p *dpop.ProofParams) { p.Nonce = "unknown" })
	s.store.err = errors.New("away")
	if _, err := two.check(unknown); err == nil || errors.Is(err, dpop.ErrInvalidProof) {
		t.Errorf("Check while the store is away = %v, want an error that is no refusal", err)
	}
}
