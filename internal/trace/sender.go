package trace

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/imidentity/issuer/internal/fetch"
)

// The values of the label result of the counter of spans.
const (
	sent      = "sent"
	queueFull = "queue_full" // dropped: too many waited
	notTaken  = "failed"     // dropped: the collector did not take them
)

// NewSpans returns the counter of spans of a program whose metrics begin with a prefix. It begins at 0.
func NewSpans(prefix string) *prometheus.CounterVec {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: prefix + "_trace_spans_total",
		Help: "Spans of traces: sent to the collector, or dropped because too many waited (queue_full) or the collector did not " +
			"take them (failed).",
	}, []string{"result"})
	for _, result := range []string{sent, queueFull, notTaken} {
		spans.WithLabelValues(result)
	}
	return spans
}

// bounded drops spans while too many wait for the collector, and counts them. The processor behind it would drop them, too, without
// counting them. It never waits.
type bounded struct {
	sdk.SpanProcessor
	sender *sender
}

// OnEnd implements [sdk.SpanProcessor].
func (b *bounded) OnEnd(s sdk.ReadOnlySpan) {
	if b.sender.waiting.Add(1) > maxWaiting {
		b.sender.waiting.Add(-1)
		b.sender.overflow()
		return
	}
	b.SpanProcessor.OnEnd(s)
}

// A sender sends batches of spans to the collector. It implements [sdk.SpanExporter], around the exporter of OpenTelemetry that makes
// OTLP of spans, and the client for that, [go.opentelemetry.io/otel/exporters/otlp/otlptrace.Client].
type sender struct {
	cfg     Config
	next    sdk.SpanExporter
	waiting atomic.Int64 // spans that ended and were not sent or dropped

	stopping context.Context
	stop     context.CancelFunc

	failing atomic.Bool  // the last batch was not taken
	full    atomic.Bool  // spans were dropped because too many waited, since the last batch that was taken
	dropped atomic.Int64 // since the collector works, or since it failed
}

func newSender(cfg Config) *sender {
	s := &sender{cfg: cfg}
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s
}

// overflow counts a span that is dropped because too many wait.
func (s *sender) overflow() {
	s.cfg.Spans.WithLabelValues(queueFull).Inc()
	s.dropped.Add(1)
	if s.full.CompareAndSwap(false, true) && !s.failing.Load() {
		s.cfg.Log.Warn("spans of traces are dropped: there are more than the collector takes", slog.Int("waiting", maxWaiting))
	}
}

// ExportSpans implements [sdk.SpanExporter]. It reports failures itself, and returns none.
func (s *sender) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(s.stopping, cancel)()
	defer cancel()
	err := s.next.ExportSpans(ctx, spans)
	s.waiting.Add(-int64(len(spans)))
	s.exported(int64(len(spans)), err)
	return nil
}

// Shutdown implements [sdk.SpanExporter].
func (s *sender) Shutdown(context.Context) error { return nil }

// exported counts a batch of n spans. Of the failures in a row it logs the first.
func (s *sender) exported(n int64, err error) {
	var partly *rejectedError
	lost := int64(0)
	switch {
	case errors.As(err, &partly):
		lost = min(max(partly.spans, 0), n)
	case err != nil:
		lost = n
	}
	s.cfg.Spans.WithLabelValues(sent).Add(float64(n - lost))
	s.cfg.Spans.WithLabelValues(notTaken).Add(float64(lost))
	s.dropped.Add(lost)
	if err != nil {
		if !s.failing.Swap(true) && s.stopping.Err() == nil {
			s.cfg.Log.Warn("the collector of traces does not take spans: they are dropped", slog.Any("error", err))
		}
		return
	}
	// While spans come faster than they are sent, this is one state and not one for each batch.
	caughtUp := s.waiting.Load() < maxWaiting/2 && s.full.Swap(false)
	if failed := s.failing.Swap(false); failed || caughtUp {
		s.cfg.Log.Info("the collector of traces takes spans again", slog.Int64("dropped", s.dropped.Swap(0)))
	}
}

// Start implements [otlptrace.Client].
func (s *sender) Start(context.Context) error { return nil }

// Stop implements [otlptrace.Client].
func (s *sender) Stop(context.Context) error { return nil }

// UploadTraces implements [otlptrace.Client]. It sends a batch, and sends it again while the collector says that it may take it later
// (OTLP 1.x, "Failures"), until ctx ends.
func (s *sender) UploadTraces(ctx context.Context, batch []*tracepb.ResourceSpans) error {
	// The same bytes as those of an ExportTraceServiceRequest, whose package would bring gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: batch})
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	_, _ = zip.Write(body) // a buffer takes everything
	_ = zip.Close()
	for pause := s.cfg.Retry; ; pause *= 2 {
		after, err := s.post(ctx, packed.Bytes())
		if err == nil || after < 0 {
			return err
		}
		select {
		case <-time.After(max(pause, after)):
		case <-ctx.Done():
			return err
		}
	}
}

// maxAnswer is how many bytes of an answer are read. A collector says how many spans it rejected, and why.
const maxAnswer = 16 << 10

// post sends a batch once. If it may be sent again, after is how long to wait for that at least, and negative otherwise.
func (s *sender) post(ctx context.Context, body []byte) (after time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.cfg.Endpoint, bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	for name, values := range s.cfg.Header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "gzip")
	r.Header.Set("User-Agent", s.cfg.Service)
	resp, err := s.cfg.HTTP.Do(r)
	if refused := (*fetch.RefusedError)(nil); errors.As(err, &refused) {
		return -1, err // it would be refused again
	}
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return time.Duration(min(max(seconds, 0), int(exportTime/time.Second))) * time.Second, statusError(resp.StatusCode)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return -1, statusError(resp.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return -1, nil // it has the spans
	}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == "application/x-protobuf" {
		if n := rejected(answer); n > 0 {
			return -1, &rejectedError{n}
		}
	}
	return -1, nil
}

type statusError int

func (e statusError) Error() string { return fmt.Sprintf("the collector answered %d", int(e)) }

// A rejectedError tells that the collector did not take some spans of a batch.
type rejectedError struct{ spans int64 }

func (e *rejectedError) Error() string {
	return fmt.Sprintf("the collector rejected %d spans", e.spans)
}

// rejected returns how many spans an ExportTraceServiceResponse says were rejected: partial_success (1), rejected_spans (1). An answer
// that is not one rejects none.
func rejected(answer []byte) int64 {
	partial, ok := field(answer, 1, protowire.BytesType)
	if !ok {
		return 0
	}
	message, _ := protowire.ConsumeBytes(partial)
	value, ok := field(message, 1, protowire.VarintType)
	if !ok {
		return 0
	}
	n, _ := protowire.ConsumeVarint(value)
	return int64(n)
}

// field returns the rest of a message that begins with the value of a field.
func field(message []byte, number protowire.Number, kind protowire.Type) (value []byte, ok bool) {
	for len(message) > 0 {
		n, t, size := protowire.ConsumeTag(message)
		if size < 0 {
			return nil, false
		}
		length := protowire.ConsumeFieldValue(n, t, message[size:])
		if length < 0 {
			return nil, false
		}
		if n == number && t == kind {
			return message[size:], true
		}
		message = message[size+length:]
	}
	return nil, false
}
