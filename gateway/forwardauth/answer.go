package forwardauth

import (
	"net/http"
	"strings"

	"github.com/imidentity/issuer/gateway"
)

// The reasons of this package, beside those of package gateway. The answer to the last is 503, to the others 403.
const (
	// ReasonProxy: the question does not come from an address of a trusted proxy.
	ReasonProxy gateway.Reason = "proxy_not_listed"
	// ReasonHeaders: a header of the proxy is missing, repeated or malformed.
	ReasonHeaders gateway.Reason = "proxy_headers"
	// ReasonNoRoute: there is no route for the path and the method.
	ReasonNoRoute gateway.Reason = "no_route"
	// ReasonIdentity: the token has a name that cannot be written into a header.
	ReasonIdentity gateway.Reason = "bad_identity"
	// ReasonNoIdentity: no identity could be signed.
	ReasonNoIdentity gateway.Reason = "identity_unavailable"
)

// Reasons are all reasons of this package.
var Reasons = []gateway.Reason{ReasonProxy, ReasonHeaders, ReasonNoRoute, ReasonIdentity, ReasonNoIdentity}

// ReasonHeader has the reason of a request that is not let through, or would not be if its route did more than watch.
const ReasonHeader = "X-Im-Reason"

// identityPrefix is what the names of all headers with identities begin with, as net/http spells it.
const identityPrefix = "X-Im-"

// An Answer is what became of a question.
type Answer struct {
	// Target is the request that was asked about. It is empty if that could not be read.
	Target Target
	// Route decided; nil if there is none.
	Route *Route
	// Decision is what was decided. Its reason may be one of this package.
	Decision gateway.Decision
	// Identity is the `im-identity+jwt`; empty if nobody was identified.
	Identity string
}

// identityHeaders sets every header with the identity, so that no header of the client survives a proxy that copies them.
func (a *Answer) identityHeaders(h http.Header) {
	var id gateway.Identity
	if a.Decision.Identity != nil {
		id = *a.Decision.Identity
	}
	h["X-Im-User"] = []string{id.User}
	if id.Service {
		h["X-Im-User"] = []string{id.ClientID}
	}
	h["X-Im-Handle"] = []string{id.Handle}
	h["X-Im-Device"] = []string{id.Device}
	h["X-Im-Domain"] = []string{id.Domain}
	h["X-Im-Issuer"] = []string{id.Issuer}
	h["X-Im-Scope"] = []string{strings.Join(id.Scope, " ")}
	h[IdentityHeader] = []string{a.Identity}
}

// Write writes the answer for the proxy: 200 with the identity, or a refusal.
func (a *Answer) Write(w http.ResponseWriter) {
	h := w.Header()
	a.setReason(h)
	if !a.Decision.Passes() {
		a.Decision.Write(w)
		return
	}
	a.Decision.SetHeaders(h)
	h.Set("Cache-Control", "no-store")
	a.identityHeaders(h)
	w.WriteHeader(http.StatusOK)
}

// setReason sets the header with the reason, unless the request is simply allowed.
func (a *Answer) setReason(h http.Header) {
	if a.Decision.Reason != gateway.ReasonAllowed {
		h.Set(ReasonHeader, string(a.Decision.Reason))
	}
}

const (
	maxName  = 2 << 10 // bytes of one header with an identity
	maxScope = 4 << 10
)

// fitsHeaders reports whether everything that an identity says can be written into headers: printable ASCII without spaces, and not too
// long. The client id of a service must not look like the URI of a user: its issuer may speak for another domain than that of the URI.
func fitsHeaders(id *gateway.Identity) bool {
	if id.Service && strings.Contains(id.ClientID, ":") {
		return false
	}
	for _, text := range []string{id.User, id.Handle, id.Device, id.Domain, id.Issuer, id.ClientID} {
		if len(text) > maxName || !printable(text) {
			return false
		}
	}
	size := 0
	for _, word := range id.Scope {
		size += 1 + len(word)
		if word == "" || !printable(word) {
			return false
		}
	}
	return size <= maxScope
}

// printable reports whether a text is printable ASCII without spaces.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
