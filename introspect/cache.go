package introspect

import (
	"crypto/sha256"
	"sync"
)

// A cache holds what was read from tokens whose signatures were valid, by the hash of their text: it holds no text that could be used. It
// has two generations. A token that is found in the old one moves to the young one; when the young one is full, the old one is
// dropped. So the tokens that were not asked about for longest go first, and a look-up needs no exclusive lock.
//
// It is bounded in bytes, since a token that encloses others is twenty times as large as a plain one.
type cache[T any] struct {
	half int // how many bytes a generation may have

	mu         sync.RWMutex
	young, old map[[sha256.Size]byte]entry[T]
	size       int // of young
}

type entry[T any] struct {
	token *T
	size  int
}

// overhead is how many bytes an entry takes beside its claims: the structs and the slot in the map.
const overhead = 640

func newCache[T any](limit int) *cache[T] {
	return &cache[T]{half: limit / 2, young: make(map[[sha256.Size]byte]entry[T])}
}

// cacheKey hashes the text of a token. Most texts fit into a buffer on the stack.
func cacheKey(text string) [sha256.Size]byte {
	var buffer [1 << 10]byte
	return sha256.Sum256(append(buffer[:0], text...))
}

func (c *cache[T]) get(key [sha256.Size]byte) (*T, bool) {
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

// add adds a token whose text has n bytes. Its claims take no more memory than that text.
func (c *cache[T]) add(key [sha256.Size]byte, t *T, n int) {
	c.put(key, entry[T]{t, n + overhead})
}

func (c *cache[T]) put(key [sha256.Size]byte, e entry[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok := c.young[key]; ok {
		c.size -= before.size
	}
	if c.size+e.size > c.half {
		c.old, c.young, c.size = c.young, make(map[[sha256.Size]byte]entry[T]), 0
	}
	c.young[key] = e
	c.size += e.size
}
