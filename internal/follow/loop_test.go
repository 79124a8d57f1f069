package follow_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/follow"
)

// A clock stands still until a test lets an interval end. It reports each interval that a loop begins.
type clock struct {
	begun chan time.Duration
	end   chan time.Time
}

func newClock() *clock {
	return &clock{begun: make(chan time.Duration, 100), end: make(chan time.Time)}
}

func (c *clock) after(d time.Duration) <-chan time.Time {
	c.begun <- d
	return c.end
}

// start runs a loop until the test, or the returned function, ends it; that one waits until Run has returned.
func start(t *testing.T, loop *follow.Loop) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { loop.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

func TestInterval(t *testing.T) {
	for _, test := range []struct {
		name  string
		later bool
	}{{"now", false}, {"later", true}} {
		t.Run(test.name, func(t *testing.T) {
			clock, runs := newClock(), atomic.Int32{}
			stop := start(t, follow.New(follow.Config{
				Name: "counting", Interval: time.Minute, Later: test.later, After: clock.after,
				Do: func(context.Context) error { runs.Add(1); return nil },
			}))
			want := int32(1)
			if test.later {
				want = 0
			}
			for range 3 {
				if d := <-clock.begun; d != time.Minute {
					t.Errorf("waits for %s, want %s", d, time.Minute)
				}
				if got := runs.Load(); got != want {
					t.Errorf("after %d runs it waits, want %d", got, want)
				}
				clock.end <- time.Time{}
				want++
			}
			<-clock.begun
			stop()
			if got := runs.Load(); got != want {
				t.Errorf("runs = %d, want %d", got, want)
			}
		})
	}
}

func TestJitter(t *testing.T) {
	clock, seen := newClock(), make(map[time.Duration]bool)
	start(t, follow.New(follow.Config{
		Name: "waiting", Interval: time.Minute, Jitter: time.Hour, After: clock.after,
		Do: func(context.Context) error { return nil },
	}))
	for range 20 {
		d := <-clock.begun
		if d < time.Minute || d >= time.Minute+time.Hour {
			t.Errorf("waits for %s, want between %s and %s", d, time.Minute, time.Minute+time.Hour)
		}
		seen[d] = true
		clock.end <- time.Time{}
	}
	if len(seen) == 1 {
		t.Errorf("waits for %v each time, want times that differ", seen)
	}
}

// Without an interval, only Wake starts runs.
func TestWakeAlone(t *testing.T) {
	done := make(chan struct{})
	loop := follow.New(follow.Config{
		Name: "on demand", Later: true,
		After: func(time.Duration) <-chan time.Time { t.Error("the loop waits for a time"); return nil },
		Do:    func(context.Context) error { done <- struct{}{}; return nil },
	})
	loop.Wake() // before Run: it is not lost
	start(t, loop)
	<-done
	for range 3 {
		loop.Wake()
		<-done
	}
}

// A run that was asked for while another one was in progress starts after it, once, however often it was asked for.
func TestWakeDuringRun(t *testing.T) {
	clock, began, finish := newClock(), make(chan struct{}), make(chan struct{})
	var runs atomic.Int32
	loop := follow.New(follow.Config{
		Name: "slow", Interval: time.Minute, After: clock.after,
		Do: func(context.Context) error { runs.Add(1); began <- struct{}{}; <-finish; return nil },
	})
	start(t, loop)
	<-began
	for range 10 {
		loop.Wake()
	}
	finish <- struct{}{}
	<-began // the second run
	finish <- struct{}{}
	<-clock.begun // the wait that the calls cut short
	<-clock.begun // the wait after the second run: nothing is left of the calls
	if got := runs.Load(); got != 2 {
		t.Errorf("runs = %d, want 2", got)
	}
	clock.end <- time.Time{}
	<-began
	close(finish)
}

// Everything that was written before a call of Wake is seen by a run, whatever runs meanwhile; and no two runs overlap,
// even of two calls of Run.
func TestWakeRaces(t *testing.T) {
	const writers, writes = 8, 200
	var (
		written, inside atomic.Int32
		seen            = make(chan int32, 1) // the latest value that a run has read
	)
	loop := follow.New(follow.Config{Name: "reading", Do: func(context.Context) error {
		if inside.Add(1) != 1 {
			t.Error("two runs at once")
		}
		defer inside.Add(-1)
		select {
		case <-seen:
		default:
		}
		seen <- written.Load()
		return nil
	}})
	start(t, loop)
	start(t, loop)
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range writes {
				written.Add(1)
				loop.Wake()
			}
		})
	}
	writing.Wait()
	for <-seen != writers*writes { // hangs if the last call was lost
	}
}

// Run returns when the run in progress has ended, and starts no other one.
func TestEnd(t *testing.T) {
	began, ended := make(chan struct{}), atomic.Bool{}
	loop := follow.New(follow.Config{Name: "interrupted", Interval: time.Nanosecond, Do: func(ctx context.Context) error {
		close(began) // a second run would panic
		<-ctx.Done()
		ended.Store(true)
		return ctx.Err()
	}})
	stop := start(t, loop)
	<-began
	loop.Wake()
	stop()
	if !ended.Load() {
		t.Error("Run returned while the task was running")
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	loop.Run(ctx)
}

// One line says that the task fails and one that it works again. The end of the context is no failure.
func TestLog(t *testing.T) {
	var (
		log      bytes.Buffer
		clock    = newClock()
		outcomes = []error{nil, errors.New("first"), errors.New("second"), nil, nil, errors.New("third"), nil}
		runs     int
	)
	ctx, cancel := context.WithCancel(t.Context())
	loop := follow.New(follow.Config{
		Name: "following the table", Interval: time.Second, After: clock.after,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})),
		Do: func(ctx context.Context) error {
			if runs == len(outcomes) {
				cancel()
				return ctx.Err()
			}
			runs++
			return outcomes[runs-1]
		},
	})
	var running sync.WaitGroup
	running.Go(func() { loop.Run(ctx) })
	for range outcomes {
		<-clock.begun
		clock.end <- time.Time{}
	}
	running.Wait()
	want := strings.Join([]string{
		`level=WARN msg="following the table" failing=true error=first`,
		`level=WARN msg="following the table" failing=false`,
		`level=WARN msg="following the table" failing=true error=third`,
		`level=WARN msg="following the table" failing=false`,
	}, "\n") + "\n"
	if got := log.String(); got != want {
		t.Errorf("logged\n%swant\n%s", got, want)
	}
}

// A loop that is woken again and again waits for the gap between two runs.
func TestGap(t *testing.T) {
	clock, runs := newClock(), make(chan bool)
	loop := follow.New(follow.Config{
		Name: "reading", Gap: time.Second, After: clock.after, Do: func(context.Context) error { runs <- true; return nil },
	})
	start(t, loop)
	<-runs
	for range 3 {
		if d := <-clock.begun; d != time.Second {
			t.Errorf("waits for %s, want %s", d, time.Second)
		}
		loop.Wake()
		select {
		case <-runs:
			t.Fatal("a run before the end of the gap")
		case clock.end <- time.Time{}: // the loop waits for this, and for nothing else that can happen
		}
		<-runs
	}
}
