package bucket_test

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/imidentity/issuer/internal/bucket"
)

// A clock stands still until it is moved.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_800_000_000, c.at.Load()) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d)) }

// drain takes all tokens and returns their number, and the time until there is another one.
func drain[K comparable](s *bucket.Set[K], key K) (n int, wait time.Duration) {
	for {
		if wait := s.Take(key); wait > 0 {
			return n, wait
		}
		n++
	}
}

// TestGive holds that a token that is given back can be taken again, and that a bucket never holds more than its limit.
func TestGive(t *testing.T) {
	var c clock
	s := bucket.New[string](bucket.Limit{Count: 3, Period: time.Minute}, 1000, c.now)
	for range 2 {
		s.Give("a") // of a full bucket
		if n, _ := drain(s, "a"); n != 3 {
			t.Errorf("%d tokens, want 3", n)
		}
		s.Give("a")
		s.Give("a")
		if n, _ := drain(s, "a"); n != 2 {
			t.Errorf("%d tokens after two were given back, want 2", n)
		}
		c.advance(time.Minute)
		for range 5 {
			s.Give("a")
		}
	}
	s.SetLimit(bucket.Limit{})
	s.Give("a")
}

func TestTake(t *testing.T) {
	for _, l := range []bucket.Limit{
		{1, time.Second}, {3, time.Second}, {7, 10 * time.Second}, {600, time.Minute}, {60_000, time.Minute},
		{99_999, time.Second}, {1, 24 * time.Hour},
	} {
		var c clock
		s := bucket.New[string](l, 1000, c.now)
		if wait := s.Wait("a"); wait != 0 {
			t.Errorf("%v: Wait = %v at first, want 0", l, wait)
		}
		n, wait := drain(s, "a")
		if n != l.Count || wait <= 0 || wait > l.Period {
			t.Errorf("%v: %d tokens and then a wait of %v, want %d and one within the period", l, n, wait, l.Count)
		}
		if again := s.Wait("a"); again != wait {
			t.Errorf("%v: Wait = %v, want %v as Take said", l, again, wait)
		}
		if n, _ := drain(s, "b"); n != l.Count {
			t.Errorf("%v: %d tokens for another key, want %d", l, n, l.Count)
		}
		c.advance(wait - 1)
		if n, _ := drain(s, "a"); n != 0 {
			t.Errorf("%v: %d tokens before the wait is over, want 0", l, n)
		}
		c.advance(1)
		if n, _ := drain(s, "a"); n != 1 {
			t.Errorf("%v: %d tokens after the wait, want 1", l, n)
		}
		c.advance(l.Period)
		if n, _ := drain(s, "a"); n != l.Count {
			t.Errorf("%v: %d tokens after a period, want %d", l, n, l.Count)
		}
	}
}

// In any period, a key gets at most a full bucket and what flows into it in that time. After the wait there is a token.
func TestTakeProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := bucket.Limit{Count: rapid.IntRange(1, 50).Draw(t, "count"), Period: time.Duration(rapid.Int64Range(1, 100).Draw(t, "seconds")) * time.Second}
		var c clock
		s := bucket.New[int](l, 100, c.now)
		taken, passed := 0, time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			wait := s.Take(1)
			if wait == 0 {
				taken++
			}
			most := float64(l.Count) + float64(passed)/float64(l.Period/time.Duration(l.Count))
			if float64(taken) > most {
				t.Fatalf("%d tokens after %v, want at most %v", taken, passed, most)
			}
			step := time.Duration(rapid.Int64Range(0, int64(l.Period)/4).Draw(t, "step"))
			if wait > 0 && rapid.Bool().Draw(t, "patient") {
				step = wait
			}
			c.advance(step)
			passed += step
			if wait > 0 && step >= wait && s.Wait(1) != 0 {
				t.Fatalf("no token %v after a refusal that said %v", step, wait)
			}
		}
	})
}

func TestNoLimit(t *testing.T) {
	s := bucket.New[string](bucket.Limit{}, 1000, nil)
	for range 1000 {
		if wait := s.Take("a"); wait != 0 {
			t.Fatalf("Take = %v, want 0", wait)
		}
	}
	if n := s.Len(); n != 0 {
		t.Errorf("Len = %d, want 0: nothing is kept where nothing is counted", n)
	}
}

func TestSetLimit(t *testing.T) {
	var c clock
	s := bucket.New[string](bucket.Limit{Count: 100, Period: time.Hour}, 1000, c.now)
	drain(s, "a")
	s.SetLimit(bucket.Limit{Count: 5, Period: time.Second})
	if wait := s.Take("a"); wait != time.Second/5 {
		t.Errorf("Take = %v from a bucket that was empty, want the time of one token under the new limit", wait)
	}
	if n, _ := drain(s, "b"); n != 5 {
		t.Errorf("%d tokens under the new limit, want 5", n)
	}
	s.SetLimit(bucket.Limit{})
	if wait := s.Take("a"); wait != 0 {
		t.Errorf("Take = %v without a limit, want 0", wait)
	}
	s.SetLimit(bucket.Limit{Count: 5, Period: time.Second})
	c.advance(-time.Hour) // the clock is set back
	if wait := s.Take("a"); wait > time.Second {
		t.Errorf("Take = %v after the clock went back, want no more than the period", wait)
	}
	if n, _ := drain(s, "new"); n != 5 {
		t.Errorf("%d tokens for who comes then, want 5", n)
	}
}

// Of many concurrent calls, as many get a token as there are.
func TestTakeInParallel(t *testing.T) {
	var c clock
	s := bucket.New[int](bucket.Limit{Count: 500, Period: time.Minute}, 100_000, c.now)
	var taken [4]atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 1000 {
				key := i % len(taken)
				if s.Take(key) == 0 {
					taken[key].Add(1)
				}
				s.Take(1000 + i)
			}
		})
	}
	wg.Wait()
	for key := range taken {
		if n := taken[key].Load(); n != 500 {
			t.Errorf("%d tokens of key %d, want 500", n, key)
		}
	}
}

// A million addresses take no more memory than the bound, and an address that sends too much is still refused meanwhile.
func TestBounded(t *testing.T) {
	const most = 1 << 14
	var c clock
	s := bucket.New[netip.Addr](bucket.Limit{Count: 100, Period: time.Minute}, most, c.now)
	greedy := netip.MustParseAddr("192.0.2.1")
	drain(s, greedy)
	heap := heapInUse()
	for i := range 1_000_000 {
		var raw [16]byte
		binary.BigEndian.PutUint64(raw[:], 0x20010db8<<32+uint64(i))
		if wait := s.Take(netip.AddrFrom16(raw)); wait != 0 {
			t.Fatalf("address %d is refused for %v, want it let in: others are no fault of its own", i, wait)
		}
	}
	if n := s.Len(); n > most {
		t.Errorf("Len = %d, want at most %d", n, most)
	}
	if grown := heapInUse() - heap; grown > 4<<20 {
		t.Errorf("a million addresses take %d octets, want at most 4 MiB", grown)
	}
	if n, _ := drain(s, greedy); n != 0 {
		t.Errorf("%d tokens for who had none, want 0", n)
	}
	c.advance(time.Minute)
	for i := range 64 * 100 { // each shard sees a new key
		s.Take(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	if n := s.Len(); n > 64*100 {
		t.Errorf("Len = %d after all buckets have filled, want only the new ones", n)
	}
	if n, _ := drain(s, greedy); n != 100 {
		t.Errorf("%d tokens after a minute, want 100", n)
	}
	runtime.KeepAlive(s)
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkTake(b *testing.B) {
	s := bucket.New[netip.Addr](bucket.Limit{Count: 1 << 30, Period: time.Minute}, 1<<18, nil)
	key := netip.MustParseAddr("2001:db8::1")
	b.ReportAllocs()
	for b.Loop() {
		s.Take(key)
	}
}

// BenchmarkTakeFull takes from a full set, with a new key each time.
func BenchmarkTakeFull(b *testing.B) {
	s := bucket.New[uint64](bucket.Limit{Count: 100, Period: time.Minute}, 1<<16, nil)
	var key uint64
	b.ReportAllocs()
	for b.Loop() {
		key++
		s.Take(key)
	}
}
