package issuer

import (
	"context"
	"math"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/imidentity/issuer/internal/server"
	"github.com/imidentity/issuer/internal/trace"
	"github.com/imidentity/issuer/recheck"
	"github.com/imidentity/issuer/storage"
)

// metrics are the measurements that no request makes. docs/metrics.md describes each. Those of requests are in
// internal/server, on the same registry.
type metrics struct {
	registry    *prometheus.Registry
	offsets     prometheus.Histogram
	revocations *prometheus.CounterVec
	store       *prometheus.HistogramVec
	rechecks    *prometheus.CounterVec
	spans       *prometheus.CounterVec
}

// revocationKinds are the values of the label kind of issuer_revocations_total.
var revocationKinds = []storage.RevocationKind{
	storage.RevokeToken, storage.RevokeGrant, storage.RevokeDevice, storage.RevokeUser, storage.RevokeGen,
	storage.RevokeClient, storage.RevokeKey,
}

func newMetrics(build Build) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), spans: trace.NewSpans("issuer"),
		offsets: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "issuer_clock_offset_seconds", Help: "Clock offset of clients that sent proofs: positive when the client is ahead.",
			Buckets: []float64{-86400, -3600, -300, -60, -15, -5, -2, 0, 2, 5, 15, 60, 300, 3600, 86400},
		}),
		revocations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "issuer_revocations_total", Help: "Revocations written, by kind.",
		}, []string{"kind"}),
		store: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "issuer_store_seconds", Help: "Time taken by the database, by operation.", Buckets: server.Seconds,
		}, []string{"operation"}),
		rechecks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "issuer_rechecks_total", Help: "Questions whether a login still stands, by OpenID provider and result.",
		}, []string{"provider", "result"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "issuer_build_info", Help: "1, with the release, the revision and the Go version as labels.",
		ConstLabels: prometheus.Labels{"version": build.Version, "revision": build.Revision, "go": runtime.Version()},
	})
	info.Set(1)
	m.registry.MustRegister(info, m.offsets, m.revocations, m.store, m.rechecks, m.spans,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, kind := range revocationKinds {
		m.revocations.WithLabelValues(string(kind))
	}
	return m
}

// rechecked counts a question whether a login still stands.
func (m *metrics) rechecked(provider string, r recheck.Result) {
	m.rechecks.WithLabelValues(provider, string(r)).Inc()
}

// timer returns a function that observes how long an operation of the database took.
func (m *metrics) timer(operation string) func(time.Duration) {
	o := m.store.WithLabelValues(operation)
	return func(took time.Duration) { o.Observe(took.Seconds()) }
}

// offset observes how far the clock of a client was ahead when it made a proof.
func (m *metrics) offset(ahead time.Duration) { m.offsets.Observe(ahead.Seconds()) }

// revoked counts revocations.
func (m *metrics) revoked(rows ...storage.Revocation) {
	for _, r := range rows {
		m.revocations.WithLabelValues(string(r.Kind)).Inc()
	}
}

// gauges registers the metrics that are read when Prometheus asks: of the database's queue, the revocations and the
// spent proofs in memory.
func (i *Instance) gauges(updates storage.Queued) {
	gauge := func(name, help string, value func() float64) {
		i.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	if updates != nil {
		i.metrics.registry.MustRegister(batches{updates})
		gauge("issuer_store_waiting_updates", "Updates waiting for the database writer.",
			func() float64 { return float64(updates.Queue().Waiting) })
	}
	if i.pages != nil {
		gauge("issuer_store_damaged", "Whether a damaged page of the database was found.", func() float64 {
			if i.pages.Damaged() {
				return 1
			}
			return 0
		})
	}
	gauge("issuer_revocations_live", "Live revocations.",
		func() float64 { return float64(i.mirror.Len()) })
	gauge("issuer_revocations_age_seconds", "Time since the revocations were last read from the database.",
		func() float64 { return max(0, i.now().Sub(i.mirror.ReadAt()).Seconds()) })
	gauge("issuer_users", "Users, at the last count.", i.counted(func(c storage.Census) int { return c.Users }))
	gauge("issuer_devices", "Devices that were not removed, at the last count.",
		i.counted(func(c storage.Census) int { return c.Devices }))
	gauge("issuer_sessions", "Live sessions, at the last count.", i.counted(func(c storage.Census) int { return c.Sessions }))
	if i.memoryReplay != nil {
		gauge("issuer_replay_proofs", "Spent proofs in memory.",
			func() float64 { return float64(i.memoryReplay.Len()) })
		gauge("issuer_replay_capacity", "Spent proofs that fit in memory.",
			func() float64 { return float64(i.memoryReplay.Cap()) })
	}
}

// count counts what is stored, while the time is known.
func (i *Instance) count(ctx context.Context) error {
	if i.time() != nil {
		return nil
	}
	c, err := i.store.Census(ctx, i.now())
	if err == nil {
		i.census.Store(&c)
	}
	return err
}

// counted returns a function that returns a number of the last count, and NaN before the first one.
func (i *Instance) counted(number func(storage.Census) int) func() float64 {
	return func() float64 {
		if c := i.census.Load(); c != nil {
			return float64(number(*c))
		}
		return math.NaN()
	}
}

// batches is the histogram of how many updates shared a transaction.
type batches struct{ of storage.Queued }

var batchUpdates = prometheus.NewDesc("issuer_store_batch_updates", "Updates per database transaction.", nil, nil)

// Describe implements [prometheus.Collector].
func (batches) Describe(to chan<- *prometheus.Desc) { to <- batchUpdates }

// Collect implements [prometheus.Collector].
func (b batches) Collect(to chan<- prometheus.Metric) {
	q := b.of.Queue()
	var count uint64
	buckets := make(map[float64]uint64, len(q.Batches))
	for i, n := range q.Batches {
		count += n
		buckets[float64(int(1)<<i)] = count
	}
	to <- prometheus.MustNewConstHistogram(batchUpdates, count, float64(q.Updates), buckets)
}
