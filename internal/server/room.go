package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// errNoRoom means that as many logins wait as are kept.
var errNoRoom = errors.New("server: too many logins wait")

// A room bounds how many logins wait in the database, and pushed requests: anybody may begin one, from any number of
// addresses, and each takes some kilobytes until it expires. Who has logged in before is not touched when it is full.
type room struct {
	count func(context.Context) (int, error)
	now   func() time.Time

	mu      sync.Mutex
	max     int // 0: no limit
	waiting int // as of counted, and those let in since
	counted time.Time
}

// countEvery is how old a count may be. What other processes let in meanwhile is beyond it.
const countEvery = time.Second

// setMax says how many may wait from now on.
func (r *room) setMax(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.max = n
}

// with runs what keeps one more, unless there is no room.
func (r *room) with(ctx context.Context, keep func() error) error {
	if err := r.enter(ctx); err != nil {
		return err
	}
	err := keep()
	if err != nil { // nothing was kept
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting--
	}
	return err
}

// enter lets one more in, or returns [errNoRoom]; any other error means that this cannot be known.
func (r *room) enter(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if age := r.now().Sub(r.counted); age < 0 || age >= countEvery {
		n, err := r.count(ctx)
		if err != nil {
			return fmt.Errorf("server: count the logins that wait: %w", err)
		}
		r.waiting, r.counted = n, r.now()
	}
	if r.max > 0 && r.waiting >= r.max {
		return errNoRoom
	}
	r.waiting++
	return nil
}
