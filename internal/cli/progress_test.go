package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/issuer"
)

// TestProgress: on a terminal, each step replaces the line of the one before, and the end clears it; elsewhere, each table is one line.
func TestProgress(t *testing.T) {
	steps := []issuer.CopyStep{
		{Phase: "copying", Table: "revocations", Done: 0, Total: 400},
		{Phase: "copied", Table: "revocations", Rows: 1, Done: 100, Total: 400},
		{Phase: "verified", Table: "ids", Rows: 200, Done: 400, Total: 400},
		{Phase: "verifying", Table: "users", Done: 500, Total: 0}, // rows that were not there when they were counted
	}
	var bar, plain bytes.Buffer
	b, p := &progress{out: &bar, bar: true}, &progress{out: &plain}
	for _, step := range steps {
		b.last = time.Time{} // each is drawn
		b.step(step)
		p.step(step)
	}
	b.end()
	p.end()
	if got, want := plain.String(), "copied revocations: 1 row\nverified ids: 200 rows\n"; got != want {
		t.Errorf("elsewhere: %q, want %q", got, want)
	}
	lines := strings.Split(bar.String(), "\r")
	want := []string{
		"", "[" + strings.Repeat(" ", 30) + "]   0 %  copying revocations",
		"[" + strings.Repeat("#", 7) + strings.Repeat(" ", 23) + "]  25 %  copied revocations",
		"[" + strings.Repeat("#", 30) + "] 100 %  verified ids", "[" + strings.Repeat(" ", 30) + "]   0 %  verifying users", "", "",
	}
	if len(lines) != len(want) {
		t.Fatalf("a terminal gets %q", lines)
	}
	shown := 0
	for i, line := range lines {
		if strings.TrimRight(line, " ") != strings.TrimRight(want[i], " ") || i < len(lines)-1 && len(line) < shown {
			t.Errorf("line %d = %q, want %q over the %d characters before", i, line, want[i], shown)
		}
		shown = len(strings.TrimRight(line, " "))
	}
}
