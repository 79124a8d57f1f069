package forwardauth

import (
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ProxyConfig configures a [Proxy].
type ProxyConfig struct {
	// Handler decides about requests. Its reader is one for [Direct]. Required.
	Handler *Handler
	// Upstream is the origin of the service: scheme and host. Required.
	Upstream *url.URL
	// PassCredentials passes on the Authorization and DPoP headers. The service can then do everything that the client can do with them.
	PassCredentials bool
	// MaxBody is how many bytes the body of a request may have.
	MaxBody int64
	// AnswerTime is how long the service may take until its answer begins. It is also how long a client may be silent while it sends a
	// body. Zero means a minute.
	AnswerTime time.Duration
	// ErrorLog receives what goes wrong with the service. Nil means that it is not logged.
	ErrorLog *log.Logger
}

// A Proxy is a reverse proxy that lets only those requests through that its handler allows.
type Proxy struct {
	cfg       ProxyConfig
	transport *http.Transport
}

// NewProxy returns a Proxy. The error is about a missing or malformed field.
func NewProxy(cfg ProxyConfig) (*Proxy, error) {
	u := cfg.Upstream
	switch {
	case cfg.Handler == nil || cfg.Handler.cfg.Reader.cfg.Proxy != Direct:
		return nil, errors.New("forwardauth: a proxy needs a handler whose reader is Direct")
	case u == nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" && u.Path != "/" || u.RawQuery != "":
		return nil, errors.New("forwardauth: the upstream is not an http or https origin")
	case cfg.MaxBody < 0 || cfg.AnswerTime < 0:
		return nil, errors.New("forwardauth: the limits of a proxy must not be negative")
	}
	if cfg.AnswerTime == 0 {
		cfg.AnswerTime = time.Minute
	}
	if cfg.ErrorLog == nil {
		cfg.ErrorLog = log.New(io.Discard, "", 0)
	}
	return &Proxy{cfg, &http.Transport{ // without a proxy from the environment: the upstream is in the internal network
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: cfg.AnswerTime,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true, // the body is passed on as it is
	}}, nil
}

// Close closes idle connections to the service.
func (p *Proxy) Close() { p.transport.CloseIdleConnections() }

// ServeHTTP decides about a request, and forwards it or answers with the refusal.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.Forward(w, r, p.cfg.Handler.Ask(r))
}

// Forward passes a request on if the answer of the handler about it allows that, or else answers with the refusal.
func (p *Proxy) Forward(w http.ResponseWriter, r *http.Request, a *Answer) {
	if r.Body != nil && r.Body != http.NoBody {
		// The server reads the rest of a body before it answers. A client that is refused must not keep it waiting for ever.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(p.cfg.AnswerTime)) // not supported: it has a deadline of its own
	}
	if !a.Decision.Passes() {
		a.Write(w)
		return
	}
	if r.ContentLength > p.cfg.MaxBody {
		tooLarge(w)
		return
	}
	if !strings.EqualFold(strings.Join(r.Header.Values("Upgrade"), ","), "websocket") {
		// Through a connection that is upgraded to HTTP/2, requests would reach the service that nobody checks.
		r = r.Clone(r.Context())
		r.Header.Del("Upgrade")
		r.Header.Del("HTTP2-Settings")
	}
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &slowBody{http.MaxBytesReader(w, r.Body, p.cfg.MaxBody), http.NewResponseController(w), p.cfg.AnswerTime}
	}
	(&httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery // as the client sent it: nothing was decided by it
			p.rewrite(pr.Out, a)
		},
		ModifyResponse: a.modifyResponse,
		ErrorHandler:   func(w http.ResponseWriter, r *http.Request, err error) { p.fail(w, r, a, err) },
		ErrorLog:       p.cfg.ErrorLog,
		Transport:      p.transport,
	}).ServeHTTP(w, r)
}

// unchecked are headers by which some services and frameworks let a client choose another method, path, address or proxy than those that
// were checked. Those that begin with X-Forwarded- are removed, too.
var unchecked = []string{
	"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Original-Uri", "X-Original-Method",
	"X-Original-Host", "X-Rewrite-Url", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Client-Ip", "X-Host", "Proxy",
}

// rewrite makes the request to the service. [httputil.ReverseProxy] has removed the hop-by-hop headers (RFC 9110 §7.6.1), Forwarded and
// X-Forwarded-For, -Host and -Proto.
func (p *Proxy) rewrite(out *http.Request, a *Answer) {
	scheme, host, _ := strings.Cut(a.Target.Origin, "://")
	out.URL.Scheme, out.URL.Host, out.Host = p.cfg.Upstream.Scheme, p.cfg.Upstream.Host, host
	out.Trailer = nil // a service may treat trailers as headers
	for name := range out.Header {
		// Some servers take X_IM_User for X-IM-User.
		if strings.HasPrefix(name, identityPrefix) || strings.HasPrefix(name, "X-Forwarded-") || strings.Contains(name, "_") ||
			slices.Contains(unchecked, name) {
			delete(out.Header, name)
		}
	}
	if !p.cfg.PassCredentials {
		out.Header.Del("Authorization")
		out.Header.Del("DPoP")
	}
	if a.Target.Source.IsValid() {
		out.Header.Set("X-Forwarded-For", a.Target.Source.String())
	}
	out.Header.Set("X-Forwarded-Host", host)
	out.Header.Set("X-Forwarded-Proto", scheme)
	a.identityHeaders(out.Header)
}

// modifyResponse adds the nonce to the answer of the service, unless that may be stored: a stored nonce is stale (RFC 9449 §8.2).
func (a *Answer) modifyResponse(resp *http.Response) error {
	h := resp.Header
	for name := range h {
		if strings.HasPrefix(name, identityPrefix) {
			delete(h, name)
		}
	}
	a.setReason(h)
	h.Del("DPoP-Nonce")
	if a.Decision.Nonce == "" {
		return nil
	}
	control := strings.ToLower(strings.Join(h.Values("Cache-Control"), ","))
	switch {
	case control == "" && h.Get("Expires") == "":
		h.Set("Cache-Control", "no-store")
	case !strings.Contains(control, "no-store") && !strings.Contains(control, "no-cache"):
		return nil
	}
	h.Set("DPoP-Nonce", a.Decision.Nonce)
	return nil
}

// fail answers a request that the service did not answer.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, a *Answer, err error) {
	var (
		large   *http.MaxBytesError
		network net.Error
		dial    *net.OpError
	)
	if a.Decision.Nonce != "" {
		w.Header().Set("DPoP-Nonce", a.Decision.Nonce)
	}
	switch {
	case errors.As(err, &large):
		tooLarge(w)
	case r.Context().Err() != nil: // the client has gone
		w.WriteHeader(http.StatusBadGateway)
	case errors.As(err, &dial) && dial.Op == "dial":
		p.cfg.ErrorLog.Printf("the upstream cannot be reached: %v", err)
		w.Header().Set("Retry-After", "1")
		writeError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "The service cannot be reached now.")
	case errors.As(err, &network) && network.Timeout():
		p.cfg.ErrorLog.Printf("the upstream does not answer: %v", err)
		writeError(w, http.StatusGatewayTimeout, "server_error", "The service did not answer in time.")
	default:
		p.cfg.ErrorLog.Printf("the upstream fails: %v", err)
		writeError(w, http.StatusBadGateway, "server_error", "The service did not answer.")
	}
}

func tooLarge(w http.ResponseWriter) {
	writeError(w, http.StatusRequestEntityTooLarge, "invalid_request", "The body of the request is too large.")
}

func writeError(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description})
}

// A slowBody is the body of a request whose sender must not be silent for too long.
type slowBody struct {
	io.ReadCloser
	control *http.ResponseController
	silence time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(b.silence)) // not supported: the server has a deadline of its own
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
