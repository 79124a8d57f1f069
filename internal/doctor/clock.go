package doctor

import (
	"net/http"
	"strings"
	"time"
)

// By how much clocks may differ: a Date has whole seconds, and proofs without nonces a minute.
const (
	clockWarn = 5 * time.Second
	clockFail = time.Minute
)

// A clock is how far another host's is ahead of this machine's.
type clock struct {
	of     string
	offset time.Duration
	doubt  time.Duration // how much of it may be the way
}

// measured keeps what the Date of an answer says. An answer of a cache tells an older time.
func (e *examination) measured(of string, r reply) {
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil || r.Header.Get("Age") != "" {
		return
	}
	way := r.got.Sub(r.sent)
	e.clocks = append(e.clocks, clock{of, date.Add(500 * time.Millisecond).Sub(r.sent.Add(way / 2)), way/2 + 500*time.Millisecond})
}

// clock compares the clock of this machine with all that answered.
func (e *examination) clock() {
	var agree []string
	for _, c := range e.clocks {
		off := c.offset.Abs() - c.doubt
		status := Warn
		switch {
		case off < clockWarn:
			agree = append(agree, c.of)
			continue
		case off >= clockFail:
			status = Fail
		}
		which := "ahead of"
		if c.offset < 0 {
			which = "behind"
		}
		e.found(status, "clock", "set both clocks by NTP: on this machine, run `timedatectl set-ntp true` or the equivalent", "the clock of %s is %s %s this machine's", c.of, c.offset.Abs().Round(time.Second), which)
	}
	switch {
	case len(e.clocks) == 0:
		e.found(Unknown, "clock", "", "no server answered with a time to compare")
	case len(agree) > 0:
		e.ok("clock", "this machine agrees with %s", strings.Join(agree, ", "))
	}
}
