package keys

import (
	"context"
	"fmt"
	"time"
)

// awaitGap is the least time between two reads for keys that are not known. Any client can write a token that names such a key.
const awaitGap = 20 * time.Millisecond

// Await returns when the ring would know the key kid if it was made before the call, also by another node: at once if the ring
// has a row of it, revoked ones included. Otherwise it waits for a read of the store that begins after the call; all callers
// that wait share one. What [Ring.Public] does not find after that is no key of the issuer. The error means that the store does not
// answer, so that it is not known.
func (r *Ring) Await(ctx context.Context, kid string) error {
	if r.state.Load().find(kid) != nil {
		return nil
	}
	before := r.reads.Load()
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	for {
		wait, err := r.await(ctx, before)
		if err != nil {
			return fmt.Errorf("keys: read the signing keys: %w", err)
		}
		if wait <= 0 {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("keys: read the signing keys: %w", ctx.Err())
		}
	}
}

// await reads the keys unless a read that began after the number before has succeeded. It returns how long to wait if the last such read
// is too short ago.
func (r *Ring) await(ctx context.Context, before uint64) (wait time.Duration, err error) {
	if err := r.lock(ctx); err != nil {
		return 0, err
	}
	defer r.unlock()
	if r.done.Load() > before {
		return 0, nil
	}
	if since := time.Since(r.awaited); since < awaitGap {
		return awaitGap - since, nil
	}
	r.awaited = time.Now()
	return 0, r.readRows(ctx)
}
