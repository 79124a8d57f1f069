package simulation

import (
	"context"
	"time"

	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
)

// maxSkew is by how much the clocks of two nodes differ, at most.
const maxSkew = time.Minute

// A step of a clock is how far it was set, and when.
type clockStep struct {
	at time.Time
	by time.Duration
}

// set sets the clock of the node.
func (n *node) set(offset time.Duration) {
	n.steps = append(n.steps, clockStep{time.Now(), offset - time.Duration(n.offset.Swap(int64(offset)))})
}

// setBack returns by how much the clock of the node was set back since a time.
func (n *node) setBack(since time.Time) (sum time.Duration) {
	for _, s := range n.steps {
		if s.by < 0 && !s.at.Before(since) {
			sum -= s.by
		}
	}
	return sum
}

// trouble makes some things go wrong, one after another. Each of them ends by itself.
func (w *world) trouble(ctx context.Context, things int) {
	for range things {
		if w.sleep(ctx, w.between(200*time.Millisecond, 3*time.Second)) != nil {
			return
		}
		n := w.anyNode()
		switch w.rng.IntN(12) {
		case 0, 1:
			w.crash(ctx, n)
		case 2, 3:
			if !n.cut {
				w.log(ctx, "%s is cut from the database", n.name)
				n.cut = true
				w.later(w.between(200*time.Millisecond, 6*time.Second), "heal "+n.name, func(context.Context) { n.cut = false })
			}
		case 4:
			w.outage(ctx)
		case 5:
			w.failover(ctx)
		case 6:
			w.log(ctx, "the spent proofs are lost")
			w.replays.empty(time.Now())
		case 7:
			offset := w.between(-3*time.Second, 3*time.Second)
			if w.rng.IntN(2) == 0 {
				offset = w.between(-maxSkew/2, maxSkew/2)
			}
			w.log(ctx, "the clock of %s is off by %v", n.name, offset)
			n.set(offset)
		case 8, 11:
			w.revokeKey(ctx)
		case 9, 10:
			w.log(ctx, "many sign out")
			w.rush = time.Now().Add(2 * time.Second)
		}
	}
}

// later does something after a time.
func (w *world) later(d time.Duration, what string, do func(ctx context.Context)) {
	w.working.Add(1)
	w.spawn(w.ctx, what, nil, func(ctx context.Context) {
		defer func() { w.working.Add(-1) }()
		if w.sleep(ctx, d) == nil {
			do(ctx)
		}
	})
}

// crash ends a node at once, and starts it again after a time.
func (w *world) crash(ctx context.Context, n *node) {
	if !n.up || n.stop == nil {
		return
	}
	w.log(ctx, "%s crashes", n.name)
	w.did.Crashes++
	n.crash()
	w.later(w.between(100*time.Millisecond, 4*time.Second), "start "+n.name, func(ctx context.Context) {
		for n.start(ctx) != nil {
			if w.sleep(ctx, 500*time.Millisecond) != nil {
				return
			}
		}
	})
}

// outage stops the database for a time.
func (w *world) outage(ctx context.Context) {
	if w.down {
		return
	}
	w.log(ctx, "the database stops")
	w.down = true
	w.database.Failover()
	w.later(w.between(100*time.Millisecond, 3*time.Second), "start the database", func(context.Context) { w.down = false })
}

// failover promotes a standby, which has what was acknowledged and none of the spent proofs.
func (w *world) failover(ctx context.Context) {
	w.log(ctx, "a standby is promoted")
	w.did.Failovers++
	w.database.Failover()
	w.replays.empty(time.Now())
	if w.broken == LosesCommits {
		w.database.current.Store(w.database.last.Load())
	}
}

// revokeKey has the operator revoke the key that signs, by a program of its own. Another key signs at once.
func (w *world) revokeKey(ctx context.Context) {
	i := &instance{w.operator, w.operator.run}
	var store storage.Store = w.database.Open(i)
	ring, err := keys.OpenRing(ctx, store, w.sealer, keys.RingConfig{LongestLife: accessLife + 5*time.Minute, PublishAhead: publishAhead})
	if err != nil {
		return
	}
	kid, _, _ := ring.Signer()
	e := w.keys[kid]
	if e == nil {
		e = &end{}
		w.keys[kid] = e
	}
	e.asked = true
	_, _, err = ring.Revoke(ctx, kid, "leaked")
	w.log(ctx, "the key that signs is revoked: %s", outcome(err))
	if err == nil {
		e.done(nil)
	}
}
