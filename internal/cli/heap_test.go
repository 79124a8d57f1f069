package cli

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// TestHoldHeap reads at which size of the heap the next collection begins: at the floor, unless more is in use, memory is
// limited, or the operator has set GOGC.
func TestHoldHeap(t *testing.T) {
	t.Setenv("GOGC", "") // whatever the test was started with
	usual := debug.SetGCPercent(100)
	defer debug.SetGCPercent(usual)
	runtime.GC()
	if goal := heapGoal(); goal >= heapFloor/2 {
		t.Fatalf("without a floor, the heap is collected at %d bytes: the test shows nothing", goal)
	}

	release := holdHeap(heapFloor)
	atFloor := between(heapFloor*9/10, heapFloor*11/10)
	awaitGoal(t, "the floor", atFloor)
	garbage = make([]byte, 20<<20)
	awaitGoal(t, "the floor with 20 MB in use", atFloor)
	garbage = make([]byte, 2*heapFloor)
	awaitGoal(t, "more than the floor in use, without pointers", between(3*heapFloor, 3*heapFloor+heapFloor/2))
	garbage, pointers = nil, make([]*byte, 2*heapFloor/8)
	awaitGoal(t, "more than the floor in use, with pointers", between(4*heapFloor, 5*heapFloor))
	pointers = nil
	awaitGoal(t, "the floor again", atFloor)

	limit := debug.SetMemoryLimit(heapFloor / 2)
	if goal := heapGoal(); goal > heapFloor/2 {
		t.Errorf("with a memory limit of %d bytes, the heap is collected at %d", heapFloor/2, goal)
	}
	debug.SetMemoryLimit(limit)

	release()
	runtime.GC()
	if goal := heapGoal(); goal >= heapFloor/2 {
		t.Errorf("after the end, the heap is collected at %d bytes", goal)
	}
	t.Setenv("GOGC", "100")
	defer holdHeap(heapFloor)()
	if goal := heapGoal(); goal >= heapFloor/2 {
		t.Errorf("with GOGC set, the heap is collected at %d bytes", goal)
	}
}

// At package level, so that they are on the heap.
var (
	garbage  []byte
	pointers []*byte
)

func between(least, most uint64) func(uint64) bool {
	return func(goal uint64) bool { return goal > least && goal < most }
}

// awaitGoal collects until the next collection begins at the wanted size: the floor is adjusted shortly after each.
func awaitGoal(t *testing.T, state string, want func(goal uint64) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		goal := heapGoal()
		if want(goal) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the heap is collected at %d bytes", state, goal)
		}
	}
}

func heapGoal() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
