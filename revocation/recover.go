package revocation

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/imidentity/issuer/storage"
)

// errLost is the [ErrStale] of a mirror whose database may have lost rows that it has.
var errLost = fmt.Errorf("%w: the database continues without its last commits (a standby was promoted, or an older state restored): "+
	"the revocations that it lost are written again", ErrStale)

// A recovery is what a mirror does when its database continues another history: rows that it has read, and rows that its own process was
// told are durable, may be missing there. It reads everything anew, and hands the missing rows over to be written again. Until this is
// done, and as long as a mirror of another process may take to notice the same, the mirror is stale.
type recovery struct {
	began time.Time
	known []storage.Revocation // the latest rows of the history before
	above int64                // no number above this one was seen
	done  bool
}

// settling reports whether a recovery makes the mirror stale at now.
func (m *Mirror) settling(now time.Time) bool {
	r := m.recovery.Load()
	return r != nil && (!r.done || now.Sub(r.began).Abs() <= m.cfg.Limit)
}

// recover reads the table anew, and has the rows written that are missing there. top is that of before the read that noticed this: if it is
// another one now, a concurrent read has recovered.
func (m *Mirror) recover(ctx context.Context, top int64) error {
	m.recovering.Lock()
	defer m.recovering.Unlock()
	r := m.recovery.Load()
	m.mu.RLock()
	recovered := m.top != top
	m.mu.RUnlock()
	if recovered && (r == nil || r.done) {
		return nil
	}
	if r == nil || r.done {
		m.mu.RLock()
		r = &recovery{began: m.cfg.Now(), known: append(m.log.all(), m.pending...), above: m.top}
		m.mu.RUnlock()
		m.recovery.Store(r)
		m.cfg.Log.WarnContext(ctx, "the database may have lost its last commits: not ready until the revocations are complete again")
	}
	missing := make(map[name]storage.Revocation, len(r.known))
	for _, row := range r.known {
		r.above = max(r.above, row.Seq)
		if n := (name{row.Kind, row.Key}); row.ExpiresAt.IsZero() || m.cfg.Now().Before(row.ExpiresAt) {
			if have, ok := missing[n]; !ok || !covers(have, row) {
				missing[n] = row
			}
		}
	}
	highest, err := m.readFrom(ctx, 0, func(row storage.Revocation) {
		n := name{row.Kind, row.Key}
		if want, ok := missing[n]; ok && covers(row, want) {
			delete(missing, n)
		}
	})
	if err != nil {
		return err
	}
	m.log.reach(highest) // before the numbers jump: they may have been given twice
	if m.cfg.Repair != nil {
		rows := make([]storage.Revocation, 0, len(missing))
		for _, row := range r.known { // in the order of their numbers
			n := name{row.Kind, row.Key}
			if want, ok := missing[n]; ok {
				rows = append(rows, want)
				delete(missing, n)
			}
		}
		if err := m.cfg.Repair(ctx, rows, r.above); err != nil {
			return fmt.Errorf("write lost revocations again: %w", err)
		}
		m.cfg.Log.WarnContext(ctx, "the revocations are complete again", slog.Int("written_again", len(rows)))
		if highest, err = m.readFrom(ctx, highest, func(storage.Revocation) {}); err != nil {
			return err
		}
	}
	m.mu.Lock()
	m.after, m.top = highest, highest
	m.pending = m.pendingAfter(highest)
	m.mu.Unlock()
	r = &recovery{began: r.began, done: true}
	m.recovery.Store(r)
	if m.cfg.Recovered != nil {
		m.cfg.Recovered()
	}
	return nil
}

// A name is what a revocation is about.
type name struct {
	kind storage.RevocationKind
	key  string
}

// covers reports whether a row ends as much as another one of the same name.
func covers(row, other storage.Revocation) bool {
	return row.Gen >= other.Gen && (row.ExpiresAt.IsZero() || !other.ExpiresAt.IsZero() && !row.ExpiresAt.Before(other.ExpiresAt))
}

// readFrom adds all rows after a number, calls each with every one of them, and returns the highest number.
func (m *Mirror) readFrom(ctx context.Context, after int64, each func(storage.Revocation)) (int64, error) {
	for {
		rows, highest, err := m.source(ctx, after)
		if err != nil {
			return 0, err
		}
		keys := m.table.keysOf(rows)
		m.mu.Lock()
		m.table.apply(keys, rows)
		m.mu.Unlock()
		for _, row := range rows {
			each(row)
		}
		if len(rows) < page {
			m.log.add(rows, highest)
			return max(highest, after), nil
		}
		after = rows[page-1].Seq
		m.log.add(rows, after)
	}
}

func (m *Mirror) source(ctx context.Context, after int64) ([]storage.Revocation, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Limit)
	defer cancel()
	return m.cfg.Source.Revocations(ctx, after, page)
}

// pendingRows is how many rows of its own process a mirror keeps until it reads them: those that are acknowledged between two reads.
const pendingRows = kept / 4

// pendingAfter returns the rows of its own process that were not read up to a number. It needs the lock.
func (m *Mirror) pendingAfter(read int64) (list []storage.Revocation) {
	for _, r := range m.pending {
		if r.Seq > read {
			list = append(list, r)
		}
	}
	return list
}

// late returns the rows of its own process that were committed before a failover, and applied after it was noticed: they may be lost, too.
// It needs the lock.
func (m *Mirror) late(read int64) (list []storage.Revocation) {
	for _, r := range m.pending {
		if r.Seq < read && storage.History(r.Seq) != storage.History(read) {
			list = append(list, r)
		}
	}
	return list
}
