package server

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/imidentity/issuer/dpop"
)

// metrics are what operators watch. No label holds anything that a client chose.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	proofs   *prometheus.CounterVec
	offsets  prometheus.Histogram
	// forwarded counts what came through proxies.
	forwarded *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), forwarded: newForwarded(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "issuer_requests_total", Help: "Requests answered, by route, method and status.",
		}, []string{"route", "method", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "issuer_request_seconds", Help: "Time to answer a request, by route.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		proofs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "issuer_proofs_refused_total",
			Help: "DPoP proofs refused, by the part that was wrong; nonce counts the retries that clients are asked for, jti the replays.",
		}, []string{"part"}),
		offsets: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "issuer_clock_offset_seconds", Help: "By how much the clocks of refused clients were ahead (behind: negative).",
			Buckets: []float64{-86400, -3600, -600, -120, -60, 0, 15, 60, 600, 3600, 86400},
		}),
	}
	m.registry.MustRegister(m.requests, m.took, m.proofs, m.offsets, m.forwarded,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// answered counts a request.
func (m *metrics) answered(c echo.Context, status int, took time.Duration) {
	route, method := c.Path(), c.Request().Method
	if status == http.StatusNotFound || route == "" {
		route = "none"
	}
	if !slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete}, method) {
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(route).Observe(took.Seconds())
}

// refused counts a refusal of a proof.
func (m *metrics) refused(err error) {
	var proof *dpop.ProofError
	if !errors.As(err, &proof) {
		return
	}
	m.proofs.WithLabelValues(proof.Part).Inc()
	var clock *dpop.ClockError
	if errors.As(err, &clock) {
		m.offsets.Observe(clock.Client.Sub(clock.Server).Seconds())
	}
}

// serveMetrics serves GET /metrics of the admin listener, for Prometheus.
func (s *Server) serveMetrics(c echo.Context) error {
	promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(c.Response(), c.Request())
	return nil
}
