package introspect

import (
	"context"
	"errors"
	"time"

	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/internal/published"
)

// An asking is a question that waits for its answer. Callers that ask the same meanwhile wait for it, too.
type asking struct {
	key   answerKey
	token string

	// Of the request, by the sender.
	asked      time.Time
	mark       feed.Mark
	generation int
	tries      int

	done   chan struct{} // closed once result and err are set
	result Result
	err    error
}

// maxTries is how often a question is asked whose answers are overtaken by events.
const maxTries = 3

// maxBatchForm bounds the body of a question about several tokens, in bytes. The issuer accepts 256 KiB.
const maxBatchForm = 224 << 10

// join has a question asked, unless it is being asked already.
func (c *Client) join(key answerKey, token string) (*asking, error) {
	if a := c.joinAll([]answerKey{key}, []string{token})[0]; a != nil {
		return a, nil
	}
	return nil, errPending
}

// joinAll has questions asked, except for those that are being asked already. It returns nil in place of those for which there is no room.
func (c *Client) joinAll(keys []answerKey, tokens []string) []*asking {
	out := make([]*asking, len(keys))
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, key := range keys {
		if out[i] = c.pending[key]; out[i] != nil {
			continue
		}
		// The answer may have come since the caller looked.
		if r, ok := c.kept(key); ok {
			out[i] = &asking{key: key, result: r, done: make(chan struct{})}
			close(out[i].done)
			continue
		}
		if len(c.pending) >= c.cfg.MaxPending {
			continue
		}
		out[i] = &asking{key: key, token: tokens[i], done: make(chan struct{})}
		c.pending[key] = out[i]
		c.queue = append(c.queue, out[i])
	}
	for range min(c.cfg.Parallel-c.senders, len(c.queue)) {
		c.senders++
		go c.send()
	}
	return out
}

// wait waits for the answer to a question. If ctx ends first, the question goes on for the others.
func (c *Client) wait(ctx context.Context, a *asking) (Result, error) {
	var err error
	select {
	case <-a.done:
		err = a.err
	default:
		select {
		case <-a.done:
			err = a.err
		case <-ctx.Done():
			err = unknown(ctx.Err())
		}
	}
	if err == nil {
		return a.result, nil
	}
	if errors.Is(err, ErrUnknown) {
		if r, ok := c.stale(a.key); ok {
			return r, nil
		}
	}
	return Result{}, err
}

// send sends the questions that wait, until there are none. Those that come while all senders are busy go together.
func (c *Client) send() {
	for c.waiting() {
		ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Timeout)
		meta, err := c.meta.Get(ctx, published.Any)
		list := c.take(meta, err)
		switch {
		case len(list) == 0: // another sender has taken them
		case err != nil:
			for _, a := range list {
				c.finish(a, Result{}, unknown(err))
			}
		case len(list) == 1:
			c.askOne(ctx, meta, list[0])
		default:
			c.askSeveral(ctx, meta, list)
		}
		cancel()
	}
}

// waiting reports whether questions wait. If there are none, the sender ends.
func (c *Client) waiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.senders--
		return false
	}
	return true
}

// take takes questions from the queue for one request: all of them if none can be sent.
func (c *Client) take(meta *clientMetadata, failed error) []*asking {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, size := 0, 0
	for n < len(c.queue) {
		size += escaped(c.queue[n].token)
		if failed == nil && n > 0 && (meta.batch == "" || n == MaxBatch || size > maxBatchForm) {
			break
		}
		n++
	}
	list := c.queue[:n:n]
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	}
	generation, mark, now := c.cache.now(), c.mark(), c.cfg.Now()
	for _, a := range list {
		a.asked, a.mark, a.generation = now, mark, generation
		a.tries++
	}
	return list
}

// escaped returns at most how many bytes a token takes in a form, as an element of an array.
func escaped(token string) int {
	n := len(token) + len("%22%22%2C")
	for i := range len(token) {
		switch c := token[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
		default:
			n += len(`%5Cu003C`) - 1
		}
	}
	return n
}

// answered takes the answer to a question. The size is that of its text.
func (c *Client) answered(a *asking, answer Answer, size int) {
	if answer.Active && c.overtaken(a.mark, c.subjectOf(&answer, a.token)) {
		if a.tries >= maxTries {
			c.finish(a, Result{}, errOvertaken)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.queue = append(c.queue, a) // for this sender
		return
	}
	c.keep(a, &answer, size)
	c.finish(a, Result{Answer: answer}, nil)
}

// finish ends a question.
func (c *Client) finish(a *asking, r Result, err error) {
	c.mu.Lock()
	delete(c.pending, a.key)
	c.mu.Unlock()
	a.result, a.err = r, err
	close(a.done)
}
