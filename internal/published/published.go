// Package published keeps what others publish about themselves: the keys of an issuer, those of a client.
//
// A [Cache] asks again when what it holds is too old or lacks what is asked for, and never more often than is polite: who
// sends tokens can make up key ids. What was fetched stays good for a while when its publisher does not answer. "No"
// ([ErrAbsent]) is only what the publisher has just said; everything else is "cannot know" ([ErrUnavailable]).
package published

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
)

var (
	// ErrAbsent is returned when what is published now lacks what was asked for.
	ErrAbsent = errors.New("published: not found")
	// ErrUnavailable is returned when that cannot be known now: the publisher does not answer, or was asked so lately that
	// it is left alone.
	ErrUnavailable = errors.New("published: not available")
)

// Defaults for the zero values of [Config].
const (
	DefaultFresh = 5 * time.Minute
	DefaultStale = time.Hour
)

const (
	// forceEvery is how often something that is absent makes everything be fetched again while it is fresh.
	forceEvery = time.Minute
	// retryAfter is how long a publisher that did not answer is left alone.
	retryAfter = 10 * time.Second
	// maxTime bounds one fetch, whatever its client allows.
	maxTime = 30 * time.Second
	// maxBody bounds an answer, also by a client that has no limit.
	maxBody = 256 << 10
)

// Config configures [New].
type Config[T any] struct {
	// Fetch asks the publisher. What it returns is shared and not changed any more. Required.
	Fetch func(ctx context.Context) (T, error)
	// Fresh is for how long it is used unasked: zero means [DefaultFresh].
	Fresh time.Duration
	// Stale is for how long it is used while the publisher does not answer: zero means [DefaultStale].
	Stale time.Duration
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A Cache is what somebody published when last asked. It is safe for concurrent use.
type Cache[T any] struct {
	cfg Config[T]

	mu      sync.Mutex
	value   T
	fetched time.Time     // when value was; zero: never
	forced  time.Time     // when something absent last made it be fetched
	failed  time.Time     // when the publisher last did not answer
	cause   error         // why
	flight  chan struct{} // closed at the end of the fetch that is under way; nil: none is
}

// New returns an empty cache. It fetches nothing.
func New[T any](cfg Config[T]) *Cache[T] {
	if cfg.Fresh == 0 {
		cfg.Fresh = DefaultFresh
	}
	if cfg.Stale == 0 {
		cfg.Stale = DefaultStale
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Cache[T]{cfg: cfg}
}

// Get returns what is published, with what the caller is after: has reports whether a value holds it. It asks the
// publisher if what is at hand is too old or lacks that. The error is [ErrAbsent], or means that this cannot be known now
// ([ErrUnavailable], or that of the context).
func (c *Cache[T]) Get(ctx context.Context, has func(T) bool) (T, error) {
	var none T
	for asked := false; ; {
		c.mu.Lock()
		now := c.cfg.Now()
		value, age := c.value, now.Sub(c.fetched)
		found := !c.fetched.IsZero() && has(value)
		isFresh := !c.fetched.IsZero() && age < c.cfg.Fresh
		switch {
		case found && isFresh:
			c.mu.Unlock()
			return value, nil
		case asked || now.Sub(c.failed) < retryAfter:
			// The publisher was asked for this very question, or is not to be. What was fetched before an outage is good for a
			// while.
			cause := c.cause
			c.mu.Unlock()
			switch {
			case found && age < c.cfg.Stale:
				return value, nil
			case asked && cause == nil:
				return none, ErrAbsent
			}
			return none, fmt.Errorf("%w: %v", ErrUnavailable, cause)
		case isFresh && c.flight == nil && now.Sub(c.forced) < forceEvery:
			c.mu.Unlock()
			return none, fmt.Errorf("%w: something absent was asked for less than a minute ago", ErrUnavailable)
		}
		if c.flight == nil {
			if isFresh {
				c.forced = now
			}
			asked, c.flight = true, make(chan struct{})
			// Others wait for the same answer: it does not end with the one who asked first.
			go c.refresh(context.WithoutCancel(ctx), c.flight)
		}
		flight := c.flight // Another's, unless asked: what it lacks may have been published after it began.
		c.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
			return none, fmt.Errorf("published: %w", ctx.Err())
		}
	}
}

// Last returns the value that was fetched last, however old it is, and false if there is none.
func (c *Cache[T]) Last() (T, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value, !c.fetched.IsZero()
}

// refresh fetches the value and ends the flight. When it fails, what was known stays.
func (c *Cache[T]) refresh(ctx context.Context, flight chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	value, err := c.cfg.Fetch(ctx)

	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed, c.cause = c.cfg.Now(), err
	} else {
		c.value, c.fetched = value, c.cfg.Now()
		c.failed, c.cause = time.Time{}, nil
	}
	c.flight = nil
	close(flight)
}

// Read fetches one JSON document: 256 KiB at most, and of one of types.
func Read(ctx context.Context, client *http.Client, url string, types ...string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered with status %d", resp.StatusCode)
	}
	if err := fetch.CheckType(resp, types...); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = errors.New("longer than 256 KiB")
	}
	return body, err
}
