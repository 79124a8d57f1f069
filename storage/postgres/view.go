package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/puddle/v2"

	"github.com/imidentity/issuer/storage"
)

const beginView = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

// View runs fn on one snapshot; see [storage.Store]. It lends fn one connection. The snapshot is that of the first statement, with which
// BEGIN is sent.
func (s *Store) View(ctx context.Context, fn func(ctx context.Context, r storage.Reader) error) (err error) {
	if nested := ctx.Value(inTransaction{}); nested != nil && (nested == s.writers || nested == s.pool) {
		return errNested
	}
	conn, err := s.pool.take(ctx)
	if err != nil {
		if errors.Is(err, puddle.ErrClosedPool) {
			return errClosed
		}
		if err == ctx.Err() {
			return err
		}
		return fmt.Errorf("postgres: %w", err)
	}
	on := &transaction{conn: conn, begin: beginView}
	defer func() { // also if fn panics
		fault := on.fault
		if fault == nil {
			on.fault = errOver
		}
		go on.end() // nobody has to wait for the end of a snapshot
	}()
	if err = fn(context.WithValue(ctx, inTransaction{}, s.pool), &reader{pool: s.pool, on: on}); err == nil {
		err = on.fault // fn must not make a success of it
	}
	return err
}
