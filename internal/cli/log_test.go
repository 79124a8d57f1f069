package cli

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/config"
)

// A page holds what was written, in its writes.
type page struct {
	mu     sync.Mutex
	writes [][]byte
	wrote  chan struct{}
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes = append(p.writes, bytes.Clone(b))
	if p.wrote != nil {
		p.wrote <- struct{}{}
	}
	return len(b), nil
}

func (p *page) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(bytes.Join(p.writes, nil))
}

// TestLogUrgent checks that warnings, errors and audit events are written when the call returns, after the lines before them.
func TestLogUrgent(t *testing.T) {
	for name, urgent := range map[string]func(*slog.Logger){
		"warning": func(l *slog.Logger) { l.Warn("urgent") },
		"error":   func(l *slog.Logger) { l.With(slog.Int("n", 1)).WithGroup("g").Error("urgent") },
		"audit": func(l *slog.Logger) {
			audit.New(l).Record(t.Context(), audit.Event{Kind: audit.BackupRestored, Actor: audit.ActorAdmin})
		},
	} {
		for _, format := range []string{"text", "json"} {
			t.Run(name+"/"+format, func(t *testing.T) {
				var out page
				log, flush := newLog(&streams{err: &out}, config.Log{Format: format})
				log.Info("first")
				urgent(log)
				lines := strings.Split(strings.TrimSuffix(out.text(), "\n"), "\n")
				if len(lines) != 2 || !strings.Contains(lines[0], "first") {
					t.Errorf("the log is %q, want the line before and the urgent one", lines)
				}
				before := out.text()
				if flush(); out.text() != before {
					t.Errorf("flush wrote lines again: %q", out.text())
				}
			})
		}
	}
}

// TestLogWaits checks that lines that wait are written without another line.
func TestLogWaits(t *testing.T) {
	out := page{wrote: make(chan struct{}, 1)}
	log, _ := newLog(&streams{err: &out}, config.Log{})
	log.Info("alone")
	<-out.wrote
	if got := out.text(); !strings.Contains(got, "msg=alone\n") {
		t.Errorf("the log is %q", got)
	}
}

// TestLogParallel checks that each line of many callers is written once and whole, in batches, and nothing after the flush.
func TestLogParallel(t *testing.T) {
	const callers, each = 16, 500
	var out page
	log, flush := newLog(&streams{err: &out}, config.Log{})
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for n := range each {
				log.Info("line", slog.String("id", fmt.Sprintf("%d-%d.", c, n)))
			}
		})
	}
	all.Wait()
	flush()
	seen := make(map[string]int)
	for line := range strings.Lines(out.text()) {
		_, id, ok := strings.Cut(line, "msg=line id=")
		if !ok || !strings.HasSuffix(id, ".\n") {
			t.Fatalf("a broken line: %q", line)
		}
		seen[id]++
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("line %q is there %d times", id, n)
		}
	}
	if len(seen) != callers*each {
		t.Errorf("%d lines, want %d", len(seen), callers*each)
	}
	if n := len(out.writes); n >= callers*each/2 {
		t.Errorf("%d writes for %d lines", n, callers*each)
	}
}

func BenchmarkLog(b *testing.B) {
	log, flush := newLog(&streams{err: io.Discard}, config.Log{})
	defer flush()
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "request", slog.String("id", "id"), slog.Int("status", 200))
	}
}
