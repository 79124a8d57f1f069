package issuer

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/trace"
)

// newTracer returns the tracer of the settings, and nil if they want no traces.
func newTracer(cfg *config.Config, o Options, spans *prometheus.CounterVec) (*trace.Tracer, error) {
	policy, err := cfg.FetchPolicy()
	if err != nil {
		return nil, err
	}
	return OpenTracer(cfg.Tracing, policy, trace.Config{
		Version: o.Build.Version, Node: cfg.Audit.Node, Parent: FromProxy(cfg.TrustedProxies), Spans: spans, Log: o.Log,
	})
}

// OpenTracer returns the tracer of settings, and nil if they want no traces. The policy is that of outgoing requests. Of the
// configuration, Parent says which requests come from trusted proxies; it counts only if the settings say so.
func OpenTracer(settings config.Tracing, policy fetch.Policy, cfg trace.Config) (*trace.Tracer, error) {
	if settings.Endpoint == "" {
		return nil, nil
	}
	client, err := fetch.NewClient(settings.FetchPolicy(policy))
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	cfg.Endpoint, cfg.Header, cfg.HTTP = settings.Endpoint, settings.Header(), client
	cfg.Sample, cfg.Service = float64(settings.Sample), settings.ServiceName
	if !settings.TrustProxies {
		cfg.Parent = nil
	}
	return trace.New(cfg)
}

// FromProxy returns a function that reports whether a request was sent by a host of these networks.
func FromProxy(networks []netip.Prefix) func(r *http.Request) bool {
	return func(r *http.Request) bool {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		return err == nil && slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap()) })
	}
}

// The names of databases in traces.
func databaseSystem(cfg *config.Config) string {
	if cfg.Postgres() {
		return "postgresql"
	}
	return "sqlite"
}

func replaySystem(cfg *config.Config) string {
	if cfg.Replay == "redis" {
		return "redis"
	}
	return databaseSystem(cfg)
}

// Times for the last spans. The first is for those that wait when the issuer begins to stop; it passes while requests end, and no one
// waits for it. The second is for those that end after that, and the issuer waits for it at most.
const (
	flushTime = 5 * time.Second
	closeTime = 300 * time.Millisecond
)

// FlushTraces sends the spans that wait. It returns when that is done, when it has failed, or when ctx ends.
func (i *Instance) FlushTraces(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	i.tracer.Flush(ctx)
}

// endTraces sends the last spans, if the collector takes them soon.
func (i *Instance) endTraces() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	i.tracer.Close(ctx)
}
