// Package trust decides which issuers may speak for a domain, and with which keys.
//
// A [Table] is made from configured peers. The keys of a peer are configured too, or are fetched by way of the issuer's metadata
// (RFC 8414) and cached. An issuer is trusted for the domains that it is listed with and for no others, whatever its tokens say.
//
// # Discovery
//
// The issuer of a peer may also be discovered. It must be named in both directions: the domain names it at [DocumentPath], and the
// member im_domains_supported of its metadata names the domain. Domains that are not listed are discovered only if [Config.Open]
// admits them. A configured issuer, or key set, always wins.
//
// The first issuers that are found are pinned. A domain that wants another issuer names both for [Config.Overlap], whenever its document
// is read in that time. An issuer that comes instead of the pinned ones is never believed, until an operator lists it or calls
// [Table.Forget]; the pinned ones are not believed either while the domain does not name them. A domain whose document cannot be read
// keeps its issuers for [Config.Pinned].
//
// Call [Table.Speaks] with the domain of a token before [Table.Key]: only a domain leads to an issuer. For the issuers of listed
// domains, Key finds them by itself.
//
// # Refusals and outages
//
// A refusal differs from an outage: [ErrUntrusted], [ErrSuspended], [ErrForeignDomain], [ErrChanged] and [ErrUnknownKey] are final, and
// [ErrUnavailable] means that an issuer or a domain could not be asked, so that the same question may have another answer in a
// minute. Signatures and claims are not checked here.
package trust

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/published"
)

// ErrUnavailable is returned if the keys of an issuer, or the issuers of a domain, cannot be known now: the party does not answer, was
// asked so recently that it is not asked again, or too many others are new. It says nothing about any token.
var ErrUnavailable = errors.New("trust: the keys of the issuer are not available")

// The refusals. Those about issuers and keys wrap [claims.ErrIssuer], the one about domains wraps [claims.ErrDomain], so that the
// users of an interface need not import this package.
var (
	ErrUntrusted     error = refusal{"trust: the issuer is not a peer", claims.ErrIssuer}
	ErrSuspended     error = refusal{"trust: the peer is suspended", claims.ErrIssuer}
	ErrUnknownKey    error = refusal{"trust: the issuer publishes no such key", claims.ErrIssuer}
	ErrForeignDomain error = refusal{"trust: the issuer does not speak for this domain", claims.ErrDomain}
	// ErrChanged is about an issuer that a domain names, but that is not believed: it came instead of the pinned one, or lately.
	ErrChanged error = refusal{"trust: the domain names another issuer than before", claims.ErrDomain}
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
	// Issuer is the URL of the issuer, exactly as in `iss`. Empty means that it is discovered.
	Issuer string
	// JWKS is the issuer's JWK Set (RFC 7517 §5). Empty means that it is fetched from the place that the issuer's metadata names.
	// It is the same for all peers with one issuer.
	JWKS []byte
	// CA has the certificates of the certification authorities of the domain, PEM: see [Table.Roots]. They count for this domain alone.
	CA []byte
	// Suspended keeps the peer in the table but refuses everything from it.
	Suspended bool
}

// Defaults for the zero values of [Config].
const (
	DefaultFresh   = published.DefaultFresh
	DefaultStale   = published.DefaultStale
	DefaultPinned  = 72 * time.Hour
	DefaultOverlap = 24 * time.Hour
)

// Config configures a [Table].
type Config struct {
	Peers []Peer
	// Open admits domains that are not among Peers. Nil admits none.
	Open *Open
	// Client sends requests to the configured issuers and to the domains of peers. Nil means the strictest client of internal/fetch.
	Client *http.Client
	// ForeignClient sends requests to URLs of other parties: key sets that metadata places at another origin than the issuer's, issuers
	// that domains name, and domains that are not listed. Nil means the strictest client.
	ForeignClient *http.Client
	// Fresh is how long fetched keys and documents are used before they are fetched again. Zero means [DefaultFresh].
	Fresh time.Duration
	// Stale is how long keys are used while the issuer does not answer. Zero means [DefaultStale].
	Stale time.Duration
	// Ahead is how long before the end of Fresh what is in use is fetched again, in the background, so that no caller waits for it. In an
	// outage, too, callers then use what is still valid without waiting. Zero means never: the first caller waits.
	Ahead time.Duration
	// Pinned is how long a domain keeps the issuers that it named while its document cannot be read. Zero means [DefaultPinned].
	Pinned time.Duration
	// Overlap is how long a domain must name another issuer beside a pinned one until that is pinned too. Zero means [DefaultOverlap].
	Overlap time.Duration
	// PinFile is the file that stores the pins. Empty means that they last as long as the table.
	PinFile string
	// Previous is a table that the new one replaces. Its pins, and suspensions by [Table.Suspend] of domains that the new one knows, go on.
	Previous *Table
	// Log receives the pins that are made, and changes of issuers. Nil discards them.
	Log *slog.Logger
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
	roots   map[string]rootsOf // by domain

	suspending sync.Mutex // held while suspended is replaced
	suspended  atomic.Pointer[map[string]bool]

	discovery *discovery // nil: the issuers of all domains are configured
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
	t := &Table{domains: make(map[string][]peer), issuers: make(map[string]*issuer), roots: make(map[string]rootsOf)}
	t.suspended.Store(new(map[string]bool))
	discovered := make(map[string]Peer)
	given := make(map[string]string) // the configured key sets, by issuer
	for i, p := range cfg.Peers {
		domain, err := claims.CheckDomain(p.Domain, cfg.Development)
		if err != nil {
			return nil, fmt.Errorf("trust: peer %d: domain: %w", i+1, err)
		}
		if slices.ContainsFunc(t.domains[domain], func(l peer) bool { return l.issuer == p.Issuer }) {
			return nil, fmt.Errorf("trust: peer %d: %s is listed twice with this issuer", i+1, domain)
		}
		if err := t.addRoots(domain, p); err != nil {
			return nil, fmt.Errorf("trust: peer %d: %w", i+1, err)
		}
		if _, twice := discovered[domain]; twice || p.Issuer == "" && t.domains[domain] != nil {
			return nil, fmt.Errorf("trust: peer %d: %s is listed without an issuer, and again", i+1, domain)
		}
		if p.Issuer == "" {
			if len(p.JWKS) > 0 {
				return nil, fmt.Errorf("trust: peer %d: keys without their issuer", i+1)
			}
			discovered[domain] = p
			continue
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
	if err := t.follow(&cfg, discovered); err != nil {
		return nil, err
	}
	return t, nil
}

// follow makes the discovery of the domains without a configured issuer, and takes over from an earlier table.
func (t *Table) follow(cfg *Config, discovered map[string]Peer) error {
	if len(discovered) > 0 || cfg.Open != nil {
		gate, err := newGate(cfg.Open, cfg.Development, cfg.Now)
		if err != nil {
			return err
		}
		d := &discovery{
			Config: cfg, table: t, gate: gate, domains: make(map[string]*domain), issuers: make(map[string]*learned),
		}
		for name, p := range discovered {
			d.add(name, true, p.Suspended)
		}
		if err := d.restore(cfg.Previous); err != nil {
			return err
		}
		d.own()
		t.discovery = d
	}
	if cfg.Previous != nil {
		for name := range *cfg.Previous.suspended.Load() {
			_ = t.Suspend(name, true) // unless the domain is not known any more
		}
		cfg.Previous = nil // so that it can be collected
	}
	return nil
}

func (cfg *Config) complete() error {
	cfg.Fresh = cmp.Or(cfg.Fresh, DefaultFresh)
	cfg.Stale = cmp.Or(cfg.Stale, DefaultStale)
	cfg.Pinned = cmp.Or(cfg.Pinned, DefaultPinned)
	cfg.Overlap = cmp.Or(cfg.Overlap, DefaultOverlap)
	if cfg.Fresh < 0 || cfg.Stale < cfg.Fresh {
		return errors.New("trust: Fresh and Stale must not be negative, nor Stale less than Fresh")
	}
	if cfg.Pinned < cfg.Fresh || cfg.Overlap < 0 || cfg.Ahead < 0 {
		return errors.New("trust: Ahead, Pinned and Overlap must not be negative, nor Pinned less than Fresh")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	policy := fetch.Policy{AllowHTTP: cfg.Development}
	var err error
	if cfg.Client == nil {
		cfg.Client, err = fetch.NewClient(policy)
	}
	if cfg.ForeignClient == nil && err == nil {
		cfg.ForeignClient, err = fetch.NewForeignClient(policy)
	}
	if err != nil {
		return err
	}
	cfg.Client, cfg.ForeignClient = withoutRedirects(cfg.Client), withoutRedirects(cfg.ForeignClient)
	return nil
}

// withoutRedirects returns a client that follows no redirects. Those of internal/fetch refuse them anyway.
func withoutRedirects(c *http.Client) *http.Client {
	strict := *c
	strict.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &strict
}

// source returns the source of the keys of a peer's issuer.
func (cfg *Config) source(p Peer) (keySource, error) {
	u, err := checkIssuer(p.Issuer, cfg.Development)
	if err != nil {
		return nil, err
	}
	if len(p.JWKS) == 0 {
		at := location{issuer: p.Issuer, at: u, client: cfg.Client, foreign: cfg.ForeignClient}
		return cfg.newIssuerKeys(at.fetch, 0), nil
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

// Issuers returns the URLs of the issuers that may speak for a domain in canonical form, in the order of the configuration, or of the
// domain's document as it was last read. It sends no request; see [Table.Discover]. The error is [ErrUntrusted] if the table lacks the
// domain, [ErrSuspended], or [ErrUnavailable] if they were not discovered yet.
func (t *Table) Issuers(domain string) ([]string, error) {
	peers := t.domains[domain]
	if len(peers) == 0 {
		return t.discovery.lastIssuers(domain)
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

// Discover is like [Table.Issuers] for a domain in any spelling, and finds the issuers if they are not known. The error is also
// [ErrChanged] if the domain names other issuers than before, or [ErrUnavailable] or that of the context if they cannot be known now.
func (t *Table) Discover(ctx context.Context, domain string) ([]string, error) {
	name, err := claims.CheckDomain(domain, true)
	if err != nil {
		return nil, fmt.Errorf("trust: domain: %w", err)
	}
	if t.discovers(name) {
		return t.discovery.issuersOf(ctx, name)
	}
	return t.Issuers(name)
}

// discovers reports whether the issuers of a domain are discovered.
func (t *Table) discovers(domain string) bool {
	return len(t.domains[domain]) == 0 && t.discovery.covers(domain)
}

// Domains returns the domains that an issuer may speak for, in canonical form, to compare with those of its tokens. Of the domains
// whose issuers are discovered it has those that were found when they were last asked about: only [Table.Speaks] tells whether a domain
// was withdrawn since. The error is [ErrUntrusted] or [ErrSuspended].
func (t *Table) Domains(issuer string) ([]string, error) {
	found, err := t.discovery.domainsOf(issuer)
	known := t.issuers[issuer]
	if known == nil {
		return found, err
	}
	domains := append(slices.DeleteFunc(slices.Clone(known.domains), t.isSuspended), found...)
	if len(domains) == 0 {
		return nil, ErrSuspended
	}
	return domains, nil
}

// Speaks returns nil if the issuer may speak for a domain in canonical form, else [ErrUntrusted], [ErrSuspended],
// [ErrForeignDomain] or [ErrChanged]. Only for a domain whose issuers are discovered it may send requests, and then the error may also
// be [ErrUnavailable] or that of the context.
func (t *Table) Speaks(ctx context.Context, issuer, domain string) error {
	return t.SpeaksFor(ctx, "", issuer, domain)
}

// SpeaksFor is [Table.Speaks] for a question that source caused: a client or an address, by any name. One source can use up only its own
// part of what [Open] allows to all; [Table.Speaks] has one part for all its callers.
func (t *Table) SpeaksFor(ctx context.Context, source, issuer, domain string) error {
	if t.discovers(domain) {
		return t.discovery.speaks(ctx, source, issuer, domain)
	}
	known := t.issuers[issuer]
	if known == nil {
		if _, err := t.discovery.domainsOf(issuer); err != ErrUntrusted {
			return ErrForeignDomain
		}
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

// Key returns the public key that an issuer publishes under kid, and its algorithm. The errors [ErrUntrusted], [ErrSuspended],
// [ErrChanged] and [ErrUnknownKey] are final. Any other error means that the key cannot be known now: [ErrUnavailable], or that of the
// context.
func (t *Table) Key(ctx context.Context, issuer, kid string) (key crypto.PublicKey, alg string, err error) {
	return t.OtherKey(ctx, issuer, kid, nil)
}

// OtherKey is like [Table.Key] for a signature that did not verify with the key failed: an issuer may publish a new key under an old
// kid. The keys are fetched again, at most once a minute. [ErrUnknownKey] also means that failed is still the issuer's key.
func (t *Table) OtherKey(ctx context.Context, issuer, kid string, failed crypto.PublicKey) (key crypto.PublicKey, alg string, err error) {
	known := t.issuers[issuer]
	switch {
	case known == nil && t.discovery == nil:
		return nil, "", ErrUntrusted
	case known == nil:
		k, err := t.discovery.key(ctx, issuer, kid, failed)
		return k.key, k.alg, err
	case t.allSuspended(known):
		return nil, "", ErrSuspended
	}
	k, err := known.keys.key(ctx, kid, failed)
	if err == nil && t.allSuspended(known) { // while the key was fetched
		return nil, "", ErrSuspended
	}
	return k.key, k.alg, err
}

// Forget drops what is pinned for a domain, in any spelling, so that the issuers that it names next are pinned. It is for an operator who
// has made sure that a change of issuer is right. The error is [ErrUntrusted] if the issuers of the domain are not discovered.
func (t *Table) Forget(domain string) error {
	name, err := claims.CheckDomain(domain, true)
	if err != nil {
		return fmt.Errorf("trust: domain: %w", err)
	}
	if !t.discovery.forget(name) {
		return ErrUntrusted
	}
	return nil
}
