package simulation

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// A replays is the store of spent proofs that the nodes share. It may lose its records, and begins a new epoch then.
type replays struct {
	broken Broken
	epoch  dpop.Epoch
	spent  map[[32]byte]time.Time // until when a proof is remembered
	number uint64
}

// empty loses the records.
func (r *replays) empty(now time.Time) {
	if r.spent = make(map[[32]byte]time.Time); r.broken == SameEpoch && r.number > 0 {
		return
	}
	r.number++
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], r.number)
	r.epoch = dpop.NewEpoch(id, now)
}

// A nodeReplay is a node's access to the spent proofs.
type nodeReplay struct {
	by   *instance
	seen atomic.Pointer[dpop.Epoch] // as the node saw it last
}

var _ dpop.Replay = (*nodeReplay)(nil)

// Epoch implements [dpop.Replay].
func (r *nodeReplay) Epoch(ctx context.Context) (dpop.Epoch, error) {
	if e := r.seen.Load(); e != nil {
		return *e, nil
	}
	if err := r.by.reach(ctx, "epoch"); err != nil {
		return dpop.Epoch{}, err
	}
	e := r.by.node.world.replays.epoch
	r.seen.Store(&e)
	return e, nil
}

// Spend implements [dpop.Replay].
func (r *nodeReplay) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, _ netip.Addr) error {
	if err := r.by.reach(ctx, "spend"); err != nil {
		return err
	}
	all := r.by.node.world.replays
	if e != all.epoch {
		current := all.epoch
		r.seen.Store(&current)
		return dpop.ErrStaleEpoch
	}
	if until, spent := all.spent[key]; spent && time.Now().Before(until) {
		return dpop.ErrReplayed
	}
	if all.broken == SpendsInTwoSteps {
		if err := r.by.reach(ctx, "spend, second step"); err != nil {
			return err
		}
	}
	all.spent[key] = until
	if r.by.node.world.chance(faultChance) {
		return errServer // it is spent, and the answer is lost
	}
	return nil
}
