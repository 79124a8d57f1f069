package keys_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imidentity/issuer/storage/storagetest"
)

// A node that is asked about a key which another one has just made reads the keys. However many ask about keys that there are not, they
// share a few reads, and an outage is told.
func TestAwait(t *testing.T) {
	var reads atomic.Int32
	var down atomic.Bool
	outage := errors.New("outage")
	database := openStore(t)
	store := storagetest.Faulty{Store: database, Fail: func(op string) error {
		if op == "SigningKeys" {
			reads.Add(1)
			if down.Load() {
				return outage
			}
		}
		return nil
	}}
	one, two := openRing(t, database, start), openRing(t, store, start)
	next, _, err := one.Rotate(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := two.Public(next.KID); ok {
		t.Fatal("the other node knows the key already")
	}
	if err := two.Await(t.Context(), next.KID); err != nil {
		t.Fatalf("Await = %v, want nil", err)
	}
	if _, _, ok := two.Public(next.KID); !ok {
		t.Error("after Await, the key of the other node is not known")
	}

	reads.Store(0)
	if err := two.Await(t.Context(), next.KID); err != nil || reads.Load() != 0 {
		t.Errorf("Await of a known key = %v with %d reads, want nil without", err, reads.Load())
	}
	const callers = 64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			if err := two.Await(t.Context(), "nobody"); err != nil {
				t.Errorf("Await of no key = %v, want nil", err)
			}
		})
	}
	all.Wait()
	if n := reads.Load(); n == 0 || n > callers/2 {
		t.Errorf("%d callers that wait take %d reads, want a few", callers, n)
	}

	down.Store(true)
	if err := two.Await(t.Context(), "nobody"); !errors.Is(err, outage) {
		t.Errorf("Await without a store = %v, want %v", err, outage)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := two.Await(ended, "nobody"); err == nil {
		t.Error("Await after the end of its context = nil, want an error")
	}

	if _, _, err := one.Revoke(t.Context(), next.KID, "leaked"); err != nil {
		t.Fatal(err)
	}
	down.Store(false)
	if err := two.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads.Store(0)
	if err := two.Await(t.Context(), next.KID); err != nil || reads.Load() != 0 {
		t.Errorf("Await of a revoked key = %v with %d reads, want nil without", err, reads.Load())
	}
}
