package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jackc/puddle/v2"

	"github.com/imidentity/issuer/storage"
)

// An update runs at most maxRuns times and begins no run after maxTime. From run aloneFrom on it runs alone in its process, so that
// only updates of other processes can be in its way.
const (
	maxRuns   = 40
	aloneFrom = 3
	maxTime   = 12 * time.Second
)

// inTransaction is the key under which the context of a running update or view holds its pool.
type inTransaction struct{}

const beginUpdate = "BEGIN ISOLATION LEVEL SERIALIZABLE"

// Update runs fn in a transaction; see [storage.Store]. It runs fn again if the transaction overlapped with another one. A panic of fn
// undoes its writes and is returned as an error. [ErrOutcome] tells that it is not known whether the update took effect.
func (s *Store) Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error {
	if nested := ctx.Value(inTransaction{}); nested != nil && (nested == s.writers || nested == s.pool) {
		return errNested
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	begun := time.Now()
	for run := 1; ; run++ {
		err, repeat := s.attempt(ctx, run, fn)
		if !repeat {
			return err
		}
		if run >= maxRuns || time.Since(begun) > maxTime {
			return fmt.Errorf("postgres: gave up after %d runs: %w", run, err)
		}
		if run > aloneFrom { // other processes are in the way
			time.Sleep(rand.N(time.Duration(min(run, 10)) * 5 * time.Millisecond))
		}
		ctx = context.WithoutCancel(ctx) // the update has begun
	}
}

// attempt runs fn in one transaction. It reports whether the transaction was undone and can run again.
func (s *Store) attempt(ctx context.Context, run int, fn func(context.Context, storage.Tx) error) (err error, repeat bool) {
	defer s.lane.enter(run >= aloneFrom)()
	conn, err := s.writers.take(ctx)
	if err != nil {
		if errors.Is(err, puddle.ErrClosedPool) {
			return errClosed, false
		}
		if err == ctx.Err() {
			return err, false
		}
		return fmt.Errorf("postgres: %w", err), false
	}
	on := &transaction{conn: conn, begin: beginUpdate, completes: true}
	t := &tx{reader: reader{pool: s.writers, on: on}, chains: &s.chains}
	committed := false
	defer func() {
		on.end()
		t.letGo(committed)
	}()
	err = t.call(ctx, fn)
	switch {
	case on.fault != nil && on.fault != errOver && again(on.fault):
		return on.fault, true
	case err != nil:
		return err, false
	}
	if committed, err, repeat = on.commit(ctx); !committed {
		on.fault = err
	}
	return err, repeat
}

// A tx is the transaction of one run of an update.
type tx struct {
	reader
	chains *chains
	held   map[string]*held
}

var _ storage.Tx = (*tx)(nil)

// call calls fn. The ctx of fn does not end, so that the transaction is completed.
func (t *tx) call(ctx context.Context, fn func(context.Context, storage.Tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	err = errExited // stays if fn calls runtime.Goexit
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("postgres: the update panicked: %v\n%s", p, debug.Stack())
		}
		if t.on.fault == nil {
			t.on.fault = errOver
		}
	}()
	err = fn(context.WithValue(context.WithoutCancel(ctx), inTransaction{}, t.pool), t)
	if err == nil && t.on.fault != nil {
		err = t.on.fault // fn must not make a success of it
	}
	return err
}

// commit commits the transaction. If it did not take effect and can run again, commit says so.
func (t *transaction) commit(ctx context.Context) (committed bool, err error, repeat bool) {
	if !t.begun {
		return true, nil, false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	tag, err := t.conn.Exec(ctx, "COMMIT")
	switch {
	case err == nil && tag.String() == "COMMIT":
		return true, nil, false
	case err == nil:
		return false, fmt.Errorf("postgres: COMMIT was answered by %s", tag), false
	case isRefused(err):
		return false, fmt.Errorf("postgres: commit: %w", err), again(err)
	}
	return false, fmt.Errorf("%w: %w", ErrOutcome, err), false
}

// end gives the connection back. What was not committed is undone: the pool closes a connection that is in a transaction and
// cannot leave it.
func (t *transaction) end() {
	if c := t.conn.Conn(); !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
		defer cancel()
		_, _ = c.Exec(ctx, "ROLLBACK")
	}
	t.conn.Release()
}

// A lane lets updates run in parallel, or one alone.
type lane struct{ mu sync.RWMutex }

// enter waits for the turn and returns how to end it.
func (l *lane) enter(alone bool) (leave func()) {
	if alone {
		l.mu.Lock()
		return l.mu.Unlock
	}
	l.mu.RLock()
	return l.mu.RUnlock
}
