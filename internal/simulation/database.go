package simulation

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/imidentity/issuer/storage"
)

// Errors of a [Store].
var (
	errNested  = errors.New("simulation: the store was called from within a transaction of it")
	errClosed  = errors.New("simulation: the store is closed")
	errOver    = errors.New("simulation: the transaction is over")
	errExited  = errors.New("simulation: the function of the transaction did not return")
	errServer  = errors.New("simulation: the connection to the database was lost")
	errAborted = errors.New("simulation: the transaction overlapped with another one")
	errOutcome = errors.New("simulation: the connection was lost during the commit: its outcome is not known")
)

// A Database is what several nodes share: serializable transactions on tables in memory. It keeps the contract of [storage.Store] and
// promises nothing more: a transaction may run again, reads see what was committed when they began, and any operation may fail.
type Database struct {
	current atomic.Pointer[state]
	last    atomic.Pointer[state] // the one before
	rows    atomic.Int64          // the last row number, taken outside of transactions
	broken  Broken

	// committing is held while a transaction is compared with others and published. recent are the changes of the last commits.
	committing sync.Mutex
	commits    uint64
	recent     []commit
	// term counts the failovers: no transaction outlives one.
	term atomic.Uint64
}

// A commit is what one transaction changed.
type commit struct {
	number  uint64
	changes []change
}

// kept is how many commits are remembered. A transaction that is older overlaps with everything.
const kept = 4096

// NewDatabase returns an empty database.
func NewDatabase(broken Broken) *Database {
	d := &Database{broken: broken}
	d.current.Store(&state{})
	d.last.Store(&state{})
	return d
}

// Hooks let a node's operations wait and fail. They are called without locks.
type Hooks interface {
	// Step is called before an operation begins, with whether a transaction has begun. Its error is that of the operation.
	Step(ctx context.Context, op string, inside bool) error
	// Commit is called before a commit, and decides on it.
	Commit(ctx context.Context) Outcome
	// Committed is called when a transaction was committed, before its caller is told. An error hides that from the caller.
	Committed(ctx context.Context) error
}

// An Outcome is what happens to a commit.
type Outcome int

// The outcomes.
const (
	// Commits: the transaction is committed if it does not overlap with another one.
	Commits Outcome = iota
	// Aborts: it is undone and runs again, as if it had overlapped.
	Aborts
	// Fails: it is undone, and its caller is told.
	Fails
	// Unknown: the connection is lost before the server has committed. The caller does not know.
	Unknown
)

// Open returns the store of one node. Nil hooks do nothing.
func (d *Database) Open(hooks Hooks) *Store {
	s := &Store{db: d, hooks: hooks}
	s.reader = reader{store: s}
	return s
}

// A Store is one node's access to a [Database].
type Store struct {
	reader
	db    *Database
	hooks Hooks

	closing sync.RWMutex // held for reading by each transaction
	closed  atomic.Bool
}

var _ storage.Store = (*Store)(nil)

// inTransaction is the key under which the context of a transaction holds its database.
type inTransaction struct{}

// maxRuns is how often a transaction runs; the last time alone.
const maxRuns = 4

// Update implements [storage.Store].
func (s *Store) Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.closing.RUnlock()
	if err := s.step(ctx, "begin", false); err != nil {
		return err
	}
	ctx = context.WithValue(context.WithoutCancel(ctx), inTransaction{}, s.db)
	for run := 1; ; run++ {
		err := s.attempt(ctx, run == maxRuns, fn)
		if err != errAborted {
			return err
		}
	}
}

// enter begins a transaction or a view. If it returns nil, s.closing must be unlocked afterwards.
func (s *Store) enter(ctx context.Context) error {
	if ctx.Value(inTransaction{}) == s.db {
		return errNested
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.closing.RLock()
	if s.closed.Load() {
		s.closing.RUnlock()
		return errClosed
	}
	return nil
}

// attempt runs fn in one transaction. If nothing may overlap with it, it takes no time.
func (s *Store) attempt(ctx context.Context, alone bool, fn func(context.Context, storage.Tx) error) error {
	if alone {
		s.db.committing.Lock()
		defer s.db.committing.Unlock()
	}
	t := &tx{reader: reader{store: s, fault: new(error), quiet: alone, writes: true}, term: s.db.term.Load()}
	t.begun = s.db.begin(alone)
	t.snapshot = s.db.current.Load().fork()
	if err := t.call(ctx, fn); err != nil {
		return err
	}
	outcome := Commits
	if s.hooks != nil && !alone {
		outcome = s.hooks.Commit(ctx)
	}
	switch outcome {
	case Aborts:
		return errAborted
	case Fails:
		if s.db.broken == AcknowledgesUndone {
			return nil
		}
		return errServer
	case Unknown:
		return errOutcome
	}
	if t.term != s.db.term.Load() {
		return errServer
	}
	if !s.db.commit(t, alone) {
		return errAborted
	}
	if s.hooks != nil && !alone {
		return s.hooks.Committed(ctx)
	}
	return nil
}

// call calls fn.
func (t *tx) call(ctx context.Context, fn func(context.Context, storage.Tx) error) (err error) {
	err = errExited // stays if fn calls runtime.Goexit
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("simulation: the update panicked: %v\n%s", p, debug.Stack())
		}
		if *t.fault == nil {
			*t.fault = errOver
		}
	}()
	err = fn(ctx, t)
	if err == nil {
		err = *t.fault // fn must not make a success of it
	}
	return err
}

// begin returns the number of the last commit, which the snapshot of a transaction shows.
func (d *Database) begin(alone bool) uint64 {
	if !alone {
		d.committing.Lock()
		defer d.committing.Unlock()
	}
	return d.commits
}

// commit publishes what a transaction wrote, unless something that it read was changed since it began.
func (d *Database) commit(t *tx, alone bool) bool {
	if !alone {
		d.committing.Lock()
		defer d.committing.Unlock()
	}
	tables := t.snapshot.tables()
	if t.begun < d.commits && (len(d.recent) == 0 || d.recent[0].number > t.begun+1) {
		return false
	}
	for _, c := range d.recent {
		if d.broken == OverlapsAreAllowed {
			break
		}
		for _, change := range c.changes {
			if c.number > t.begun && tables[change.table].overlaps(change) {
				return false
			}
		}
	}
	next := *d.current.Load()
	var changes []change
	for i, into := range next.tables() {
		changes = append(changes, tables[i].publish(i, into)...)
	}
	if len(changes) == 0 {
		return true
	}
	d.commits++
	d.recent = append(d.recent, commit{d.commits, changes})
	if len(d.recent) > 2*kept {
		d.recent = append([]commit(nil), d.recent[kept:]...)
	}
	d.last.Store(d.current.Swap(&next))
	return true
}

// View implements [storage.Store].
func (s *Store) View(ctx context.Context, fn func(ctx context.Context, r storage.Reader) error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.closing.RUnlock()
	r := &reader{store: s, fault: new(error)}
	defer func() { // also if fn panics
		if *r.fault == nil {
			*r.fault = errOver
		}
	}()
	err := fn(context.WithValue(ctx, inTransaction{}, s.db), r)
	if err == nil {
		err = *r.fault // fn must not make a success of it
	}
	return err
}

// Ping implements [storage.Store].
func (s *Store) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return errClosed
	}
	return s.step(ctx, "Ping", false)
}

// Close implements [storage.Store].
func (s *Store) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	s.closed.Store(true)
	return nil
}

func (s *Store) step(ctx context.Context, op string, inside bool) error {
	if s.hooks == nil {
		return nil
	}
	return s.hooks.Step(ctx, op, inside)
}

// Failover ends all transactions that are open, as the promotion of another server does. What was committed stays.
func (d *Database) Failover() { d.term.Add(1) }

// A reader implements [storage.Reader]: for a Store, for a view and, below a tx, for an update.
type reader struct {
	store    *Store
	fault    *error // of the transaction; nil outside of one
	snapshot *state // of the transaction; nil before the first read of a view
	quiet    bool   // the transaction runs alone
	writes   bool   // the transaction is an update
}

// read reads from the state that r sees.
func read[T any](ctx context.Context, r *reader, op string, fn func(s *state) (T, error)) (v T, err error) {
	s, err := r.begin(ctx, op)
	if err != nil {
		return v, err
	}
	return fn(s)
}

// list is read for functions that do not fail.
func list[T any](ctx context.Context, r *reader, op string, fn func(s *state) T) (v T, err error) {
	s, err := r.begin(ctx, op)
	if err != nil {
		return v, err
	}
	return fn(s), nil
}

// begin returns the state that an operation sees.
func (r *reader) begin(ctx context.Context, op string) (*state, error) {
	if r.fault == nil {
		return r.alone(ctx, op)
	}
	if *r.fault != nil {
		return nil, *r.fault
	}
	err := r.enter(ctx, op)
	if err != nil {
		*r.fault = err
		return nil, err
	}
	if r.snapshot == nil {
		r.snapshot = r.store.db.current.Load()
	}
	return r.snapshot, nil
}

// enter lets an operation of a transaction wait and fail.
func (r *reader) enter(ctx context.Context, op string) error {
	if !r.writes { // an update that has begun is completed, even if its context ends
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if r.quiet {
		return nil
	}
	return r.store.step(ctx, op, r.snapshot != nil)
}

// alone returns the state for an operation outside of a transaction.
func (r *reader) alone(ctx context.Context, op string) (*state, error) {
	if ctx.Value(inTransaction{}) == r.store.db {
		return nil, errNested
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.store.closed.Load() {
		return nil, errClosed
	}
	if err := r.store.step(ctx, op, false); err != nil {
		return nil, err
	}
	return r.store.db.current.Load(), nil
}

// A tx implements [storage.Tx].
type tx struct {
	reader
	begun uint64 // the number of the last commit that it sees
	term  uint64
}

var _ storage.Tx = (*tx)(nil)

// change changes the state of a transaction.
func (t *tx) change(ctx context.Context, op string, fn func(s *state) error) error {
	s, err := t.begin(ctx, op)
	if err != nil {
		return err
	}
	return fn(s)
}
