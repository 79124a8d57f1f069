package dpop

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// bucketWidth is how much longer than necessary a record may stay in memory. All nonces of a minute expire in one bucket.
const bucketWidth = 15 // seconds

const (
	shards  = 64      // proofs are distributed over this many maps with locks
	sources = 1 << 14 // addresses are distributed over this many counters
)

// MemoryConfig configures a [MemoryReplay].
type MemoryConfig struct {
	// Capacity is how many live proofs the store holds at most. Zero means 2^20, which takes less than 48 MB.
	Capacity int
	// Newest is the newest time that is known from before a restart, zero if none is known. The first epoch is not born
	// before it, because the clock may have been set back since.
	Newest time.Time
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes the ids of epochs. Nil means [rand.Reader].
	Rand io.Reader
}

// MemoryReplay is a [Replay] in the memory of one process. It is for servers with one process: a second process would
// accept every proof once more.
//
// An epoch begins when the store is made, and when the clock is set back to before the expiry of records that were
// dropped. It is not born before the newest time at which a proof was spent.
//
// A source (an IPv4 address, or an IPv6 network of 64 bits) may hold at most as many live proofs as there are free
// places. So one source that floods the store gets half of it, two get a third each, and there is room for others.
type MemoryReplay struct {
	capacity atomic.Int64
	now      func() time.Time
	rand     io.Reader
	seed     maphash.Seed // secret: nobody can choose an address with the counter of another one

	renew   sync.Mutex
	current atomic.Pointer[memory]
}

// A memory holds the spent proofs of one epoch.
type memory struct {
	epoch    Epoch
	newest   atomic.Int64 // the newest time at which a proof was spent, in seconds since 1970
	live     atomic.Int64
	swept    atomic.Int64 // the moment of the last sweep
	bySource [sources]atomic.Int32
	shards   [shards]shard
}

// A shard holds a part of the proofs, in buckets by the time from which they may be dropped. It stores 128 bits of each
// key. A collision takes 2^64 signatures to find, and its effect is that one proof is refused.
type shard struct {
	mu      sync.Mutex
	horizon int64 // the buckets up to this one were dropped
	buckets []bucket
}

type bucket struct {
	number int64               // it may be dropped from number × bucketWidth on, in seconds since 1970
	spent  map[[16]byte]uint16 // key to counter of its source
}

// NewMemoryReplay returns an empty store with a new epoch. The error is that of cfg.Rand.
func NewMemoryReplay(cfg MemoryConfig) (*MemoryReplay, error) {
	m := &MemoryReplay{now: cfg.Now, rand: cfg.Rand, seed: maphash.MakeSeed()}
	m.SetCapacity(cfg.Capacity)
	if m.now == nil {
		m.now = time.Now
	}
	if m.rand == nil {
		m.rand = rand.Reader
	}
	return m, m.begin(nil, cfg.Newest)
}

// SetCapacity changes how many live proofs the store holds at most; zero has the same meaning as in [MemoryConfig]. It
// drops nothing: a store that holds more refuses proofs until enough of them have expired.
func (m *MemoryReplay) SetCapacity(n int) {
	if n <= 0 {
		n = 1 << 20
	}
	m.capacity.Store(int64(n))
}

// begin starts a new epoch if ended is still the current one. The new epoch is not born before newest.
func (m *MemoryReplay) begin(ended *memory, newest time.Time) error {
	m.renew.Lock()
	defer m.renew.Unlock()
	if m.current.Load() != ended {
		return nil
	}
	var id [16]byte
	if _, err := io.ReadFull(m.rand, id[:]); err != nil {
		return fmt.Errorf("dpop: name an epoch: %w", err)
	}
	if now := m.now(); newest.Before(now) {
		newest = now
	}
	mem := &memory{epoch: NewEpoch(id, newest)}
	mem.newest.Store(mem.epoch.Birth)
	m.current.Store(mem)
	return nil
}

// Epoch returns the current epoch. The error is always nil.
func (m *MemoryReplay) Epoch(context.Context) (Epoch, error) {
	return m.current.Load().epoch, nil
}

// Len returns how many proofs the store holds now, including expired ones that it has not dropped yet.
func (m *MemoryReplay) Len() int { return int(m.current.Load().live.Load()) }

// Cap returns how many live proofs the store holds at most.
func (m *MemoryReplay) Cap() int { return int(m.capacity.Load()) }

// Spend records key, see [Replay]. If until has passed, the error is [ErrStaleEpoch].
func (m *MemoryReplay) Spend(_ context.Context, e Epoch, key [32]byte, until time.Time, source netip.Addr) error {
	mem, now := m.current.Load(), m.now()
	if e != mem.epoch || !until.After(now) {
		return ErrStaleEpoch
	}
	current := now.Unix() / bucketWidth
	s, number := &mem.shards[key[0]%shards], until.Unix()/bucketWidth+1
	short, counter := [16]byte(key[16:]), m.counter(source)
	mem.see(now.Unix() + 1) // rounded up, like a birth
	err := s.spend(mem, current, number, short, counter, m.capacity.Load())
	if err == ErrReplayFull && mem.sweep(current) {
		err = s.spend(mem, current, number, short, counter, m.capacity.Load())
	}
	if err == errForgotten {
		if err := m.begin(mem, time.Unix(mem.newest.Load(), 0)); err != nil {
			return err
		}
		return ErrStaleEpoch
	}
	return err
}

// see notes the time at which a proof is spent. Its caller makes the record afterwards: if a new epoch begins meanwhile, it
// is born after that time.
func (mem *memory) see(now int64) {
	for newest := mem.newest.Load(); newest < now; newest = mem.newest.Load() {
		if mem.newest.CompareAndSwap(newest, now) {
			return
		}
	}
}

// errForgotten means that the bucket of a proof that is still valid was dropped: the clock was set back.
var errForgotten = errors.New("dpop: the clock went back")

// spend records key in the bucket with the given number. current is the number of the bucket of this moment.
func (s *shard) spend(mem *memory, current, number int64, key [16]byte, source uint16, capacity int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(mem, current)
	if number <= s.horizon {
		return errForgotten
	}
	var into map[[16]byte]uint16
	for _, b := range s.buckets {
		if _, spent := b.spent[key]; spent {
			return ErrReplayed
		}
		if b.number == number {
			into = b.spent
		}
	}
	free := capacity - mem.live.Add(1) + 1
	if int64(mem.bySource[source].Load()) >= free {
		mem.live.Add(-1)
		return ErrReplayFull
	}
	mem.bySource[source].Add(1)
	if into == nil {
		into = make(map[[16]byte]uint16)
		s.buckets = append(s.buckets, bucket{number, into})
	}
	into[key] = source
	return nil
}

// drop removes the buckets up to the one of this moment.
func (s *shard) drop(mem *memory, current int64) {
	if current <= s.horizon {
		return
	}
	s.horizon = current
	s.buckets = slices.DeleteFunc(s.buckets, func(b bucket) bool {
		if b.number > current {
			return false
		}
		for _, source := range b.spent {
			mem.bySource[source].Add(-1)
		}
		mem.live.Add(-int64(len(b.spent)))
		return true
	})
}

// sweep drops the expired proofs of every shard, and returns false if that was done before for this moment. Otherwise a
// shard that receives no proofs would keep its expired ones, which take up places.
func (mem *memory) sweep(current int64) bool {
	if mem.swept.Swap(current) == current {
		return false
	}
	for i := range mem.shards {
		s := &mem.shards[i]
		s.mu.Lock()
		s.drop(mem, current)
		s.mu.Unlock()
	}
	return true
}

// counter returns the number of the counter for the [Network] of source.
func (m *MemoryReplay) counter(source netip.Addr) uint16 {
	return uint16(maphash.Comparable(m.seed, Network(source.Unmap())) % sources)
}
