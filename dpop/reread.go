package dpop

import (
	"context"
	"fmt"
	"time"
)

// A Cached is a [Replay] whose Epoch returns what it remembers, so that it does not notice that another node has begun a new epoch, or that
// the store was emptied, before it spends a proof.
type Cached interface {
	Replay
	// Reread asks the store for the epoch, as Epoch does if it remembers none, and remembers the answer.
	Reread(ctx context.Context) (Epoch, error)
}

// rereadEvery is how often a [Verifier] asks a [Cached] store at most: any client can send nonces that it does not know.
const rereadEvery = 20 * time.Millisecond

// A rereader asks a [Cached] store for the epoch.
type rereader struct {
	turn chan struct{} // has a value while a request asks
	last time.Time     // when one did; guarded by turn
}

// reread returns the epoch of the store, under which a nonce may be good that is not good under the one that was remembered. Without this,
// a client whose requests go to two nodes in turn, of which one remembers an old epoch, would get from each a nonce that the other refuses.
func (v *Verifier) reread(ctx context.Context, remembered Epoch) (Epoch, error) {
	store, ok := v.cfg.Replay.(Cached)
	if !ok {
		return remembered, nil
	}
	select {
	case v.rereader.turn <- struct{}{}:
	case <-ctx.Done():
		return Epoch{}, ctx.Err()
	}
	defer func() { <-v.rereader.turn }()
	e, err := store.Epoch(ctx) // who had the turn before may have asked
	if err == nil && e == remembered && v.rereader.due() {
		e, err = store.Reread(ctx)
	}
	if err != nil {
		return Epoch{}, fmt.Errorf("dpop: replay store: %w", err)
	}
	return e, nil
}

// due reports whether the store may be asked again, and counts it as asked if so.
func (r *rereader) due() bool {
	now := time.Now() // not the clock of the server, which may be set
	if now.Sub(r.last) < rereadEvery {
		return false
	}
	r.last = now
	return true
}
