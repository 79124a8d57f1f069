// Package revocation keeps the live revocations of the database in memory, so that asking whether a token was revoked
// costs no query.
//
// A [Mirror] follows the table in commit order: [Mirror.Run] reads what is new several times a second, and
// [Mirror.Apply] adds at once what this process has committed itself. Whoever trusts [Mirror.Find] asks [Mirror.Fresh]
// too: a mirror that could not read lately does not know, and "not found" then means nothing.
//
// The Revoke functions build the rows. A row is absolute: it compares no times, so that no two clocks have to agree
// on whether a token was made before or after. [RevokeBelow] compares generations, which the database counts.
package revocation

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/storage"
)

// ErrStale is returned by [Mirror.Fresh] when the last successful read is too long ago.
var ErrStale = errors.New("revocation: the mirror is behind the database")

// A Source is the table that a [Mirror] follows; every [storage.Store] is one.
type Source interface {
	Revocations(ctx context.Context, after int64) ([]storage.Revocation, int64, error)
}

// Config configures a [Mirror].
type Config struct {
	// Source is followed. Required.
	Source Source
	// Interval is the time between two reads. Zero means 200 ms.
	Interval time.Duration
	// Limit is how old the last read may be before the mirror is stale. Zero means 2 s.
	Limit time.Duration
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Log is told when reading begins to fail and when it succeeds again. Nil means nobody is.
	Log *slog.Logger
}

// A Mirror holds the live revocations. It is safe for concurrent use.
type Mirror struct {
	cfg   Config
	nudge chan struct{}
	read  atomic.Pointer[time.Time] // when the last successful read began

	mu    sync.RWMutex
	after int64 // the highest number that was read
	rows  map[subject]storage.Revocation
	ends  expiries
}

// NewMirror returns an empty Mirror, stale until its first [Mirror.Read].
func NewMirror(cfg Config) *Mirror {
	if cfg.Interval == 0 {
		cfg.Interval = 200 * time.Millisecond
	}
	if cfg.Limit == 0 {
		cfg.Limit = 2 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Mirror{cfg: cfg, nudge: make(chan struct{}, 1), rows: make(map[subject]storage.Revocation)}
}

// Run reads until ctx ends, every interval and whenever it is nudged.
func (m *Mirror) Run(ctx context.Context) {
	failing := false
	tick := time.NewTicker(m.cfg.Interval)
	defer tick.Stop()
	for {
		err := m.Read(ctx)
		if ctx.Err() != nil {
			return
		}
		if failing != (err != nil) {
			failing = err != nil
			m.cfg.Log.Warn("following the revocations", "failing", failing, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-m.nudge:
		}
	}
}

// Nudge makes [Mirror.Run] read now.
func (m *Mirror) Nudge() {
	select {
	case m.nudge <- struct{}{}:
	default: // it is about to read anyway
	}
}

// Read reads once what is new, and drops what has expired. A read that hangs is given up when the mirror is stale.
func (m *Mirror) Read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Limit)
	defer cancel()
	m.mu.RLock()
	after := m.after
	m.mu.RUnlock()

	// What commits after this moment is not promised to be in the answer: freshness counts from here.
	began := m.cfg.Now()
	rows, highest, err := m.cfg.Source.Revocations(ctx, after)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.apply(rows)
	m.after = max(m.after, highest)
	m.expire(began)
	// Of two reads at once the later counts. No read takes longer than the limit, so what is earlier by more was begun
	// after the clock was set back.
	if last := m.read.Load(); last == nil || began.After(*last) || last.Sub(began) > m.cfg.Limit {
		m.read.Store(&began)
	}
	return nil
}

// Apply adds rows, as [storage.Tx.Revoke] returned them in an update that was acknowledged since.
func (m *Mirror) Apply(rows ...storage.Revocation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.apply(rows)
}

func (m *Mirror) apply(rows []storage.Revocation) {
	for _, r := range rows {
		s := subjectOf(r)
		// A row of a lower number was replaced by one that ends at least as much.
		if have, ok := m.rows[s]; ok && have.Seq >= r.Seq {
			continue
		}
		m.rows[s] = r
		if !r.ExpiresAt.IsZero() {
			heap.Push(&m.ends, expiry{r.ExpiresAt, s, r.Seq})
		}
	}
}

func (m *Mirror) expire(now time.Time) {
	for len(m.ends) > 0 && m.ends[0].at.Before(now) {
		e := heap.Pop(&m.ends).(expiry)
		if m.rows[e.of].Seq == e.seq {
			delete(m.rows, e.of)
		}
	}
}

// Fresh returns nil if the mirror held, at most the limit before now, everything that was committed until then, and
// [ErrStale] if not. A read that is later than now by more than the limit says nothing: the clock was set back since.
func (m *Mirror) Fresh(now time.Time) error {
	if last := m.read.Load(); last == nil || now.Sub(*last).Abs() > m.cfg.Limit {
		return ErrStale
	}
	return nil
}

// ReadAt returns when the last successful read began, the zero time if there was none.
func (m *Mirror) ReadAt() time.Time {
	if last := m.read.Load(); last != nil {
		return *last
	}
	return time.Time{}
}

// Len returns how many rows the mirror holds.
func (m *Mirror) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.rows)
}

// Revoked returns the reason of the revocation that [Mirror.Find] finds, and "" if there is none. The error is an
// [ErrStale]. A Mirror is the Revocations of package introspect.
func (m *Mirror) Revoked(_ context.Context, t introspect.Token) (introspect.Reason, error) {
	if err := m.Fresh(m.cfg.Now()); err != nil {
		return "", err
	}
	row, revoked := m.Find(t)
	if !revoked {
		return "", nil
	}
	return ReasonOf(row.Kind, row.Reason), nil
}

// ReasonOf returns the reason that callers of introspection may know of a revocation.
func ReasonOf(kind storage.RevocationKind, reason string) introspect.Reason {
	switch r := introspect.Reason(reason); r {
	case introspect.DeviceRemoved, introspect.UserDisabled, introspect.HandleChanged:
		return r
	}
	switch kind {
	case storage.RevokeDevice:
		return introspect.DeviceRemoved
	case storage.RevokeUser:
		return introspect.UserDisabled
	case storage.RevokeGen:
		return introspect.Superseded
	}
	return introspect.Revoked
}

// Find returns a row that ends t, the widest if there are several, and false if there is none.
func (m *Mirror) Find(t introspect.Token) (storage.Revocation, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.rows) == 0 {
		return storage.Revocation{}, false
	}
	for _, s := range [...]subject{
		{storage.RevokeKey, "", t.KID},
		{storage.RevokeClient, "", t.ClientID},
		{storage.RevokeUser, t.Domain, t.User},
		{storage.RevokeDevice, t.Domain, t.Device},
		{storage.RevokeGrant, "", t.SID},
		{storage.RevokeToken, "", t.JTI},
		{storage.RevokeGen, t.Domain, t.User},
	} {
		if s.id == "" {
			continue
		}
		if r, ok := m.rows[s]; ok && (r.Kind != storage.RevokeGen || t.Gen < r.Gen) {
			return r, true
		}
	}
	return storage.Revocation{}, false
}

// An expiry is the moment at which the row of a subject dies, unless one of a higher number has taken its place.
type expiry struct {
	at  time.Time
	of  subject
	seq int64
}

// expiries is a heap, the earliest first.
type expiries []expiry

func (h expiries) Len() int           { return len(h) }
func (h expiries) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiries) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiries) Push(x any)        { *h = append(*h, x.(expiry)) }
func (h *expiries) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
