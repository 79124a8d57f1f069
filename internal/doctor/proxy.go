package doctor

import (
	"bufio"
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
)

// forwarded returns the issuer's counters for the headers of proxies, by outcome. It returns nil if the issuer does not answer.
func (e *examination) forwarded(ctx context.Context) map[string]float64 {
	if !e.running {
		return nil
	}
	r, err := ask(ctx, e.admin.HTTP(), http.MethodGet, "http://issuer/metrics", nil, nil)
	if err != nil || r.StatusCode != http.StatusOK {
		return nil
	}
	counts := make(map[string]float64)
	for lines := bufio.NewScanner(bytes.NewReader(r.body)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), `issuer_forwarded_total{outcome="`)
		outcome, value, found := strings.Cut(rest, `"} `)
		if n, err := strconv.ParseFloat(value, 64); ok && found && err == nil {
			counts[outcome] = n
		}
	}
	return counts
}

// proxies checks whether the issuer recognizes the senders of requests that come through a proxy. It compares the counters before
// and after the requests to the public URL.
func (e *examination) proxies(r reply, before, after map[string]float64) {
	// The issuer sends no Server header, and without a certificate a proxy must end TLS.
	behind := e.issuer.Scheme == "https" && e.cfg.TLS.CertFile == "" || r.Header.Get("Via") != "" || r.Header.Get("Server") != ""
	rose := func(outcome string) bool { return after[outcome] > before[outcome] }
	switch {
	case (behind || rose("ignored")) && len(e.cfg.TrustedProxies) == 0:
		e.found(Warn, "proxy", "set trusted_proxies to the addresses of the proxy, as in [127.0.0.1/32], and let it set X-Forwarded-For",
			"answers come through a proxy, and trusted_proxies names none: "+
				"all senders count as one, so one sender can use up the limits of all")
	case rose("ignored"):
		e.found(Fail, "proxy", "add the address that the proxy connects from to trusted_proxies",
			"requests come with X-Forwarded-For from an address that is not in trusted_proxies: all senders count as one")
	case rose("missing"):
		e.found(Fail, "proxy", "let the proxy set it, as with nginx by `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for`",
			"requests come from an address in trusted_proxies without X-Forwarded-For: all senders count as one")
	case rose("unreadable"):
		e.found(Fail, "proxy", "let the proxy write the address that it is connected to, "+
			"as with nginx by `proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for`",
			"the last address in X-Forwarded-For (or Forwarded) from an address in trusted_proxies cannot be read: "+
				"all senders count as one")
	case rose("believed"):
		e.ok("proxy", "the proxy is trusted, and reports the sender of each request that it forwards")
	}
}
