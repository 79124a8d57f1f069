package trust

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

// issuerKeys are the keys that an issuer publishes.
type issuerKeys struct {
	cache *published.Cache[map[string]publicKey]
}

func (k issuerKeys) key(ctx context.Context, kid string, other crypto.PublicKey) (publicKey, error) {
	keys, err := k.cache.Get(ctx, func(keys map[string]publicKey) bool {
		found, ok := keys[kid]
		return ok && found.differs(other)
	})
	switch {
	case errors.Is(err, published.ErrAbsent):
		return publicKey{}, ErrUnknownKey
	case errors.Is(err, published.ErrUnavailable):
		return publicKey{}, fmt.Errorf("%w: %v", ErrUnavailable, err)
	case err != nil:
		return publicKey{}, fmt.Errorf("trust: %w", err)
	}
	return keys[kid], nil
}

func (k issuerKeys) describe(s *PeerState) {
	keys, _ := k.cache.Last()
	state := k.cache.State()
	s.Keys, s.Fetched, s.Failed, s.Err = len(keys), state.Fetched, state.Failed, state.Err
}

// A location is the place where an issuer publishes its keys.
type location struct {
	issuer          string
	at              *url.URL
	client, foreign *http.Client
}

// fetch reads the issuer's metadata and the key set that it points to.
func (l location) fetch(ctx context.Context) (map[string]publicKey, error) {
	// RFC 8414 §3.1: the well-known part comes before the path.
	at := *l.at
	at.Path, at.RawPath = "/.well-known/oauth-authorization-server"+strings.TrimSuffix(l.at.Path, "/"), ""
	metadata, err := published.Read(ctx, l.client, at.String(), "application/json", "application/jwk-set+json")
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	var issuer, jwks string
	err = jose.ReadMembers(metadata, jose.Member{Name: "issuer", Text: &issuer}, jose.Member{Name: "jwks_uri", Text: &jwks})
	switch {
	case err != nil:
		return nil, fmt.Errorf("metadata: %w", err)
	case issuer != l.issuer: // RFC 8414 §3.3
		return nil, errors.New("metadata: issuer is not the URL of the peer")
	}
	set, err := url.Parse(jwks)
	if err != nil || jwks == "" {
		return nil, errors.New("metadata: jwks_uri is missing or not a URL")
	}
	client := l.foreign
	if set.Scheme == l.at.Scheme && set.Host == l.at.Host {
		client = l.client // the host is configured
	}
	data, err := published.Read(ctx, client, set.String(), "application/json", "application/jwk-set+json")
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	return parseJWKS(data)
}
