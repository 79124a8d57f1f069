package clients

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/internal/oautherror"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
)

// A Client is a registered OAuth client.
type Client struct {
	// ID identifies the client. It has no colon.
	ID string
	// Name is shown to users; empty means ID.
	Name string
	// SecretSHA256 is the SHA-256 of its secret; nil for a client without. Secrets are 256 random bits, so a plain
	// hash is enough.
	SecretSHA256 []byte
	// OldSecretSHA256 is that of the secret before, which is good until OldSecretUntil; nil if there is none.
	OldSecretSHA256 []byte
	OldSecretUntil  time.Time
	// Stored tells that the client is in storage: tokens are issued to it only while its row is there.
	Stored bool
	// Foreign tells that the client registered itself: the URLs that it names are those of a stranger.
	Foreign bool
	// Keys verify the assertions of a client that authenticates by private_key_jwt. One that publishes its keys has none
	// here, but JWKSURI, which [Config.Keys] reads.
	Keys    []assertion.Key
	JWKSURI string
	// RedirectURIs are matched byte for byte, but for the port of an http loopback address (RFC 8252 §7.3).
	RedirectURIs []string
	// Grants, Scopes and Domains are what it may ask for.
	Grants  []string
	Scopes  []string
	Domains []string
	// Resources are the audiences that its tokens may have, beside the URIs of its domains, and those for which it
	// may introspect.
	Resources []string
	// PeerResources says that its tokens may also be for any peer: for the URI of the peer's domain, or the URL of its issuer.
	PeerResources bool
	// Embed are the relations of the tokens that it may have embedded in its own (package nested). None are by default.
	Embed []nested.Relation
	// IDTokens are the registrations of the app at OpenID providers. ID tokens of its own logins there become tokens of this server.
	IDTokens []IDTokenApp
	// FirstParty says that the operator runs the client: users are not asked for consent where nobody else can pretend to be
	// the client.
	FirstParty bool
	// Bearer allows a service token without a key; only for client_credentials, never for users' tokens.
	Bearer bool
	// RequirePAR refuses authorization requests that were not pushed (RFC 9126 §6).
	RequirePAR bool
	// RequireDPoPJKT refuses authorization requests without dpop_jkt.
	RequireDPoPJKT bool
	// SignedResponseAlg is the algorithm of the signed answers that the client gets at introspection (RFC 9701 §6). Empty means that it
	// gets JSON unless a request asks for a signed answer.
	SignedResponseAlg string
	// SCIM is the OpenID provider that manages its users by the client; nil without the scope scim.
	SCIM *SCIM
	// Release is what the client is told at introspection; nil for everything.
	Release *introspect.Release
}

// An IDTokenApp is a registration of a client at an OpenID provider.
type IDTokenApp struct {
	// Provider is the id of the provider.
	Provider string
	// Audience must be among the aud of an ID token, and AuthorizedParty be its azp. If AuthorizedParty is empty, azp is absent or the
	// same as Audience.
	Audience, AuthorizedParty string
}

// A SCIM is an OpenID provider that manages its users.
type SCIM struct {
	Domain string
	Issuer string // iss of the provider
	// Renames tells that the provider decides which user has which handle.
	Renames bool
	// UserClaim is the claim of the provider that becomes the id of a user; empty if the issuer makes it.
	UserClaim string
	// SubjectClaim is the claim that identifies a user, which is sub for most providers.
	SubjectClaim string
	// TokenSHA256 are the SHA-256 hashes of the bearer tokens that it may send.
	TokenSHA256 [][32]byte
}

// Title is the name of the client for users.
func (c *Client) Title() string { return cmp.Or(c.Name, c.ID) }

// Public reports whether the client has neither a secret nor keys to authenticate with.
func (c *Client) Public() bool { return c.SecretSHA256 == nil && !c.signs() }

// signs reports whether the client authenticates by private_key_jwt.
func (c *Client) signs() bool { return c.Keys != nil || c.JWKSURI != "" }

// Allows reports whether the client is registered for a grant type.
func (c *Client) Allows(grant string) bool { return slices.Contains(c.Grants, grant) }

// HasScope reports whether the client is registered for a scope.
func (c *Client) HasScope(scope string) bool { return slices.Contains(c.Scopes, scope) }

// ErrRemoved is returned for a client that was removed a moment ago. It is the answer to an unknown client.
var ErrRemoved = oautherror.New(oautherror.InvalidClient, unknownClient)

// Check returns [ErrRemoved] for a client in storage that was removed. r is the store, or the transaction that issues
// something to the client: the registry in memory may be older than that.
func (c *Client) Check(ctx context.Context, r Reader) error {
	if !c.Stored {
		return nil
	}
	_, err := stored(ctx, r, c.ID)
	if errors.Is(err, ErrNotFound) {
		return ErrRemoved
	}
	return err
}
