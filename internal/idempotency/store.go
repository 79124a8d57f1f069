package idempotency

import (
	"context"
	"errors"

	"github.com/imidentity/issuer/storage"
)

type requestKey struct{}

// Context returns a context for everything that the request does. The first transaction with it stores that the request was done.
func (r *Request) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// Wrap returns a store that does what s does, and stores with the first transaction of a request that it was done.
func Wrap(s storage.Store) storage.Store { return store{s} }

type store struct{ storage.Store }

// Update returns [ErrRunning], and undoes the transaction, if another request with the same key was faster.
func (s store) Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error {
	r, ok := ctx.Value(requestKey{}).(*Request)
	if !ok || r.isDone() {
		return s.Store.Update(ctx, fn)
	}
	err := s.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		err := tx.KeepAnswer(ctx, r.row, r.keeper.Now())
		if errors.Is(err, storage.ErrConflict) {
			return ErrRunning
		}
		return err
	})
	if err == nil {
		r.mu.Lock()
		r.done = true
		r.mu.Unlock()
	}
	return err
}
