package forwardauth

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
)

// A Kind is a kind of proxy: it decides where a [Reader] finds the request that the proxy asks about.
type Kind string

// The kinds of proxies. docs/gateway.md has a configuration for each.
const (
	// Nginx asks by auth_request: X-Original-Method, X-Original-URI, X-Forwarded-Proto and X-Forwarded-Host.
	Nginx Kind = "nginx"
	// Caddy, Traefik and HAProxy ask by X-Forwarded-Method, X-Forwarded-Uri, X-Forwarded-Proto and X-Forwarded-Host.
	Caddy   Kind = "caddy"
	Traefik Kind = "traefik"
	HAProxy Kind = "haproxy"
	// Envoy asks by ext_authz over HTTP: the method and the host of the request itself, its target after the path of the service, and
	// X-Forwarded-Proto.
	Envoy Kind = "envoy"
	// Direct is no proxy: the request that is read is the client's own.
	Direct Kind = "direct"
)

// Kinds are the kinds of proxies, without Direct.
var Kinds = []Kind{Nginx, Caddy, Traefik, HAProxy, Envoy}

// VerifyPath is the path that proxies ask at.
const VerifyPath = "/verify"

// A Target is the request of a client that a proxy asks about.
type Target struct {
	// Method is the method, as the client sent it.
	Method string
	// Origin is one of the public origins, and Path the path of the request, which has only one spelling. The query is left out, as in
	// `htu` (RFC 9449 §4.2).
	Origin, Path string
	// Source is the address of the client. It is that of the proxy if the proxy does not say, and invalid if neither is known.
	Source netip.Addr
}

// URL returns the public URL of the request, for [dpop.Request].
func (t Target) URL() string { return t.Origin + t.Path }

// A TargetError is the error of a question that is refused before any policy is looked at. The answer to each is 403.
type TargetError struct {
	// Reason is ReasonProxy, ReasonHeaders, [gateway.ReasonOrigin] or [gateway.ReasonTarget].
	Reason gateway.Reason
	// Text says what is wrong, in words that are fit for the client.
	Text string
}

func (e *TargetError) Error() string { return "forwardauth: " + e.Text }

// Config configures a [Reader].
type Config struct {
	// Proxy is the kind of proxy. Required.
	Proxy Kind
	// Trusted are the networks of the proxies. Questions from other addresses are refused. Required, except with Direct, where they are
	// only asked for the address of the client.
	Trusted []netip.Prefix
	// Origins are the public origins, such as https://chat.example.org, in the form of [dpop.NormalizeHTU] without the closing slash.
	// Required.
	Origins []string
}

// A Reader finds out which request a proxy asks about. It may be used by several goroutines.
type Reader struct {
	cfg Config
	in  headers
}

// headers are the names of the headers of one kind of proxy.
type headers struct{ method, target, proto, host string }

// NewReader returns a Reader. The error is about a missing or malformed field.
func NewReader(cfg Config) (*Reader, error) {
	r := &Reader{cfg: cfg}
	switch cfg.Proxy {
	case Nginx:
		r.in = headers{"X-Original-Method", "X-Original-Uri", "X-Forwarded-Proto", "X-Forwarded-Host"}
	case Caddy, Traefik, HAProxy:
		r.in = headers{"X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Proto", "X-Forwarded-Host"}
	case Envoy:
		r.in = headers{proto: "X-Forwarded-Proto"}
	case Direct:
	default:
		return nil, fmt.Errorf("forwardauth: %q is not a kind of proxy", cfg.Proxy)
	}
	if len(cfg.Trusted) == 0 && cfg.Proxy != Direct {
		return nil, errors.New("forwardauth: the networks of the proxies are missing")
	}
	if len(cfg.Origins) == 0 {
		return nil, errors.New("forwardauth: the public origins are missing")
	}
	for _, origin := range cfg.Origins {
		if normal, err := dpop.NormalizeHTU(origin); err != nil || normal != origin+"/" {
			return nil, fmt.Errorf("forwardauth: %q is not an origin in normal form", origin)
		}
	}
	return r, nil
}

// Read returns the request that r asks about. The error is a *[TargetError]: the request is refused before any policy is looked at.
//
// Method and URL are believed from a trusted proxy alone, and only from the headers of its kind; each must be there once. The host
// chooses among the public origins and cannot add one. The query of r itself is ignored, except with Envoy, where it is the query of
// the client.
func (r *Reader) Read(q *http.Request) (Target, error) {
	source, err := dpop.Sender(q, r.cfg.Trusted)
	if r.cfg.Proxy == Direct {
		return r.direct(q, source)
	}
	if errors.Is(err, dpop.ErrForwarded) {
		return Target{}, &TargetError{ReasonHeaders, "the proxy forwards an address that cannot be read"}
	}
	if !r.listed(q.RemoteAddr) {
		return Target{}, &TargetError{ReasonProxy, "the question does not come from a listed proxy"}
	}
	method, target, proto, host, err := r.asked(q)
	if err != nil {
		return Target{}, err
	}
	return r.target(method, target, proto, host, source)
}

// asked returns the parts of the client's request, as the proxy sent them.
func (r *Reader) asked(q *http.Request) (method, target, proto, host string, err error) {
	if r.cfg.Proxy == Envoy {
		target, ok := strings.CutPrefix(q.RequestURI, VerifyPath)
		if !ok {
			return "", "", "", "", &TargetError{gateway.ReasonTarget, "the request target does not begin with the path of this service"}
		}
		proto, err := one(q.Header, r.in.proto)
		return q.Method, target, proto, q.Host, err
	}
	for _, part := range []struct {
		name string
		to   *string
	}{{r.in.method, &method}, {r.in.target, &target}, {r.in.proto, &proto}, {r.in.host, &host}} {
		if *part.to, err = one(q.Header, part.name); err != nil {
			return "", "", "", "", err
		}
	}
	return method, target, proto, host, nil
}

// one returns the value of a header that must be there once.
func one(h http.Header, name string) (string, error) {
	switch values := h[name]; {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", &TargetError{ReasonHeaders, "the proxy did not send " + name}
	case len(values) > 1:
		return "", &TargetError{ReasonHeaders, "there is more than one " + name}
	default:
		return values[0], nil
	}
}

// direct reads the client's own request.
func (r *Reader) direct(q *http.Request, source netip.Addr) (Target, error) {
	proto := "http"
	if q.TLS != nil {
		proto = "https"
	}
	t, err := r.target(q.Method, q.RequestURI, proto, q.Host, source)
	if wrong := (*TargetError)(nil); errors.As(err, &wrong) && wrong.Reason == gateway.ReasonOrigin && proto == "http" {
		return r.target(q.Method, q.RequestURI, "https", q.Host, source) // something in front ends TLS
	}
	return t, err
}

// Parse returns the request with a method and a public URL, for questions that come from no proxy. The error is a *[TargetError].
func (r *Reader) Parse(method, url string) (Target, error) {
	proto, rest, _ := strings.Cut(url, "://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	path := rest[end:]
	if path == "" {
		path = "/"
	}
	return r.target(method, path, proto, rest[:end], netip.Addr{})
}

// target checks the parts of a request.
func (r *Reader) target(method, target, proto, host string, source netip.Addr) (Target, error) {
	if !isMethod(method) {
		return Target{}, &TargetError{gateway.ReasonTarget, "the method is not accepted"}
	}
	path, err := normalPath(target)
	if err != nil {
		return Target{}, &TargetError{gateway.ReasonTarget, err.Error()}
	}
	origin, ok := r.origin(proto, host)
	if !ok {
		return Target{}, &TargetError{gateway.ReasonOrigin, "the host of the request is not one that is served here"}
	}
	return Target{Method: method, Origin: origin, Path: path, Source: source}, nil
}

// origin returns the public origin with that scheme and host.
func (r *Reader) origin(proto, host string) (string, bool) {
	if strings.ContainsAny(host, "/?#@\\") || len(host) > 300 {
		return "", false
	}
	switch strings.ToLower(proto) { // Traefik names the scheme of a WebSocket
	case "ws":
		proto = "http"
	case "wss":
		proto = "https"
	}
	normal, err := dpop.NormalizeHTU(proto + "://" + host)
	if err != nil {
		return "", false
	}
	for _, origin := range r.cfg.Origins {
		if normal == origin+"/" {
			return origin, true
		}
	}
	return "", false
}

// listed reports whether the sender of a question is a trusted proxy.
func (r *Reader) listed(remote string) bool {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	addr := from.Addr().Unmap().WithZone("")
	for _, network := range r.cfg.Trusted {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}
