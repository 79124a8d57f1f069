package dpop_test

import (
	"sync/atomic"
	"time"
)

// A clock is turned by hand.
type clock struct{ unix atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.unix.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix())
	return c
}

func (c *clock) now() time.Time       { return time.Unix(c.unix.Load(), 0) }
func (c *clock) turn(d time.Duration) { c.unix.Add(int64(d / time.Second)) }
