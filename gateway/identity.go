package gateway

import (
	"context"
	"time"

	"github.com/imidentity/issuer/nested"
)

// An Identity says who sent a request that was allowed. URIs are in the form of the token. Absent values are empty.
type Identity struct {
	// User, Handle and Device are URIs. They are empty for a service, and the last two if the token does not name them.
	User, Handle, Device string
	// Domain is that of the user, in canonical form; empty for a service.
	Domain string
	// Issuer is the URL of the issuer of the token. HomeIssuer is the issuer of the user, if a token of our own issuer is for a user of
	// another domain (`home_iss`).
	Issuer, HomeIssuer string
	// ClientID is the client that was given the token, unique at its issuer. Service says that the token is the client's own.
	ClientID string
	Service  bool
	// Actor is the URI or the client id of a bot or another party that acts for the user; empty if nobody does.
	Actor string
	// Scope has the words of the scope: with enclosed tokens, those that all of them grant.
	Scope []string
	// Audience are all names that the token is for.
	Audience []string
	// ACR, AMR and AuthTime are about the login; absent if the issuer does not say.
	ACR      string
	AMR      []string
	AuthTime time.Time
	// IssuedAt and Expires are those of the token, the last one the earliest of all enclosed tokens.
	IssuedAt, Expires time.Time
	// JTI and SID name the token and its session. JKT is the thumbprint of the key that the holder has proven; empty for a bearer token.
	JTI, SID, JKT string
	// Tree has the enclosed tokens; nil if there are none.
	Tree *nested.Tree
}

type identityKey struct{}

// WithIdentity returns a context with an identity, for [FromContext]. A [Guard] does this for the handlers behind it.
func WithIdentity(ctx context.Context, id *Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// FromContext returns who sent the request of a context, and false if nobody was identified: outside a [Guard], or if the policy only
// watches.
func FromContext(ctx context.Context) (*Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(*Identity)
	return id, ok && id != nil
}
