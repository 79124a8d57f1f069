package sasl

import (
	"crypto/rand"
	"sync"
	"time"
)

const (
	// challengeLife is how long a client has to answer a challenge.
	challengeLife = time.Minute
	// maxChallenges is how many challenges are stored. A new one replaces the oldest: to push out that of a client which answers
	// within a second, an attacker would have to begin 65536 exchanges in that second.
	maxChallenges = 1 << 16
)

// challenges are the challenges that have not been answered yet. They are in memory: the exchanges of a helper end with it.
type challenges struct {
	mu    sync.Mutex
	open  map[string]challenge // by nonce
	order []string             // nonces in the order of their making, in a ring
	next  int
}

type challenge struct {
	domain  string
	expires time.Time
}

func newChallenges() *challenges { return &challenges{open: make(map[string]challenge)} }

// make makes a challenge for a domain.
func (c *challenges) make(domain string, now time.Time) (nonce string) {
	nonce = rand.Text() // 130 bits
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.order) < maxChallenges {
		c.order = append(c.order, nonce)
	} else {
		delete(c.open, c.order[c.next])
		c.order[c.next] = nonce
		c.next = (c.next + 1) % maxChallenges
	}
	c.open[nonce] = challenge{domain, now.Add(challengeLife)}
	return nonce
}

// take returns the domain of a challenge and removes it, so that it is answered once. It returns false if there is no such
// challenge, or if it has expired.
func (c *challenges) take(nonce string, now time.Time) (domain string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.open[nonce]
	delete(c.open, nonce)
	return found.domain, ok && now.Before(found.expires)
}
