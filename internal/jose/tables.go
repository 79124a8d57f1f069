package jose

import (
	"container/list"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/fips140"
	"sync"
	"time"
)

// A key gets a table after so many signatures within a minute. A table costs as much as five verifications and saves half of each. A
// table that is used at least once a minute keeps its place: if more keys were used often than have a table, and each took the place of
// another one, making tables would cost more than they save.
const (
	sightsForTable = 16
	sightsWithin   = time.Minute
	keepsPlace     = time.Minute
)

// sightsPerTable is how many keys are counted at a time, for each table that there may be.
const sightsPerTable = 16

// TableBytes is how much memory [Tables] take for each key that they may have a table of, with the counts of other keys.
const TableBytes = multiplesBytes + 8<<10

// Tables verify signatures like [Verify]: they accept and refuse the same. P-256 keys that signed often of late get a table of
// multiples, with which a verification takes about half the time. A nil *Tables has no tables, and nor has any in FIPS 140-3 mode, where
// the standard library is the validated module. Tables are safe for concurrent use.
//
// Senders choose the keys of proofs, so the cost of keys that are not seen again is bounded: only a signature that verifies counts, one
// table is made at a time, and making one costs a third of the verifications that led to it.
type Tables struct {
	max int
	now func() time.Time

	mu     sync.Mutex
	ready  map[point]*list.Element // of *table
	order  *list.List              // of *table, the one used last in front
	sights map[point]int           // of keys without a table, since started
	since  time.Time
	making bool
}

// A point is the uncompressed encoding of a P-256 key.
type point [65]byte

type table struct {
	key  point
	used time.Time
	*multiples
}

// NewTables returns Tables for at most keys keys. They take up to [TableBytes] each. A key that was not used for a minute makes room for
// another one, the one that was not used for longest first. now reports the time; nil means [time.Now].
func NewTables(keys int, now func() time.Time) *Tables {
	if now == nil {
		now = time.Now
	}
	return &Tables{max: max(keys, 1), now: now, ready: map[point]*list.Element{}, order: list.New(), sights: map[point]int{}}
}

// Len returns how many keys have a table.
func (t *Tables) Len() int {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.ready)
}

// VerifyJWS is [JWS.Verify].
func (t *Tables) VerifyJWS(j *JWS, alg string, key crypto.PublicKey) error {
	if !Allows([]string{alg}, j.Header.Alg) {
		return ErrSignature
	}
	return t.Verify(alg, key, j.input, j.signature)
}

// Verify is the function [Verify].
func (t *Tables) Verify(alg string, key crypto.PublicKey, input, signature []byte) error {
	pub, ok := key.(*ecdsa.PublicKey)
	if t == nil || fips140.Enabled() || !ok || alg != ES256 || pub == nil || pub.Curve != elliptic.P256() {
		return Verify(alg, key, input, signature)
	}
	encoded, err := pub.Bytes()
	if err != nil || len(encoded) != len(point{}) {
		return ErrSignature
	}
	p := point(encoded)
	if m := t.find(p); m != nil {
		if !m.verify(algorithm{hash: crypto.SHA256}.digest(nil, input), signature) {
			return ErrSignature
		}
		return nil
	}
	if err := Verify(alg, key, input, signature); err != nil {
		return err
	}
	if t.due(p) {
		t.make(p)
	}
	return nil
}

// find returns the multiples of the key p, nil if there are none.
func (t *Tables) find(p point) *multiples {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.ready[p]
	if e == nil {
		return nil
	}
	t.order.MoveToFront(e)
	found := e.Value.(*table)
	found.used = now
	return found.multiples
}

// due counts a signature by the key p, and reports whether the caller shall make its table now.
func (t *Tables) due(p point) bool {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.since) >= sightsWithin || now.Before(t.since) {
		clear(t.sights)
		t.since = now
	}
	n, counted := t.sights[p]
	if !counted && len(t.sights) >= sightsPerTable*t.max {
		clear(t.sights)
	}
	t.sights[p] = n + 1
	if n+1 < sightsForTable || t.making || t.ready[p] != nil || !t.room(now) {
		return false
	}
	t.making = true
	delete(t.sights, p)
	return true
}

// room reports whether there is a place for another table. The caller holds mu.
func (t *Tables) room(now time.Time) bool {
	if len(t.ready) < t.max {
		return true
	}
	used := t.order.Back().Value.(*table).used
	return now.Sub(used) >= keepsPlace || now.Before(used)
}

// make makes the table of the key p.
func (t *Tables) make(p point) {
	m, err := newMultiples(p[:])
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.making = false
	if err != nil {
		return
	}
	for len(t.ready) >= t.max {
		oldest := t.order.Back()
		delete(t.ready, t.order.Remove(oldest).(*table).key)
	}
	t.ready[p] = t.order.PushFront(&table{p, now, m})
}
