package sqlite

import (
	"context"
	"errors"

	"github.com/imidentity/issuer/storage"
)

var errInView = errors.New("sqlite: the store was called from within a view of it")

// inView is the key under which the context of a running view holds its pool.
type inView struct{}

// beginView takes no lock and no snapshot yet: the first read does.
var beginView = statement("BEGIN")

// View runs fn on one snapshot; see [storage.Store]. It lends fn one connection in a read transaction, so all reads together take and
// return the lock of the write-ahead log once. While fn runs, the log cannot start again from its beginning.
func (s *Store) View(ctx context.Context, fn func(ctx context.Context, r storage.Reader) error) (err error) {
	if ctx.Value(inUpdate{}) == s.writer {
		return errNested
	}
	c, err := s.begin(ctx)
	if err != nil {
		return err
	}
	if _, err := c.exec(beginView, nil); err != nil {
		return s.end(c, err)
	}
	v := &view{reader: reader{conn: c, pool: s.pool, damaged: s.damaged}}
	v.fault = &v.broken
	defer func() { // also if fn panics
		if v.broken == nil {
			v.broken = errOver
		}
		s.pool.give(c.endView())
	}()
	if err = fn(context.WithValue(ctx, inView{}, s.pool), v); err == nil {
		err = v.broken // fn must not make a success of it
	}
	return err
}

// A view is the reader of one call of View.
type view struct {
	reader
	broken error // where fault points to
}

// endView ends a read transaction. It returns the connection, or nil if it had to be closed.
func (c *conn) endView() *conn {
	if _, err := c.exec(commit, nil); err != nil {
		_ = c.close()
		return nil
	}
	return c
}
