package config

import (
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/imidentity/issuer/internal/fetch"
)

// Tracing sends traces of requests to a collector, by OTLP over HTTP (docs/tracing.md).
type Tracing struct {
	// Endpoint is the URL where the collector takes traces: https, or http on loopback. Empty means no traces.
	Endpoint string `key:"endpoint"`
	// HeadersFile holds headers for the collector, such as credentials, each on a line of the form NAME: VALUE.
	HeadersFile string `key:"headers_file"`
	// Headers is the content of HeadersFile.
	Headers Secret
	// Sample is the share of the requests that are traced.
	Sample Share `key:"sample" default:"1"`
	// TrustProxies continues the traces that the proxies of trusted_proxies name in the header traceparent.
	TrustProxies bool `key:"trust_proxies"`
	// ServiceName is the name of the service in traces. Default: issuer, for gateways gateway.
	ServiceName string `key:"service_name"`
}

// A Share is a part of a whole, from 0 to 1.
type Share float64

// Header returns the headers for the collector.
func (t Tracing) Header() http.Header {
	h := make(http.Header)
	for line := range strings.Lines(string(t.Headers)) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			h.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
	return h
}

// FetchPolicy returns the rules for requests to the collector: those of outbound, but it may have any address, because no one else
// chooses it. A collector on loopback is not asked through a proxy.
func (t Tracing) FetchPolicy(outbound fetch.Policy) fetch.Policy {
	outbound.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	if u, err := url.Parse(t.Endpoint); err == nil && onLoopback(u) {
		outbound.AllowHTTP, outbound.Proxy = true, nil
	}
	return outbound
}

func onLoopback(u *url.URL) bool {
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

var serviceName = word{regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`), 64}

// tracing checks where traces go. The name is that of the service if the settings name none.
func (k *checker) tracing(t *Tracing, proxies []netip.Prefix, name string) {
	if t.ServiceName == "" {
		t.ServiceName = name
	} else if !serviceName.MatchString(t.ServiceName) {
		k.report("tracing.service_name", "%q is not 1 to 64 letters, digits and -._ in between", t.ServiceName)
	}
	if t.Endpoint == "" {
		for _, key := range []string{"tracing.headers_file", "tracing.sample", "tracing.trust_proxies", "tracing.service_name"} {
			if k.where[key] != nil {
				k.report(key, "has no use without tracing.endpoint: name the URL where the collector takes traces")
			}
		}
		return
	}
	k.collector("tracing.endpoint", t.Endpoint)
	if t.TrustProxies && len(proxies) == 0 {
		k.report("tracing.trust_proxies", "needs trusted_proxies: traces are continued only for the proxies that are named there")
	}
	if t.HeadersFile != "" {
		t.HeadersFile = k.resolve(t.HeadersFile)
		t.Headers = k.secret("tracing.headers_file", t.HeadersFile)
		k.headers("tracing.headers_file", t.HeadersFile, string(t.Headers))
	}
}

// collector checks the URL of a collector.
func (k *checker) collector(path, value string) {
	switch u := k.url(path, value, "https", "http"); {
	case u == nil:
	case strings.Contains(value, "?"):
		bare, _, _ := strings.Cut(value, "?")
		k.report(path, "%q is followed by a query: leave it out, and write credentials into the file of tracing.headers_file", bare)
	case u.Scheme == "http" && !onLoopback(u) && !k.Development:
		k.report(path, "%q is plain http to another machine: use https, or a collector on loopback that passes traces on", value)
	case strings.Trim(u.Path, "/") == "":
		k.report(path, "%q has no path: it is used as it is written, and collectors take traces at %s/v1/traces", value,
			strings.TrimRight(value, "/"))
	}
}

// ownHeaders are those that the exporter sets itself.
var ownHeaders = []string{"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "User-Agent"}

// headers checks a file of headers. Errors do not show its lines, which may hold credentials.
func (k *checker) headers(path, file, text string) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch name, value = strings.TrimSpace(name), strings.TrimSpace(value); {
		case !ok || !httpguts.ValidHeaderFieldName(name) || value == "" || !httpguts.ValidHeaderFieldValue(value):
			k.report(path, "line %d of %s is not of the form NAME: VALUE", n, file)
		case slices.Contains(ownHeaders, http.CanonicalHeaderKey(name)):
			k.report(path, "line %d of %s sets %s, which the issuer sets itself: leave it out", n, file, http.CanonicalHeaderKey(name))
		}
	}
}
