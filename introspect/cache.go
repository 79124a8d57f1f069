package introspect

import (
	"crypto/sha256"
	"sync"
)

// A cache remembers tokens whose signatures were good, by the hash of their text, so that it holds nothing that could
// be used. It keeps two generations: what is asked for moves to the young one, and when that is full the old one is
// forgotten. That is nearly the least recently used, without a list to maintain under a lock.
type cache struct {
	half int // how many octets a generation may have

	mu         sync.RWMutex
	young, old map[[sha256.Size]byte]entry
	size       int // of young
}

type entry struct {
	token *token
	size  int
}

// overhead is what an entry takes beside the claims: the structs and the place in the map.
const overhead = 640

func newCache(limit int) *cache {
	return &cache{half: limit / 2, young: make(map[[sha256.Size]byte]entry)}
}

// cacheKey hashes the text of a token. Most texts fit into a buffer on the stack.
func cacheKey(text string) [sha256.Size]byte {
	var buffer [1 << 10]byte
	return sha256.Sum256(append(buffer[:0], text...))
}

func (c *cache) get(key [sha256.Size]byte) (*token, bool) {
	c.mu.RLock()
	e, young := c.young[key]
	ok := young
	if !young {
		e, ok = c.old[key]
	}
	c.mu.RUnlock()
	if ok && !young {
		c.put(key, e)
	}
	return e.token, ok
}

// add remembers a token whose text has n octets. The claims take no more room than the text that encodes them.
func (c *cache) add(key [sha256.Size]byte, t *token, n int) {
	c.put(key, entry{t, n + overhead})
}

func (c *cache) put(key [sha256.Size]byte, e entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.young[key]; ok {
		return
	}
	if c.size+e.size > c.half {
		c.old, c.young, c.size = c.young, make(map[[sha256.Size]byte]entry), 0
	}
	c.young[key] = e
	c.size += e.size
}
