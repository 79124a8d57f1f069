// Package revocation keeps the live revocations of the database in memory, so that checking a token for revocation costs no
// query.
//
// A [Mirror] follows the table in commit order: [Mirror.Run] reads new rows several times a second, and [Mirror.Apply] adds
// the rows that this process committed, at once. [Mirror.Revoked] answers only while the mirror is fresh: a mirror that could
// not read lately does not know, and "not found" then means nothing.
//
// The Revoke functions make the rows. A row is absolute: it compares no times, so clocks need not agree on whether a token
// was made before or after. [RevokeBelow] compares generations, which the database counts.
package revocation

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/internal/follow"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/storage"
)

// ErrStale is returned by [Mirror.Fresh] when the last successful read is too long ago.
var ErrStale = errors.New("revocation: the mirror is behind the database")

// A Source is the table that a [Mirror] follows; every [storage.Store] is one.
type Source interface {
	Revocations(ctx context.Context, after int64, limit int) ([]storage.Revocation, int64, error)
}

// Config configures a [Mirror].
type Config struct {
	// Source is followed. Required.
	Source Source
	// Interval is the time between two reads. Zero means 200 ms.
	Interval time.Duration
	// Limit is how old the last read may be before the mirror is stale, and how long the read of one page may take. Zero
	// means 2 s.
	Limit time.Duration
	// Kept is how many of the latest rows are kept in their order, for [Mirror.Follow]. Zero means 32768, some 10 MB.
	Kept int
	// Repair is called when the database may have lost rows, with those of the latest that it does not have, oldest first, and with the
	// highest number that was seen. It writes what they end again, and makes later numbers those of a later history than that number, see
	// [storage.Tx]. The mirror is stale until it succeeds. Nil for a database that loses nothing.
	Repair func(ctx context.Context, lost []storage.Revocation, above int64) error
	// Recovered is called when the mirror is complete after that. It may be nil.
	Recovered func()
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Log receives a line when reading begins to fail and one when it works again. Nil discards them.
	Log *slog.Logger
}

// A Mirror holds the live revocations. It is safe for concurrent use.
type Mirror struct {
	cfg  Config
	loop *follow.Loop
	log  *log                      // the latest rows, for followers
	read atomic.Pointer[time.Time] // when the last successful read began

	recovery   atomic.Pointer[recovery] // nil while the database has lost nothing
	recovering sync.Mutex               // held by a recovery

	mu       sync.RWMutex
	after    int64 // every row up to this number was read
	complete bool  // whether a read has come to the end, and top is the highest number of then
	top      int64
	pending  []storage.Revocation // rows that were applied and not yet read, the oldest first
	table    table
}

// NewMirror returns an empty Mirror, stale until its first [Mirror.Read].
func NewMirror(cfg Config) *Mirror {
	if cfg.Interval == 0 {
		cfg.Interval = 200 * time.Millisecond
	}
	if cfg.Limit == 0 {
		cfg.Limit = 2 * time.Second
	}
	if cfg.Kept == 0 {
		cfg.Kept = kept
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Mirror{cfg: cfg, table: newTable(), log: newLog(cfg.Kept)}
	m.loop = follow.New(follow.Config{Name: "following the revocations", Do: m.Read, Interval: cfg.Interval, Gap: nudgeGap,
		Log: cfg.Log})
	return m
}

// Run reads until ctx ends, every interval and whenever it is nudged.
func (m *Mirror) Run(ctx context.Context) { m.loop.Run(ctx) }

// nudgeGap is the least time between two reads, however often the mirror is nudged: many revocations cost few reads.
const nudgeGap = 10 * time.Millisecond

// Nudge makes [Mirror.Run] read now.
func (m *Mirror) Nudge() { m.loop.Wake() }

// page is how many rows are read at once, and how many expired ones are deleted at once. Introspection waits while a page
// is added or deleted, less than a millisecond.
const page = 1000

// Read reads the new rows, page by page, and deletes the expired ones.
func (m *Mirror) Read(ctx context.Context) error {
	for more := true; more; {
		var err error
		if more, err = m.readPage(ctx); err != nil {
			return err
		}
	}
	m.expire(m.cfg.Now())
	return nil
}

// readPage adds the next page of rows and reports whether there may be more. A read that takes longer than the limit is
// given up.
func (m *Mirror) readPage(ctx context.Context) (more bool, err error) {
	m.mu.RLock()
	after, top, complete := m.after, m.top, m.complete
	m.mu.RUnlock()

	// A row that is committed after this moment may be missing from the page: freshness counts from here.
	began := m.cfg.Now()
	rows, highest, err := m.source(ctx, after)
	if err != nil {
		return false, err
	}
	r := m.recovery.Load()
	if r != nil && !r.done || complete && (highest < top || storage.History(highest) != storage.History(top)) {
		return true, m.recover(ctx, top)
	}
	if more = len(rows) == page; more {
		highest = rows[page-1].Seq
	}
	keys := m.table.keysOf(rows)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table.apply(keys, rows)
	m.after = max(m.after, highest)
	m.log.add(rows, highest) // after the table: a token that a follower is told of is revoked
	if !more {
		m.complete, m.top = true, m.after
		if late := m.late(m.after); len(late) > 0 && m.cfg.Repair != nil {
			m.recovery.Store(&recovery{began: began, known: late})
			return true, nil
		}
		m.pending = m.pendingAfter(m.after)
	}
	// Of two concurrent reads the later one counts. No read of a page takes longer than the limit, so if the last one is
	// later by more, the clock was set back since.
	if last := m.read.Load(); !more && (last == nil || began.After(*last) || last.Sub(began) > m.cfg.Limit) {
		m.read.Store(&began)
	}
	return more, nil
}

// expire deletes the rows that have expired, a page at a time.
func (m *Mirror) expire(now time.Time) {
	for more := true; more; {
		m.mu.Lock()
		more = m.table.expire(now, page)
		m.mu.Unlock()
	}
}

// Apply adds rows, as [storage.Tx.Revoke] returned them in an update that was acknowledged since. Followers get rows in the order
// of their numbers, in which updates need not be acknowledged: if there are any, [Mirror.Run] reads the rows now.
func (m *Mirror) Apply(rows ...storage.Revocation) {
	keys := m.table.keysOf(rows)
	m.mu.Lock()
	m.table.apply(keys, rows)
	m.pending = append(m.pending, rows...)
	if n := len(m.pending) - pendingRows; n > 0 {
		m.pending = append(m.pending[:0:0], m.pending[n+pendingRows/4:]...)
	}
	m.mu.Unlock()
	if len(rows) > 0 && m.log.following() {
		m.Nudge()
	}
}

// Fresh returns nil if the mirror held, at most the limit before now, everything that was committed until then, and
// [ErrStale] if not. If the last read is later than now by more than the limit, the clock was set back since, and the
// mirror is stale.
func (m *Mirror) Fresh(now time.Time) error {
	if last := m.read.Load(); last == nil || now.Sub(*last).Abs() > m.cfg.Limit {
		return ErrStale
	}
	if m.settling(now) {
		return errLost
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
	return len(m.table.rows)
}

// A Match is a revocation that matches a token.
type Match struct {
	Seq    int64
	Kind   storage.RevocationKind
	Gen    int64 // the lowest valid generation, for RevokeGen only
	Reason string
}

// Find returns the revocation that ends t, the widest if there are several, and false if there is none. It does not ask
// whether the mirror is fresh.
func (m *Mirror) Find(t introspect.Token) (Match, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.table.find(t)
}

// Revoked returns the reason of the revocation that [Mirror.Find] finds, and "" if there is none. The error is an
// [ErrStale]. A Mirror is the Revocations of package introspect.
func (m *Mirror) Revoked(_ context.Context, t introspect.Token) (introspect.Reason, error) {
	if err := m.Fresh(m.cfg.Now()); err != nil {
		return "", err
	}
	match, revoked := m.Find(t)
	if !revoked {
		return "", nil
	}
	return ReasonOf(match.Kind, match.Reason), nil
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
