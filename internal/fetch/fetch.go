// Package fetch is the only outbound HTTP client of the issuer. All requests to other hosts go through it, so that no URL can make
// the issuer connect to a host that its operator did not intend.
//
// A client uses https only, follows no redirects, connects to no private or special address, and limits time and size.
// The address is checked when the socket connects, not when the name is looked up, so a name that resolves differently
// the second time (DNS rebinding) gains nothing. A request on a stale connection is sent once more if RFC 9110 §9.2.2 permits
// it; see [Repeatable].
//
// There are two classes of URL. Those in the configuration go through [NewClient] and may reach the networks and the proxy
// named there. Those from a token, a registration or another party's discovery document go through [NewForeignClient],
// and may not.
package fetch

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// Defaults for the zero values of [Policy].
const (
	DefaultTimeout = 10 * time.Second
	DefaultMaxBody = 256 << 10
)

// Policy limits the hosts that a client may reach, and the time and size of answers. The zero value is the strictest: public
// addresses by https, no proxy, the system's certificate authorities, the default limits.
type Policy struct {
	// AllowNetworks are networks that configured URLs may reach even though their addresses are not public.
	AllowNetworks []netip.Prefix
	// Proxy is the HTTP proxy for configured URLs. It resolves names, so with a proxy only literal addresses in URLs are
	// checked. The proxy itself may have any address.
	Proxy *url.URL
	// CAFile is a PEM file of certificate authorities that are trusted in addition to those of the system.
	CAFile string
	// DevHosts maps a host name, in lower case, to the address ("127.0.0.1" or "127.0.0.1:8443") that is
	// connected to instead, unchecked. For development and tests.
	DevHosts map[string]string
	// AllowHTTP permits http URLs. For development and tests.
	AllowHTTP bool
	// AllowAnyPort permits foreign URLs with a port other than 443 (80 by http). Configured URLs may have any.
	AllowAnyPort bool
	// Timeout bounds a request from dialing to the last byte of the body. Zero means [DefaultTimeout].
	Timeout time.Duration
	// MaxBody bounds the body of an answer, in bytes. Zero means [DefaultMaxBody].
	MaxBody int64
	// Resolver looks names up. Nil means [net.DefaultResolver].
	Resolver *net.Resolver
	// Observe is told of each request, for measurements. Nil observes nothing.
	Observe Observer
}

// A RefusedError reports a request or an answer that the policy forbids. Any other error of a client means that
// the host could not be reached or did not answer in time.
type RefusedError struct {
	// Part is what was refused: "scheme", "host", "port", "address", "redirect", "encoding", "type" or "size".
	Part string
	// Detail is the reason, for logs.
	Detail string
}

func (e *RefusedError) Error() string { return "fetch: " + e.Part + " refused: " + e.Detail }

func refused(part, format string, args ...any) error {
	return &RefusedError{Part: part, Detail: fmt.Sprintf(format, args...)}
}

// NewClient returns a client for URLs that are written in the configuration.
func NewClient(p Policy) (*http.Client, error) { return newClient(p, false) }

// NewForeignClient returns a client for URLs that come from other parties. It uses neither AllowNetworks nor Proxy of
// the policy.
func NewForeignClient(p Policy) (*http.Client, error) {
	p.AllowNetworks, p.Proxy = nil, nil
	return newClient(p, true)
}

func newClient(p Policy, foreign bool) (*http.Client, error) {
	if p.Timeout == 0 {
		p.Timeout = DefaultTimeout
	}
	if p.MaxBody == 0 {
		p.MaxBody = DefaultMaxBody
	}
	if p.Timeout < 0 || p.MaxBody < 0 {
		return nil, fmt.Errorf("fetch: negative limit")
	}
	if p.Proxy != nil && (defaultPorts[p.Proxy.Scheme] == "" || p.Proxy.Host == "") {
		return nil, fmt.Errorf("fetch: proxy: not an http or https URL with a host")
	}
	roots, err := loadRoots(p.CAFile)
	if err != nil {
		return nil, err
	}
	step := p.Timeout / 2 // no single step may use up all the time
	base := &http.Transport{
		DialContext:            dialer(p, step),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    step,
		ResponseHeaderTimeout:  step,
		MaxResponseHeaderBytes: 64 << 10,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    16,
		ForceAttemptHTTP2:      true,
		// Pings find a silently dropped connection before a request needs it.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: step},
		// A size limit would apply to the compressed form only.
		DisableCompression: true,
	}
	if p.Proxy != nil {
		base.Proxy = http.ProxyURL(p.Proxy) // never the proxy of the environment
	}
	return &http.Client{
		Transport: &transport{base: base, policy: p, foreign: foreign},
		Timeout:   p.Timeout,
	}, nil
}

// loadRoots returns the system's authorities and those of file. Nil, for an empty name, means the system's.
func loadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("fetch: certificate authorities: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("fetch: certificate authorities: no certificate in %s", file)
	}
	return roots, nil
}

// dialer returns a function that connects only to what the policy allows.
func dialer(p Policy, timeout time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	open := &net.Dialer{Timeout: timeout, Resolver: p.Resolver}
	checked := &net.Dialer{Timeout: timeout, Resolver: p.Resolver, ControlContext: p.control}
	var proxy string
	if p.Proxy != nil {
		proxy = net.JoinHostPort(p.Proxy.Hostname(), port(p.Proxy))
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if to, ok := p.DevHosts[strings.ToLower(host)]; ok {
			if _, _, err := net.SplitHostPort(to); err != nil {
				to = net.JoinHostPort(to, port)
			}
			return open.DialContext(ctx, network, to)
		}
		if addr == proxy {
			return open.DialContext(ctx, network, addr)
		}
		return checked.DialContext(ctx, network, addr)
	}
}

var defaultPorts = map[string]string{"http": "80", "https": "443"}

func port(u *url.URL) string { return cmp.Or(u.Port(), defaultPorts[u.Scheme]) }
