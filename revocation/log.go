package revocation

import (
	"errors"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Errors of [Mirror.Follow] and [Follower.Next].
var (
	// ErrGap means that rows after the position are no longer in memory.
	ErrGap = errors.New("revocation: the position is before the oldest row that is kept")
	// ErrAhead means that the table has not come as far as the position: it is not the table that the position is of.
	ErrAhead = errors.New("revocation: the position is after the last row")
)

// kept is how many rows a log keeps. They take some 300 bytes each.
const kept = 1 << 15

// A log keeps the latest rows in the order of their numbers, and tells followers of new ones.
type log struct {
	mu        sync.Mutex
	size      int
	rows      []storage.Revocation // a ring once there are size rows
	oldest    int                  // index of the oldest row
	after     int64                // every row up to this number was added
	floor     int64                // of the rows up to this number some may be missing
	followers map[*Follower]struct{}
}

func newLog(size int) *log { return &log{size: size, followers: make(map[*Follower]struct{})} }

// add adds the rows of a page in the order of their numbers. There are no others up to highest, nor up to the last of them.
func (l *log) add(rows []storage.Revocation, highest int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var domains []string // those of the new rows
	for _, r := range rows {
		if r.Seq <= l.after {
			continue
		}
		if !slices.Contains(domains, r.Domain) {
			domains = append(domains, r.Domain)
		}
		if len(l.rows) < l.size {
			l.rows = append(l.rows, r)
			continue
		}
		l.floor = l.rows[l.oldest].Seq
		l.rows[l.oldest] = r
		l.oldest = (l.oldest + 1) % l.size
	}
	if n := len(rows); n > 0 {
		highest = max(highest, rows[n-1].Seq) // committed after highest was read
	}
	l.after = max(l.after, highest)
	for f := range l.followers {
		if slices.ContainsFunc(domains, f.concerned) {
			f.wake()
		}
	}
}

// all returns the rows, the oldest first.
func (l *log) all() []storage.Revocation {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]storage.Revocation, 0, len(l.rows))
	for i := range l.rows {
		list = append(list, *l.at(i))
	}
	return list
}

// reach takes note of the highest number of a table that may have lost rows. If that is below what the log has, positions mean nothing
// any more, and followers have a gap.
func (l *log) reach(highest int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if highest >= l.after {
		l.after = highest
		return
	}
	l.rows, l.oldest, l.after, l.floor = nil, 0, highest, highest
	for f := range l.followers {
		f.after = -1
		f.wake()
	}
}

// at returns the i-th oldest row.
func (l *log) at(i int) *storage.Revocation { return &l.rows[(l.oldest+i)%len(l.rows)] }

// following reports whether anybody waits for rows.
func (l *log) following() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.followers) > 0
}

// A Follower reads the rows that concern some domains, in the order of their numbers. It is for one goroutine.
type Follower struct {
	log     *log
	domains []string
	ready   chan struct{}
	// after is the position: every row up to it was returned, or concerns others. behind tells that there may be rows after it
	// that concern the follower. Both are guarded by the lock of the log.
	after  int64
	behind bool
}

// Follow returns a follower from a position on, which must be closed. The error is an [ErrGap] or an [ErrAhead].
func (m *Mirror) Follow(after int64, domains []string) (*Follower, error) {
	l := m.log
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case after > l.after:
		return nil, ErrAhead
	case after < l.floor:
		return nil, ErrGap
	}
	f := &Follower{log: l, domains: domains, ready: make(chan struct{}, 1), after: after, behind: after < l.after}
	l.followers[f] = struct{}{}
	return f, nil
}

// Position returns the number up to which every row was read.
func (m *Mirror) Position() int64 {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	return m.log.after
}

// Close ends the follower.
func (f *Follower) Close() {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	delete(f.log.followers, f)
}

// Ready receives when there are new rows. It may receive when there are none.
func (f *Follower) Ready() <-chan struct{} { return f.ready }

// After returns the position.
func (f *Follower) After() int64 {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	return f.after
}

// Next returns at most limit rows after the position that have not expired at now, moves the position behind them, and reports
// whether there may be more. The error is an [ErrGap].
func (f *Follower) Next(now time.Time, limit int) (rows []storage.Revocation, more bool, err error) {
	l := f.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if !f.behind { // a row that concerns the follower would have told it
		f.after = l.after
		return nil, false, nil
	}
	if f.after < l.floor {
		return nil, false, ErrGap
	}
	first := sort.Search(len(l.rows), func(i int) bool { return l.at(i).Seq > f.after })
	for i := first; i < len(l.rows); i++ {
		r := l.at(i)
		if !r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt) || !f.concerned(r.Domain) {
			continue
		}
		if len(rows) == limit {
			return rows, true, nil
		}
		rows = append(rows, *r)
		f.after = r.Seq
	}
	f.after, f.behind = l.after, false
	return rows, false, nil
}

// concerned reports whether a row of a domain, or of several, concerns the follower.
func (f *Follower) concerned(domain string) bool {
	if domain == "" || slices.Contains(f.domains, domain) {
		return true
	}
	for one := range strings.FieldsSeq(domain) {
		if slices.Contains(f.domains, one) {
			return true
		}
	}
	return false
}

// wake tells the follower of new rows. It needs the lock of the log.
func (f *Follower) wake() {
	f.behind = true
	select {
	case f.ready <- struct{}{}:
	default:
	}
}
