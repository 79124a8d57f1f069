package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/puddle/v2"

	"github.com/imidentity/issuer/storage"
)

// A reader implements [storage.Reader]: for the Store on a pool, for a view and a transaction on one connection of it. Each method is
// one statement, so it sees one moment of the database.
type reader struct {
	pool *pool
	on   *transaction // nil outside of a transaction
}

// A transaction is one on a connection of its own. BEGIN is sent with the first statement.
type transaction struct {
	conn  *pgxpool.Conn
	begin string
	begun bool
	// fault is the first error that callers do not branch on. It has ended the transaction, so later statements fail with it, too.
	fault error
	// completes is set for updates: they are completed even if the context of their caller ends.
	completes bool
}

// run runs a statement and calls next for each row, if next is not nil. It returns how many rows were affected.
//
// The context says whether to begin, and how long to wait at most: see patient.
func (r *reader) run(ctx context.Context, sql string, args []any, next func(rows pgx.Rows) error) (n int64, err error) {
	t := r.on
	if t != nil && t.fault != nil {
		return 0, t.fault
	}
	if t == nil || !t.completes {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
	if t != nil && t.completes {
		ctx = context.WithoutCancel(ctx)
	}
	if t != nil {
		n, err = t.run(ctx, sql, args, next)
	} else {
		n, err = r.runAlone(ctx, sql, args, next)
	}
	if err == nil {
		return n, nil
	}
	if err, ok := known(err); ok {
		return n, err
	}
	if errors.Is(err, puddle.ErrClosedPool) {
		err = errClosed
	} else if err != ctx.Err() && !errors.Is(err, errNested) {
		err = fmt.Errorf("postgres: %w", err)
	}
	if t != nil {
		t.fault = err
	}
	return n, err
}

// runAlone runs a statement outside of transactions. If the connection was found broken, it takes another one: a pool keeps connections
// that a restart of the server has ended.
func (r *reader) runAlone(ctx context.Context, sql string, args []any, next func(rows pgx.Rows) error) (n int64, err error) {
	if ctx.Value(inTransaction{}) == r.pool {
		return 0, errNested
	}
	for attempt := 0; ; attempt++ {
		conn, err := r.pool.take(ctx)
		if err != nil {
			return 0, err
		}
		rows := 0
		n, err = collect(ctx, conn.Conn(), sql, args, func(found pgx.Rows) error {
			rows++
			if next == nil {
				return nil
			}
			return next(found)
		})
		conn.Release()
		if err == nil || rows > 0 || attempt >= maxReads || !isLost(err) && !isUnsent(err) {
			return n, err
		}
	}
}

// maxReads is how often a read is repeated on another connection.
const maxReads = 2

// isNetwork reports whether err comes from the network. The driver says that a connection is closed if it broke earlier in the statement.
func isNetwork(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, pgconn.ErrConnClosed) || errors.As(err, &network)
}

// patient returns a context for one statement, which ends at the deadline of ctx, if there is one, but not when ctx is canceled: a
// client that hangs up should not cost a connection.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	end := time.Now().Add(answerTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		end = deadline
	}
	return context.WithDeadline(context.WithoutCancel(ctx), end)
}

// collect runs one statement on a connection.
func collect(ctx context.Context, c *pgx.Conn, sql string, args []any, next func(rows pgx.Rows) error) (int64, error) {
	ctx, cancel := patient(ctx)
	defer cancel()
	rows, err := c.Query(ctx, sql, bind(args)...)
	if err != nil {
		return 0, err
	}
	return finish(rows, next)
}

func finish(rows pgx.Rows, next func(rows pgx.Rows) error) (int64, error) {
	defer rows.Close()
	for rows.Next() {
		if next == nil {
			continue
		}
		if err := next(rows); err != nil {
			return 0, err
		}
	}
	rows.Close()
	return rows.CommandTag().RowsAffected(), rows.Err()
}

// run runs one statement in the transaction.
func (t *transaction) run(ctx context.Context, sql string, args []any, next func(rows pgx.Rows) error) (n int64, err error) {
	if t.begun {
		return collect(ctx, t.conn.Conn(), sql, args, next)
	}
	t.begun = true
	ctx, cancel := patient(ctx)
	defer cancel()
	var batch pgx.Batch
	batch.Queue(t.begin)
	batch.Queue(sql, bind(args)...)
	results := t.conn.SendBatch(ctx, &batch)
	defer func() {
		if closed := results.Close(); err == nil {
			err = closed
		}
	}()
	if _, err := results.Exec(); err != nil {
		return 0, err
	}
	rows, err := results.Query()
	if err != nil {
		return 0, err
	}
	return finish(rows, next)
}

// numbered takes a lock, runs a statement under it, and announces a topic, in one round trip. The row is that of the statement.
func (t *transaction) numbered(
	ctx context.Context, lock int, topic Topic, sql string, args []any, dest []any,
) (found bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	var batch pgx.Batch
	skip := 1
	if !t.begun {
		batch.Queue(t.begin)
		t.begun, skip = true, 2
	}
	batch.Queue(takeNumbers, lockSpace, lock)
	batch.Queue(sql, bind(args)...)
	batch.Queue(notify, topic)
	results := t.conn.SendBatch(ctx, &batch)
	defer func() {
		if closed := results.Close(); err == nil {
			err = closed
		}
	}()
	for range skip {
		if _, err := results.Exec(); err != nil {
			return false, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return false, err
	}
	_, err = finish(rows, func(rows pgx.Rows) error {
		found = true
		return scan(rows, dest)
	})
	return found, err
}

// row reads one row into dest.
func (r *reader) row(ctx context.Context, sql string, dest []any, args ...any) error {
	found := false
	_, err := r.run(ctx, sql, args, func(rows pgx.Rows) error {
		found = true
		return scan(rows, dest)
	})
	if err == nil && !found {
		err = storage.ErrNotFound
	}
	return err
}

// one reads one row into the places that dest returns for a record.
func one[T any](ctx context.Context, r *reader, sql string, dest func(*T) []any, args ...any) (record T, err error) {
	err = r.row(ctx, sql, dest(&record), args...)
	return record, err
}

// all reads all rows, each into the places that dest returns for a record.
func all[T any](ctx context.Context, r *reader, sql string, dest func(*T) []any, args ...any) (list []T, err error) {
	_, err = r.run(ctx, sql, args, func(rows pgx.Rows) error {
		list = append(list, *new(T))
		return scan(rows, dest(&list[len(list)-1]))
	})
	return list, err
}

// number reads one number.
func (r *reader) number(ctx context.Context, sql string, args ...any) (n int, err error) {
	err = r.row(ctx, sql, []any{&n}, args...)
	return n, err
}

// text is the place of one text.
func text(s *string) []any { return []any{s} }
