// Package bucket implements token buckets, one for each key, in bounded memory.
//
// A bucket holds [Limit.Count] tokens and refills evenly: an empty one in [Limit.Period]. A [Set] stores only the time at which a
// bucket will be full, and nothing for full buckets.
//
// A [Set] never stores more buckets than its bound. When it is full, it samples some buckets and forgets the fullest, which then
// counts as full. The empty bucket of a sender that sends too much is the last to be forgotten, and no key is refused because
// there are many others.
package bucket

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// A Limit is the size of a bucket and the time in which it fills. The zero Limit means that there is no limit.
type Limit struct {
	Count  int
	Period time.Duration
}

const (
	shards = 64 // locks and maps over which the keys are spread
	sample = 8  // buckets among which one is chosen to be forgotten
)

// A Set has a bucket for each key. It is safe for concurrent use: concurrent calls never take more tokens than there are.
type Set[K comparable] struct {
	now   func() time.Time
	begin time.Time    // stored times are relative to it, so that setting the clock does not change them
	seed  maphash.Seed // keys cannot be chosen to collide with another key
	most  int          // buckets in a shard
	rate  atomic.Pointer[rate]

	shards [shards]shard
}

// A rate is a limit in nanoseconds: for one token, and for a whole bucket. Nil is no limit.
type rate struct{ token, whole int64 }

type shard struct {
	mu    sync.Mutex
	full  map[uint64]int64 // when the bucket will be full, by the hash of its key
	swept int64
}

// New returns a set of at most most buckets, all of them full. The function now reports the time; nil means [time.Now].
func New[K comparable](limit Limit, most int, now func() time.Time) *Set[K] {
	if now == nil {
		now = time.Now
	}
	s := &Set[K]{now: now, begin: now(), seed: maphash.MakeSeed(), most: max(1, most/shards)}
	for i := range s.shards {
		s.shards[i].full = make(map[uint64]int64)
	}
	s.SetLimit(limit)
	return s
}

// SetLimit changes the limit for later calls. A bucket will be full at the same time as before, or after the new period if that
// is sooner.
func (s *Set[K]) SetLimit(l Limit) {
	if l.Count <= 0 || l.Period <= 0 {
		s.rate.Store(nil)
		return
	}
	token := max(1, int64(l.Period)/int64(l.Count))
	s.rate.Store(&rate{token, token * int64(l.Count)})
}

// Take takes a token from the bucket of key and returns 0. If the bucket is empty, it returns the time until there is a token,
// unless other calls take it.
func (s *Set[K]) Take(key K) time.Duration { return s.ask(key, true) }

// Give gives a token that Take took back to the bucket of key.
func (s *Set[K]) Give(key K) {
	r := s.rate.Load()
	if r == nil {
		return
	}
	h := maphash.Comparable(s.seed, key)
	d := &s.shards[h%shards]
	d.mu.Lock()
	defer d.mu.Unlock()
	if full, known := d.full[h]; known {
		d.full[h] = full - r.token
	}
}

// Wait returns the same as Take, and takes nothing.
func (s *Set[K]) Wait(key K) time.Duration { return s.ask(key, false) }

func (s *Set[K]) ask(key K, take bool) time.Duration {
	r := s.rate.Load()
	if r == nil {
		return 0
	}
	now := int64(s.now().Sub(s.begin))
	h := maphash.Comparable(s.seed, key)
	d := &s.shards[h%shards]
	d.mu.Lock()
	defer d.mu.Unlock()
	full, known := d.full[h]
	if !known || full < now {
		full = now
	}
	full = min(full, now+r.whole)
	if wait := full + r.token - now - r.whole; wait > 0 {
		return time.Duration(wait)
	}
	if take {
		if !known {
			d.makeRoom(now, r.whole, s.most)
		}
		d.full[h] = full + r.token
	}
	return 0
}

// makeRoom forgets the full buckets once in each period. If there is still no room, it forgets one more.
func (d *shard) makeRoom(now, period int64, most int) {
	if now >= d.swept+period || now < d.swept {
		d.swept = now
		live := make(map[uint64]int64) // a new map, because a map that was large keeps its memory
		for h, full := range d.full {
			if full > now {
				live[h] = full
			}
		}
		d.full = live
	}
	if len(d.full) < most {
		return
	}
	var fullest uint64
	seen, earliest := 0, int64(0)
	for h, full := range d.full { // the order is random
		if seen == 0 || full < earliest {
			fullest, earliest = h, full
		}
		if seen++; seen == sample {
			break
		}
	}
	delete(d.full, fullest)
}

// Len returns the number of stored buckets.
func (s *Set[K]) Len() int {
	n := 0
	for i := range s.shards {
		s.shards[i].mu.Lock()
		n += len(s.shards[i].full)
		s.shards[i].mu.Unlock()
	}
	return n
}
