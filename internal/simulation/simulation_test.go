package simulation_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/imidentity/issuer/internal/simulation"
)

var (
	seeds = flag.Uint64("seeds", 2000, "how many seeds TestSeeds runs")
	seed  = flag.Uint64("seed", 0, "the only seed that TestSeeds runs, with its events")
)

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // a simulation leaves much behind and holds little
	os.Exit(m.Run())
}

// simulate runs one seed in a bubble of its own.
func simulate(t *testing.T, seed uint64, broken simulation.Broken, events bool) (r simulation.Result) {
	synctest.Test(t, func(t *testing.T) { r = simulation.Run(t.Context(), seed, broken, events) })
	return r
}

// each calls fn for the seeds from 1 to n, on all processors, until it returns false.
func each(t *testing.T, n uint64, fn func(t *testing.T, seed uint64) bool) {
	var next atomic.Uint64
	var stop atomic.Bool
	t.Run("seeds", func(t *testing.T) {
		for i := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for !stop.Load() {
					seed := next.Add(1)
					if seed > n {
						return
					}
					if !fn(t, seed) {
						stop.Store(true)
					}
				}
			})
		}
	})
}

// No seed breaks a promise.
func TestSeeds(t *testing.T) {
	if *seed != 0 {
		r := simulate(t, *seed, simulation.Sound, true)
		t.Logf("seed %d\n%s\n%+v", *seed, strings.Join(r.Events, "\n"), r.Counts)
		if r.Err != nil {
			t.Error(r.Err)
		}
		return
	}
	var mu sync.Mutex
	var sum simulation.Counts
	each(t, *seeds, func(t *testing.T, seed uint64) bool {
		r := simulate(t, seed, simulation.Sound, false)
		if r.Err != nil {
			t.Errorf("seed %d: %v\nto see its events: go test ./internal/simulation -run TestSeeds -seed %d", seed, r.Err, seed)
		}
		mu.Lock()
		defer mu.Unlock()
		sum.Add(r.Counts)
		return !t.Failed()
	})
	t.Logf("%d seeds: %+v", *seeds, sum)
	if *seeds >= 100 && slices.Contains(sum.List(), 0) {
		t.Errorf("something never happened: %+v", sum)
	}
}

// A seed has one order of events.
func TestSeedRepeats(t *testing.T) {
	each(t, 60, func(t *testing.T, seed uint64) bool {
		first, second := simulate(t, seed, simulation.Sound, true), simulate(t, seed, simulation.Sound, true)
		if first.Sum == second.Sum && slices.Equal(first.Events, second.Events) && first.Counts == second.Counts {
			return true
		}
		for i := range min(len(first.Events), len(second.Events)) {
			if first.Events[i] != second.Events[i] {
				t.Errorf("seed %d: event %d is %q and %q", seed, i+1, first.Events[i], second.Events[i])
				return false
			}
		}
		t.Errorf("seed %d: %d events and %d", seed, len(first.Events), len(second.Events))
		return false
	})
	if a, b := simulate(t, 1, simulation.Sound, false), simulate(t, 2, simulation.Sound, false); a.Sum == b.Sum {
		t.Error("two seeds have the same events")
	}
}

// The simulation finds each fault that it is given on purpose, and finds it again under the same seed.
func TestFaultsAreFound(t *testing.T) {
	const most = 2000
	for _, broken := range simulation.Faults {
		t.Run(string(broken), func(t *testing.T) {
			var mu sync.Mutex
			found := uint64(0)
			each(t, most, func(t *testing.T, seed uint64) bool {
				r := simulate(t, seed, broken, false)
				if r.Err == nil {
					return true
				}
				if again := simulate(t, seed, broken, false); again.Err == nil || again.Err.Error() != r.Err.Error() || again.Sum != r.Sum {
					t.Errorf("seed %d came to %v, and then to %v", seed, r.Err, again.Err)
				}
				mu.Lock()
				defer mu.Unlock()
				if found == 0 || seed < found {
					found = seed
					t.Logf("found after %d seeds: %v", seed, r.Err)
				}
				return false
			})
			if found == 0 {
				t.Errorf("%d seeds did not find: %s", most, broken)
			}
		})
	}
}
