package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/netip"

	"github.com/imidentity/issuer/dpop"
)

// GuardConfig configures a [Guard].
type GuardConfig struct {
	// Verifier decides about the requests. Required.
	Verifier *Verifier
	// PublicURL is the part of the public URL before the path that the handlers see, as in [dpop.ResourceConfig]. It is never taken from
	// the request. Required.
	PublicURL string
	// PublicOrigins are further schemes and hosts of the same service, among which the trusted proxies choose, as in
	// [dpop.ResourceConfig].
	PublicOrigins  []string
	TrustedProxies []netip.Prefix
	// Metadata is what [Guard.Metadata] serves (RFC 9728). If it is not nil, challenges contain its URL.
	Metadata *dpop.ResourceMetadata
	// Report is called with each decision, before the handler or the answer. It may be nil. It must not change the decision.
	Report func(r *http.Request, d *Decision)
}

// A Guard protects the handlers of a Go service: middleware for net/http. It is safe for concurrent use.
type Guard struct {
	cfg      GuardConfig
	resource *dpop.Resource // for public URLs and metadata
}

// NewGuard returns a guard. The error is about a missing field, or a URL that is not in normal form.
func NewGuard(cfg GuardConfig) (*Guard, error) {
	if cfg.Verifier == nil {
		return nil, errors.New("gateway: GuardConfig.Verifier is required")
	}
	resource, err := dpop.NewResource(dpop.ResourceConfig{
		Verifier: cfg.Verifier.cfg.Proofs, PublicURL: cfg.PublicURL, PublicOrigins: cfg.PublicOrigins, TrustedProxies: cfg.TrustedProxies,
		Metadata: cfg.Metadata,
		Token: func(context.Context, string) (dpop.Confirmation, error) { // the guard decides about tokens itself
			return dpop.Confirmation{}, dpop.ErrInvalidToken
		},
	})
	if err != nil {
		return nil, err
	}
	return &Guard{cfg, resource}, nil
}

// Metadata returns the pattern and the handler for the metadata of the service (RFC 9728 §3), for [http.ServeMux.Handle].
func (g *Guard) Metadata() (pattern string, handler http.Handler) { return g.resource.Metadata() }

// Middleware returns middleware that lets requests pass which the policy allows; a nil policy is that of the zero [PolicyConfig]. The
// handler behind it gets the [Identity] by [FromContext]. Other requests are answered 401, 403 or 503. The error says that the verifier
// is not configured for the policy.
//
// With nonces, every answer has the newest nonce and no-store. A handler whose answer may be stored deletes the header DPoP-Nonce.
func (g *Guard) Middleware(p *Policy) (func(next http.Handler) http.Handler, error) {
	if err := g.cfg.Verifier.Supports(p); err != nil {
		return nil, err
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d := g.Decide(r, p)
			if g.cfg.Report != nil {
				g.cfg.Report(r, &d)
			}
			if !d.Passes() {
				d.Write(w)
				return
			}
			d.SetHeaders(w.Header())
			next.ServeHTTP(w, r.WithContext(WithIdentity(r.Context(), d.Identity)))
		})
	}, nil
}

// Decide decides about a request, for servers with their own error handler: [Decision.SetHeaders] sets the headers of each answer.
func (g *Guard) Decide(r *http.Request, p *Policy) Decision {
	request := Request{
		Method: r.Method, Authorization: r.Header.Values("Authorization"), DPoP: r.Header.Values("DPoP"),
		MetadataURL: g.resource.MetadataURL(r),
	}
	var err error
	if request.URL, err = g.resource.URL(r); err != nil {
		// A trusted proxy names another origin, or the request is "OPTIONS *".
		return g.cfg.Verifier.Refuse(r.Context(), request, ReasonOrigin)
	}
	request.Source, _ = dpop.Sender(r, g.cfg.TrustedProxies) // with an error it is the address of the proxy
	return g.cfg.Verifier.Decide(r.Context(), request, p)
}
