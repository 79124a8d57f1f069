package faults_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Outcomes of a request.
const (
	done     = "done"
	refused  = "refused"
	later    = "503"      // by a node
	balancer = "balancer" // HAProxy had no node, or lost it
	cut      = "cut off"  // the connection ended without an answer
	asked    = "nonce"    // a fresh nonce was asked for, and the request repeated
)

var outcomes = []string{done, refused, later, balancer, cut, asked}

// A ledger is what a run counted, and the facts that break a promise.
type ledger struct {
	began time.Time

	mu     sync.Mutex
	counts map[string]map[string]int // of requests, by kind and outcome
	tally  map[string]int            // of other things
	facts  []string
	writes []time.Time // when writes through the balancer were acknowledged
	faults []fault
}

// A fault is one that happened. The next fault of the plan begins after a pause.
type fault struct {
	kind         string
	began, ended time.Time
}

func newLedger() *ledger {
	return &ledger{began: time.Now(), counts: make(map[string]map[string]int), tally: make(map[string]int)}
}

func (l *ledger) count(kind, outcome string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts[kind] == nil {
		l.counts[kind] = make(map[string]int)
	}
	l.counts[kind][outcome]++
}

func (l *ledger) add(what string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally[what] += n
}

// wrote notes that a write through the balancer was acknowledged.
func (l *ledger) wrote() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes = append(l.writes, time.Now())
}

// happened notes a fault that has ended.
func (l *ledger) happened(kind string, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fault{kind, began, time.Now()})
}

// broken notes a fact that breaks a promise.
func (l *ledger) broken(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.facts = append(l.facts, l.at(time.Now())+" "+fmt.Sprintf(format, args...))
}

// at is a time as facts and the log of the run have it.
func (l *ledger) at(t time.Time) string {
	return fmt.Sprintf("%s (+%.3fs)", t.UTC().Format("15:04:05.000"), t.Sub(l.began).Seconds())
}

const maxFacts = 40

// report prints what happened, and fails the test if a promise was broken.
func (l *ledger) report(t *testing.T, c *cluster, p *plan) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d clients, %d nodes, faults for %v (planned %v)\n\n", clients, len(c.nodes), p.took.Round(time.Second), p.length)
	fmt.Fprintf(&b, "%-34s %5s %24s\n", "fault", "times", "longest time w/o a write")
	for _, kind := range kindsOf(l.faults) {
		n, longest := 0, time.Duration(0)
		for i, f := range l.faults {
			if f.kind == kind {
				n++
				if !l.beside(f) {
					longest = max(longest, l.gap(i))
				}
			}
		}
		fmt.Fprintf(&b, "%-34s %5d %23.1fs\n", kind, n, longest.Seconds())
	}
	fmt.Fprintf(&b, "\n%-34s", "request")
	for _, o := range outcomes {
		fmt.Fprintf(&b, " %8s", o)
	}
	for _, kind := range slices.Sorted(maps.Keys(l.counts)) {
		fmt.Fprintf(&b, "\n%-34s", kind)
		for _, o := range outcomes {
			fmt.Fprintf(&b, " %8d", l.counts[kind][o])
		}
	}
	b.WriteString("\n\n")
	for _, what := range slices.Sorted(maps.Keys(l.tally)) {
		fmt.Fprintf(&b, "%-60s %8d\n", what, l.tally[what])
	}
	t.Log(b.String())
	for i, fact := range l.facts {
		if i == maxFacts {
			t.Errorf("and %d facts more", len(l.facts)-maxFacts)
			break
		}
		t.Error(fact)
	}
	if len(l.facts) > 0 {
		for _, f := range l.faults {
			t.Logf("%s to %s: %s", l.at(f.began), l.at(f.ended), f.kind)
		}
	}
}

// kindsOf returns the kinds of faults in the order of their names.
func kindsOf(list []fault) []string {
	kinds := make(map[string]bool)
	for _, f := range list {
		kinds[f.kind] = true
	}
	return slices.Sorted(maps.Keys(kinds))
}

// killed is how the kind of a fault begins that happens beside the others.
const killed = "node killed"

// beside reports whether a kill happened while another fault did, or shortly before or after it: then that one may have kept clients from
// writing.
func (l *ledger) beside(kill fault) bool {
	return strings.HasPrefix(kill.kind, killed) && slices.ContainsFunc(l.faults, func(f fault) bool {
		return !strings.HasPrefix(f.kind, killed) && kill.began.After(f.began.Add(-time.Second)) && kill.began.Before(f.ended.Add(2*time.Second))
	})
}

// gap returns the longest time between two acknowledged writes of which a part lies between the beginning of a fault and a moment after
// its end.
func (l *ledger) gap(i int) (longest time.Duration) {
	from, to := l.faults[i].began, l.faults[i].ended.Add(500*time.Millisecond)
	first, _ := slices.BinarySearchFunc(l.writes, from, func(a, b time.Time) int { return cmp.Compare(a.UnixNano(), b.UnixNano()) })
	for k := max(first, 1); k < len(l.writes); k++ {
		longest = max(longest, l.writes[k].Sub(l.writes[k-1]))
		if l.writes[k].After(to) {
			break
		}
	}
	return longest
}
