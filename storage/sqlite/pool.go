package sqlite

import (
	"context"
	"errors"
)

// A pool lends connections that read, to one caller each at a time. Each is opened when it is first needed.
type pool struct {
	place *place
	free  chan *conn // nil for one that is not open; closed with the pool
	size  int
}

// openPool opens a pool of n connections to the database at a place, the first of them at once.
func openPool(at *place, n int) (*pool, error) {
	p := &pool{place: at, free: make(chan *conn, n), size: n}
	first, err := p.open()
	if err != nil {
		return nil, err
	}
	for range n - 1 {
		p.free <- nil
	}
	p.free <- first
	return p, nil
}

// open opens a connection, unless it would be one to another file.
func (p *pool) open() (*conn, error) {
	if err := p.place.there(); err != nil {
		return nil, err
	}
	return openConn(p.place.path, readerPragmas)
}

// take borrows a connection, which must be given back.
func (p *pool) take(ctx context.Context) (*conn, error) {
	var c *conn
	var open bool
	select {
	case c, open = <-p.free:
	default:
		select {
		case c, open = <-p.free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if !open {
		return nil, errClosed
	}
	if c == nil {
		var err error
		if c, err = p.open(); err != nil {
			p.free <- nil
			return nil, err
		}
	}
	return c, nil
}

func (p *pool) give(c *conn) { p.free <- c }

// close waits for the connections that are lent and closes all of them.
func (p *pool) close() error {
	var errs []error
	for range p.size {
		if c := <-p.free; c != nil {
			errs = append(errs, c.close())
		}
	}
	close(p.free)
	return errors.Join(errs...)
}
