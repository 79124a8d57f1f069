package server

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// errNoRoom means that as many logins wait as are kept.
var errNoRoom = errors.New("server: too many logins wait")

// A room bounds how many logins wait in the database, and pushed requests: anybody may begin one, from any number of
// addresses, and each takes some kilobytes until it expires. Who has logged in before is not touched when it is full.
type room struct {
	mu      sync.Mutex
	max     int // 0: no limit
	waiting int // as of the last count, and those let in since
}

// setMax says how many may wait from now on.
func (r *room) setMax(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.max = n
}

// with runs what keeps one more, unless there is no room: then the error is [errNoRoom].
func (r *room) with(keep func() error) error {
	if !r.enter() {
		return errNoRoom
	}
	err := keep()
	if err != nil { // nothing was kept
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting--
	}
	return err
}

func (r *room) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.max > 0 && r.waiting >= r.max {
		return false
	}
	r.waiting++
	return true
}

// follow counts what waits every second, until ctx ends: logins end, and other processes let some in.
func (r *room) follow(ctx context.Context, count func(context.Context) (int, error), log *slog.Logger) {
	failing := false
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		n, err := count(ctx)
		if err == nil {
			r.mu.Lock()
			r.waiting = n
			r.mu.Unlock()
		}
		if ctx.Err() == nil && failing != (err != nil) {
			failing = err != nil
			log.Warn("counting the logins that wait", slog.Bool("failing", failing), slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
