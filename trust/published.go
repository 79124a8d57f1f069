package trust

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

// issuerDocument is the content of an issuer's documents that counts here.
type issuerDocument struct {
	keys    map[string]publicKey
	domains []string // im_domains_supported, in canonical form
	size    int      // of the documents, in bytes
}

func (d issuerDocument) names(domain string) bool { return slices.Contains(d.domains, domain) }

// issuerKeys are the keys that an issuer publishes.
type issuerKeys struct {
	cache *published.Cache[issuerDocument]
}

// newIssuerKeys returns the keys that fetch fetches. A publisher that did not answer is left alone for as long as retry.
func (cfg *Config) newIssuerKeys(fetch func(context.Context) (issuerDocument, error), retry time.Duration) issuerKeys {
	return issuerKeys{published.New(published.Config[issuerDocument]{
		Fetch: fetch, Fresh: cfg.Fresh, Stale: cfg.Stale, Ahead: cfg.Ahead, Retry: retry, Now: cfg.Now,
	})}
}

func (k issuerKeys) key(ctx context.Context, kid string, other crypto.PublicKey) (publicKey, error) {
	doc, err := k.cache.Get(ctx, func(doc issuerDocument) bool {
		found, ok := doc.keys[kid]
		return ok && found.differs(other)
	})
	switch {
	case errors.Is(err, published.ErrAbsent):
		return publicKey{}, ErrUnknownKey
	case err != nil:
		return publicKey{}, unavailable(err)
	}
	return doc.keys[kid], nil
}

// unavailable translates an error of a cache. That of a context remains.
func unavailable(err error) error {
	if errors.Is(err, published.ErrUnavailable) {
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	}
	return fmt.Errorf("trust: %w", err)
}

func (k issuerKeys) describe(s *PeerState) {
	doc, _ := k.cache.Last()
	state := k.cache.State()
	s.Keys, s.Fetched, s.Failed, s.Err = len(doc.keys), state.Fetched, state.Failed, state.Err
}

// A location is the place where an issuer publishes its documents.
type location struct {
	issuer          string
	at              *url.URL
	client, foreign *http.Client
	withoutKeys     bool // only the metadata is read
}

// fetch reads the issuer's metadata and the key set that it points to.
func (l location) fetch(ctx context.Context) (issuerDocument, error) {
	// RFC 8414 §3.1: the well-known part comes before the path.
	at := *l.at
	at.Path, at.RawPath = "/.well-known/oauth-authorization-server"+strings.TrimSuffix(l.at.Path, "/"), ""
	asking := fetch.For(ctx, fetch.IssuerMetadata)
	metadata, err := published.Read(asking, l.client, at.String(), "application/json", "application/jwk-set+json")
	if err != nil {
		return issuerDocument{}, fmt.Errorf("metadata: %w", err)
	}
	var issuer, jwks string
	var domains []string
	err = jose.ReadMembers(metadata, jose.Member{Name: "issuer", Text: &issuer}, jose.Member{Name: "jwks_uri", Text: &jwks},
		jose.Member{Name: "im_domains_supported", Read: func(raw []byte) error {
			domains, _ = jose.Strings(raw) // anything else names no domain
			return nil
		}})
	switch {
	case err != nil:
		return issuerDocument{}, fmt.Errorf("metadata: %w", err)
	case issuer != l.issuer: // RFC 8414 §3.3
		return issuerDocument{}, errors.New("metadata: issuer is not the URL of the peer")
	}
	doc := issuerDocument{domains: canonical(domains), size: len(metadata)}
	if l.withoutKeys {
		return doc, nil
	}
	set, err := url.Parse(jwks)
	if err != nil || jwks == "" {
		return issuerDocument{}, errors.New("metadata: jwks_uri is missing or not a URL")
	}
	client := l.foreign
	if set.Scheme == l.at.Scheme && set.Host == l.at.Host {
		client = l.client // the host is configured
	}
	data, err := published.Read(fetch.For(ctx, fetch.IssuerKeys), client, set.String(), "application/json", "application/jwk-set+json")
	if err != nil {
		return issuerDocument{}, fmt.Errorf("key set: %w", err)
	}
	doc.size += len(data)
	doc.keys, err = parseJWKS(data)
	return doc, err
}

// canonical returns the canonical forms of domains, without those that have none.
func canonical(domains []string) []string {
	var list []string
	for _, text := range domains {
		if domain, err := claims.CheckDomain(text, true); err == nil {
			list = append(list, domain)
		}
	}
	return list
}
