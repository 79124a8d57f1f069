package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

const (
	// clockStep is by how much the system's clock may be set while the issuer runs, and by how much it may be behind the
	// newest record of the database. Revocations outlive the tokens that they end by as much.
	clockStep = 5 * time.Minute
	// clockGap is how long the issuer may have been stopped. After a longer gap the operator must confirm the clock,
	// because all sessions have expired by it and would be swept.
	clockGap = 30 * 24 * time.Hour
)

// A clock gives all parts of an issuer the time. It follows the system's clock while that can be trusted. When the
// system's clock is set by more than clockStep, the clock goes on as if it had not been set, and reports a fault.
type clock struct {
	wall    func() time.Time              // the system's clock, which may be set
	elapsed func(time.Time) time.Duration // monotonic; of a reading of wall
	asleep  func() time.Duration          // how long the machine slept, which elapsed does not count
	anchor  atomic.Pointer[anchor]
}

// An anchor is a moment to count from.
type anchor struct {
	time            time.Time
	elapsed, asleep time.Duration
	ahead           time.Duration // how far ahead of it the system's clock may be
	stored          bool          // the moment is the newest of the database; the system's clock was not trusted when the issuer started
}

// A clockError says how the system's clock is wrong, and how to correct it.
type clockError struct {
	off    time.Duration // of the system's clock, ahead if positive
	since  time.Time     // what it is compared with
	stored bool
}

func (e *clockError) Error() string {
	by := e.off.Abs().Round(time.Second)
	switch {
	case e.stored && e.off < 0:
		return fmt.Sprintf("the clock is %s behind the newest record of the database, of %s: set it right, or if it is right, "+
			"start with --accept-clock", by, e.since.Format(time.RFC3339))
	case e.stored:
		return fmt.Sprintf("the clock is %s ahead of the newest record of the database, of %s: set it right, or if the issuer was "+
			"stopped that long, start with --accept-clock", by, e.since.Format(time.RFC3339))
	case e.off < 0:
		return fmt.Sprintf("the clock was set back by %s while the issuer runs: set it right, or if it is right now, "+
			"restart with --accept-clock", by)
	}
	return fmt.Sprintf("the clock was set ahead by %s while the issuer runs: set it right, or if it is right now, restart the issuer", by)
}

// newClock returns a clock for an issuer with the newest record of its database, the zero time for an empty one. With
// o.AcceptClock it trusts the system's clock whatever the database says; in development, after a stop of any length.
func newClock(o Options, newest time.Time, development bool) *clock {
	c := &clock{wall: o.Now, asleep: asleep}
	if c.wall == nil {
		c.wall = time.Now
	}
	if began := c.wall(); o.Elapsed == nil {
		c.elapsed = func(wall time.Time) time.Duration { return wall.Sub(began) } // times of time.Now are monotonic, too
	} else {
		c.elapsed = func(time.Time) time.Duration { return o.Elapsed() }
	}
	now := c.wall()
	off := now.Sub(newest)
	trusted := o.AcceptClock || newest.IsZero() || off >= -clockStep && (off <= clockGap || development)
	if trusted {
		c.fix(now, clockStep, false)
	} else {
		c.fix(newest, clockGap, true)
	}
	return c
}

func (c *clock) fix(at time.Time, ahead time.Duration, stored bool) {
	c.anchor.Store(&anchor{at, c.elapsed(c.wall()), c.asleep(), ahead, stored})
}

// read returns the time of the system's clock, the time that it should show, and the difference if that is too large.
func (c *clock) read() (wall, steady time.Time, off time.Duration, a *anchor) {
	a, wall = c.anchor.Load(), c.wall()
	steady = a.time.Add(c.elapsed(wall) - a.elapsed)
	if off = since(wall, steady); a.allows(off) {
		return wall, steady, 0, a
	}
	slept := c.asleep() - a.asleep // a system call, so only where it matters
	if steady = steady.Add(slept); a.allows(off - slept) {
		return wall, steady, 0, a
	}
	return wall, steady, off - slept, a
}

// since is the difference between two wall clocks, without their monotonic readings.
func since(a, b time.Time) time.Duration { return a.Round(0).Sub(b.Round(0)) }

func (a *anchor) allows(off time.Duration) bool { return off >= -clockStep && off <= a.ahead }

// now is the system's time, or the steady time while the system's clock is not trusted.
func (c *clock) now() time.Time {
	wall, steady, off, _ := c.read()
	if off != 0 {
		return steady
	}
	return wall
}

// fault is a [*clockError] while the system's clock is not trusted.
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

// noteTime notes the time in the database, and logs when the clock is not trusted any more, or again.
func (i *Instance) noteTime(ctx context.Context) error {
	err := i.clock.note(ctx, i.store, false)
	if ctx.Err() != nil {
		return err
	}
	var fault *clockError
	if err != nil && !errors.As(err, &fault) {
		return err // the database does not say what it knows of the time
	}
	switch before := i.clockFault.Swap(fault); {
	case fault != nil && before == nil:
		i.log.Error("not ready: the time is not known", slog.Any("error", fault))
	case fault == nil && before != nil:
		i.log.Info("the time is known again")
	}
	return nil
}

// time returns an error while the issuer does not know the time.
func (i *Instance) time() error {
	if err := i.clock.fault(); err != nil {
		return err
	}
	if fault := i.clockFault.Load(); fault != nil {
		return fault
	}
	return nil
}

// takeBackup notes the time, which a restore gives as the time of the backup, and writes the database to a new file.
func (i *Instance) takeBackup(ctx context.Context, to string) error {
	err := i.clock.note(ctx, i.store, false)
	if wrong := (*clockError)(nil); err != nil && !errors.As(err, &wrong) { // with a wrong clock a backup is still useful
		return fmt.Errorf("note the time of the backup: %w", err)
	}
	if err := i.backup(ctx, to); err != nil {
		return err
	}
	i.audit.Record(ctx, audit.Event{Kind: audit.BackupMade})
	return nil
}
