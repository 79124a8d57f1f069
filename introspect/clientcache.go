package introspect

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/imidentity/issuer/feed"
)

// An answerKey is the hash of a token, the caller that asks about it, and the caller's key.
type answerKey [sha256.Size]byte

// answerKey returns the key of an answer. Most tokens fit into a buffer on the stack.
func (c *Client) answerKey(token string) answerKey {
	var buffer [2 << 10]byte
	return sha256.Sum256(append(append(buffer[:0], c.salt[:]...), token...))
}

// A keptAnswer is an answer in the cache. It is not changed, except for its mark.
type keptAnswer struct {
	key    answerKey
	answer Answer
	size   int
	// asked is when the question was sent, fresh until when the answer may be used, and last until when in an outage. Followed is
	// until when it may be used while the feed is followed; zero if it may not.
	asked, fresh, followed, last time.Time
	domain                       string // of the user, if followed is set
	subject                      feed.Subject
	mark                         feed.Mark // guarded by the mutex of the cache: no event until then ended the token
}

// at returns the answer as it is at a time: its relative members have become less.
func (k *keptAnswer) at(now time.Time) Answer {
	a := k.answer
	if a.Active {
		passed := wholeSeconds(now.Sub(k.asked) + time.Second - 1)
		a.ExpiresIn, a.MaxAge = max(0, a.ExpiresIn-passed), max(0, a.MaxAge-passed)
	}
	return a
}

// An answerCache holds answers, at most as many as entries and as large as bytes. The oldest goes first.
type answerCache struct {
	entries, bytes int

	mu         sync.RWMutex
	kept       map[answerKey]*list.Element
	order      list.List // of *keptAnswer, oldest first
	size       int
	generation int // grows when the cache is cleared
}

// keptOverhead is how many bytes an entry takes beside the strings of its answer.
const keptOverhead = 1 << 10

// get returns an answer and its mark; nil if there is none.
func (c *answerCache) get(key answerKey) (*keptAnswer, feed.Mark) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.kept[key]
	if !ok {
		return nil, feed.Mark{}
	}
	k := e.Value.(*keptAnswer)
	return k, k.mark
}

// now returns the generation.
func (c *answerCache) now() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.generation
}

// put replaces the answer with the key of k, unless the cache was cleared after a generation.
func (c *answerCache) put(k *keptAnswer, generation int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.kept[k.key])
	if generation != c.generation || k.size > c.bytes {
		return
	}
	if c.kept == nil {
		c.kept = make(map[answerKey]*list.Element)
	}
	c.kept[k.key] = c.order.PushBack(k)
	c.size += k.size
	for len(c.kept) > c.entries || c.size > c.bytes {
		c.remove(c.order.Front())
	}
}

// drop removes the answer with a key.
func (c *answerCache) drop(key answerKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.kept[key])
}

// dropThis removes k, unless it has been replaced.
func (c *answerCache) dropThis(k *keptAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.kept[k.key]; e != nil && e.Value == k {
		c.remove(e)
	}
}

// moveMark notes that no event until a mark has ended the token of k.
func (c *answerCache) moveMark(k *keptAnswer, m feed.Mark) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.mark = m
}

// clear removes all answers.
func (c *answerCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept, c.size = nil, 0
	c.order.Init()
	c.generation++
}

// remove removes an element, if it is not nil. The caller holds mu.
func (c *answerCache) remove(e *list.Element) {
	if e == nil {
		return
	}
	k := c.order.Remove(e).(*keptAnswer)
	delete(c.kept, k.key)
	c.size -= k.size
}
