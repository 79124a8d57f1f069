// Package postgres stores the issuer's records in PostgreSQL, for several nodes that share one database. It implements
// [storage.Store].
//
// # Transactions
//
// An update is one transaction at the isolation level SERIALIZABLE, because that is the contract: whatever a function reads, it may rely
// on. PostgreSQL detects updates that overlap and aborts one of them, which then runs again; the first runs go in parallel, later ones
// alone in their process. A statement that conflicts affects no row instead of failing (ON CONFLICT DO NOTHING, conditional updates),
// because an error would end the transaction. BEGIN travels with the first statement, so an update with n statements takes n+1 round
// trips. A connection that is lost before COMMIT undoes the transaction, which then runs again on another one. If it is lost during
// COMMIT, the outcome is not known, and the error says so: [ErrOutcome].
//
// # Numbers in the order of commits
//
// Those who follow the revocations read on after the highest number that they have seen, so a number must not appear below one that was
// seen. A plain sequence gives numbers before the commit. Here a transaction takes an advisory lock, and then a number of a sequence.
// PostgreSQL releases the lock after the commit is visible: the next number is given when all lower ones are visible or were rolled back.
// Neither lock nor sequence belongs to the snapshot of a transaction, so transactions that revoke wait for each other, but do not abort
// each other as they would by updating a counter. A transaction that is rolled back leaves a gap. A crash releases the lock and undoes its
// transaction. Other long transactions, or prepared ones, delay nobody. The changes of clients are numbered in the same way.
//
// # The audit log
//
// Each node writes a chain of its own, so only the transactions of one process append to it. They take turns within the process (see
// chain), and the primary key refuses a fork by another process of the same name.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/imidentity/issuer/storage"
)

// Options configures a [Store]. The zero value suits most.
type Options struct {
	// Readers and Writers are how many connections read and write at a time. Zero means two for each processor, and at least four.
	Readers, Writers int
}

// A Store stores the records of [storage.Store] in a PostgreSQL database.
type Store struct {
	reader
	writers *pool
	lane    lane
	chains  chains
	servers servers
	config  *pgxpool.Config
	close   func()
}

var _ storage.Store = (*Store)(nil)

// Open opens the database at a URL, see [ParseURL]. Its schema must be that of this release, or of a newer one whose changes this one can
// live with: else the error is [ErrSchemaOlder] or [storage.ErrSchemaNewer]. A server that does not answer is [storage.ErrUnavailable].
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	cfg, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	s := &Store{config: cfg}
	s.chains.servers = &s.servers
	check := cfg.AfterConnect
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		if err := check(ctx, c); err != nil {
			return err
		}
		return s.adopt(ctx, c)
	}
	if s.writers, err = newPool(ctx, cfg, o.Writers); err != nil {
		return nil, explain(cfg, err)
	}
	if s.pool, err = newPool(ctx, cfg, o.Readers); err != nil {
		s.writers.Close()
		return nil, explain(cfg, err)
	}
	s.close = sync.OnceFunc(func() {
		s.writers.Close()
		s.pool.Close()
	})
	if err := s.checkSchema(ctx); err != nil {
		s.Close()
		return nil, explain(cfg, err)
	}
	return s, nil
}

// Close waits for running updates and views, refuses later ones, and closes the connections. Closing again changes nothing.
func (s *Store) Close() error {
	s.close()
	return nil
}

// Ping writes a row and reads it back. It returns when ctx ends, even if the server does not answer.
func (s *Store) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var n int64
	r := reader{pool: s.writers}
	done := make(chan error, 1)
	go func() { done <- r.row(ctx, "UPDATE pings SET n = n + 1 RETURNING n", []any{&n}) }()
	select {
	case err := <-done:
		if err == storage.ErrNotFound {
			return errors.New("postgres: the table pings is empty")
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A pool is the connections of one kind.
type pool struct{ *pgxpool.Pool }

// take borrows a connection, which must be released.
func (p *pool) take(ctx context.Context) (*pgxpool.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	c, err := p.Acquire(wait)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case wait.Err() != nil:
		return nil, fmt.Errorf("no connection within %v: %w", acquireTimeout, err)
	}
	return nil, fmt.Errorf("connect: %w", err)
}
