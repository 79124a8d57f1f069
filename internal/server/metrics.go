package server

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/vci"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/signin"
)

// metrics are the measurements of requests; docs/metrics.md describes each. No label holds a value that a client chose.
// Counters whose labels are known beforehand begin at 0.
type metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec
	took       *prometheus.HistogramVec
	limited    *prometheus.CounterVec
	proofs     *prometheus.CounterVec
	nonces     prometheus.Counter
	replays    prometheus.Counter
	tokens     *prometheus.CounterVec
	issuances  *prometheus.CounterVec // of credentials
	wireTokens prometheus.Counter
	logins     *prometheus.CounterVec
	active     prometheus.Counter // answers about tokens
	inactive   prometheus.Counter
	forwarded  *prometheus.CounterVec // requests through proxies
	waiting    *prometheus.GaugeVec   // requests for events
	events     prometheus.Counter
	delay      prometheus.Histogram
}

// The values of labels.
var (
	methods    = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions}
	proofParts = []string{
		"header", "form", "size", "payload", "signature", "typ", "alg", "jwk", "kid", "cty", "crit", "htm", "htu", "iat", "ath", "jti",
		"nonce",
	}
	limitKinds = []string{limitAddress, limitFailures, limitLookups, limitGuesses,
		limitClient, limitUser, limitUserApp, limitProofs, limitLogins}
)

// Seconds are the buckets of all histograms of durations.
var Seconds = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

func newMetrics(registry *prometheus.Registry) *metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	introspections := counters("issuer_introspections_total", "Introspection answers, by result.", "result")
	m := &metrics{
		registry: registry, forwarded: newForwarded(),
		requests: counters("issuer_requests_total", "Requests answered, by route, method and status.", "route", "method", "status"),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "issuer_request_seconds", Help: "Time to answer a request, by route.", Buckets: Seconds,
		}, []string{"route"}),
		limited: counters("issuer_requests_limited_total", "Requests refused because a limit was reached, by limit.", "by"),
		proofs:  counters("issuer_proofs_refused_total", "DPoP proofs refused, by the part that was wrong.", "part"),
		nonces: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "issuer_nonce_retries_total", Help: "DPoP proofs that were refused for a missing or stale nonce.",
		}),
		replays: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "issuer_proofs_replayed_total", Help: "DPoP proofs refused because they had been used before.",
		}),
		tokens:    counters("issuer_tokens_issued_total", "Access tokens issued, by grant and token type.", "grant", "type"),
		issuances: counters("issuer_credentials_issued_total", "Credentials issued, by credential configuration.", "configuration"),
		wireTokens: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "issuer_wire_tokens_issued_total", Help: "Tokens issued for certificate authorities of Wire.",
		}),
		logins: counters("issuer_logins_total", "Logins, by OpenID provider and outcome.", "provider", "outcome"),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "issuer_feed_waiting", Help: "Open requests for events, by form.",
		}, []string{"form"}),
		events: prometheus.NewCounter(prometheus.CounterOpts{Name: "issuer_feed_events_total", Help: "Events sent to callers."}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "issuer_feed_delay_seconds", Help: "Time from a revocation to its event, for waiting callers.",
			Buckets: Seconds,
		}),
		active:   introspections.WithLabelValues("active"),
		inactive: introspections.WithLabelValues("inactive"),
	}
	m.registry.MustRegister(m.requests, m.took, m.limited, m.proofs, m.nonces, m.replays, m.tokens, m.issuances, m.wireTokens,
		m.logins, introspections, m.forwarded, m.waiting, m.events, m.delay)
	for _, form := range []string{formPoll, formStream} {
		m.waiting.WithLabelValues(form)
	}
	for _, outcome := range forwardedOutcomes {
		m.forwarded.WithLabelValues(outcome)
	}
	for _, by := range limitKinds {
		m.limited.WithLabelValues(by)
	}
	for _, part := range proofParts {
		m.proofs.WithLabelValues(part)
	}
	for _, grant := range oauth.GrantTypes {
		m.tokens.WithLabelValues(grant, "DPoP")
	}
	m.tokens.WithLabelValues(oauth.GrantClientCredentials, "Bearer")
	for _, configuration := range vci.Configurations() {
		m.issuances.WithLabelValues(configuration)
	}
	return m
}

// provider starts the counters of logins at an OpenID provider at 0.
func (m *metrics) provider(id string) {
	for _, result := range signin.Results {
		m.logins.WithLabelValues(id, string(result))
	}
}

// login counts the outcome of a login at an OpenID provider.
func (m *metrics) login(provider string, r signin.Result) {
	m.logins.WithLabelValues(provider, string(r)).Inc()
}

// answered counts a request.
func (m *metrics) answered(c echo.Context, status int, took time.Duration) {
	route, method := c.Path(), c.Request().Method
	if status == http.StatusNotFound || route == "" {
		route = "none"
	}
	if !slices.Contains(methods, method) {
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(route).Observe(took.Seconds())
}

// refused counts a refusal of a proof, or of a request beyond a limit.
func (m *metrics) refused(err error) {
	var (
		proof *dpop.ProofError
		often *limited
	)
	switch {
	case errors.As(err, &often):
		m.limited.WithLabelValues(often.by).Inc()
	case errors.Is(err, dpop.ErrReplayFull):
		m.limited.WithLabelValues(limitProofs).Inc()
	case errors.Is(err, dpop.ErrUseNonce):
		m.nonces.Inc()
	case errors.Is(err, dpop.ErrReplayed):
		m.replays.Inc()
	case errors.As(err, &proof):
		part := proof.Part
		if !slices.Contains(proofParts, part) {
			part = "other"
		}
		m.proofs.WithLabelValues(part).Inc()
	}
}

// issued counts a token.
func (m *metrics) issued(grant string, a oauth.TokenAnswer) {
	m.tokens.WithLabelValues(grant, a.TokenType).Inc()
}

// credentialsIssued counts n credentials of a configuration.
func (m *metrics) credentialsIssued(configuration string, n int) {
	m.issuances.WithLabelValues(configuration).Add(float64(n))
}

// introspected counts an answer about a token.
func (m *metrics) introspected(active bool) {
	if active {
		m.active.Inc()
	} else {
		m.inactive.Inc()
	}
}

// The values of the label form of issuer_feed_waiting.
const (
	formPoll   = "poll"
	formStream = "stream"
)

// told counts events that are sent at now. waited tells that their caller was waiting for them.
func (m *metrics) told(news []revocation.News, now time.Time, waited bool) {
	m.events.Add(float64(len(news)))
	for _, n := range news {
		if waited {
			m.delay.Observe(max(0, now.Sub(n.At).Seconds()))
		}
	}
}

// serveMetrics serves GET /metrics, for Prometheus.
func (s *Server) serveMetrics(c echo.Context) error {
	promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(c.Response(), c.Request())
	return nil
}
