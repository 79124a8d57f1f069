package introspect

import (
	"cmp"
	"slices"

	"github.com/imidentity/issuer/claims"
)

// The scopes that a [Caller] may have.
const (
	ScopeIntrospect = "introspect"        // to ask at all
	ScopeDomain     = "introspect:domain" // to see every token of the caller's domains
	ScopeReason     = "introspect:reason" // to see why a token is not active
)

// A Caller is an authenticated client or user that asks.
type Caller struct {
	// Name tells callers apart, across clients, users and the issuers that they are from. It is required for a caller with pairwise
	// ids, which are derived from it.
	Name string
	// Owner is the party that runs the caller, as a client that several services use. What holders showed is spent once for each owner.
	// Empty means Name.
	Owner string
	// ClientID is the client of this issuer that asks; empty for users, and for callers from another issuer.
	ClientID  string
	Resources []string // audiences that it serves
	Domains   []string
	Scopes    []string
	// Release is what the caller is told about the tokens that it may see. Nil tells everything.
	Release *Release
	// JTI is that of the token of this issuer with which the caller authenticated, empty if there was none. The caller does not see
	// that token: it cannot vouch for itself.
	JTI string
}

// owner is the party that runs the caller.
func (c *Caller) owner() string { return cmp.Or(c.Owner, c.Name, c.ClientID) }

// sees reports whether the caller may know about t: its own token, one that is meant for it, or one of its domains if it
// has the scope for those.
func (c Caller) sees(t *token) bool {
	if c.JTI != "" && c.JTI == t.JTI {
		return false
	}
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
	// A user of another domain is not one of the caller's, whichever domains these are.
	return t.HomeIss == "" && slices.Contains(c.Scopes, ScopeDomain) && slices.Contains(c.Domains, t.ids.Domain)
}
