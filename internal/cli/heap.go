package cli

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// heapFloor is the size below which the heap of a serving issuer is not collected. The runtime lets the heap grow to twice
// of what is in use, but at least to 4 MB: an issuer uses little more than that, and would collect every few hundred
// requests.
const heapFloor = 64 << 20

// holdHeap keeps the garbage collector from running before the heap has floor bytes. It changes nothing if the variable GOGC
// is set: the operator has decided then. A memory limit (GOMEMLIMIT) goes before the floor, as it goes before every setting
// of the collector. It returns a function that gives the collector back its former setting.
func holdHeap(floor uint64) (release func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	h := &heldHeap{floor: floor, usual: debug.SetGCPercent(100)}
	h.adjust()
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.released = true
		debug.SetGCPercent(h.usual)
	}
}

// A heldHeap adjusts the percentage of the collector after each collection.
type heldHeap struct {
	floor uint64
	usual int

	mu       sync.Mutex // held while the percentage is changed: an adjustment must not follow the release
	released bool
}

// adjust chooses the percentage by which the heap may grow until it has the size of the floor, and at least the usual one.
func (h *heldHeap) adjust() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		return
	}
	live, roots := collected()
	percent := h.usual
	if live < h.floor {
		percent = max(percent, int(min((h.floor-live)*100/max(live+roots, 1), maxPercent)))
	}
	debug.SetGCPercent(percent)
	// The mark is garbage from the beginning, so the next collection finds it.
	mark := new([16]byte)
	runtime.AddCleanup(mark, func(h *heldHeap) { h.adjust() }, h)
}

// maxPercent bounds the percentage before the first collection, when nothing is known to be in use. The runtime multiplies
// its least heap of 4 MB by the percentage, too: this is the floor of 64 MB.
const maxPercent = 1600

// collected returns what the last collection left: the bytes in use, and those of stacks and globals, by which the runtime
// also counts the growth that it allows.
func collected() (live, roots uint64) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	metrics.Read(samples)
	for i, s := range samples {
		switch {
		case s.Value.Kind() != metrics.KindUint64:
		case i == 0:
			live = s.Value.Uint64()
		default:
			roots += s.Value.Uint64()
		}
	}
	return live, roots
}
