package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/storage"
)

const (
	// clockStep is by how much the system's clock may be set while the issuer runs, and be behind what the database has
	// seen. Revocations outlive what they end by as much.
	clockStep = 5 * time.Minute
	// clockGap is how long the issuer may have been stopped before it wants to be told that this is so: sessions are
	// over by then, and would be swept.
	clockGap = 30 * 24 * time.Hour
)

// A clock tells all parts of an issuer the time. It is the system's clock for as long as that can be believed: when it
// is set by more than clockStep, the clock goes on as if it had not been, and says that it does not know.
type clock struct {
	wall    func() time.Time     // the system's clock, which may be set
	elapsed func() time.Duration // goes on whatever is done to it
	asleep  func() time.Duration // how long the machine slept, which elapsed does not count
	anchor  atomic.Pointer[anchor]
}

// An anchor is a moment to count from.
type anchor struct {
	time            time.Time
	elapsed, asleep time.Duration
	ahead           time.Duration // how far ahead of it the system's clock may be
	stored          bool          // the moment is the newest of the database, at which the system's clock was not believed
}

// A clockError says how the system's clock is wrong, and what to do.
type clockError struct {
	off    time.Duration // of the system's clock, ahead if positive
	since  time.Time     // what it is compared with
	stored bool
}

func (e *clockError) Error() string {
	by := e.off.Abs().Round(time.Second)
	switch {
	case e.stored && e.off < 0:
		return fmt.Sprintf("the clock is %s behind the newest record of the database, of %s: set it right, or if it is right, start with --accept-clock", by, e.since.Format(time.RFC3339))
	case e.stored:
		return fmt.Sprintf("the clock is %s ahead of the newest record of the database, of %s: set it right, or if the issuer was stopped that long, start with --accept-clock", by, e.since.Format(time.RFC3339))
	case e.off < 0:
		return fmt.Sprintf("the clock was set back by %s while the issuer runs: set it right, or if it is right now, restart with --accept-clock", by)
	}
	return fmt.Sprintf("the clock was set ahead by %s while the issuer runs: set it right, or if it is right now, restart the issuer", by)
}

// newClock returns a clock for an issuer whose database has come as far as newest, zero for an empty one. With
// o.AcceptClock the system's clock is right whatever the database says; in development, however long it was stopped.
func newClock(o Options, newest time.Time, development bool) *clock {
	c := &clock{wall: o.Now, elapsed: o.Elapsed, asleep: asleep}
	if c.wall == nil {
		c.wall = time.Now
	}
	if c.elapsed == nil {
		began := c.wall()
		c.elapsed = func() time.Duration { return c.wall().Sub(began) } // of time.Now, both are monotonic
	}
	now := c.wall()
	off := now.Sub(newest)
	believed := o.AcceptClock || newest.IsZero() || off >= -clockStep && (off <= clockGap || development)
	if believed {
		c.fix(now, clockStep, false)
	} else {
		c.fix(newest, clockGap, true)
	}
	return c
}

func (c *clock) fix(at time.Time, ahead time.Duration, stored bool) {
	c.anchor.Store(&anchor{at, c.elapsed(), c.asleep(), ahead, stored})
}

// read returns the system's clock and how it should stand, and by how much it is off where that is too much.
func (c *clock) read() (wall, steady time.Time, off time.Duration, a *anchor) {
	a, wall = c.anchor.Load(), c.wall()
	steady = a.time.Add(c.elapsed() - a.elapsed)
	if off = since(wall, steady); a.bears(off) {
		return wall, steady, 0, a
	}
	slept := c.asleep() - a.asleep // asked for only where it matters: it is a call of the system's
	if steady = steady.Add(slept); a.bears(off - slept) {
		return wall, steady, 0, a
	}
	return wall, steady, off - slept, a
}

// since is how far the hands of a clock are ahead of those of another, whatever has elapsed between looking at them.
func since(a, b time.Time) time.Duration { return a.Round(0).Sub(b.Round(0)) }

func (a *anchor) bears(off time.Duration) bool { return off >= -clockStep && off <= a.ahead }

// now is the time, or what it is taken for while the system's clock is not believed.
func (c *clock) now() time.Time {
	wall, steady, off, _ := c.read()
	if off != 0 {
		return steady
	}
	return wall
}

// fault is a [*clockError] while the system's clock is not believed.
func (c *clock) fault() error {
	_, _, off, a := c.read()
	if off != 0 {
		return &clockError{off, a.time, a.stored}
	}
	return nil
}

// note compares the clock with the newest moment that any node has noted in store, and notes this one if it is later.
func (c *clock) note(ctx context.Context, store storage.Store, accept bool) error {
	newest, err := store.Newest(ctx)
	if err != nil {
		return err
	}
	now := c.now()
	if off := since(now, newest); off < -clockStep && !accept {
		return &clockError{off, newest, true}
	}
	if err := c.fault(); err != nil {
		return err
	}
	c.fix(now, clockStep, false)
	if !now.After(newest) && !accept {
		return nil
	}
	return store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if newest, err := tx.Newest(ctx); err != nil || !now.After(newest) && !accept {
			return err
		}
		return tx.SetNewest(ctx, now)
	})
}

// keepTime notes how far time has come, until ctx ends, and logs when the clock is not believed any more, or again.
func (i *Instance) keepTime(ctx context.Context) {
	tick := time.NewTicker(i.noteEvery)
	defer tick.Stop()
	var wrong error
	for {
		err := i.clock.note(ctx, i.store, false)
		var fault *clockError
		switch errors.As(err, &fault); {
		case ctx.Err() != nil:
			return
		case fault != nil && wrong == nil:
			i.log.Error("not ready: the time is not known", slog.Any("error", fault))
			wrong = fault
		case err == nil && wrong != nil:
			i.log.Info("the time is known again")
			wrong = nil
		case err != nil && fault == nil:
			i.log.Error("note the time", slog.Any("error", err))
		}
		i.behind.Store(fault)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// time reports why the issuer does not know what time it is.
func (i *Instance) time() error {
	if err := i.clock.fault(); err != nil {
		return err
	}
	if fault := i.behind.Load(); fault != nil {
		return fault
	}
	return nil
}

// timely lets a handler answer only while the time is known: all of them ask what has expired.
func (s *Server) timely(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := s.Time(); err != nil {
			return err
		}
		return next(c)
	}
}
