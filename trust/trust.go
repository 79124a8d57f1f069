// Package trust decides which issuers may speak for a domain, and with which keys.
//
// A [Table] is made from configured peers. The keys of a peer are configured too, or are fetched by way of the issuer's metadata
// (RFC 8414) and cached. An issuer is trusted for the domains that it is listed with and for no others, whatever its tokens say.
//
// A refusal differs from an outage: [ErrUntrusted], [ErrSuspended], [ErrForeignDomain] and [ErrUnknownKey] are final, and
// [ErrUnavailable] means that an issuer could not be asked, so that the same question may have another answer in a minute.
// Signatures and claims are not checked here.
package trust

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/published"
)

// ErrUnavailable is returned if the keys of an issuer cannot be known now: the issuer does not answer, or was asked so recently
// that it is not asked again. It says nothing about any token.
var ErrUnavailable = errors.New("trust: the keys of the issuer are not available")

// The refusals. Those about issuers and keys wrap [claims.ErrIssuer], the one about domains wraps [claims.ErrDomain], so that the
// users of an interface need not import this package.
var (
	ErrUntrusted     error = refusal{"trust: the issuer is not a peer", claims.ErrIssuer}
	ErrSuspended     error = refusal{"trust: the peer is suspended", claims.ErrIssuer}
	ErrUnknownKey    error = refusal{"trust: the issuer publishes no such key", claims.ErrIssuer}
	ErrForeignDomain error = refusal{"trust: the issuer does not speak for this domain", claims.ErrDomain}
)

type refusal struct {
	text string
	kind error
}

func (r refusal) Error() string { return r.text }
func (r refusal) Unwrap() error { return r.kind }

// A Peer is an issuer and a domain that it may speak for.
type Peer struct {
	// Domain is the domain, in any spelling.
	Domain string
	// Issuer is the URL of the issuer, exactly as in `iss`.
	Issuer string
	// JWKS is the issuer's JWK Set (RFC 7517 §5). Empty means that it is fetched from the place that the issuer's metadata names.
	// It is the same for all peers with one issuer.
	JWKS []byte
	// Suspended keeps the peer in the table but refuses everything from it.
	Suspended bool
}

// Defaults for the zero values of [Config].
const (
	DefaultFresh = published.DefaultFresh
	DefaultStale = published.DefaultStale
)

// Config configures a [Table].
type Config struct {
	Peers []Peer
	// Client sends requests to the configured issuers. Nil means the strictest client of internal/fetch.
	Client *http.Client
	// ForeignClient fetches key sets that metadata places at another origin than the issuer's. Nil means the strictest client.
	ForeignClient *http.Client
	// Fresh is how long fetched keys are used before they are fetched again. Zero means [DefaultFresh].
	Fresh time.Duration
	// Stale is how long they are used while the issuer does not answer. Zero means [DefaultStale].
	Stale time.Duration
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Development also accepts domains that are reserved for tests, and issuers with http URLs.
	Development bool
}

// A Table holds the peers, which do not change, and caches their keys. [Table.Suspend] suspends a peer while the table is in use.
// A Table is safe for concurrent use.
type Table struct {
	domains map[string][]peer  // by domain
	issuers map[string]*issuer // by URL

	suspending sync.Mutex // held while suspended is replaced
	suspended  atomic.Pointer[map[string]bool]
}

// A peer is an issuer that is listed for a domain.
type peer struct {
	issuer    string
	suspended bool
}

type issuer struct {
	domains []string // the domains that it may speak for, unless they are suspended while the table is in use
	keys    keySource
}

// A keySource looks up a key of one issuer by its kid. A key that equals other counts as unknown; a nil other excludes no key.
type keySource interface {
	key(ctx context.Context, kid string, other crypto.PublicKey) (publicKey, error)
	describe(*PeerState)
}

type publicKey struct {
	key crypto.PublicKey
	alg string
}

// NewTable checks the peers and returns their table. It fetches nothing.
func NewTable(cfg Config) (*Table, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	t := &Table{domains: make(map[string][]peer), issuers: make(map[string]*issuer)}
	t.suspended.Store(new(map[string]bool))
	given := make(map[string]string) // the configured key sets, by issuer
	for i, p := range cfg.Peers {
		domain, err := claims.CheckDomain(p.Domain, cfg.Development)
		if err != nil {
			return nil, fmt.Errorf("trust: peer %d: domain: %w", i+1, err)
		}
		if slices.ContainsFunc(t.domains[domain], func(l peer) bool { return l.issuer == p.Issuer }) {
			return nil, fmt.Errorf("trust: peer %d: %s is listed twice with this issuer", i+1, domain)
		}
		known := t.issuers[p.Issuer]
		if known == nil {
			source, err := cfg.source(p)
			if err != nil {
				return nil, fmt.Errorf("trust: peer %d: %w", i+1, err)
			}
			known = &issuer{keys: source}
			t.issuers[p.Issuer], given[p.Issuer] = known, string(p.JWKS)
		}
		if given[p.Issuer] != string(p.JWKS) {
			return nil, fmt.Errorf("trust: peer %d: another peer of this issuer has different keys", i+1)
		}
		t.domains[domain] = append(t.domains[domain], peer{p.Issuer, p.Suspended})
		if !p.Suspended {
			known.domains = append(known.domains, domain)
		}
	}
	return t, nil
}

func (cfg *Config) complete() error {
	if cfg.Fresh == 0 {
		cfg.Fresh = DefaultFresh
	}
	if cfg.Stale == 0 {
		cfg.Stale = DefaultStale
	}
	if cfg.Fresh < 0 || cfg.Stale < cfg.Fresh {
		return errors.New("trust: Fresh and Stale must not be negative, nor Stale less than Fresh")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	policy := fetch.Policy{AllowHTTP: cfg.Development}
	var err error
	if cfg.Client == nil {
		cfg.Client, err = fetch.NewClient(policy)
	}
	if cfg.ForeignClient == nil && err == nil {
		cfg.ForeignClient, err = fetch.NewForeignClient(policy)
	}
	return err
}

// source returns the source of the keys of a peer's issuer.
func (cfg *Config) source(p Peer) (keySource, error) {
	u, err := url.Parse(p.Issuer)
	// RFC 8414 §2: https, without query and fragment.
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" ||
		u.Scheme != "https" && !(cfg.Development && u.Scheme == "http") {
		return nil, errors.New("issuer: must be an https URL without user, query or fragment")
	}
	if len(p.JWKS) == 0 {
		at := location{issuer: p.Issuer, at: u, client: cfg.Client, foreign: cfg.ForeignClient}
		return issuerKeys{published.New(published.Config[map[string]publicKey]{
			Fetch: at.fetch, Fresh: cfg.Fresh, Stale: cfg.Stale, Now: cfg.Now,
		})}, nil
	}
	keys, err := parseJWKS(p.JWKS)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, errors.New("key set: has no signature key with a unique kid")
	}
	return configuredKeys(keys), nil
}

// differs reports whether k is another key than other.
func (k publicKey) differs(other crypto.PublicKey) bool {
	key, ok := k.key.(interface{ Equal(crypto.PublicKey) bool })
	return !ok || !key.Equal(other)
}

// configuredKeys are keys from the configuration.
type configuredKeys map[string]publicKey

func (c configuredKeys) key(_ context.Context, kid string, other crypto.PublicKey) (publicKey, error) {
	k, ok := c[kid]
	if !ok || !k.differs(other) {
		return publicKey{}, ErrUnknownKey
	}
	return k, nil
}

func (c configuredKeys) describe(s *PeerState) { s.Fixed, s.Keys = true, len(c) }

// Issuers returns the URLs of the issuers that may speak for a domain in canonical form, in the order of the configuration. The
// error is [ErrUntrusted] if the table lacks the domain, or [ErrSuspended].
func (t *Table) Issuers(domain string) ([]string, error) {
	peers := t.domains[domain]
	if len(peers) == 0 {
		return nil, ErrUntrusted
	}
	var urls []string
	for _, p := range peers {
		if !p.suspended && !t.isSuspended(domain) {
			urls = append(urls, p.issuer)
		}
	}
	if urls == nil {
		return nil, ErrSuspended
	}
	return urls, nil
}

// Domains returns the domains that an issuer may speak for, in canonical form, to compare with those of its tokens. The error is
// [ErrUntrusted] or [ErrSuspended].
func (t *Table) Domains(issuer string) ([]string, error) {
	known := t.issuers[issuer]
	if known == nil {
		return nil, ErrUntrusted
	}
	domains := slices.DeleteFunc(slices.Clone(known.domains), t.isSuspended)
	if len(domains) == 0 {
		return nil, ErrSuspended
	}
	return domains, nil
}

// Speaks returns nil if the issuer may speak for a domain in canonical form, else [ErrUntrusted], [ErrSuspended] or
// [ErrForeignDomain]. It sends no request.
func (t *Table) Speaks(_ context.Context, issuer, domain string) error {
	known := t.issuers[issuer]
	if known == nil {
		return ErrUntrusted
	}
	switch {
	case slices.Contains(known.domains, domain) && !t.isSuspended(domain):
		return nil
	case slices.ContainsFunc(t.domains[domain], func(p peer) bool { return p.issuer == issuer }):
		return ErrSuspended
	}
	return ErrForeignDomain
}

// Key returns the public key that an issuer publishes under kid, and its algorithm. The errors [ErrUntrusted], [ErrSuspended] and
// [ErrUnknownKey] are final. Any other error means that the key cannot be known now: [ErrUnavailable], or that of the context.
func (t *Table) Key(ctx context.Context, issuer, kid string) (key crypto.PublicKey, alg string, err error) {
	return t.OtherKey(ctx, issuer, kid, nil)
}

// OtherKey is like [Table.Key] for a signature that did not verify with the key failed: an issuer may publish a new key under an old
// kid. The keys are fetched again, at most once a minute. [ErrUnknownKey] also means that failed is still the issuer's key.
func (t *Table) OtherKey(ctx context.Context, issuer, kid string, failed crypto.PublicKey) (key crypto.PublicKey, alg string, err error) {
	known := t.issuers[issuer]
	switch {
	case known == nil:
		return nil, "", ErrUntrusted
	case t.allSuspended(known):
		return nil, "", ErrSuspended
	}
	k, err := known.keys.key(ctx, kid, failed)
	if err == nil && t.allSuspended(known) { // while the key was fetched
		return nil, "", ErrSuspended
	}
	return k.key, k.alg, err
}
