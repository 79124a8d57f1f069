package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/imidentity/issuer/storage"
)

// watch tells Prometheus, whenever it asks, how full and how late things are that nothing is counted for.
func (i *Instance) watch(updates storage.Queued) {
	gauge := func(name, help string, value func() float64) {
		i.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	i.metrics.registry.MustRegister(batches{updates})
	gauge("issuer_store_waiting_updates", "Updates waiting for the database writer.",
		func() float64 { return float64(updates.Queue().Waiting) })
	gauge("issuer_revocations_live", "Live revocations.",
		func() float64 { return float64(i.mirror.Len()) })
	gauge("issuer_revocations_age_seconds", "Time since the revocations were last read from the database.",
		func() float64 { return max(0, i.now().Sub(i.mirror.ReadAt()).Seconds()) })
	if i.remembered != nil {
		gauge("issuer_replay_proofs", "Spent proofs in memory.",
			func() float64 { return float64(i.remembered.Len()) })
		gauge("issuer_replay_capacity", "Spent proofs that fit in memory.",
			func() float64 { return float64(i.remembered.Cap()) })
	}
}

// revoked tells of revocations as soon as they are durable.
func (i *Instance) revoked(rows ...storage.Revocation) {
	i.mirror.Apply(rows...)
	i.metrics.wrote(rows...)
}

// timer returns what observes how long one kind of operation of the database takes.
func (m *metrics) timer(operation string) func(time.Duration) {
	o := m.store.WithLabelValues(operation)
	return func(took time.Duration) { o.Observe(took.Seconds()) }
}

// batches tells Prometheus how many updates shared a transaction.
type batches struct{ of storage.Queued }

var batchUpdates = prometheus.NewDesc("issuer_store_batch_updates", "Updates per database transaction.", nil, nil)

// Describe sends the one description.
func (batches) Describe(to chan<- *prometheus.Desc) { to <- batchUpdates }

// Collect sends the histogram.
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
