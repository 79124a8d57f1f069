package forwardauth

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

// IdentityHeader is the header with the `im-identity+jwt`.
const IdentityHeader = "X-Im-Identity"

const (
	maxIdentity  = 16 << 10         // bytes
	identitySkew = 10 * time.Second // by how much the clocks of gateway and service may differ
)

var (
	// ErrIdentity is wrapped by the errors of [OpenIdentity] and [OpenRequest] for an identity that is missing, malformed, expired, not
	// signed by the gateway, or for another service or request. The answer is 401 or 403: the request did not come through the gateway.
	ErrIdentity = errors.New("forwardauth: not an identity for this request")
	// ErrKeys is wrapped by their errors if the keys of the gateway cannot be known now: the answer is 503.
	ErrKeys = errors.New("forwardauth: the keys of the gateway are not available")
)

// Expected says which identities a service accepts.
type Expected struct {
	// Issuer is the gateway's `identity.issuer`, Upstream the name of this service in the gateway's routes. Required.
	Issuer, Upstream string
	// Keys finds the gateway's keys. Required.
	Keys *Keys
	// Method and Path are those of the client's request at the gateway: the path as it was sent, percent-encoded and without the query.
	// [OpenRequest] fills them in.
	Method, Path string
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// OpenRequest opens the identity in the header of a request that the proxy forwarded with an unchanged path. If the proxy changes the
// path, use [OpenIdentity] with the public one.
func OpenRequest(r *http.Request, e Expected) (*gateway.Identity, error) {
	values := r.Header[IdentityHeader]
	if len(values) != 1 {
		return nil, fmt.Errorf("%w: %d headers %s", ErrIdentity, len(values), IdentityHeader)
	}
	e.Method, e.Path = r.Method, r.URL.EscapedPath()
	return OpenIdentity(r.Context(), values[0], e)
}

// OpenIdentity verifies an `im-identity+jwt` and returns what it says: the names, the scope and the issuers of the identity, not what is
// known about the login and the token. The errors are [ErrIdentity] and [ErrKeys].
//
// It checks the type, the signature by a key of the gateway, issuer, audience, times, method and path. It does not remember
// identities: for a minute one can be sent again with a request of the same method and path, by those who can reach the service beside
// the proxy.
func OpenIdentity(ctx context.Context, token string, e Expected) (*gateway.Identity, error) {
	if e.Issuer == "" || e.Upstream == "" || e.Keys == nil {
		return nil, errors.New("forwardauth: Expected needs an issuer, an upstream and keys")
	}
	jws, err := jose.ParseCompact(token, jose.Limits{Total: maxIdentity})
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrIdentity, err)
	}
	if jws.Header.Typ != jose.TypeIdentity { // RFC 8725 §3.11
		return nil, fmt.Errorf("%w: another type", ErrIdentity)
	}
	key, err := e.Keys.key(ctx, jws.Header.Kid)
	if err != nil {
		return nil, err
	}
	if err := jws.Verify(key.alg, key.public); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrIdentity, err)
	}
	return e.read(jws.Payload)
}

// read reads and checks the claims of a verified identity.
func (e *Expected) read(payload []byte) (*gateway.Identity, error) {
	var (
		id                      gateway.Identity
		issuer, audience, scope string
		subject, method, hash   string
		jti                     string
		issued, expires         time.Time
	)
	now := time.Now
	if e.Now != nil {
		now = e.Now
	}
	refused := func(words string) error { return fmt.Errorf("%w: %s", ErrIdentity, words) }
	err := jose.ReadMembers(payload,
		jose.Member{Name: "iss", Text: &issuer, Required: true},
		jose.Member{Name: "aud", Text: &audience, Required: true},
		jose.Member{Name: "sub", Text: &subject, Required: true},
		jose.Member{Name: "htm", Text: &method, Required: true},
		jose.Member{Name: "path_hash", Text: &hash, Required: true},
		jose.Member{Name: "iat", Date: &issued, Required: true},
		jose.Member{Name: "exp", Date: &expires, Required: true},
		jose.Member{Name: "jti", Text: &jti, Required: true},
		jose.Member{Name: "handle", Text: &id.Handle},
		jose.Member{Name: "device", Text: &id.Device},
		jose.Member{Name: "domain", Text: &id.Domain},
		jose.Member{Name: "token_iss", Text: &id.Issuer},
		jose.Member{Name: "home_iss", Text: &id.HomeIssuer},
		jose.Member{Name: "client_id", Text: &id.ClientID},
		jose.Member{Name: "service", Read: func(raw []byte) error {
			if id.Service = string(raw) == "true"; !id.Service && string(raw) != "false" {
				return errors.New("not a boolean")
			}
			return nil
		}},
		jose.Member{Name: "actor", Text: &id.Actor},
		jose.Member{Name: "scope", Text: &scope},
	)
	at := now()
	switch {
	case err != nil:
		return nil, refused(err.Error())
	case issuer != e.Issuer:
		return nil, refused("another issuer")
	case audience != e.Upstream:
		return nil, refused("for another service")
	case method != e.Method || hash != pathHash(e.Path):
		return nil, refused("for another request")
	case !at.Before(expires.Add(identitySkew)):
		return nil, refused("expired")
	case issued.After(at.Add(identitySkew)) || expires.Sub(issued) > IdentityLife:
		return nil, refused("not made now, or for too long")
	}
	if !id.Service {
		id.User = subject
	}
	id.Scope = strings.Fields(scope)
	return &id, nil
}

// Keys are the keys of a gateway. They may be used by several goroutines.
type Keys struct {
	fixed map[string]identityKey
	cache *published.Cache[map[string]identityKey]
}

type identityKey struct {
	public crypto.PublicKey
	alg    string
}

// NewKeys returns the keys in a JWK Set.
func NewKeys(jwks []byte) (*Keys, error) {
	keys, err := parseKeys(jwks)
	if err != nil {
		return nil, err
	}
	return &Keys{fixed: keys}, nil
}

// FetchKeys returns the keys that a gateway publishes at url, usually http://GATEWAY/jwks in the internal network. They are fetched when
// they are needed, every five minutes, and for an unknown kid at most once a minute. A nil client is one with a timeout of five seconds.
func FetchKeys(url string, client *http.Client) *Keys {
	if client == nil {
		client = &http.Client{Timeout: 5 * time.Second}
	}
	return &Keys{cache: published.New(published.Config[map[string]identityKey]{
		Fetch: func(ctx context.Context) (map[string]identityKey, error) {
			data, err := published.Read(ctx, client, url, "application/json", "application/jwk-set+json")
			if err != nil {
				return nil, err
			}
			return parseKeys(data)
		},
	})}
}

func parseKeys(jwks []byte) (map[string]identityKey, error) {
	list, err := jose.KeysByKid(jwks)
	if err != nil {
		return nil, fmt.Errorf("forwardauth: %w", err)
	}
	keys := make(map[string]identityKey)
	for kid, key := range list {
		if slices.Contains([]string{jose.ES256, jose.EdDSA, jose.Ed25519}, key.Alg) {
			keys[kid] = identityKey{key.Public, key.Alg}
		}
	}
	return keys, nil
}

// key returns the key with that kid.
func (k *Keys) key(ctx context.Context, kid string) (identityKey, error) {
	keys := k.fixed
	if k.cache != nil {
		var err error
		keys, err = k.cache.Get(ctx, func(keys map[string]identityKey) bool { return keys[kid].public != nil })
		if errors.Is(err, published.ErrAbsent) {
			return identityKey{}, fmt.Errorf("%w: signed by an unknown key", ErrIdentity)
		} else if err != nil {
			return identityKey{}, fmt.Errorf("%w: %v", ErrKeys, err)
		}
	}
	key, ok := keys[kid]
	if !ok {
		return identityKey{}, fmt.Errorf("%w: signed by an unknown key", ErrIdentity)
	}
	return key, nil
}
