package storage

import (
	"context"
	"time"
)

//go:generate go run ./generate

// Intercepted is a store whose operations can be timed and can be made to fail. Its methods are generated from the contract, so a
// new method is written once for each database and nowhere else.
//
// An operation has the name of its method, the same for a method of a Store and of a Tx: "Session", "RotateGrant".
type Intercepted struct {
	// Store does the work.
	Store Store
	// Fail is called before each operation. An error that it returns is returned in place of the operation; within an update or a
	// view it dooms the transaction, unless it is [ErrNotFound] or [ErrConflict], as an error of a store does. There are two more
	// operations: "Commit" fails an update whose function has succeeded, which undoes it, and "Committed" fails an update that
	// is durable, as when an answer is lost. Nil fails nothing, and then transactions are not intercepted at all.
	Fail func(op string) error
	// Took is called after each operation of the store with how long it took, whether it succeeded or not. The operations
	// within an update or a view count as part of it. Nil measures nothing.
	Took func(op string, took time.Duration)
}

var _ Store = Intercepted{}

// View implements [Store].
func (x Intercepted) View(ctx context.Context, fn func(ctx context.Context, r Reader) error) error {
	if err := x.before("View"); err != nil {
		return err
	}
	defer x.done("View", x.start())
	if x.Fail == nil {
		return x.Store.View(ctx, fn)
	}
	return x.Store.View(ctx, func(ctx context.Context, r Reader) error {
		v := interceptedReader{r, doomed{x.Fail, new(error)}}
		if err := fn(ctx, v); err != nil {
			return err
		}
		return *v.fault
	})
}

// Update implements [Store].
func (x Intercepted) Update(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error {
	if err := x.before("Update"); err != nil {
		return err
	}
	defer x.done("Update", x.start())
	if x.Fail == nil {
		return x.Store.Update(ctx, fn)
	}
	err := x.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		t := interceptedTx{interceptedReader{tx, doomed{x.Fail, new(error)}}, tx}
		if err := fn(ctx, t); err != nil {
			return err
		}
		return t.before("Commit")
	})
	if err != nil {
		return err
	}
	return x.Fail("Committed")
}

func (x Intercepted) before(op string) error {
	if x.Fail == nil {
		return nil
	}
	return x.Fail(op)
}

// start returns when an operation began, for done.
func (x Intercepted) start() time.Time {
	if x.Took == nil {
		return time.Time{}
	}
	return time.Now()
}

func (x Intercepted) done(op string, began time.Time) {
	if x.Took != nil {
		x.Took(op, time.Since(began))
	}
}

// An interceptedReader is a snapshot whose operations can be made to fail.
type interceptedReader struct {
	reader Reader
	doomed
}

// An interceptedTx is a transaction whose operations can be made to fail.
type interceptedTx struct {
	interceptedReader
	tx Tx
}

var _ Tx = interceptedTx{}

// A doomed transaction fails all operations after one that failed.
type doomed struct {
	fail  func(op string) error
	fault *error // the error that dooms the transaction
}

func (x doomed) before(op string) error {
	if *x.fault != nil {
		return *x.fault
	}
	err := x.fail(op)
	if err != ErrNotFound && err != ErrConflict {
		*x.fault = err
	}
	return err
}
