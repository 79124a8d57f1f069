// Package published caches the documents that other parties publish about themselves: the keys of an issuer, of a client or
// of an OpenID provider, and a provider's metadata.
//
// A [Cache] fetches its document again when it is too old, or lacks the value that a caller needs. The second happens at most
// once a minute, because anyone can send tokens with invented key ids. While the publisher does not answer, the last document
// is used for a while. [ErrAbsent] means that the publisher has just published a document without the value; in every other
// case the error is [ErrUnavailable].
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
	// ErrAbsent is returned if the document that is published now lacks the value.
	ErrAbsent = errors.New("published: not found")
	// ErrUnavailable is returned if the publisher does not answer, or was asked so recently that it is not asked again.
	ErrUnavailable = errors.New("published: not available")

	errOld = errors.New("the document is out of date already when it is published")
)

// Defaults for the zero values of [Config].
const (
	DefaultFresh = 5 * time.Minute
	DefaultStale = time.Hour
	DefaultRetry = 10 * time.Second
)

const (
	// forceEvery is how often a fresh document is fetched again because it lacks a value.
	forceEvery = time.Minute
	// maxTime bounds one fetch, even if its client allows more.
	maxTime = 30 * time.Second
	// maxBody bounds a document, even if its client has no limit.
	maxBody = 256 << 10
)

// Config configures [New].
type Config[T any] struct {
	// Fetch fetches the document. Its result is shared and must not be changed. Required.
	Fetch func(ctx context.Context) (T, error)
	// Fresh is how long a document is used before it is fetched again. Zero means [DefaultFresh].
	Fresh time.Duration
	// Stale is how long a document is used while the publisher does not answer. Zero means [DefaultStale].
	Stale time.Duration
	// Life returns how long a document that was fetched at a time is used before it is fetched again, and while the publisher
	// does not answer. Nil means Fresh and Stale for all.
	Life func(document T, fetched time.Time) (fresh, stale time.Duration)
	// Retry is how long a publisher that did not answer is not asked again. Zero means [DefaultRetry]; a negative value
	// means that the next question asks it.
	Retry time.Duration
	// Ahead is how long before a document is too old it is fetched again, while callers go on with it. In an outage, too, they
	// do not wait for the next attempt. Zero means that the first caller who needs a newer document waits for it.
	Ahead time.Duration
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A Cache holds one document. It is safe for concurrent use.
type Cache[T any] struct {
	cfg Config[T]

	mu      sync.Mutex
	value   T
	fetches int           // how many have succeeded
	fetched time.Time     // when the last of them did
	forced  time.Time     // when a fresh document was last fetched again
	failed  time.Time     // when the publisher last did not answer
	cause   error         // why it did not
	flight  chan struct{} // closed at the end of the fetch in progress; nil: there is none
}

// New returns an empty cache. It fetches nothing.
func New[T any](cfg Config[T]) *Cache[T] {
	if cfg.Fresh == 0 {
		cfg.Fresh = DefaultFresh
	}
	if cfg.Stale == 0 {
		cfg.Stale = DefaultStale
	}
	if cfg.Life == nil {
		cfg.Life = func(T, time.Time) (fresh, stale time.Duration) { return cfg.Fresh, cfg.Stale }
	}
	if cfg.Retry == 0 {
		cfg.Retry = DefaultRetry
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Cache[T]{cfg: cfg}
}

// Any accepts every document. It is for [Cache.Get].
func Any[T any](T) bool { return true }

// Get returns a document that has the value that the caller needs: has reports whether it does. The cached document is fetched
// again if it is too old or lacks the value. The error is [ErrAbsent], or else the answer cannot be known now: the error is
// [ErrUnavailable] or that of the context.
func (c *Cache[T]) Get(ctx context.Context, has func(T) bool) (T, error) {
	var none T
	for asked, joined := false, false; ; {
		known, fetches := c.last()
		found := fetches > 0 && has(known) // not under the lock: has may verify a signature

		c.mu.Lock()
		if c.fetches != fetches {
			c.mu.Unlock()
			continue // another document was fetched meanwhile
		}
		now := c.cfg.Now()
		value, age := c.value, now.Sub(c.fetched)
		var fresh, stale time.Duration
		if fetches > 0 {
			fresh, stale = c.cfg.Life(value, c.fetched)
		}
		isFresh := age < fresh
		switch {
		case found && (isFresh || c.cfg.Ahead > 0 && c.cause != nil && age < stale):
			if c.cfg.Ahead > 0 && age >= fresh-c.cfg.Ahead && c.flight == nil && now.Sub(c.failed) >= c.cfg.Retry {
				c.start(ctx)
			}
			c.mu.Unlock()
			return value, nil
		case asked || joined && c.cause != nil || now.Sub(c.failed) < c.cfg.Retry:
			// The publisher was asked for this question, did not answer another caller meanwhile, or must not be asked now.
			// The document from before an outage is used for a while.
			cause := c.cause
			c.mu.Unlock()
			switch {
			case found && age < stale:
				return value, nil
			case asked && cause == nil && !found:
				return none, ErrAbsent
			case asked && cause == nil:
				cause = errOld
			}
			return none, fmt.Errorf("%w: %v", ErrUnavailable, cause)
		case isFresh && c.flight == nil && now.Sub(c.forced) < forceEvery:
			c.mu.Unlock()
			return none, fmt.Errorf("%w: fetched again less than a minute ago", ErrUnavailable)
		}
		if c.flight == nil {
			if isFresh {
				c.forced = now
			}
			asked = true
			c.start(ctx)
		}
		// A fetch that another caller started does not count as asked: the value may have been published after it began.
		joined = true
		flight := c.flight
		c.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
			return none, fmt.Errorf("published: %w", ctx.Err())
		}
	}
}

// Last returns the document that was fetched last, of any age, and false if there is none.
func (c *Cache[T]) Last() (T, bool) {
	value, fetches := c.last()
	return value, fetches > 0
}

func (c *Cache[T]) last() (value T, fetches int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.value, c.fetches
}

// A State tells how old a document is, and whether its publisher answers.
type State struct {
	// Fetched is when the document was fetched, and zero if that never succeeded.
	Fetched time.Time
	// Failed is when the publisher last did not answer, and Err the reason. They are zero after a fetch that succeeded.
	Failed time.Time
	Err    error
}

// State returns the state of the document. It fetches nothing.
func (c *Cache[T]) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return State{c.fetched, c.failed, c.cause}
}

// start begins a fetch. Other callers wait for the same one, so it does not end with the context of the first.
func (c *Cache[T]) start(ctx context.Context) {
	c.flight = make(chan struct{})
	go c.refresh(context.WithoutCancel(ctx), c.flight)
}

// refresh fetches the document and ends the flight. If it fails, the last document stays.
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
		c.fetches++
		c.failed, c.cause = time.Time{}, nil
	}
	c.flight = nil
	close(flight)
}

// A StatusError is the error of [Read] for an answer whose status is not 200.
type StatusError struct{ Status int }

func (e *StatusError) Error() string { return fmt.Sprintf("answered with status %d", e.Status) }

// Read fetches one JSON document of at most 256 KiB. Its content type must be one of types.
func Read(ctx context.Context, client *http.Client, url string, types ...string) ([]byte, error) {
	return ReadAtMost(ctx, client, maxBody, url, types...)
}

// ReadAtMost is [Read] for a document of at most size bytes.
func ReadAtMost(ctx context.Context, client *http.Client, size int64, url string, types ...string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	body, _, err := ReadChanged(client, req, "", size, types...)
	return body, err
}

// ErrNotModified is returned by [ReadChanged] if the document is the one with the given entity tag.
var ErrNotModified = errors.New("not modified")

// maxETag is how long an entity tag may be that is sent back.
const maxETag = 256

// ReadChanged sends a request for a document of at most size bytes, unless the document still has the entity tag etag (RFC 9110 §13.1.2).
// It returns the document with its entity tag. Empty stands for no entity tag, also for one that is too long to be sent back. The
// content type must be one of types.
//
// The error is [ErrNotModified], a *[StatusError], a *[fetch.RefusedError] about "type" or "size", or that of the client.
func ReadChanged(client *http.Client, req *http.Request, etag string, size int64, types ...string) (body []byte, tag string, err error) {
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		return nil, "", ErrNotModified
	case resp.StatusCode != http.StatusOK:
		return nil, "", &StatusError{resp.StatusCode}
	}
	if err := fetch.CheckType(resp, types...); err != nil {
		return nil, "", err
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, size+1))
	switch {
	case err != nil:
		return nil, "", err
	case int64(len(body)) > size:
		return nil, "", &fetch.RefusedError{Part: "size", Detail: fmt.Sprintf("more than %d bytes", size)}
	}
	if tag = resp.Header.Get("ETag"); len(tag) > maxETag {
		tag = ""
	}
	return body, tag, nil
}
