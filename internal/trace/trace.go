// Package trace records what requests spend their time on, as OpenTelemetry traces: a tree of spans for each request that is sampled,
// sent to a collector by OTLP over HTTP.
//
// [New] makes a [Tracer]. A nil Tracer traces nothing, and so does a nil [Span]: their methods may be called all the same. Spans are
// passed on in contexts, under a key of this package, so that libraries that trace by themselves find none and add nothing.
//
// Names and attributes of spans are a closed list: see attributes.go. None holds a text that a caller chose, nor the text of an error.
// The package ignores the environment variables of OpenTelemetry, except for OTEL_RESOURCE_ATTRIBUTES, which its SDK reads.
//
// Nothing here waits for the collector but [Tracer.Flush] and [Tracer.Close]. Spans that it does not take are dropped and counted.
package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Bounds of what waits for the collector. A span takes about 1 kB.
const (
	maxWaiting = 4096 // spans
	maxBatch   = 512  // spans of one request to the collector
	batchEvery = 2 * time.Second
	exportTime = 20 * time.Second // for a batch, with its retries
)

// scope is the name of the instrumentation.
const scope = "github.com/imidentity/issuer"

// Config configures [New].
type Config struct {
	// Endpoint is the URL to which batches of spans are sent by POST, such as https://collector.example.org:4318/v1/traces. Required.
	Endpoint string
	// Header is sent with each batch, for example with credentials.
	Header http.Header
	// HTTP sends the batches. Required.
	HTTP *http.Client
	// Sample is the share of the requests that are traced, from 0 to 1.
	Sample float64
	// Service, Version and Node name the process that traces, as service.name, service.version and service.instance.id.
	Service, Version, Node string
	// Parent reports whether the sender of a request may choose its trace: whether the trace of its header traceparent is continued,
	// and sampled if that says so. Nil trusts no one.
	Parent func(r *http.Request) bool
	// Spans counts spans by what became of them: see [NewSpans]. Required.
	Spans *prometheus.CounterVec
	// Retry is how long to wait before a batch is sent again that the collector did not take for now; then twice as long, and so on.
	// Zero means one second.
	Retry time.Duration
	// Log is told when the collector begins to fail, and when it works again. Nil discards it.
	Log *slog.Logger
}

// A Tracer makes spans. It is safe for concurrent use.
type Tracer struct {
	parent   func(*http.Request) bool
	tracer   trace.Tracer
	provider *sdk.TracerProvider
	sender   *sender
}

// New returns a tracer. It sends nothing before there is a span, and does not ask whether there is a collector.
func New(cfg Config) (*Tracer, error) {
	if cfg.Endpoint == "" || cfg.HTTP == nil || cfg.Spans == nil {
		return nil, errors.New("trace: Config.Endpoint, Config.HTTP and Config.Spans are required")
	}
	if !(cfg.Sample >= 0 && cfg.Sample <= 1) {
		return nil, errors.New("trace: Config.Sample is not between 0 and 1")
	}
	if cfg.Parent == nil {
		cfg.Parent = func(*http.Request) bool { return false }
	}
	if cfg.Retry == 0 {
		cfg.Retry = time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	send := newSender(cfg)
	exporter, err := otlptrace.New(context.Background(), send)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	send.next = exporter
	// Every option is set, so that no variable of the environment takes effect.
	provider := sdk.NewTracerProvider(
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(cfg.Sample))),
		sdk.WithRawSpanLimits(sdk.SpanLimits{
			AttributeValueLengthLimit: 256, AttributeCountLimit: 16, LinkCountLimit: 1,
			AttributePerEventCountLimit: 0, AttributePerLinkCountLimit: 0, EventCountLimit: 0,
		}),
		sdk.WithResource(resource.NewSchemaless(process(cfg)...)),
		sdk.WithSpanProcessor(&bounded{sdk.NewBatchSpanProcessor(send,
			sdk.WithMaxQueueSize(maxWaiting), sdk.WithMaxExportBatchSize(maxBatch),
			sdk.WithBatchTimeout(batchEvery), sdk.WithExportTimeout(exportTime)), send}),
	)
	return &Tracer{parent: cfg.Parent, tracer: provider.Tracer(scope), provider: provider, sender: send}, nil
}

// process returns the attributes of the process that traces.
func process(cfg Config) (list []attribute.KeyValue) {
	for _, a := range [][2]string{
		{"service.name", cfg.Service}, {"service.version", cfg.Version}, {"service.instance.id", cfg.Node},
	} {
		if a[1] != "" {
			list = append(list, attribute.String(a[0], a[1]))
		}
	}
	return list
}

// Flush sends the spans that wait. It returns when that is done, when it has failed, or when ctx ends.
func (t *Tracer) Flush(ctx context.Context) {
	if t != nil {
		_ = t.provider.ForceFlush(ctx) // the sender counts and logs what was dropped
	}
}

// Close sends the spans that wait until ctx ends, and drops the others. Spans that end later are dropped, too.
func (t *Tracer) Close(ctx context.Context) {
	if t == nil {
		return
	}
	_ = t.provider.Shutdown(ctx) // the sender counts and logs what was dropped
	t.sender.stop()
}
