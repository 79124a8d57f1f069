package oauth

import (
	"sync"
	"time"
)

// pollEarly is by how much a poll may be early: the one before may have taken longer on its way.
const pollEarly = time.Second

// devicePolls paces the polls of device codes that wait (RFC 8628 §3.5). It is in memory, so that a poll writes nothing: after a restart
// each code begins anew with the shortest interval. It has an entry for each stored code that was polled, and the quota bounds those.
type devicePolls struct {
	mu    sync.Mutex
	codes map[[32]byte]pollState
	sweep int // sweep when there are so many
}

type pollState struct {
	last     time.Time
	interval time.Duration
	until    time.Time // when the code expires
}

// minPolls is how many entries are never swept.
const minPolls = 256

func newDevicePolls() *devicePolls {
	return &devicePolls{codes: make(map[[32]byte]pollState), sweep: minPolls}
}

// poll notes a poll of a code that waits. It returns the interval that the client must keep, and whether this poll came too early. Each
// early one raises the interval.
func (p *devicePolls) poll(code [32]byte, now, until time.Time) (interval time.Duration, early bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, known := p.codes[code]
	switch {
	case !known:
		s.interval, s.until = deviceInterval, until
		p.makeRoom(now)
	case now.Sub(s.last) < s.interval-pollEarly:
		early, s.interval = true, s.interval+deviceInterval
	}
	s.last = now
	p.codes[code] = s
	return s.interval, early
}

// forget drops a code that does not wait any more.
func (p *devicePolls) forget(code [32]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.codes, code)
}

func (p *devicePolls) makeRoom(now time.Time) {
	if len(p.codes) < p.sweep {
		return
	}
	for code, s := range p.codes {
		if !now.Before(s.until) {
			delete(p.codes, code)
		}
	}
	p.sweep = max(minPolls, 2*len(p.codes))
}
