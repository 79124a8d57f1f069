package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A placement tells on which cores the measured processes and the load run; -1 means any.
type placement struct{ measured, load int }

// note describes the placement for the reader of the report.
func (p placement) note() string {
	switch {
	case !hasCPUTime:
		return "elapsed time instead of CPU time, and no pinning: both need Linux"
	case p.measured < 0:
		return "not pinned: the server and the load share one core, or pinning is not allowed"
	default:
		return fmt.Sprintf("server pinned to core %d, load to core %d", p.measured, p.load)
	}
}

// parseSchedstat reads the CPU time in a line of /proc/PID/task/TID/schedstat: the first number, in nanoseconds.
func parseSchedstat(line string) (time.Duration, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return 0, fmt.Errorf("schedstat has %d fields, want 3", len(fields))
	}
	n, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("schedstat: %q is no time", fields[0])
	}
	return time.Duration(n), nil
}
