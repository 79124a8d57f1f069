// Package follow runs a task in the background: again and again, at an interval and on demand.
//
// A [Loop] is the one background loop of the issuer. It reads a table that other processes write, looks at a file that may
// change, or deletes expired rows. Each Loop logs when its task begins to fail and when it works again, and says nothing in
// between: an outage of an hour is two lines.
package follow

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Config configures a [Loop].
type Config struct {
	// Name says in the log what the task does, such as "following the signing keys". Required.
	Name string
	// Do is the task. Required. Its context is that of [Loop.Run]; a task that may hang sets a deadline of its own.
	Do func(ctx context.Context) error
	// Interval is the time from the end of one run to the start of the next. Zero means that only [Loop.Wake] starts runs
	// after the first.
	Interval time.Duration
	// Jitter is the longest time that is added to an interval. Each time, the part added is random, so that processes that
	// started together do not all run at once. Zero adds nothing.
	Jitter time.Duration
	// Gap is the least time from the end of one run to the start of the next, however often the loop is woken. Zero means none.
	Gap time.Duration
	// Later leaves out the run at the start: the first one comes after an interval, or when the loop is woken.
	Later bool
	// Log receives one line when the task begins to fail and one when it works again. Nil discards them.
	Log *slog.Logger
	// After returns a channel that receives once d has passed. Nil means [time.After].
	After func(d time.Duration) <-chan time.Time
}

// A Loop runs a task until its context ends. It is safe for concurrent use.
type Loop struct {
	cfg  Config
	wake chan struct{}

	running sync.Mutex // held by each run
	failing bool       // whether the last run failed; guarded by running
}

// New returns a Loop. Nothing runs before [Loop.Run].
func New(cfg Config) *Loop {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.After == nil {
		cfg.After = time.After
	}
	return &Loop{cfg: cfg, wake: make(chan struct{}, 1)}
}

// Run runs the task until ctx ends, and returns when the run in progress has ended. Runs never overlap, even if Run is called
// twice.
func (l *Loop) Run(ctx context.Context) {
	if l.cfg.Later && !l.wait(ctx) {
		return
	}
	for ctx.Err() == nil {
		l.once(ctx)
		if !l.wait(ctx) {
			return
		}
	}
}

// Wake makes [Loop.Run] run the task without waiting for the end of the interval. A run that starts after Wake was called
// always follows, also if one is in progress; calls that come before it starts share it. Wake does not block.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default: // the run that an earlier call asked for has not started yet
	}
}

// wait returns true when the next run is due, and false when ctx has ended.
func (l *Loop) wait(ctx context.Context) bool {
	var due <-chan time.Time // nil, which never receives, if there is no interval
	if l.cfg.Interval > 0 {
		d := l.cfg.Interval
		if l.cfg.Jitter > 0 {
			d += rand.N(l.cfg.Jitter)
		}
		due = l.cfg.After(d)
	}
	var open <-chan time.Time // receives at the end of the gap
	if l.cfg.Gap > 0 {
		open = l.cfg.After(l.cfg.Gap)
	}
	select {
	case <-ctx.Done():
		return false
	case <-due:
		return ctx.Err() == nil
	case <-l.wake:
	}
	if open != nil {
		select {
		case <-ctx.Done():
		case <-open:
		}
	}
	return ctx.Err() == nil
}

// once runs the task and logs a change between failing and working. An error after the end of ctx is not logged: the task was
// interrupted.
func (l *Loop) once(ctx context.Context) {
	l.running.Lock()
	defer l.running.Unlock()
	select {
	case <-l.wake: // this run is the one that was asked for
	default:
	}
	err := l.cfg.Do(ctx)
	if ctx.Err() != nil || l.failing == (err != nil) {
		return
	}
	l.failing = err != nil
	if l.failing {
		l.cfg.Log.WarnContext(ctx, l.cfg.Name, slog.Bool("failing", true), slog.Any("error", err))
	} else {
		l.cfg.Log.WarnContext(ctx, l.cfg.Name, slog.Bool("failing", false))
	}
}
