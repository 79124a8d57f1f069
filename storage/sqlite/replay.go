package sqlite

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

// ReplayOptions configures a [Replay].
type ReplayOptions struct {
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand names epochs. Nil means [rand.Reader].
	Rand io.Reader
}

// A Replay stores spent proofs in the database of a [Store] and implements [dpop.Replay]. They survive a restart, so that no client
// needs a new nonce after it. Each spent proof is one durable write; concurrent ones share it.
//
// The epoch is a row beside them. It changes when the database is new, when the clock was set back behind proofs that were
// forgotten, with each opening under [Options.RelaxedDurability], and by [Replay.Forget]. The disk limits how many proofs are
// stored: if it is full, that is an error, never [dpop.ErrReplayFull].
type Replay struct {
	store *Store
	now   func() time.Time
	rand  io.Reader
	swept atomic.Int64 // the second of the last sweep
}

var _ dpop.Replay = (*Replay)(nil)

// Replay returns the store of spent proofs in this database. All of them share the same proofs.
func (s *Store) Replay(o ReplayOptions) *Replay {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return &Replay{store: s, now: o.Now, rand: o.Rand}
}

var (
	selectEpoch = statement("SELECT id, birth, horizon FROM replay_epoch")
	upsertEpoch = statement("INSERT INTO replay_epoch (n, id, birth, horizon) VALUES (1, ?1, ?2, 0) ON CONFLICT (n) " +
		"DO UPDATE SET id = excluded.id, birth = excluded.birth, horizon = excluded.horizon")
	deleteEpoch   = statement("DELETE FROM replay_epoch")
	updateHorizon = statement("UPDATE replay_epoch SET horizon = max(horizon, ?)")
	insertReplay  = statement("INSERT INTO replays (key, expires) VALUES (?, ?)")
	// A sweep is bounded, so that other updates do not wait long. The DELETE of SQLite has no LIMIT.
	sweepReplays = statement("DELETE FROM replays WHERE key IN " +
		"(SELECT key FROM replays WHERE expires <= ? ORDER BY expires LIMIT 10000)")
)

// Epoch returns the current epoch. It begins one if there is none.
func (r *Replay) Epoch(ctx context.Context) (dpop.Epoch, error) {
	if e := r.store.epoch.Load(); e != nil {
		return *e, nil
	}
	var e dpop.Epoch
	err := r.update(ctx, func(ctx context.Context, t *tx) (err error) {
		e, _, err = r.current(ctx, t)
		return err
	})
	return e, err
}

// Spend records key, see [dpop.Replay]; source does not matter. A proof whose `until` has passed need not be stored, and is from a
// stale epoch.
func (r *Replay) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, _ netip.Addr) error {
	var outcome error
	err := r.update(ctx, func(ctx context.Context, t *tx) error {
		outcome = nil
		now, expires := r.now().Unix(), until.Add(time.Second-1).Unix()
		current, horizon, err := r.current(ctx, t)
		switch {
		case err != nil:
			return err
		case current != e || expires <= now:
			outcome = dpop.ErrStaleEpoch
			return nil
		case expires <= horizon: // forgotten already: the clock went back
			outcome = dpop.ErrStaleEpoch
			_, err := r.begin(ctx, t)
			return err
		}
		switch err := t.insert(ctx, insertReplay, []any{key[:], expires}); err {
		case nil:
			return r.sweep(ctx, t, now)
		case storage.ErrConflict:
			outcome = dpop.ErrReplayed
			return nil
		default:
			return err
		}
	})
	if err != nil {
		return err
	}
	return outcome
}

// Forget begins a new epoch, for a database that was restored from a backup and lacks the proofs that were spent since.
func (r *Replay) Forget(ctx context.Context) error {
	return r.update(ctx, func(ctx context.Context, t *tx) error {
		_, err := r.begin(ctx, t)
		return err
	})
}

// update runs fn in the writer, where nothing else runs.
func (r *Replay) update(ctx context.Context, fn func(ctx context.Context, t *tx) error) error {
	err := r.store.Update(ctx, func(ctx context.Context, t storage.Tx) error { return fn(ctx, t.(*tx)) })
	if err != nil {
		r.store.epoch.Store(nil) // who knows what is there
		return fmt.Errorf("sqlite: replay: %w", err)
	}
	return nil
}

// current returns the epoch and the horizon. It begins an epoch if there is none.
func (r *Replay) current(ctx context.Context, t *tx) (e dpop.Epoch, horizon int64, err error) {
	var id []byte
	err = t.row(ctx, selectEpoch, []any{&id, &e.Birth, &horizon})
	if err == storage.ErrNotFound {
		e, err = r.begin(ctx, t)
		return e, 0, err
	}
	if err == nil && copy(e.ID[:], id) != len(e.ID) {
		err = fmt.Errorf("an epoch of %d bytes", len(id))
	}
	if err == nil {
		r.store.epoch.Store(&e)
	}
	return e, horizon, err
}

// begin begins a new epoch. The proofs of the previous one are swept when they expire.
func (r *Replay) begin(ctx context.Context, t *tx) (dpop.Epoch, error) {
	var id [16]byte
	if _, err := io.ReadFull(r.rand, id[:]); err != nil {
		return dpop.Epoch{}, fmt.Errorf("name an epoch: %w", err)
	}
	// The clock may have been set back: the epoch is born no earlier than the one before, nor than the last sweep.
	var last dpop.Epoch
	var lastID []byte
	var horizon int64
	if err := t.row(ctx, selectEpoch, []any{&lastID, &last.Birth, &horizon}); err != nil && err != storage.ErrNotFound {
		return dpop.Epoch{}, err
	}
	e := dpop.NewEpoch(id, r.now())
	e.Birth = max(e.Birth, last.Birth, horizon)
	if _, err := t.exec(ctx, upsertEpoch, id[:], e.Birth); err != nil {
		return dpop.Epoch{}, err
	}
	r.store.epoch.Store(&e)
	return e, nil
}

// sweep removes expired proofs, at most once a second.
func (r *Replay) sweep(ctx context.Context, t *tx, now int64) error {
	if r.swept.Swap(now) == now {
		return nil
	}
	n, err := t.exec(ctx, sweepReplays, now)
	if err == nil && n > 0 {
		_, err = t.exec(ctx, updateHorizon, now)
	}
	return err
}
