// Package bucket keeps token buckets, one for each key, in bounded memory.
//
// A bucket holds [Limit.Count] tokens and, once some were taken, fills evenly, an empty one in [Limit.Period]. All that
// is kept of it is the moment at which it will be full again; one that is full is as good as none, and is forgotten.
//
// A [Set] never holds more buckets than it was made for. When there is no room, the fullest of a few is forgotten and
// begins again full: of somebody who asks too often, whose bucket is empty, the set forgets last, and nobody is ever
// refused because others are many.
package bucket

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// A Limit is the size of a bucket and the time in which it fills. The zero Limit is none.
type Limit struct {
	Count  int
	Period time.Duration
}

const (
	shards = 64 // locks, and maps, that keys are spread over
	sample = 8  // buckets that are looked at for one to forget
)

// A Set is a bucket for each key. It is safe for concurrent use: of any number of calls at once, as many get a token as
// there are.
type Set[K comparable] struct {
	now   func() time.Time
	begin time.Time    // times are kept as distances from here, so that setting the clock changes none
	seed  maphash.Seed // so that nobody can aim at another one's bucket
	most  int          // buckets in a shard
	rate  atomic.Pointer[rate]

	shards [shards]shard
}

// A rate is a limit in nanoseconds: for one token, and for a whole bucket. Nil is no limit.
type rate struct{ token, whole int64 }

type shard struct {
	mu    sync.Mutex
	full  map[uint64]int64 // by hash of the key: when the bucket will be full
	swept int64
}

// New returns a set of at most the given number of buckets, all of them full. now reports the time and may be nil for
// [time.Now].
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

// SetLimit changes the limit, from the next call on. A bucket lacks as much time as before, at most the new period.
func (s *Set[K]) SetLimit(l Limit) {
	if l.Count <= 0 || l.Period <= 0 {
		s.rate.Store(nil)
		return
	}
	token := max(1, int64(l.Period)/int64(l.Count))
	s.rate.Store(&rate{token, token * int64(l.Count)})
}

// Take takes a token from the bucket of key and returns 0. If there is none it takes nothing, and returns how long it
// will be until there is one, unless others take it.
func (s *Set[K]) Take(key K) time.Duration { return s.ask(key, true) }

// Wait returns what Take would, and takes nothing.
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

// makeRoom forgets the buckets that are full, now and then, and one more if that is not enough.
func (d *shard) makeRoom(now, period int64, most int) {
	if now >= d.swept+period || now < d.swept {
		d.swept = now
		live := make(map[uint64]int64) // a map that was large keeps its memory
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
	for h, full := range d.full { // in an order of the runtime's choosing, another one each time
		if seen == 0 || full < earliest {
			fullest, earliest = h, full
		}
		if seen++; seen == sample {
			break
		}
	}
	delete(d.full, fullest)
}

// Len returns how many buckets are kept.
func (s *Set[K]) Len() int {
	n := 0
	for i := range s.shards {
		s.shards[i].mu.Lock()
		n += len(s.shards[i].full)
		s.shards[i].mu.Unlock()
	}
	return n
}
