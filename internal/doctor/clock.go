package doctor

import (
	"net/http"
	"strings"
	"time"
)

// Clocks may differ by less than these. A Date has whole seconds, and proofs without a nonce are valid for about a minute.
const (
	clockWarn = 5 * time.Second
	clockFail = time.Minute
)

// A clock is the clock of another host, compared with that of this machine.
type clock struct {
	of     string
	offset time.Duration // how far it is ahead
	doubt  time.Duration // how much of the offset may be the time that the answer took
}

// measured records the Date of an answer. Answers from caches are ignored: their Date is older.
func (e *examination) measured(of string, r reply) {
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil || r.Header.Get("Age") != "" {
		return
	}
	way := r.got.Sub(r.sent)
	e.clocks = append(e.clocks, clock{of, date.Add(500 * time.Millisecond).Sub(r.sent.Add(way / 2)), way/2 + 500*time.Millisecond})
}

// clock compares the clock of this machine with those of all hosts that answered.
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
		e.found(status, "clock", "set both clocks by NTP: on this machine, run `timedatectl set-ntp true` or the equivalent",
			"the clock of %s is %s %s this machine's", c.of, c.offset.Abs().Round(time.Second), which)
	}
	switch {
	case len(e.clocks) == 0:
		e.found(Unknown, "clock", "", "no server answered with a time to compare")
	case len(agree) > 0:
		e.ok("clock", "this machine agrees with %s", strings.Join(agree, ", "))
	}
}
