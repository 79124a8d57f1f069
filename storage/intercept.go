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
	// Trace is called before each operation, those within an update or a view included, and returns the context to run it with. The
	// function that it returns, unless that is nil, is called with the error of the operation when it is over. If it is nil for an
	// update or a view, the operations within are not traced. There is one more operation: "Run" is a run of the function of an
	// update. The error of an update, a view or a run is nil if only the function failed, and the database did not. Nil traces
	// nothing.
	Trace func(ctx context.Context, op string) (context.Context, func(error))
}

var _ Store = Intercepted{}

// View implements [Store].
func (x Intercepted) View(ctx context.Context, fn func(ctx context.Context, r Reader) error) (err error) {
	if err := x.before("View"); err != nil {
		return err
	}
	defer x.done("View", x.start())
	ctx, end := x.enter(ctx, "View")
	if x.Fail == nil && end == nil {
		return x.Store.View(ctx, fn)
	}
	inside := x.inside(end)
	var failed error // of fn
	defer func() { inside.end(end, err, failed) }()
	return x.Store.View(ctx, func(ctx context.Context, r Reader) error {
		v := interceptedReader{r, inside}
		if failed = fn(ctx, v); failed != nil {
			return failed
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
	ctx, end := x.enter(ctx, "Update")
	if x.Fail == nil && end == nil {
		return x.Store.Update(ctx, fn)
	}
	var inside doomed
	var failed error // of fn
	err := x.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		inside = x.inside(end)
		t := interceptedTx{interceptedReader{tx, inside}, tx}
		if failed = inside.run(ctx, t, fn); failed != nil {
			return failed
		}
		return t.before("Commit")
	})
	inside.end(end, err, failed)
	if err != nil || x.Fail == nil {
		return err
	}
	return x.Fail("Committed")
}

// run runs the function of an update.
func (x doomed) run(ctx context.Context, tx Tx, fn func(ctx context.Context, tx Tx) error) (err error) {
	ctx, end := x.enter(ctx, "Run")
	defer func() { x.end(end, err, err) }()
	return fn(ctx, tx)
}

// inside returns how to treat the operations of one transaction. They are traced if end says so.
func (x Intercepted) inside(end func(error)) doomed {
	d := doomed{fail: x.Fail, fault: new(error)}
	if end != nil {
		d.trace, d.broken = x.Trace, new(bool)
	}
	return d
}

// enter begins the trace of an operation. The function that it returns is nil if the operation is not traced.
func (x Intercepted) enter(ctx context.Context, op string) (context.Context, func(error)) {
	if x.Trace == nil {
		return ctx, nil
	}
	return x.Trace(ctx, op)
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
	fail   func(op string) error // may be nil
	fault  *error                // the error that dooms the transaction
	trace  func(ctx context.Context, op string) (context.Context, func(error))
	broken *bool // whether an operation that is traced failed, other than by [ErrNotFound] or [ErrConflict]
}

func (x doomed) before(op string) error {
	if x.fail == nil {
		return nil
	}
	if *x.fault != nil {
		return *x.fault
	}
	err := x.fail(op)
	if err != ErrNotFound && err != ErrConflict {
		*x.fault = err
	}
	return err
}

// enter begins the trace of an operation. The function that it returns is nil if the transaction is not traced.
func (x doomed) enter(ctx context.Context, op string) (context.Context, func(error)) {
	if x.trace == nil {
		return ctx, nil
	}
	ctx, end := x.trace(ctx, op)
	return ctx, func(err error) {
		if err != nil && err != ErrNotFound && err != ErrConflict {
			*x.broken = true
		}
		if end != nil {
			end(err)
		}
	}
}

// end ends the trace of a transaction or a run that returned err. failed is the error of its function: if that is all, and every
// operation succeeded, the database did not fail.
func (x doomed) end(end func(error), err, failed error) {
	if end == nil {
		return
	}
	if failed != nil && err == failed && (x.broken == nil || !*x.broken) {
		err = nil
	}
	end(err)
}
