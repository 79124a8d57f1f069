package trace

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// A Span is an operation that is traced. Nil is one that is not. Its methods may be called from several goroutines.
type Span struct {
	span trace.Span
	runs atomic.Int64 // of the function of an update
}

type spanKey struct{}

// From returns the span of a context, and nil if that is not traced.
func From(ctx context.Context) *Span {
	s, _ := ctx.Value(spanKey{}).(*Span)
	return s
}

// ID returns the id of the trace in hexadecimal, and "" without a trace.
func (s *Span) ID() string {
	if s == nil {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// Set sets an attribute. An empty value sets nothing.
func (s *Span) Set(a Attribute, value string) {
	if s != nil && value != "" {
		s.span.SetAttributes(attribute.String(string(a), value))
	}
}

// fail marks the operation as failed, for a reason of a closed list.
func (s *Span) fail(reason string) {
	s.Set(ErrorType, reason)
	s.span.SetStatus(codes.Error, "")
}

// child begins a span below parent, or the first of a trace if that is nil. It is nil if the trace is not sampled.
func (t *Tracer) child(ctx context.Context, parent *Span, name string, kind trace.SpanKind, attrs ...attribute.KeyValue) (
	context.Context, *Span) {
	in := context.Background()
	if parent != nil {
		in = trace.ContextWithSpan(in, parent.span)
	}
	return t.begin(ctx, in, name, trace.WithSpanKind(kind), trace.WithAttributes(attrs...))
}

// begin begins a span whose parent is that of in, which is a context of OpenTelemetry.
func (t *Tracer) begin(ctx, in context.Context, name string, opts ...trace.SpanStartOption) (context.Context, *Span) {
	_, span := t.tracer.Start(in, name, opts...)
	if !span.IsRecording() {
		return ctx, nil
	}
	s := &Span{span: span}
	return context.WithValue(ctx, spanKey{}, s), s
}
