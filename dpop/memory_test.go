package dpop_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/dpop/replaytest"
)

func TestMemoryReplay(t *testing.T) {
	open := func(t *testing.T, now func() time.Time) dpop.Replay { return newMemory(t, 0, now) }
	replaytest.Run(t, replaytest.Harness{
		Open:  open,
		Empty: func(t *testing.T, _ dpop.Replay, now func() time.Time) dpop.Replay { return open(t, now) },
	})
}

func newMemory(t testing.TB, capacity int, now func() time.Time) *dpop.MemoryReplay {
	t.Helper()
	store, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Capacity: capacity, Now: now})
	if err != nil {
		t.Fatalf("NewMemoryReplay = %v", err)
	}
	return store
}

// numbered returns the replay key of proof i.
func numbered(i int) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

// A flood from one address leaves room for everybody else, and ends when its proofs do.
func TestMemoryReplayFull(t *testing.T) {
	const capacity = 1000
	clock := newClock()
	store := newMemory(t, capacity, clock.now)
	e, err := store.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	spend := func(source string, age time.Duration) error {
		n++
		return store.Spend(context.Background(), e, numbered(n), clock.now().Add(age), netip.MustParseAddr(source))
	}
	flood := func(source string, want int) {
		t.Helper()
		for accepted := 0; ; accepted++ {
			if err := spend(source, time.Minute); err != nil {
				if accepted != want || !errors.Is(err, dpop.ErrReplayFull) {
					t.Errorf("Spend number %d from %s = %v, want %v after %d", accepted, source, err, dpop.ErrReplayFull, want)
				}
				return
			}
		}
	}
	flood("2001:db8:0:1::1", capacity/2)
	flood("2001:db8:0:1::2", 0) // the same network
	if err := spend("192.0.2.1", time.Minute); err != nil {
		t.Errorf("Spend from another address = %v", err)
	}
	flood("::ffff:192.0.2.1", capacity/4-1) // the same address, seen through IPv6
	flood("2001:db8:0:2::1", capacity/8)

	// Refused proofs were not recorded: they may come again.
	clock.turn(time.Minute + 15*time.Second)
	flood("2001:db8:0:1::1", capacity/2)
	if err := spend("192.0.2.1", time.Minute); err != nil {
		t.Errorf("Spend after the flood = %v", err)
	}
}

// A store that is made smaller forgets nothing: what was spent is refused as before, and what is new until there is room.
func TestMemoryReplayResized(t *testing.T) {
	clock := newClock()
	store := newMemory(t, 1000, clock.now)
	e, err := store.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spend := func(i int) error {
		return store.Spend(t.Context(), e, numbered(i), clock.now().Add(time.Minute), netip.Addr{})
	}
	for i := range 100 {
		if err := spend(i); err != nil {
			t.Fatal(err)
		}
	}
	store.SetCapacity(50)
	for i := range 100 {
		if err := spend(i); !errors.Is(err, dpop.ErrReplayed) {
			t.Errorf("Spend again = %v, want %v", err, dpop.ErrReplayed)
		}
	}
	if err := spend(100); !errors.Is(err, dpop.ErrReplayFull) {
		t.Errorf("Spend in a smaller store = %v, want %v", err, dpop.ErrReplayFull)
	}
	store.SetCapacity(1000)
	if err := spend(100); err != nil {
		t.Errorf("Spend in a larger store = %v, want nil", err)
	}
	store.SetCapacity(50)
	clock.turn(time.Minute + 15*time.Second)
	if err := spend(101); err != nil {
		t.Errorf("Spend when there is room again = %v, want nil", err)
	}
}

// A proof that is spent too late asks for a new nonce, and costs nobody else one.
func TestMemoryReplayLate(t *testing.T) {
	clock := newClock()
	store := newMemory(t, 0, clock.now)
	e, err := store.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, age := range []time.Duration{time.Minute, 0, -time.Second, -time.Hour} {
		want := dpop.ErrStaleEpoch
		if age > 0 {
			want = nil
		}
		if err := store.Spend(t.Context(), e, numbered(i), clock.now().Add(age), netip.Addr{}); !errors.Is(err, want) {
			t.Errorf("Spend with %v to go = %v, want %v", age, err, want)
		}
	}
	if now, err := store.Epoch(t.Context()); now != e || err != nil {
		t.Errorf("Epoch = %v, %v, want %v", now, err, e)
	}
}

// Birth is rounded up: what was made in the same second as the epoch may be from before it.
func TestNewEpoch(t *testing.T) {
	for nanoseconds, want := range map[int64]int64{0: 100, 1: 101, 999_999_999: 101} {
		if got := dpop.NewEpoch([16]byte{1}, time.Unix(100, nanoseconds)); got.Birth != want || got.ID != [16]byte{1} {
			t.Errorf("NewEpoch at 100 s and %d ns = %v, want birth %d", nanoseconds, got, want)
		}
	}
}

func TestMemoryReplayNeedsRandomness(t *testing.T) {
	if store, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Rand: empty{}}); err == nil {
		t.Errorf("NewMemoryReplay = %v, want an error", store)
	}
}

type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

// BenchmarkMemoryReplay spends a million proofs within two minutes and reports what one of them occupies.
func BenchmarkMemoryReplay(b *testing.B) {
	const proofs = 1 << 20
	for b.Loop() {
		clock := newClock()
		store := newMemory(b, 2*proofs, clock.now)
		e, err := store.Epoch(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		before := heap()
		for i := range proofs {
			until := clock.now().Add(time.Duration(60*(i*3/proofs)) * time.Second)
			source := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			if err := store.Spend(b.Context(), e, numbered(i), until.Add(time.Minute), source); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/proofs, "B/proof")
		runtime.KeepAlive(store)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
