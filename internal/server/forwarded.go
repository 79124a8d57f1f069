package server

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/imidentity/issuer/dpop"
)

// forwardedOutcomes are the values of the label outcome of issuer_forwarded_total.
var forwardedOutcomes = []string{"believed", "ignored", "missing", "unreadable"}

func newForwarded() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "issuer_forwarded_total",
		Help: "Requests through proxies, by how X-Forwarded-For or Forwarded was treated: believed; " +
			"ignored (the sender is not in trusted_proxies); missing (a trusted proxy did not send it); " +
			"unreadable (it holds no address, such as unknown).",
	}, []string{"outcome"})
}

// countForwarded counts how the header of a proxy is treated. See [dpop.Sender].
func (s *Server) countForwarded(r *http.Request) {
	named := len(r.Header["X-Forwarded-For"]) > 0 || len(r.Header["Forwarded"]) > 0
	if !named && len(s.TrustedProxies) == 0 {
		return
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return // the admin socket has no addresses
	}
	count := func(outcome string) { s.metrics.forwarded.WithLabelValues(outcome).Inc() }
	trusts := func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap()) }
	if !slices.ContainsFunc(s.TrustedProxies, trusts) {
		if named {
			count("ignored")
		}
		return
	}
	switch _, err := dpop.Sender(r, s.TrustedProxies); {
	case err == nil:
		count("believed")
	case errors.Is(err, dpop.ErrNotForwarded):
		count("missing")
	default:
		count("unreadable")
	}
}
