package server

import (
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
)

func newForwarded() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "issuer_forwarded_total",
		Help: "Requests through proxies, by what was made of X-Forwarded-For: believed; ignored, for who sent it is not in trusted_proxies; missing, for a trusted proxy did not send it.",
	}, []string{"outcome"})
}

// countForwarded counts what is made of the X-Forwarded-For of a request, see [Server.senders].
func (s *Server) countForwarded(r *http.Request) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return // the admin socket has no addresses
	}
	trusted := false
	for _, p := range s.TrustedProxies {
		trusted = trusted || p.Contains(peer.Addr().Unmap())
	}
	switch told := len(r.Header.Values("X-Forwarded-For")) > 0; {
	case trusted && told:
		s.metrics.forwarded.WithLabelValues("believed").Inc()
	case trusted:
		s.metrics.forwarded.WithLabelValues("missing").Inc()
	case told:
		s.metrics.forwarded.WithLabelValues("ignored").Inc()
	}
}
