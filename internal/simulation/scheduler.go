package simulation

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// A scheduler lets one goroutine run at a time. Each task of a simulation waits at a gate before whatever others can see: an operation of
// the database, a message, the end of a wait. When all of them wait, the scheduler chooses one by the seed. So a seed has one order of
// events, however the runtime schedules goroutines.
//
// Between two gates a task runs alone. A task that a timer wakes goes to a gate first.
type scheduler struct {
	rng   *rand.Rand
	began time.Time
	tasks int

	mu      sync.Mutex // goroutines come to the gate at the same time
	waiting []*waiter

	sum   uint64   // of the events so far
	steps int      // how many events there were
	trace []string // the events; nil unless they are kept
	keep  bool
	over  chan struct{} // closed at the end
	came  chan struct{} // receives when a task comes to the gate
}

// A task is a goroutine of the simulation. Its name is unique.
type task struct {
	name string
	node *node // on which it runs; nil for clients
}

type waiter struct {
	task *task
	what string
	open chan struct{}
}

type taskKey struct{}

func newScheduler(seed uint64, keep bool) *scheduler {
	return &scheduler{
		rng: rand.New(rand.NewPCG(seed, 0x5eed)), began: time.Now(), keep: keep, came: make(chan struct{}, 1), over: make(chan struct{}),
	}
}

// spawn starts a task, which begins at a gate. The running task calls it, or no task runs.
func (s *scheduler) spawn(ctx context.Context, name string, n *node, fn func(ctx context.Context)) {
	s.tasks++
	t := &task{fmt.Sprintf("%03d %s", s.tasks, name), n}
	ctx = context.WithValue(ctx, taskKey{}, t)
	go func() {
		if s.gate(ctx, "begins") == nil {
			fn(ctx)
		}
	}()
}

// gate waits until the task of ctx may run. The error is that of ctx, which ended before. At the end of the simulation the task ends
// here.
func (s *scheduler) gate(ctx context.Context, what string) error {
	t, ok := ctx.Value(taskKey{}).(*task)
	if !ok {
		panic("simulation: " + what + " outside of a task")
	}
	w := &waiter{t, what, make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	select {
	case s.came <- struct{}{}:
	default:
	}
	select {
	case <-w.open:
		return nil
	case <-s.over:
		runtime.Goexit()
	case <-ctx.Done():
	}
	s.mu.Lock()
	s.waiting = slices.DeleteFunc(s.waiting, func(o *waiter) bool { return o == w })
	s.mu.Unlock()
	return ctx.Err()
}

// sleep lets the task of ctx wait for a time.
func (s *scheduler) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.gate(ctx, "wakes")
	case <-s.over:
		runtime.Goexit()
	case <-ctx.Done():
	}
	return ctx.Err()
}

// pauses are how far time may go on when no task waits for it.
var pauses = []time.Duration{time.Millisecond, 5 * time.Millisecond, 40 * time.Millisecond, 150 * time.Millisecond}

// step lets one task run until all wait again, or lets time go on.
func (s *scheduler) step() {
	synctest.Wait()
	s.mu.Lock()
	ready := slices.SortedFunc(slices.Values(s.waiting), func(a, b *waiter) int { return cmp.Compare(a.task.name, b.task.name) })
	s.mu.Unlock()
	select {
	case <-s.came:
	default:
	}
	if len(ready) == 0 {
		<-s.came // when the next timer has fired
		return
	}
	if s.rng.IntN(8) == 0 {
		d := pauses[s.rng.IntN(len(pauses))]
		s.note("", "time goes on by "+d.String())
		time.Sleep(d)
		return
	}
	w := ready[s.rng.IntN(len(ready))]
	s.note(w.task.name, w.what)
	s.mu.Lock()
	s.waiting = slices.DeleteFunc(s.waiting, func(o *waiter) bool { return o == w })
	s.mu.Unlock()
	close(w.open)
	synctest.Wait() // until it waits again
}

// note adds an event to the trace.
func (s *scheduler) note(who, what string) {
	s.steps++
	at := time.Since(s.began)
	h := fnv.New64a()
	var head [16]byte
	binary.BigEndian.PutUint64(head[:8], s.sum)
	binary.BigEndian.PutUint64(head[8:], uint64(at))
	_, _ = h.Write(head[:])
	_, _ = io.WriteString(h, who)
	_, _ = io.WriteString(h, what)
	s.sum = h.Sum64()
	if s.keep {
		s.trace = append(s.trace, fmt.Sprintf("%d %v %s: %s", s.steps, at, who, what))
	}
}

// log adds what a task did to the trace.
func (s *scheduler) log(ctx context.Context, format string, args ...any) {
	t := ctx.Value(taskKey{}).(*task)
	s.note(t.name, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// chance is true once in n times.
func (s *scheduler) chance(n int) bool { return s.rng.IntN(n) == 0 }

// between returns a time from one to another.
func (s *scheduler) between(from, to time.Duration) time.Duration {
	return from + time.Duration(s.rng.Int64N(int64(to-from)+1))
}
