package forwardauth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
)

// HandlerConfig configures a [Handler]. Everything is required.
type HandlerConfig struct {
	// Reader reads which request is asked about.
	Reader *Reader
	// Verifier decides, under the policy of the route.
	Verifier *gateway.Verifier
	// Proofs is the verifier of proofs that Verifier uses: it makes the nonce of answers that are refused before.
	Proofs *dpop.Verifier
	// Signer signs identities.
	Signer *Signer
	// Routes say what requests need. A request without a route is refused.
	Routes []Route
}

// A Handler answers the questions of proxies, at whatever path they come. It may be used by several goroutines.
type Handler struct {
	cfg    HandlerConfig
	routes table
}

// NewHandler returns a Handler. The error is about a missing field, a malformed route, or a policy that the verifier cannot follow.
func NewHandler(cfg HandlerConfig) (*Handler, error) {
	if cfg.Reader == nil || cfg.Verifier == nil || cfg.Proofs == nil || cfg.Signer == nil {
		return nil, errors.New("forwardauth: a handler needs a reader, a verifier, proofs and a signer")
	}
	routes, err := newTable(cfg.Routes)
	if err != nil {
		return nil, err
	}
	for i := range routes {
		if err := cfg.Verifier.Supports(routes[i].Policy); err != nil {
			return nil, err
		}
	}
	return &Handler{cfg: cfg, routes: routes}, nil
}

// ServeHTTP answers a question: 200 with the identity, or 401, 403 or 503. There are no other statuses.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.Ask(r).Write(w) }

// Ask decides about the request that r asks about, and spends its proof. [Answer.Write] writes the answer.
func (h *Handler) Ask(r *http.Request) *Answer {
	target, err := h.cfg.Reader.Read(r)
	if err != nil {
		return h.refuse(r.Context(), Target{}, err)
	}
	return h.Decide(r.Context(), target, r.Header, false)
}

// Decide decides about the request target, with the Authorization and DPoP headers in header. With explain the decision has its steps.
func (h *Handler) Decide(ctx context.Context, target Target, header http.Header, explain bool) *Answer {
	route := h.routes.find(target)
	if route == nil {
		return h.refuse(ctx, target, &TargetError{ReasonNoRoute, "there is no route for this path and method"})
	}
	a := &Answer{Target: target, Route: route}
	a.Decision = h.cfg.Verifier.Decide(ctx, gateway.Request{
		Method: target.Method, URL: target.URL(), Authorization: header.Values("Authorization"), DPoP: header.Values("DPoP"),
		Source: target.Source, MetadataURL: target.Origin + MetadataPath, Explain: explain,
	}, route.Policy)
	if id := a.Decision.Identity; id != nil {
		h.identify(a, id)
	}
	return a
}

// identify signs the identity of an allowed request. If that is not possible, the request is not allowed: it passes only if its route
// watches.
func (h *Handler) identify(a *Answer, id *gateway.Identity) {
	d, shadow := &a.Decision, a.Route.Policy.Config().Shadow
	if !fitsHeaders(id) {
		d.Outcome, d.Reason, d.Code, d.Identity, d.Shadowed = gateway.Forbidden, ReasonIdentity, "access_denied", nil, shadow
		d.Explanation = "The token has a name with characters that cannot be passed on."
		return
	}
	token, err := h.cfg.Signer.Sign(id, a.Route.Upstream, a.Target)
	if err != nil {
		d.Outcome, d.Reason, d.Code, d.Identity, d.Shadowed = gateway.Unknown, ReasonNoIdentity, "temporarily_unavailable", nil, shadow
		d.Explanation, d.RetryAfter, d.Err = "The identity of the caller cannot be signed now.", time.Second, err
		return
	}
	a.Identity = token
}

// refuse answers a question that is refused before any policy is looked at.
func (h *Handler) refuse(ctx context.Context, target Target, err error) *Answer {
	reason, text := ReasonHeaders, "the question cannot be read"
	if wrong := (*TargetError)(nil); errors.As(err, &wrong) {
		reason, text = wrong.Reason, wrong.Text
	}
	a := &Answer{Target: target, Decision: gateway.Decision{
		Outcome: gateway.Forbidden, Reason: reason, Code: "invalid_request", Explanation: sentence(text),
	}}
	a.Decision.Nonce, _ = h.cfg.Proofs.Nonce(ctx) // without it the client has to ask once more
	return a
}

// sentence returns a text with a capital and a full stop.
func sentence(text string) string {
	if text[0] >= 'a' && text[0] <= 'z' {
		text = string(text[0]-'a'+'A') + text[1:]
	}
	return text + "."
}
