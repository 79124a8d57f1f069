package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// An action is the part of a window that is measured. It returns the latency of each operation in microseconds, or nothing
// if nobody asks for it.
type action func(ctx context.Context) (latencies []float64, err error)

// A series is one kind of operation, measured once in each round.
type series struct {
	name string
	// pid is the process whose CPU time counts.
	pid int
	// least is the number of operations in the shortest window.
	least int
	// prepare makes everything that n operations need. It is not measured.
	prepare func(ctx context.Context, n int) (action, error)

	n       int           // operations in a window
	used    time.Duration // CPU time of the last window
	cpu     []float64     // of each window: CPU time of an operation, in microseconds
	latency []float64     // of each window: median latency, in microseconds
	rate    []float64     // of each window: operations per second
}

// calibrate chooses the number of operations that take about as long as a window.
func (s *series) calibrate(ctx context.Context, window time.Duration) error {
	s.n = s.least
	for range 2 { // the first window also warms up
		_, took, err := s.window(ctx)
		if err != nil {
			return err
		}
		s.n = max(s.least, int(float64(s.n)*float64(window)/float64(took)))
	}
	return nil
}

// measure runs one window.
func (s *series) measure(ctx context.Context) error {
	latencies, took, err := s.window(ctx)
	if err != nil {
		return err
	}
	s.rate = append(s.rate, float64(s.n)/took.Seconds())
	s.cpu = append(s.cpu, float64(s.used.Nanoseconds())/1e3/float64(s.n))
	if latencies != nil {
		s.latency = append(s.latency, median(latencies))
	}
	return nil
}

// patience is how often a window is repeated if the issuer answers that it cannot know now. On a machine that is busy with other
// work, its view of revocations may be too old for a moment.
const patience = 10

// window runs n operations and returns their latencies and how long they took together. The CPU time is in s.used.
func (s *series) window(ctx context.Context) (latencies []float64, took time.Duration, err error) {
	for range patience {
		if latencies, took, err = s.attempt(ctx); err == nil {
			return latencies, took, nil
		}
		if busy := (*statusError)(nil); !errors.As(err, &busy) || busy.status != http.StatusServiceUnavailable {
			break
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return nil, 0, fmt.Errorf("%s: %w", s.name, err)
}

func (s *series) attempt(ctx context.Context) (latencies []float64, took time.Duration, err error) {
	act, err := s.prepare(ctx, s.n)
	if err != nil {
		return nil, 0, err
	}
	before, err := cpuTime(s.pid)
	if err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	if latencies, err = act(ctx); err != nil {
		return nil, 0, err
	}
	took = max(time.Since(begin), time.Microsecond)
	after, err := cpuTime(s.pid)
	s.used = after - before
	return latencies, took, err
}

// rotate measures every series once in each round. Each round begins with another one, and every second round runs backwards, so
// that none always follows the same.
func rotate(ctx context.Context, all []*series, rounds int, window time.Duration, progress func(round int)) error {
	for _, s := range all {
		if err := s.calibrate(ctx, window); err != nil {
			return err
		}
	}
	for round := range rounds {
		for i := range all {
			if err := ctx.Err(); err != nil {
				return err
			}
			at := (round + i) % len(all)
			if round%2 == 1 {
				at = len(all) - 1 - at
			}
			if err := all[at].measure(ctx); err != nil {
				return err
			}
		}
		progress(round + 1)
	}
	return nil
}

// share runs n operations over the connections: each takes the next one that is left, and all stop at the first error.
func share(conns []*conn, n int, once func(c *conn, i int) error) error {
	var next atomic.Int64
	return together(len(conns), func(caller int) error {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return nil
			}
			if err := once(conns[caller], i); err != nil {
				next.Store(int64(n))
				return err
			}
		}
	})
}

// together runs callers goroutines and returns the first error.
func together(callers int, run func(caller int) error) error {
	var group sync.WaitGroup
	var once sync.Once
	var first error
	for caller := range callers {
		group.Go(func() {
			if err := run(caller); err != nil {
				once.Do(func() { first = err })
			}
		})
	}
	group.Wait()
	return first
}
