package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"github.com/imidentity/issuer/internal/issuer"
)

// A progress shows how far a copy has come: as a bar on a terminal, and as a line for each table and each phase elsewhere.
type progress struct {
	out  io.Writer
	bar  bool
	last time.Time // when the bar was drawn
	wide int       // how many characters the bar has
}

func newProgress(s *streams) *progress {
	f, ok := s.err.(*os.File)
	return &progress{out: s.err, bar: ok && isatty.IsTerminal(f.Fd()) && s.getenv("TERM") != "dumb"}
}

const (
	barWidth   = 30
	barRefresh = 100 * time.Millisecond
)

// step shows a step.
func (p *progress) step(step issuer.CopyStep) {
	ends := step.Phase == issuer.CopyCopied || step.Phase == issuer.CopyVerified
	if !p.bar {
		if ends {
			fmt.Fprintf(p.out, "%s %s: %s\n", step.Phase, step.Table, count(int(step.Rows), "row"))
		}
		return
	}
	if now := time.Now(); now.Sub(p.last) >= barRefresh {
		p.last = now
		p.draw(barOf(step))
	}
}

// barOf returns the bar of a step.
func barOf(step issuer.CopyStep) string {
	done, total := min(step.Done, step.Total), max(step.Total, 1)
	full := int(done * barWidth / total)
	return fmt.Sprintf("[%s%s] %3d %%  %s %s", strings.Repeat("#", full), strings.Repeat(" ", barWidth-full), done*100/total, step.Phase,
		step.Table)
}

// draw replaces the line of the terminal.
func (p *progress) draw(line string) {
	fmt.Fprintf(p.out, "\r%-*s", p.wide, line)
	p.wide = len(line)
}

// end clears the bar.
func (p *progress) end() {
	if p.bar && p.wide > 0 {
		p.draw("")
		fmt.Fprint(p.out, "\r")
	}
}
