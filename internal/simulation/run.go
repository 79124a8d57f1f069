// Package simulation runs three nodes, their database, the network and some clients in one process, on the virtual time of
// [testing/synctest]. A seed decides everything: which task runs next, what is lost or late, which commit fails, which node crashes. The
// packages that decide about tokens are those of the program; the database is a [Store] that promises what [storage.Store] does and
// nothing more. docs/reliability.md says what is simulated and what must stay true.
//
// [Run] simulates one seed. The same seed has the same events in each run. A [Broken] fault shows that a broken promise is found.
package simulation

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing/synctest"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/keys"
)

// A Result is what a seed came to.
type Result struct {
	// Err is the first promise that was broken; nil if all were kept.
	Err error
	// Sum is a digest of all events, in their order.
	Sum    uint64
	Events []string // nil unless they were asked for
	Counts Counts
}

// signers are the keys of devices. They are made once: making them costs more than using them.
var signers = sync.OnceValue(func() (list [40]*dpop.Signer) {
	for i := range list {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err == nil {
			list[i], err = dpop.NewSigner(key, "")
		}
		if err != nil {
			panic(err) // it has no reason to fail
		}
	}
	return list
})

// newKey gives the device a key that no device had before.
func (d *device) newKey() {
	d.signer = signers()[d.world.nextKey%len(signers())]
	d.world.nextKey++
}

// The size of a simulation.
const (
	nodes    = 3
	devices  = 4
	things   = 9 // that each client does
	troubles = 5
	maxSteps = 20000
)

// Run runs the simulation of a seed in the bubble of the caller, with a fault on purpose unless that is [Sound]. It returns when the
// simulation has ended, and so have all its goroutines.
func Run(ctx context.Context, seed uint64, broken Broken, keepEvents bool) Result {
	ctx, cancel := context.WithCancel(ctx)
	s := newScheduler(seed, keepEvents)
	defer func() {
		close(s.over) // the tasks at a gate end there
		synctest.Wait()
		cancel()
	}()
	w := &world{
		scheduler: s, ctx: ctx, broken: broken, database: NewDatabase(broken), replays: &replays{broken: broken},
		sealer: keys.NewSealer([32]byte{1}), random: random{s.rng}, codes: make(map[string]int), proofs: make(map[string]int),
		keys: make(map[string]*end), removing: make(map[string]bool),
	}
	w.seen = w.database.current.Load()
	time.Sleep(w.between(0, 2*time.Minute)) // the nonces and the keys are at any point of their lives
	w.replays.empty(time.Now())
	w.operator = &node{world: w, name: "operator", up: true}
	for i := range nodes {
		n := &node{world: w, number: i, name: fmt.Sprintf("node %d", i+1)}
		w.nodes = append(w.nodes, n)
		w.later(0, "start "+n.name, func(ctx context.Context) {
			for n.start(ctx) != nil {
				if w.sleep(ctx, 100*time.Millisecond) != nil {
					return
				}
			}
		})
	}
	var all []*device
	perUser := 1 + w.rng.IntN(2)
	for i := range devices {
		d := &device{world: w, user: fmt.Sprintf("user%d", i/perUser)}
		d.newKey()
		all = append(all, d)
		w.later(50*time.Millisecond, fmt.Sprintf("device %d", i+1), func(ctx context.Context) { d.live(ctx, things) })
	}
	w.later(500*time.Millisecond, "trouble", func(ctx context.Context) { w.trouble(ctx, troubles) })
	w.until(func() bool { return w.working.Load() == 0 })

	// Everything works again. All that was promised holds on every node.
	w.calm = true
	w.later(3*time.Second, "the end", func(ctx context.Context) { w.settle(ctx, all) })
	w.until(func() bool { return w.working.Load() == 0 })
	w.did.Steps = s.steps
	return Result{Err: w.failure, Sum: s.sum, Events: s.trace, Counts: w.did}
}

// until lets tasks run until something is so, or a promise is broken.
func (w *world) until(ended func() bool) {
	for !ended() && w.failure == nil {
		w.step()
		w.check()
		if w.steps > maxSteps {
			w.violated("%d events, and no end", w.steps)
		}
	}
}

// settle has every device with a live session refresh it, and asks every node about tokens.
func (w *world) settle(ctx context.Context, all []*device) {
	for _, d := range all {
		if s := d.session; s != nil && !s.end.asked {
			if d.refresh(ctx, s); d.session == nil {
				w.violated("at the end, a device with a live session is logged out")
			}
		}
	}
	// Those that were ended, and the last ones.
	var tokens []*issued
	for i := len(w.tokens) - 1; i >= 0 && len(tokens) < 8; i-- {
		if t := w.tokens[i]; len(w.tokens)-i < 4 || t.asked(w) {
			tokens = append(tokens, t)
		}
	}
	for _, n := range w.nodes {
		i := &instance{n, n.run}
		for _, t := range tokens {
			if err := w.ask(ctx, i, t); err != nil {
				w.violated("at the end, %s does not know: %w", n.name, err)
			}
		}
		// A node that has read nothing yet publishes the same.
		fresh, err := n.newLists()
		if err == nil {
			err = errors.Join(i.readLists(ctx, n.lists), i.readLists(ctx, fresh))
		}
		if err != nil {
			w.violated("at the end, %s publishes no list: %w", n.name, err)
		}
	}
}
