// Package replaytest holds the replay stores of package dpop to the promises of [dpop.Replay].
package replaytest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// A Harness opens the stores under test.
type Harness struct {
	// Open returns an empty store that reads the time from now.
	Open func(t *testing.T, now func() time.Time) dpop.Replay
	// Join returns what a second node uses to reach the data of store. Nil: the store is for one process.
	Join func(t *testing.T, store dpop.Replay, now func() time.Time) dpop.Replay
	// Empty makes store lose what it holds, as a restart, a truncation or a flush would, and returns what the
	// server uses then.
	Empty func(t *testing.T, store dpop.Replay, now func() time.Time) dpop.Replay
	// Expire makes store forget the keys that it recorded, as it does when their time is over. It is for a store that
	// counts time by another clock than that of Open. Nil: store has no other clock.
	Expire func(t *testing.T, store dpop.Replay)
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	if h.Join == nil {
		h.Join = func(_ *testing.T, store dpop.Replay, _ func() time.Time) dpop.Replay { return store }
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"SpendOnce", testSpendOnce},
		{"SpendOnceWhateverUntil", testSpendOnceWhateverUntil},
		{"KeysApart", testKeysApart},
		{"RacingCallers", testRacingCallers},
		{"ForeignEpoch", testForeignEpoch},
		{"OneEpochForAllNodes", testOneEpochForAllNodes},
		{"Emptied", testEmptied},
		{"EmptiedWhileRacing", testEmptiedWhileRacing},
		{"Reread", testReread},
		{"ClockGoesForwardAndBack", testClockGoesForwardAndBack},
		{"ClockGoesBackALittle", testClockGoesBackALittle},
		{"ClockWasAhead", func(t *testing.T, b *bench) { testClockWasAhead(t, b, 0) }},
		{"ClockWasAheadForLong", func(t *testing.T, b *bench) { testClockWasAhead(t, b, 10*time.Minute) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &bench{Harness: h}
			b.clock.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Unix())
			b.store = h.Open(t, b.now)
			test.run(t, b)
		})
	}
}

// A bench is one store with a clock to turn.
type bench struct {
	Harness
	store dpop.Replay
	clock atomic.Int64
}

func (b *bench) now() time.Time               { return time.Unix(b.clock.Load(), 0) }
func (b *bench) turn(d time.Duration)         { b.clock.Add(int64(d / time.Second)) }
func (b *bench) in(d time.Duration) time.Time { return b.now().Add(d) }

func key(name string) [32]byte { return sha256.Sum256([]byte(name)) }

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("2001:db8::1")
)

func epoch(t *testing.T, store dpop.Replay) dpop.Epoch {
	t.Helper()
	e, err := store.Epoch(context.Background())
	if err != nil {
		t.Fatalf("Epoch = %v", err)
	}
	return e
}

func spend(t *testing.T, store dpop.Replay, e dpop.Epoch, name string, until time.Time, source netip.Addr, want error) {
	t.Helper()
	if err := store.Spend(context.Background(), e, key(name), until, source); !errors.Is(err, want) {
		t.Errorf("Spend(%s) = %v, want %v", name, err, want)
	}
}

func testSpendOnce(t *testing.T, b *bench) {
	e, until, second := epoch(t, b.store), b.in(time.Minute), b.Join(t, b.store, b.now)
	spend(t, b.store, e, "proof", until, alice, nil)
	spend(t, b.store, e, "proof", until, alice, dpop.ErrReplayed)
	spend(t, b.store, e, "proof", until, bob, dpop.ErrReplayed)
	spend(t, second, e, "proof", until, netip.Addr{}, dpop.ErrReplayed)
	b.turn(59 * time.Second)
	spend(t, b.store, e, "proof", until, alice, dpop.ErrReplayed)
}

func testSpendOnceWhateverUntil(t *testing.T, b *bench) {
	e := epoch(t, b.store)
	spend(t, b.store, e, "proof", b.in(2*time.Minute), alice, nil)
	for _, d := range []time.Duration{time.Second, time.Minute, 2*time.Minute + time.Second, time.Hour, 24 * time.Hour} {
		spend(t, b.store, e, "proof", b.in(d), alice, dpop.ErrReplayed)
	}
}

func testKeysApart(t *testing.T, b *bench) {
	// Redis counts in time of its own: what lives for a minute outlives the test also where that is slow.
	e := epoch(t, b.store)
	for i := range 1000 {
		spend(t, b.store, e, fmt.Sprint(i), b.in(time.Duration(60+i%120)*time.Second), alice, nil)
	}
	for i := range 1000 {
		spend(t, b.store, e, fmt.Sprint(i), b.in(time.Duration(60+i%120)*time.Second), bob, dpop.ErrReplayed)
	}
}

// testRacingCallers lets a thousand callers on two nodes spend one proof.
func testRacingCallers(t *testing.T, b *bench) {
	nodes := []dpop.Replay{b.store, b.Join(t, b.store, b.now)}
	e, until := epoch(t, b.store), b.in(time.Minute)
	var accepted, other atomic.Int32
	race(1000, func(i int) {
		switch err := nodes[i%2].Spend(context.Background(), e, key("proof"), until, alice); {
		case err == nil:
			accepted.Add(1)
		case !errors.Is(err, dpop.ErrReplayed):
			other.Add(1)
		}
	})
	if accepted.Load() != 1 || other.Load() != 0 {
		t.Errorf("%d of 1000 racing callers spent the proof and %d got another error than %v, want 1 and 0",
			accepted.Load(), other.Load(), dpop.ErrReplayed)
	}
}

// race runs n calls of do at once.
func race(n int, do func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			do(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

func testForeignEpoch(t *testing.T, b *bench) {
	e := epoch(t, b.store)
	spend(t, b.store, dpop.Epoch{}, "proof", b.in(time.Minute), alice, dpop.ErrStaleEpoch)
	spend(t, b.store, dpop.Epoch{ID: e.ID, Birth: e.Birth + 1}, "proof", b.in(time.Minute), alice, dpop.ErrStaleEpoch)
	spend(t, b.store, e, "proof", b.in(time.Minute), alice, nil)
	spend(t, b.store, dpop.Epoch{}, "proof", b.in(time.Minute), alice, dpop.ErrStaleEpoch)
}

func testOneEpochForAllNodes(t *testing.T, b *bench) {
	e := epoch(t, b.store)
	if born := time.Unix(e.Birth, 0); born.Before(b.now()) || born.After(b.in(time.Second)) {
		t.Errorf("Birth = %v, want %v", born, b.now())
	}
	b.turn(time.Hour)
	if got := epoch(t, b.Join(t, b.store, b.now)); got != e {
		t.Errorf("Epoch on another node, later = %v, want %v", got, e)
	}
}

func testEmptied(t *testing.T, b *bench) {
	old := epoch(t, b.store)
	until := b.in(time.Minute)
	spend(t, b.store, old, "proof", until, alice, nil)
	b.turn(time.Second)
	store := b.Empty(t, b.store, b.now)
	fresh := epoch(t, store)
	if fresh.ID == old.ID {
		t.Error("the epoch of an emptied store is the one from before")
	}
	if fresh.Birth < b.now().Unix() {
		t.Errorf("Birth = %d, want the time at which the store was emptied, %d", fresh.Birth, b.now().Unix())
	}
	spend(t, store, old, "proof", until, alice, dpop.ErrStaleEpoch)
	spend(t, store, old, "another proof", until, alice, dpop.ErrStaleEpoch)
	spend(t, store, fresh, "new proof", until, alice, nil)
}

// testEmptiedWhileRacing: also when a store is emptied in the middle, nobody spends a proof twice under one
// epoch.
func testEmptiedWhileRacing(t *testing.T, b *bench) {
	e, until := epoch(t, b.store), b.in(time.Minute)
	var accepted atomic.Int32
	var emptied atomic.Pointer[dpop.Replay]
	emptied.Store(&b.store)
	race(200, func(i int) {
		if i == 100 {
			store := b.Empty(t, b.store, b.now)
			emptied.Store(&store)
		}
		if (*emptied.Load()).Spend(context.Background(), e, key("proof"), until, alice) == nil {
			accepted.Add(1)
		}
	})
	if accepted.Load() > 1 {
		t.Errorf("a proof was spent %d times", accepted.Load())
	}
}

// testReread: a node that remembers an epoch learns of the next one by asking, without spending anything.
func testReread(t *testing.T, b *bench) {
	node, ok := b.store.(dpop.Cached)
	if !ok {
		return // it remembers nothing that could be stale
	}
	old := epoch(t, node)
	next := epoch(t, b.Empty(t, b.store, b.now))
	got, err := node.Reread(context.Background())
	if err != nil || got != next || got == old {
		t.Errorf("Reread = %v, %v, want the epoch %v after %v", got, err, next, old)
	}
	if got := epoch(t, node); got != next {
		t.Errorf("Epoch = %v, want %v", got, next)
	}
}

// testClockGoesForwardAndBack: a store that drops what has expired must not accept it again when the clock
// turns out to have been wrong.
func testClockGoesForwardAndBack(t *testing.T, b *bench) {
	e := epoch(t, b.store)
	until := b.in(time.Minute)
	spend(t, b.store, e, "proof", until, alice, nil)
	b.turn(time.Hour)
	for i := range 1000 { // whatever it takes to make the store clean up
		spend(t, b.store, e, fmt.Sprint(i), b.in(time.Minute), bob, nil)
	}
	b.turn(-time.Hour)
	err := b.store.Spend(context.Background(), e, key("proof"), until, alice)
	if !errors.Is(err, dpop.ErrReplayed) && !errors.Is(err, dpop.ErrStaleEpoch) {
		t.Errorf("Spend after the clock went back = %v, want %v or %v", err, dpop.ErrReplayed, dpop.ErrStaleEpoch)
	}
	spend(t, b.store, epoch(t, b.store), "new proof", b.in(time.Minute), alice, nil)
}

// testClockWasAhead: a key that was recorded while the clock was ahead is not recorded once more when the clock, which was
// set right after a while, comes to that time again; or else it is dated before the birth of the epoch.
func testClockWasAhead(t *testing.T, b *bench, while time.Duration) {
	spendSome := func(name string) {
		t.Helper()
		for i := range 100 { // the store has reasons to clean up, and to see that the clock went back
			err := b.store.Spend(context.Background(), epoch(t, b.store), key(fmt.Sprint(name, i)), b.in(2*time.Minute), bob)
			if err != nil && !errors.Is(err, dpop.ErrStaleEpoch) {
				t.Fatalf("Spend = %v", err)
			}
		}
	}
	b.turn(time.Hour)
	late, until := b.now(), b.in(2*time.Minute)
	spend(t, b.store, epoch(t, b.store), "late", until, alice, nil)
	spendSome("ahead")
	b.turn(while)
	if while > 0 {
		if b.Expire != nil {
			b.Expire(t, b.store)
		}
		spendSome("later")
	}
	b.turn(-while - time.Hour)
	spendSome("right")
	spend(t, b.store, epoch(t, b.store), "right again", b.in(2*time.Minute), alice, nil)
	b.turn(time.Hour)
	e := epoch(t, b.store)
	err := b.store.Spend(context.Background(), e, key("late"), until, alice)
	if errors.Is(err, dpop.ErrStaleEpoch) {
		e = epoch(t, b.store)
		err = b.store.Spend(context.Background(), e, key("late"), until, alice)
	}
	if !errors.Is(err, dpop.ErrReplayed) && (err != nil || e.Birth < late.Unix()) {
		t.Errorf("second Spend = %v under an epoch born %d s before the first one, want %v or a birth no earlier than that",
			err, late.Unix()-e.Birth, dpop.ErrReplayed)
	}
}

// testClockGoesBackALittle: a clock that is corrected by seconds costs nobody a new nonce.
func testClockGoesBackALittle(t *testing.T, b *bench) {
	e := epoch(t, b.store)
	spend(t, b.store, e, "proof", b.in(3*time.Minute), alice, nil)
	b.turn(-30 * time.Second)
	spend(t, b.store, e, "proof", b.in(3*time.Minute), alice, dpop.ErrReplayed)
	spend(t, b.store, e, "new proof", b.in(3*time.Minute), alice, nil)
}
