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

// holdHeap keeps the garbage collector from running before the heap has floor bytes. A larger heap may grow by as much as the
// collector has to scan, which is its work, and at least by floor bytes; but not by more than the runtime lets it grow. Revocations,
// which hold no pointers, are not scanned: a million of them must not cost twice their size. It changes nothing if the variable GOGC
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

// adjust chooses the percentage by which the heap may grow.
func (h *heldHeap) adjust() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released {
		return
	}
	last := collected()
	growth := min(uint64(h.usual)*(last.live+last.roots)/100, max(h.floor, last.scanned))
	if last.live < h.floor {
		growth = max(growth, h.floor-last.live)
	}
	debug.SetGCPercent(int(min(growth*100/max(last.live+last.roots, 1), maxPercent)))
	// The mark is garbage from the beginning, so the next collection finds it.
	mark := new([16]byte)
	runtime.AddCleanup(mark, func(h *heldHeap) { h.adjust() }, h)
}

// maxPercent bounds the percentage before the first collection, when nothing is known to be in use. The runtime multiplies
// its least heap of 4 MB by the percentage, too: this is the floor of 64 MB.
const maxPercent = 1600

// A collection is what the last one left, in bytes.
type collection struct {
	live    uint64 // in use
	scanned uint64 // of these, what had to be read because it may hold pointers
	roots   uint64 // stacks and globals, by which the runtime also counts the growth that it allows
}

func collected() collection {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	metrics.Read(samples)
	size := func(i int) uint64 {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0 // a runtime without this metric
		}
		return samples[i].Value.Uint64()
	}
	return collection{live: size(0), scanned: size(1), roots: size(2) + size(3)}
}
