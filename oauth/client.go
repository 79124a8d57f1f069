package oauth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/nested"
)

// A Client is a registered OAuth client.
type Client struct {
	// ID names it; it holds no colon.
	ID string
	// Name is shown to people; empty means ID.
	Name string
	// SecretSHA256 is the SHA-256 of its secret; nil for a client without. Secrets are 256 random bits, so a plain
	// hash is enough.
	SecretSHA256 []byte
	// OldSecretSHA256 is that of the secret before, which is good until OldSecretUntil; nil if there is none.
	OldSecretSHA256 []byte
	OldSecretUntil  time.Time
	// Stored tells that the client is kept in storage: what is issued to it depends on its row there.
	Stored bool
	// Keys verify the assertions of a client that authenticates by private_key_jwt. One that publishes its keys has none
	// here, but JWKSURI, which [Config.ClientKeys] reads.
	Keys    []assertion.Key
	JWKSURI string
	// RedirectURIs are matched octet for octet, but for the port of an http loopback address (RFC 8252 §7.3).
	RedirectURIs []string
	// Grants, Scopes and Domains are what it may ask for.
	Grants  []string
	Scopes  []string
	Domains []string
	// Resources are the audiences that its tokens may have, beside the URIs of its domains, and those for which it
	// may introspect.
	Resources []string
	// Embed are the relations of the tokens that it may have embedded in its own (package nested). None are by default.
	Embed []nested.Relation
	// FirstParty says that the operator runs the client: where nobody else could pretend to be it, people are not asked
	// for consent. See [Provider.Consent].
	FirstParty bool
	// Bearer allows a service token without a key; only for client_credentials, never for people's tokens.
	Bearer bool
	// RequirePAR refuses authorization requests that were not pushed (RFC 9126 §6).
	RequirePAR bool
	// RequireDPoPJKT refuses authorization requests without dpop_jkt.
	RequireDPoPJKT bool
}

// Title is what people know the client by.
func (c *Client) Title() string { return cmp.Or(c.Name, c.ID) }

// Public reports whether the client has neither a secret nor keys to authenticate with.
func (c *Client) Public() bool { return c.SecretSHA256 == nil && !c.signs() }

// signs reports whether the client authenticates by private_key_jwt.
func (c *Client) signs() bool { return c.Keys != nil || c.JWKSURI != "" }

// Allows reports whether the client is registered for a grant type.
func (c *Client) Allows(grant string) bool { return slices.Contains(c.Grants, grant) }

// HasScope reports whether the client is registered for a scope.
func (c *Client) HasScope(scope string) bool { return slices.Contains(c.Scopes, scope) }

// Authenticate says which client sent a request to an endpoint for programs: by an assertion (RFC 7521 §4.2), by HTTP Basic
// or by parameters of the form (RFC 6749 §2.3.1), or by client_id alone for a public client. Everything else is
// invalid_client, with one answer for an unknown client, a wrong secret and a key that is not the client's.
//
// An assertion is good once. The caller calls spend when the request was found good and before anything comes of it; its
// error is to be answered like one of Authenticate.
func (p *Provider) Authenticate(ctx context.Context, header http.Header, form url.Values) (client *Client, spend func(context.Context) error, err error) {
	client, once, err := p.identify(ctx, header, form)
	return client, func(ctx context.Context) error { return p.spendOnce(ctx, once) }, err
}

// identify is [Provider.Authenticate] for those who spend the assertion in a transaction of their own.
func (p *Provider) identify(ctx context.Context, header http.Header, form url.Values) (*Client, *once, error) {
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		return p.identifyByAssertion(ctx, header, form)
	}
	id, secret, basic, err := credentials(header, form)
	if err != nil {
		return nil, nil, err
	}
	client, known := p.Client(id)
	want, old := noSecret[:], noSecret[:]
	if known && client.SecretSHA256 != nil {
		want = client.SecretSHA256
		if client.OldSecretSHA256 != nil && p.now().Before(client.OldSecretUntil) {
			old = client.OldSecretSHA256
		}
	}
	got := sha256.Sum256([]byte(secret))
	match := subtle.ConstantTimeCompare(got[:], want)|subtle.ConstantTimeCompare(got[:], old) == 1
	switch {
	case known && client.Public() && secret == "" && !basic:
		return client, nil, nil
	case known && client.SecretSHA256 != nil && match:
		return client, nil, nil
	case known && client.Public() && secret == "": // that a client is public is no secret: anybody can use its id
		return nil, nil, &Error{Code: CodeInvalidClient, Description: publicByBasic, Basic: true}
	}
	return nil, nil, &Error{Code: CodeInvalidClient, Description: unknownClient, Basic: basic}
}

const publicByBasic = "The client is registered without a secret: send client_id in the body, and no Authorization header."

const unknownClient = "The client is unknown or its credentials are wrong."

// noSecret stands in for the hash of a client that has none: no text that a request can carry hashes to it.
var noSecret [sha256.Size]byte

// credentials reads the one way in which a request names its client. In HTTP Basic, id and secret are
// form-url-encoded first (RFC 6749 §2.3.1, appendix B): many clients encode "-", "_" and "." too.
func credentials(header http.Header, form url.Values) (id, secret string, basic bool, err error) {
	auth := header.Values("Authorization")
	_, posted := form["client_secret"]
	switch {
	case len(auth) > 1:
		return "", "", false, refuse(CodeInvalidRequest, "There is more than one Authorization header.")
	case len(auth) == 1 && posted:
		return "", "", false, refuse(CodeInvalidRequest, "The client authenticates twice: use either HTTP Basic or client_secret.")
	case len(auth) == 0 && form.Get("client_id") == "":
		return "", "", false, refuse(CodeInvalidClient, "The request names no client: send client_id, or authenticate.")
	case len(auth) == 0:
		return form.Get("client_id"), form.Get("client_secret"), false, nil
	}
	malformed := &Error{Code: CodeInvalidClient, Description: "The Authorization header is not well-formed HTTP Basic: form-url-encode the client id and the secret, join them by a colon, and encode that in base64.", Basic: true}
	scheme, rest, _ := strings.Cut(auth[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", true, malformed
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimLeft(rest, " "))
	if err != nil {
		return "", "", true, malformed
	}
	id, secret, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", "", true, malformed
	}
	if id, err = url.QueryUnescape(id); err != nil {
		return "", "", true, malformed
	}
	if secret, err = url.QueryUnescape(secret); err != nil {
		return "", "", true, malformed
	}
	if posted := form.Get("client_id"); posted != "" && posted != id {
		return "", "", true, refuse(CodeInvalidRequest, "The client_id of the body and of the Authorization header differ.")
	}
	return id, secret, true, nil
}
