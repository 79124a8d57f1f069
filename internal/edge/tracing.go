package edge

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"time"

	"github.com/imidentity/issuer/gateway/forwardauth"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/internal/trace"
)

// openTracer makes the tracer of the settings, if they want traces.
func (i *Instance) openTracer(cfg *config.Gateway, build issuer.Build) error {
	policy, err := cfg.FetchPolicy()
	if err != nil {
		return err
	}
	i.tracer, err = issuer.OpenTracer(cfg.Tracing, policy, trace.Config{
		Version: build.Version, Spans: i.metrics.spans, Log: i.log,
		Parent: func(r *http.Request) bool { return issuer.FromProxy(i.state.Load().cfg.TrustedProxies)(r) },
	})
	i.log = i.tracer.Log(i.log)
	return err
}

// FlushTraces sends the spans that wait. It returns when that is done, when it has failed, or when ctx ends.
func (i *Instance) FlushTraces(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	i.tracer.Flush(ctx)
}

// Times for the last spans, as those of the issuer: for those that wait when the gateway begins to stop, and for those that end later.
const (
	flushTime = 5 * time.Second
	closeTime = 300 * time.Millisecond
)

func (i *Instance) endTraces() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	i.tracer.Close(ctx)
}

// traced begins the span of a request, and returns the request and the writer to serve it with. end is nil if it is not traced.
func (i *Instance) traced(w http.ResponseWriter, r *http.Request, id string) (http.ResponseWriter, *http.Request, func()) {
	ctx, span := i.tracer.Request(r, "")
	if span == nil {
		return w, r, nil
	}
	span.Set(trace.RequestID, id)
	watched := &answered{ResponseWriter: w, status: http.StatusOK}
	return watched, r.WithContext(ctx), func() { span.Answered(watched.status) }
}

// decide asks the handler about a request, and reports the answer.
func (i *Instance) decide(s *state, c *call, r *http.Request) *forwardauth.Answer {
	ctx, decided := i.tracer.Decide(r.Context())
	if ctx != r.Context() {
		r = r.WithContext(ctx)
	}
	a := s.handler.Ask(r)
	decided()
	describe(c.span, a)
	i.report(r.Context(), s, c, a)
	return a
}

// describe sets what was decided. All values are of closed lists, or of the settings.
func describe(span *trace.Span, a *forwardauth.Answer) {
	if span == nil {
		return
	}
	if a.Route != nil {
		span.About(a.Target.Method, a.Route.Path)
	}
	span.Set(trace.Outcome, a.Decision.Outcome.String())
	span.Set(trace.Reason, string(a.Decision.Reason))
}

// An answered writer knows the status of the answer.
type answered struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements [http.ResponseWriter].
func (w *answered) WriteHeader(status int) {
	if status >= http.StatusOK { // others are followed by the answer
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Hijack implements [http.Hijacker], for connections that are upgraded.
func (w *answered) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.status = http.StatusSwitchingProtocols
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap returns the writer behind it, for [http.ResponseController].
func (w *answered) Unwrap() http.ResponseWriter { return w.ResponseWriter }
