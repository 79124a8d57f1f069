package cli

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/config"
)

// Lines of the log that may wait are written together: after logDelay, or when there are logBatch bytes of them. A busy issuer
// then spends one system call on many requests. If the process is killed, at most the lines of this time are lost.
const (
	logDelay = 10 * time.Millisecond
	logBatch = 32 << 10
)

// newLog returns a log that writes to the error stream, and a function that writes the lines that wait. It must be called at the
// end.
func newLog(s *streams, l config.Log) (log *slog.Logger, flush func()) {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // checked when it was read; info if empty
	options := &slog.HandlerOptions{Level: level}
	w := &batchWriter{out: s.err}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if l.Format == "json" {
		h = slog.NewJSONHandler(w, options)
	}
	return slog.New(batchHandler{h, w}), w.flush
}

// A batchHandler lets lines up to level info wait, except audit events. A warning, an error or an audit event is written at
// once, after the lines before it.
type batchHandler struct {
	slog.Handler
	w *batchWriter
}

// Handle writes a line.
func (h batchHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	urgent := r.Level > slog.LevelInfo
	r.Attrs(func(a slog.Attr) bool {
		urgent = urgent || a.Key == "audit" // the first attribute of an event
		return false
	})
	if urgent {
		h.w.flush()
	}
	return err
}

// WithAttrs returns the handler with attributes for each line.
func (h batchHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return batchHandler{h.Handler.WithAttrs(attrs), h.w}
}

// WithGroup returns the handler with a group for the attributes of each line.
func (h batchHandler) WithGroup(name string) slog.Handler {
	return batchHandler{h.Handler.WithGroup(name), h.w}
}

// A batchWriter collects lines.
type batchWriter struct {
	mu      sync.Mutex
	out     io.Writer
	waiting []byte
}

// Write adds a line. It does not fail: a log that cannot be written must not end a request.
func (w *batchWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		time.AfterFunc(logDelay, w.flush)
	}
	w.waiting = append(w.waiting, line...)
	if len(w.waiting) >= logBatch {
		w.write()
	}
	return len(line), nil
}

// flush writes the lines that wait.
func (w *batchWriter) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write()
}

// write is flush for a caller that holds the lock, which keeps lines in order.
func (w *batchWriter) write() {
	if len(w.waiting) > 0 {
		_, _ = w.out.Write(w.waiting)
		w.waiting = w.waiting[:0]
	}
}
