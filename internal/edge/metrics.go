package edge

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
	"github.com/imidentity/issuer/internal/trace"
)

// metrics are the measurements of a gateway; docs/gateway.md describes each. No label has a value that a client chose: reasons are a
// closed list, and peers are those of the settings.
type metrics struct {
	registry  *prometheus.Registry
	decisions *prometheus.CounterVec
	shadowed  *prometheus.CounterVec
	tokens    *prometheus.CounterVec
	took      *prometheus.HistogramVec
	spans     *prometheus.CounterVec
}

// noPeer stands for decisions about tokens whose issuer is not known: there is none, or it is not trusted.
const noPeer = "none"

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), spans: trace.NewSpans("gateway"),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_decisions_total", Help: "Decisions, by outcome, reason and issuer of the token.",
		}, []string{"outcome", "reason", "peer"}),
		shadowed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_shadowed_total", Help: "Requests that passed only because their route watches, by reason.",
		}, []string{"reason"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gateway_tokens_total", Help: "Tokens of trusted issuers, by whether they had been verified before (cache: hit, miss).",
		}, []string{"cache"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gateway_decision_seconds", Help: "Time to decide, by outcome.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"outcome"}),
	}
	m.registry.MustRegister(m.decisions, m.shadowed, m.tokens, m.took, m.spans,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, r := range gateway.Reasons() {
		m.decisions.WithLabelValues(r.Outcome().String(), string(r), noPeer)
	}
	for _, r := range forwardauth.Reasons {
		if r != forwardauth.ReasonNoIdentity { // it is about a known issuer
			m.decisions.WithLabelValues(gateway.Forbidden.String(), string(r), noPeer)
		}
	}
	m.tokens.WithLabelValues("hit")
	m.tokens.WithLabelValues("miss")
	return m
}

// decided counts a decision. Issuer is the label for that of the token.
func (m *metrics) decided(a *forwardauth.Answer, issuer string, took time.Duration) {
	d := &a.Decision
	peer := noPeer
	if d.Issuer != "" { // it is trusted
		peer = issuer
		cache := "miss"
		if d.Seen {
			cache = "hit"
		}
		m.tokens.WithLabelValues(cache).Inc()
	}
	m.decisions.WithLabelValues(d.Outcome.String(), string(d.Reason), peer).Inc()
	if d.Shadowed {
		m.shadowed.WithLabelValues(string(d.Reason)).Inc()
	}
	m.took.WithLabelValues(d.Outcome.String()).Observe(took.Seconds())
}

// gauges registers the metrics that are read when Prometheus asks.
func (m *metrics) gauges(i *Instance) {
	m.registry.MustRegister(peerStates{i})
	if i.memoryReplay == nil {
		return
	}
	for _, g := range []struct {
		name, help string
		value      func() int
	}{
		{"gateway_replay_proofs", "Spent proofs in memory.", i.memoryReplay.Len},
		{"gateway_replay_capacity", "Spent proofs that fit in memory.", i.memoryReplay.Cap},
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help},
			func() float64 { return float64(g.value()) }))
	}
}

// feedSilence is how long an issuer may be silent and still count as followed: it is asked every 30 s.
const feedSilence = 2 * time.Minute

// peerStates are the states of the peers, and of the feed.
type peerStates struct{ i *Instance }

var (
	peerSuspended = prometheus.NewDesc("gateway_peer_suspended", "Whether the peer is suspended.", []string{"domain", "issuer"}, nil)
	keysKnown     = prometheus.NewDesc("gateway_issuer_keys", "Known keys of the issuer.", []string{"issuer"}, nil)
	keysAge       = prometheus.NewDesc("gateway_issuer_keys_age_seconds",
		"Time since the keys of the issuer were fetched. It is missing for keys that were never fetched.", []string{"issuer"}, nil)
	feedFollowing = prometheus.NewDesc("gateway_feed_following",
		"Whether the issuer has said within the last two minutes that every revocation is known.", []string{"issuer"}, nil)
	feedEvents  = prometheus.NewDesc("gateway_feed_revocations", "Revocations of the issuer that are kept.", []string{"issuer"}, nil)
	keysFailing = prometheus.NewDesc("gateway_issuer_keys_failing", "Whether the last fetch of the keys failed.", []string{"issuer"}, nil)
)

// Describe implements [prometheus.Collector].
func (peerStates) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{peerSuspended, keysKnown, keysAge, keysFailing, feedFollowing, feedEvents} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (p peerStates) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	now, state := p.i.now(), p.i.state.Load()
	if h := state.home; h != nil && h.feed != nil {
		gauge(feedFollowing, oneIf(h.feed.Heard(feedSilence)), h.cfg.Issuer)
		gauge(feedEvents, float64(h.feed.Len()), h.cfg.Issuer)
	}
	var issuers []string
	for _, s := range state.table.Peers() {
		gauge(peerSuspended, oneIf(s.Suspended), s.Domain, s.Issuer)
		if s.Issuer == "" || slices.Contains(issuers, s.Issuer) {
			continue
		}
		issuers = append(issuers, s.Issuer)
		gauge(keysKnown, float64(s.Keys), s.Issuer)
		gauge(keysFailing, oneIf(!s.Failed.IsZero()), s.Issuer)
		if !s.Fetched.IsZero() {
			gauge(keysAge, max(0, now.Sub(s.Fetched).Seconds()), s.Issuer)
		}
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
