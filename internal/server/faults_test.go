package server_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

var errFire = errors.New("disk on fire")

// faults make a store fail, and remember what requests asked of it. What the issuer asks by itself in the background
// does not count.
type faults struct {
	mu     sync.Mutex
	op     string // fails whoever asks for it
	then   func()
	nth    int    // the operation that fails, counted from when it was set; 0 for none
	first  func() // called before the nth operation fails, if nothing was committed since it was set
	count  int    // operations since then
	failed string // the name of the nth, once it was asked for
	done   int    // updates that were committed since then
	paused int    // while it is not 0, nothing is counted
}

// fail is asked before each operation.
func (f *faults) fail(op string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.then != nil && op == "Update" {
		then := f.then
		f.then = nil
		f.mu.Unlock()
		then()
		f.mu.Lock()
	}
	if op == f.op {
		return errFire
	}
	if f.paused > 0 || !inRequest() {
		return nil
	}
	asked.note(op)
	f.count++
	if op == "Committed" {
		f.done++
	}
	if f.count == f.nth {
		f.failed = op
		if f.done == 0 && f.first != nil {
			f.first()
		}
		return errFire
	}
	return nil
}

// inRequest reports whether it is called on behalf of a request: whatever that does of the store, it does on the
// goroutine that serves its connection.
func inRequest() bool {
	callers := make([]uintptr, 256)
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers)])
	for {
		frame, more := frames.Next()
		if frame.Function == "net/http.(*conn).serve" {
			return true
		}
		if !more {
			return false
		}
	}
}

// beforeUpdate lets something happen just before the next transaction begins, when all was read that is read before it.
func (f *faults) beforeUpdate(then func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.then = then
}

// set names the operation that fails from now on; "" for none.
func (f *faults) set(op string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.op = op
}

// setNth lets the nth operation from now on fail, and it alone; 0 for none. If no update is committed until then, first is
// called before it fails; it may be nil.
func (f *faults) setNth(n int, first func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nth, f.first, f.count, f.failed, f.done = n, first, 0, "", 0
}

// quietly does what is not to be counted and does not fail.
func (f *faults) quietly(do func()) {
	f.pause(1)
	defer f.pause(-1)
	do()
}

func (f *faults) pause(by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused += by
}

// sofar returns how many operations and commits there were since setNth, and the name of the one that failed.
func (f *faults) sofar() (count, done int, failed string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count, f.done, f.failed
}

// A faultyReplay is a store of spent proofs that fails at "Epoch", at "Spend", which spends nothing then, and at
// "Spent", which does.
type faultyReplay struct {
	real dpop.Replay
	fail func(op string) error
}

func (r faultyReplay) Epoch(ctx context.Context) (dpop.Epoch, error) {
	if err := r.fail("Epoch"); err != nil {
		return dpop.Epoch{}, err
	}
	return r.real.Epoch(ctx)
}

func (r faultyReplay) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, source netip.Addr) error {
	if err := r.fail("Spend"); err != nil {
		return err
	}
	if err := r.real.Spend(ctx, e, key, until, source); err != nil {
		return err
	}
	return r.fail("Spent")
}

// asked is what the requests of all tests asked of a store, and which of it TestStoreFails let fail.
var asked registry

type registry struct {
	mu            sync.Mutex
	asked, failed map[string]bool
}

func (r *registry) note(op string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = make(map[string]bool)
	}
	r.asked[op] = true
}

func (r *registry) noteFailed(op string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = make(map[string]bool)
	}
	r.failed[op] = true
}

// missing returns what some request asked for and no flow of TestStoreFails. A question about readiness is answered by
// TestNotReady.
func (r *registry) missing() (ops []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for op := range r.asked {
		if !r.failed[op] && op != "Ping" {
			ops = append(ops, op)
		}
	}
	slices.Sort(ops)
	return ops
}

// TestMain holds, once all tests have run, that TestStoreFails knows every operation that a request may ask for.
func TestMain(m *testing.M) {
	code := m.Run()
	whole := !testing.Short() && flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == ""
	if ops := asked.missing(); code == 0 && whole && len(asked.failed) > 0 && len(ops) > 0 {
		fmt.Fprintf(os.Stderr, "requests ask the store for %s, and no flow of TestStoreFails does: add one to flows\n", strings.Join(ops, ", "))
		code = 1
	}
	os.Exit(code)
}
