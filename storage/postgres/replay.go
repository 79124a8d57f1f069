package postgres

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/imidentity/issuer/dpop"
)

// ReplayOptions configures a [Replay].
type ReplayOptions struct {
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand names epochs. Nil means [rand.Reader].
	Rand io.Reader
}

// A Replay stores spent proofs in the database of a [Store], for all nodes, and implements [dpop.Replay]. They survive a restart of the
// nodes and an orderly one of the server. Spending one takes one round trip and no fsync.
//
// The epoch is a row beside them, in an unlogged table as they are. It changes when the tables were emptied: by a crash of the server, the
// promotion of a standby, a restored backup or TRUNCATE; and when a clock was set back behind proofs that were forgotten. The disk limits
// how many proofs are stored: if it is full, that is an error, never [dpop.ErrReplayFull].
//
// Proofs are in partitions by the time at which they expire, which are emptied whole.
type Replay struct {
	pool  *pool
	now   func() time.Time
	rand  io.Reader
	epoch atomic.Pointer[dpop.Epoch] // that was seen last, nil if none was
	swept atomic.Int64               // the period of the last sweep

	sweeping atomic.Bool
}

var _ dpop.Cached = (*Replay)(nil)

// Replay returns the store of spent proofs in this database. All of them share the same proofs.
func (s *Store) Replay(o ReplayOptions) *Replay {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	return &Replay{pool: s.writers, now: o.Now, rand: o.Rand}
}

const (
	// Who spends a proof shares a lock, and who changes the epoch or forgets proofs has it alone. So the epoch that a statement sees is the
	// current one until its transaction has ended.
	lockReplay  = 3
	beginReplay = "BEGIN ISOLATION LEVEL READ COMMITTED"
	shareReplay = "SELECT pg_advisory_xact_lock_shared($1::integer, $2::integer)"

	selectEpoch = "SELECT id, birth, horizon FROM replay_epoch"
	// Partitions are by the time of expiry, and so is what the index of each refuses. If one proof came with two such times, as while the
	// settings of nodes differ, it would be in two partitions: so who spends it locks it, and then looks into all of them.
	lockProof    = "SELECT pg_advisory_xact_lock($1::bigint)"
	insertReplay = "INSERT INTO replays (key, expires) SELECT $1, $2 FROM replay_epoch WHERE id = $3 AND birth = $4 AND horizon < $2 " +
		"AND NOT EXISTS (SELECT 1 FROM replays WHERE key = $1) ON CONFLICT DO NOTHING"

	upsertEpoch = "WITH born AS (UPDATE replay_birth SET last = greatest(last, $2, coalesce((SELECT horizon FROM replay_epoch), 0)) " +
		"RETURNING last) INSERT INTO replay_epoch (n, id, birth, horizon) SELECT 1, $1, last, 0 FROM born ON CONFLICT (n) " +
		"DO UPDATE SET id = excluded.id, birth = excluded.birth, horizon = excluded.horizon RETURNING birth"

	// A sweep waits for those who spend at this moment, and others for it, so it gives up soon. It also gives up if a partition is read by
	// another transaction, as by a dump.
	boundSweep   = "SELECT set_config('lock_timeout', '200', true), set_config('issuer.sweeps', 'on', true)"
	raiseHorizon = "UPDATE replay_epoch SET horizon = $1 WHERE horizon < $1"
)

// The partitions of spent proofs are a ring: each holds those that expire in one period of ten minutes in every 40. Few partitions keep the
// look into all of them cheap.
const (
	periodSeconds = 600
	partitions    = 4
	// longestUntil is how many seconds before its expiry a proof can be stored, also by a clock that is ahead by three minutes: at that
	// time it is in none of the periods whose partition is emptied now. Proofs can be repeated for four minutes at most.
	longestUntil = 900
)

// sweepGrace is how long a proof is stored after it has expired by the clock of the node that sweeps: others may be behind.
const sweepGrace = 2 * time.Minute

// A state is the epoch that the database has, if any, and its horizon.
type state struct {
	found   bool
	epoch   dpop.Epoch
	horizon int64
}

func (s *state) scan(rows pgx.Rows) error {
	var id []byte
	if err := scan(rows, []any{&id, &s.epoch.Birth, &s.horizon}); err != nil {
		return err
	}
	if copy(s.epoch.ID[:], id) != len(s.epoch.ID) || len(id) != len(s.epoch.ID) {
		return fmt.Errorf("an epoch of %d bytes", len(id))
	}
	s.found = true
	return nil
}

// Epoch returns the current epoch, as this node saw it last. It begins one if there is none.
func (r *Replay) Epoch(ctx context.Context) (dpop.Epoch, error) {
	if e := r.epoch.Load(); e != nil {
		return *e, nil
	}
	return r.Reread(ctx)
}

// Reread returns the current epoch, as [dpop.Cached] says. It begins one if there is none.
func (r *Replay) Reread(ctx context.Context) (dpop.Epoch, error) {
	s, _, err := r.look(ctx, nil)
	if err == nil && !s.found {
		return r.begin(ctx, nil)
	}
	return s.epoch, err
}

// Spend records key, see [dpop.Replay]; source does not matter. A proof whose `until` has passed need not be stored, and is from a
// stale epoch.
func (r *Replay) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, _ netip.Addr) error {
	now, expires := r.now().Unix(), until.Add(time.Second-1).Unix()
	if expires <= now {
		return dpop.ErrStaleEpoch
	}
	proof := []any{key[:], expires, e.ID[:], e.Birth}
	if expires-now > longestUntil { // no proof of this program: it is compared with those that are stored, and not stored
		proof[1] = int64(0)
	}
	s, inserted, err := r.look(ctx, proof)
	switch {
	case err != nil:
		return err
	case !s.found:
		if _, err := r.begin(ctx, nil); err != nil {
			return err
		}
		return dpop.ErrStaleEpoch
	case s.epoch != e:
		return dpop.ErrStaleEpoch
	case expires <= s.horizon: // forgotten already: the clock went back
		if _, err := r.begin(ctx, &e); err != nil {
			return err
		}
		return dpop.ErrStaleEpoch
	case !inserted && expires-now > longestUntil:
		return r.compare(ctx, key, expires-now)
	case !inserted:
		return dpop.ErrReplayed
	}
	ended := r.now().Add(-sweepGrace).Unix() / periodSeconds // the periods before this one
	if r.swept.Load() == ended || !r.sweeping.CompareAndSwap(false, true) {
		return nil
	}
	defer r.sweeping.Store(false)
	if err := r.sweep(ctx, ended); err != nil {
		return err
	}
	r.swept.Store(ended)
	return nil
}

// compare returns [dpop.ErrReplayed] for a proof that is stored, and another error for one that cannot be stored for so long.
func (r *Replay) compare(ctx context.Context, key [32]byte, seconds int64) error {
	var stored bool
	err := r.transact(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM replays WHERE key = $1)", key[:]).Scan(&stored)
	})
	switch {
	case err != nil:
		return err
	case stored:
		return dpop.ErrReplayed
	}
	return fmt.Errorf("postgres: replay: a proof that can be repeated for %d s is not stored: the longest is %d s", seconds, longestUntil)
}

// look reads the epoch, and inserts a proof with the arguments of insertReplay unless they are nil, in one round trip.
func (r *Replay) look(ctx context.Context, proof []any) (s state, inserted bool, err error) {
	err = r.transact(ctx, func(ctx context.Context, c *pgx.Conn) (err error) {
		var batch pgx.Batch
		batch.Queue(beginReplay)
		batch.Queue(shareReplay, lockSpace, lockReplay)
		batch.Queue(selectEpoch)
		if proof != nil {
			batch.Queue(lockProof, int64(binary.BigEndian.Uint64(proof[0].([]byte))))
			batch.Queue(insertReplay, proof...)
		}
		batch.Queue("COMMIT")
		results := c.SendBatch(ctx, &batch)
		defer func() {
			if closed := results.Close(); err == nil {
				err = closed
			}
		}()
		for range 2 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		rows, err := results.Query()
		if err != nil {
			return err
		}
		if _, err := finish(rows, s.scan); err != nil {
			return err
		}
		if proof != nil {
			if _, err := results.Exec(); err != nil {
				return err
			}
			tag, err := results.Exec()
			if err != nil {
				return err
			}
			inserted = tag.RowsAffected() == 1
		}
		_, err = results.Exec()
		return err
	})
	if err != nil {
		r.epoch.Store(nil) // who knows what is there
		return s, false, err
	}
	r.seen(s)
	return s, inserted, nil
}

func (r *Replay) seen(s state) {
	if s.found {
		r.epoch.Store(&s.epoch)
	} else {
		r.epoch.Store(nil)
	}
}

// begin begins a new epoch, unless another node has done so: unless there is one, or another one than old if that is not nil. The proofs of
// the previous one are swept when they expire.
func (r *Replay) begin(ctx context.Context, old *dpop.Epoch) (dpop.Epoch, error) {
	var id [16]byte
	if _, err := io.ReadFull(r.rand, id[:]); err != nil {
		return dpop.Epoch{}, fmt.Errorf("postgres: name an epoch: %w", err)
	}
	var s state
	err := r.alone(ctx, "", func(ctx context.Context, c *pgx.Conn) error {
		s = state{}
		if _, err := collect(ctx, c, selectEpoch, nil, s.scan); err != nil || s.found && (old == nil || s.epoch != *old) {
			return err
		}
		// The clock may have been set back: the epoch is born no earlier than the one before, nor than the last sweep.
		s = state{found: true, epoch: dpop.NewEpoch(id, r.now())}
		_, err := collect(ctx, c, upsertEpoch, []any{id[:], s.epoch.Birth}, func(rows pgx.Rows) error {
			return scan(rows, []any{&s.epoch.Birth})
		})
		return err
	})
	if err != nil {
		r.epoch.Store(nil)
		return dpop.Epoch{}, err
	}
	r.seen(s)
	return s.epoch, nil
}

// sweep empties the partition of the last period that has ended: the other ones may have live proofs. It gives up if others are in the way;
// then the partition is emptied when the next period in it has ended.
func (r *Replay) sweep(ctx context.Context, ended int64) error {
	err := r.alone(ctx, boundSweep, func(ctx context.Context, c *pgx.Conn) error {
		partition := fmt.Sprintf("replays_%d", (ended-1)%partitions)
		var found bool
		if err := c.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+partition+")").Scan(&found); err != nil || !found {
			return err
		}
		if _, err := c.Exec(ctx, raiseHorizon, ended*periodSeconds-1); err != nil {
			return err
		}
		_, err := c.Exec(ctx, "TRUNCATE "+partition)
		return err
	})
	if errors.Is(err, errBusy) {
		return nil
	}
	return err
}

var errBusy = errors.New("another transaction holds the partition")

// alone runs fn in a transaction that has the lock alone. The statement before it sets how long to wait for it; "" waits as usual.
func (r *Replay) alone(ctx context.Context, before string, fn func(ctx context.Context, c *pgx.Conn) error) error {
	return r.transact(ctx, func(ctx context.Context, c *pgx.Conn) (err error) {
		defer func() {
			if before != "" && code(err) == codeLockTimeout {
				err = errBusy
			}
		}()
		if _, err := c.Exec(ctx, beginReplay); err != nil {
			return err
		}
		if before != "" {
			if _, err := c.Exec(ctx, before); err != nil {
				return err
			}
		}
		if _, err := c.Exec(ctx, takeNumbers, lockSpace, lockReplay); err != nil {
			return err
		}
		if err := fn(ctx, c); err != nil {
			return err
		}
		_, err = c.Exec(ctx, "COMMIT")
		return err
	})
}

// transact runs fn on a connection. A transaction that fn leaves open is undone.
func (r *Replay) transact(ctx context.Context, fn func(ctx context.Context, c *pgx.Conn) error) error {
	for attempt := 0; ; attempt++ {
		conn, err := r.pool.take(ctx)
		if err != nil {
			if ctx.Err() == nil {
				err = fmt.Errorf("postgres: replay: %w", err)
			}
			return err
		}
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
		err = fn(within, conn.Conn())
		cancel()
		(&transaction{conn: conn}).end()
		switch {
		case err == nil:
			return nil
		case attempt < maxReads && (isUnsent(err) || code(err) == codeDeadlock || code(err) == codeLockTimeout):
		default:
			return fmt.Errorf("postgres: replay: %w", err)
		}
	}
}
