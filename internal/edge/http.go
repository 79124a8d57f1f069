package edge

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
	"github.com/imidentity/issuer/internal/trace"
)

// JWKSPath is the path of the keys of identities.
const JWKSPath = "/jwks"

const headerID = "X-Request-Id"

// A call is a request that is being answered.
type call struct {
	id    string
	start time.Time
	span  *trace.Span // nil if the request is not traced
}

// ServeHTTP answers requests at the public address: the questions of proxies or, with an upstream, the requests of clients.
func (i *Instance) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := i.state.Load()
	c := &call{id: rand.Text()[:16], start: time.Now()}
	h := w.Header()
	h.Set(headerID, c.id)
	if i.tracer != nil {
		var end func()
		if w, r, end = i.traced(w, r, c.id); end != nil {
			defer end()
			c.span = trace.From(r.Context())
		}
	}
	read := (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.ContentLength == 0 // a body might come slowly
	switch {
	case r.URL.Path == JWKSPath && read:
		c.span.About(r.Method, JWKSPath)
		h.Set("Content-Type", "application/jwk-set+json")
		h.Set("Cache-Control", "max-age=300")
		_, _ = w.Write(s.signer.JWKS()) // an error means that the client has disconnected
	case r.URL.Path == forwardauth.MetadataPath && read:
		c.span.About(r.Method, forwardauth.MetadataPath)
		origin, ok := s.reader.Origin(r)
		if !ok {
			http.Error(w, "The host of the request is not one that is served here.", http.StatusForbidden)
			return
		}
		m := s.metadata
		m.AuthorizationServers = s.issuers()
		m.Write(w, origin)
	case s.proxy != nil:
		s.proxy.Forward(w, r, i.decide(s, c, r))
	case r.URL.Path == forwardauth.VerifyPath, strings.HasPrefix(r.URL.Path, forwardauth.VerifyPath+"/"):
		i.decide(s, c, r).Write(w)
	default:
		http.NotFound(w, r)
	}
}

// issuers returns the issuers of peers in the settings that are trusted now.
func (s *state) issuers() (list []string) {
	for _, p := range s.table.Peers() {
		if p.Issuer != "" && !p.Suspended && !slices.Contains(list, p.Issuer) {
			list = append(list, p.Issuer)
		}
	}
	return list
}

// report logs and counts a decision. The log has the path of the route and never that of the request, which may name people.
func (i *Instance) report(ctx context.Context, s *state, c *call, a *forwardauth.Answer) {
	d := &a.Decision
	took := time.Since(c.start)
	i.metrics.decided(a, s.label(d.Issuer), took)
	level := slog.LevelInfo
	if d.Outcome == gateway.Unknown {
		level = slog.LevelWarn
	}
	if !i.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", c.id), slog.String("outcome", d.Outcome.String()), slog.String("reason", string(d.Reason)),
		slog.String("method", logged(a.Target.Method)), slog.String("origin", a.Target.Origin),
	}
	if a.Route != nil {
		attrs = append(attrs, slog.String("route", a.Route.Path), slog.String("upstream", a.Route.Upstream))
	}
	if d.Issuer != "" {
		attrs = append(attrs, slog.String("issuer", d.Issuer))
	}
	if d.Shadowed {
		attrs = append(attrs, slog.Bool("shadowed", true))
	}
	if d.Err != nil {
		attrs = append(attrs, slog.Any("error", d.Err))
	}
	attrs = append(attrs, slog.Float64("duration_ms", float64(took.Microseconds())/1000))
	i.log.LogAttrs(ctx, level, "decision", attrs...)
}

// logged returns a method for the log, which has only known ones.
func logged(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "":
		return method
	}
	return "other"
}
