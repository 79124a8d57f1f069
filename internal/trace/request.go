package trace

import (
	"context"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// NoRoute is the route of requests that have none.
const NoRoute = "none"

// Request begins the span of a request that is served at a route, which is a line of a table and not the path. An empty route is
// [NoRoute]. The span is nil if the request is not sampled; otherwise it must be ended by [Span.Answered], and what the request
// causes must have the returned context.
//
// The trace in the header traceparent (W3C Trace Context) is continued, and sampled if that says so, only for senders that
// Config.Parent trusts. The span of others begins a trace of its own, sampled by chance, and links to theirs. The headers tracestate and
// baggage are ignored, since they hold texts that others chose.
func (t *Tracer) Request(r *http.Request, route string) (context.Context, *Span) {
	ctx := r.Context()
	if t == nil {
		return ctx, nil
	}
	if route == "" {
		route = NoRoute
	}
	verb := method(r.Method)
	opts := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String(string(Method), verb), attribute.String(string(Route), route)),
	}
	in := context.Background()
	if caller, ok := traceparent(r); ok {
		if t.parent(r) {
			in = trace.ContextWithRemoteSpanContext(in, caller)
		} else {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: caller}))
		}
	}
	return t.begin(ctx, in, verb+" "+route, opts...)
}

// traceparent reads the header traceparent. A request that has two has none (Trace Context §3.2.2).
func traceparent(r *http.Request) (trace.SpanContext, bool) {
	values := r.Header["Traceparent"]
	if len(values) != 1 {
		return trace.SpanContext{}, false
	}
	header := propagation.HeaderCarrier{"Traceparent": values}
	sent := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), header))
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: sent.TraceID(), SpanID: sent.SpanID(), TraceFlags: sent.TraceFlags() & trace.FlagsSampled, Remote: true,
	}), sent.IsValid()
}

// About names the span after the request that was asked about, which need not be the one that was served.
func (s *Span) About(verb, route string) {
	if s == nil {
		return
	}
	verb = method(verb)
	s.span.SetName(verb + " " + route)
	s.span.SetAttributes(attribute.String(string(Method), verb), attribute.String(string(Route), route))
}

// Decide begins the span of the decision about a request of a gateway. It ends when the returned function is called.
func (t *Tracer) Decide(ctx context.Context) (context.Context, func()) {
	parent := From(ctx)
	if parent == nil {
		return ctx, func() {}
	}
	ctx, s := t.child(ctx, parent, "decide", trace.SpanKindInternal)
	return ctx, func() { s.over(nil) }
}

// Answered ends the span of a request that was answered with a status. An answer of 500 or more is an error, as OpenTelemetry has it for
// servers: others are refusals, which are the server's work.
func (s *Span) Answered(status int) {
	if s == nil {
		return
	}
	s.span.SetAttributes(attribute.Int(string(Status), status))
	if status >= http.StatusInternalServerError {
		s.fail(strconv.Itoa(status))
	}
	s.span.End()
}
