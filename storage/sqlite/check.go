package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Check reads every page, on a connection of its own, and returns an error if one is damaged: then [Store.Ping] fails from then
// on. Values that changed within a well-formed page are not found, because SQLite keeps no checksums of them. Close interrupts it.
func (s *Store) Check(ctx context.Context) error {
	ctx, done, err := s.checks.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := s.writer.place.there(); err != nil {
		return fmt.Errorf("sqlite: check: %w", err)
	}
	err = checkPages(ctx, s.writer.place.path, "mode=ro")
	if isDamage(err) {
		s.damaged.Store(true)
		return explain(s.writer.place.path, err)
	}
	return err
}

// Damaged reports whether a damaged page was found, by [Store.Check] or by an operation that needed it.
func (s *Store) Damaged() bool { return s.damaged.Load() }

// CheckFile reads every page of the database at path, which a store may have open, and changes nothing. It returns
// [fs.ErrNotExist] if there is no database.
func CheckFile(ctx context.Context, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return err
	}
	if h, err := readHead(path); err == nil && (h.id == awayID || h.id == partID) {
		return explain(path, otherID(h.id))
	}
	how := func() string {
		if _, err := os.Stat(path + "-wal"); errors.Is(err, fs.ErrNotExist) {
			return "immutable=1" // even a connection that only reads would create a log
		}
		return "mode=ro"
	}
	first := how()
	err = checkPages(ctx, path, first)
	if err != nil && ctx.Err() == nil && how() != first { // a store was opened or closed meanwhile
		err = checkPages(ctx, path, how())
	}
	if err != nil {
		return explain(path, err)
	}
	return nil
}

func checkPages(ctx context.Context, path, how string) (err error) {
	db, err := sql.Open("sqlite", dsn(path, commonPragmas)+"&"+how)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return quickCheck(ctx, db)
}

// checks are the running checks of a store, which end before it is closed.
type checks struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	end     context.Context
	cancel  context.CancelFunc
}

func newChecks() *checks {
	c := &checks{}
	c.end, c.cancel = context.WithCancel(context.Background())
	return c
}

// begin returns a context that ends with ctx or when the store is closed; done must be called.
func (c *checks) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, errClosed
	}
	c.running.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	unlink := context.AfterFunc(c.end, cancel)
	return ctx, func() { unlink(); cancel(); c.running.Done() }, nil
}

// stop interrupts the running checks and waits for them.
func (c *checks) stop() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
}
