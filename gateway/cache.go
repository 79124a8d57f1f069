package gateway

import "sync"

// A recent holds the values that were used lately, bounded in entries and bytes. It has two generations: a value that is found in the old
// one moves to the young one, and when the young one is full, the old one is dropped. So the values that were not used for longest go
// first, and a look-up of a value in use needs no exclusive lock.
type recent[K comparable, V any] struct {
	entries, bytes int // of one generation

	mu         sync.RWMutex
	young, old map[K]slot[V]
	size       int // of young, in bytes
}

type slot[V any] struct {
	value V
	size  int
}

func newRecent[K comparable, V any](entries, bytes int) *recent[K, V] {
	return &recent[K, V]{entries: (entries + 1) / 2, bytes: bytes / 2, young: make(map[K]slot[V])}
}

// get returns the value of a key, and false if there is none.
func (c *recent[K, V]) get(key K) (V, bool) {
	c.mu.RLock()
	s, ok := c.young[key]
	young := ok
	if !ok {
		s, ok = c.old[key]
	}
	c.mu.RUnlock()
	if ok && !young {
		c.promote(key)
	}
	return s.value, ok
}

// promote moves a value to the young generation, unless it has gone meanwhile.
func (c *recent[K, V]) promote(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.old[key]; ok {
		delete(c.old, key)
		c.add(key, s)
	}
}

// put keeps a value that takes about size bytes. One that is larger than a generation is not kept.
func (c *recent[K, V]) put(key K, value V, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
	c.add(key, slot[V]{value, size})
}

// add adds to the young generation. The caller holds mu, and the key is in neither generation.
func (c *recent[K, V]) add(key K, s slot[V]) {
	if s.size > c.bytes || c.entries <= 0 {
		return
	}
	if c.size+s.size > c.bytes || len(c.young) >= c.entries {
		c.old, c.young, c.size = c.young, make(map[K]slot[V]), 0
	}
	c.young[key] = s
	c.size += s.size
}

// drop removes the value of a key.
func (c *recent[K, V]) drop(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
}

func (c *recent[K, V]) remove(key K) {
	if s, ok := c.young[key]; ok {
		c.size -= s.size
		delete(c.young, key)
	}
	delete(c.old, key)
}

// clear removes all values.
func (c *recent[K, V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.old, c.size = make(map[K]slot[V]), nil, 0
}
