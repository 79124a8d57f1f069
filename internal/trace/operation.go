package trace

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/storage"
)

// Store returns a store that works on s, a database of a system such as sqlite, and has a span for each operation that a traced request
// causes: also for those within an update or a view, and for each run of the function of an update. Polls belong to no request, and have
// none.
func (t *Tracer) Store(s storage.Store, system string) storage.Store {
	if t == nil {
		return s
	}
	return storage.Intercepted{Store: s, Trace: func(ctx context.Context, op string) (context.Context, func(error)) {
		parent := From(ctx)
		if parent == nil {
			return ctx, nil
		}
		kind := trace.SpanKindClient
		if op == "Run" {
			kind = trace.SpanKindInternal
			parent.runs.Add(1)
		}
		ctx, s := t.child(ctx, parent, "storage "+op, kind,
			attribute.String(string(Database), system), attribute.String(string(Operation), op))
		return ctx, func(err error) {
			if s != nil && op == "Update" {
				s.span.SetAttributes(attribute.Int64(string(StorageRuns), s.runs.Load()))
			}
			s.over(err, storage.ErrNotFound, storage.ErrConflict)
		}
	}}
}

// Replay returns a store of spent proofs that works on r, and has a span for each proof that a traced request spends.
func (t *Tracer) Replay(r dpop.Replay, system string) dpop.Replay {
	if t == nil {
		return r
	}
	return &replay{r, t, system}
}

type replay struct {
	dpop.Replay
	tracer *Tracer
	system string
}

// slowEpoch is how long an epoch takes at least to have a span. Stores keep it in memory for a while.
const slowEpoch = time.Millisecond

// Epoch returns the epoch of the store.
func (r *replay) Epoch(ctx context.Context) (dpop.Epoch, error) {
	parent := From(ctx)
	if parent == nil {
		return r.Replay.Epoch(ctx)
	}
	begun := time.Now()
	e, err := r.Replay.Epoch(ctx)
	if err != nil || time.Since(begun) >= slowEpoch {
		_, s := r.child(ctx, parent, "Epoch", trace.WithTimestamp(begun))
		s.over(err)
	}
	return e, err
}

// Spend spends a proof.
func (r *replay) Spend(ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, source netip.Addr) error {
	parent := From(ctx)
	if parent == nil {
		return r.Replay.Spend(ctx, e, key, until, source)
	}
	ctx, s := r.child(ctx, parent, "Spend")
	err := r.Replay.Spend(ctx, e, key, until, source)
	s.over(err, dpop.ErrReplayed, dpop.ErrStaleEpoch, dpop.ErrReplayFull)
	return err
}

func (r *replay) child(ctx context.Context, parent *Span, op string, opts ...trace.SpanStartOption) (context.Context, *Span) {
	in := trace.ContextWithSpan(context.Background(), parent.span)
	return r.tracer.begin(ctx, in, "replay "+op, append(opts, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String(string(Database), r.system), attribute.String(string(Operation), op)))...)
}

// over ends the span of an operation. Some errors are answers.
func (s *Span) over(err error, answers ...error) {
	if s == nil {
		return
	}
	for _, answer := range answers {
		if errors.Is(err, answer) {
			err = nil
		}
	}
	switch {
	case err == nil:
	case errors.Is(err, context.Canceled): // the caller has gone
		s.Set(ErrorType, "canceled")
	case errors.Is(err, context.DeadlineExceeded):
		s.fail("timeout")
	default:
		s.fail("unavailable")
	}
	s.span.End()
}

// Fetch returns the observer for clients of package fetch. It has a span for each outgoing request; those that no request causes, such as
// the poll of a feed, begin traces of their own. Nothing is added to the requests: those who receive them learn nothing of the trace.
func (t *Tracer) Fetch() fetch.Observer {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, x fetch.Exchange) func(int, error) {
		verb, purpose := method(x.Method), string(x.Purpose)
		name := "fetch " + purpose
		if purpose == "" {
			name = "fetch " + verb
		}
		_, s := t.child(ctx, From(ctx), name, trace.SpanKindClient, attribute.String(string(Method), verb))
		if s == nil {
			return nil
		}
		s.Set(Purpose, purpose)
		s.Set(ServerAddress, x.Host)
		return s.fetched
	}
}

// fetched ends the span of an outgoing request. For a client, an answer of 400 or more is an error.
func (s *Span) fetched(status int, err error) {
	if status != 0 {
		s.span.SetAttributes(attribute.Int(string(Status), status))
	}
	switch {
	case errors.Is(err, context.Canceled):
		s.Set(ErrorType, fetch.Fault(err))
	case err != nil:
		s.fail(fetch.Fault(err))
	case status >= http.StatusBadRequest:
		s.fail(strconv.Itoa(status))
	}
	s.span.End()
}
