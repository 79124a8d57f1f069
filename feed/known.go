package feed

import (
	"slices"
	"sync"
	"time"
)

// keptEvents is how many of the latest events a Follower keeps, for answers that were on their way.
const keptEvents = 4096

// known is what a [Follower] has learned.
type known struct {
	mu      sync.Mutex
	epoch   uint64 // grows with each fresh start; 0 before the first
	begun   bool   // since the last reset
	key     Key
	domains []string
	events  []Event // the latest, a ring once there are keptEvents
	count   uint64  // of all events since the fresh start
	last    time.Time
}

// A Mark is a moment in what a [Follower] has learned. The zero Mark is before every event.
type Mark struct{ epoch, count uint64 }

// Mark returns the present moment. Take it before a question about a token is sent, and give it to [Follower.Ended] with the answer:
// an event may come while the answer is on its way.
func (k *known) Mark() Mark {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.begun {
		return Mark{}
	}
	return Mark{k.epoch, k.count}
}

// Ended reports whether an answer about a token must not be used any more: an event since the mark ends the token, or it is not known
// whether one does, as after a fresh start.
func (k *known) Ended(m Mark, s Subject) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.begun || m.epoch != k.epoch || k.count-m.count > uint64(len(k.events)) {
		return true
	}
	matches := k.key.matcher(s)
	for n := m.count; n < k.count; n++ {
		if matches(k.events[n%keptEvents]) {
			return true
		}
	}
	return false
}

// Alive reports whether the issuer has said, at most limit before now, that the follower knows every event.
func (k *known) Alive(now time.Time, limit time.Duration) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := now.Sub(k.last)
	return k.begun && age <= limit && age >= -limit
}

// Covers reports whether the events of a domain are among those that the follower is told of.
func (k *known) Covers(domain string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.begun && slices.Contains(k.domains, domain)
}

// begin begins a page or a stream, and reports whether it continues what is known.
func (k *known) begin(key Key, domains []string, fresh bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !fresh && (key != k.key || !k.begun) {
		return false
	}
	if fresh {
		k.epoch++
		k.begun, k.key, k.events, k.count = true, key, nil, 0
	}
	k.domains = domains
	return true
}

// reset forgets everything.
func (k *known) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.begun, k.events, k.count = false, nil, 0
}

// add adds an event, and returns the key of its hash.
func (k *known) add(e Event) Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.events) < keptEvents {
		k.events = append(k.events, e)
	} else {
		k.events[k.count%keptEvents] = e
	}
	k.count++
	return k.key
}

// alive notes a sign of life.
func (k *known) alive(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = at
}

// heard returns the time of the last sign of life.
func (k *known) heard() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.last
}
