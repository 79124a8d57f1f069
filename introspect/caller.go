package introspect

import (
	"slices"

	"github.com/imidentity/issuer/claims"
)

// The scopes that a [Caller] may have.
const (
	ScopeIntrospect = "introspect"        // to ask at all
	ScopeDomain     = "introspect:domain" // to see every token of the caller's domains
	ScopeReason     = "introspect:reason" // to see why a token is not active
)

// A Caller is an authenticated client that asks, as it is registered.
type Caller struct {
	ClientID  string
	Resources []string // audiences that it serves
	Domains   []string
	Scopes    []string
}

// sees reports whether the caller may know about t: its own token, one that is meant for it, or one of its domains if it
// has the scope for those.
func (c Caller) sees(t *token) bool {
	if c.ClientID != "" && c.ClientID == t.ClientID {
		return true
	}
	for _, aud := range t.Audience {
		if slices.Contains(c.Resources, aud) {
			return true
		}
		if domain, ok := claims.DomainOf(aud); ok && slices.Contains(c.Domains, domain) {
			return true
		}
	}
	return slices.Contains(c.Scopes, ScopeDomain) && slices.Contains(c.Domains, t.ids.Domain)
}
