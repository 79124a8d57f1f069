// Package trust answers whom to believe about a domain: which issuers may speak for it, and by which keys.
//
// A [Table] is made from the peers that an operator wrote down. The keys of a peer stand there too, or are found by the
// issuer's metadata (RFC 8414) and kept for a while. An issuer is believed for the domains that it is listed with and for
// no other, whatever its tokens say.
//
// A "no" is never mixed up with "cannot know": [ErrUntrusted], [ErrSuspended], [ErrForeignDomain] and [ErrUnknownKey] are
// final, whereas [ErrUnavailable] means that an issuer could not be asked, and that the same question may have another
// answer in a minute. Signatures and claims are not checked here.
package trust

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/published"
)

// ErrUnavailable is returned when the keys of an issuer cannot be known now: it does not answer, or was asked so lately
// that it is left alone. It says nothing about any token.
var ErrUnavailable = errors.New("trust: the keys of the issuer are not available")

// The answers that are no. Those about issuers and keys are a [claims.ErrIssuer] too, that about domains a
// [claims.ErrDomain], so that who holds an interface need not know this package.
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

// A Peer is one line of the table: an issuer, and a domain that it may speak for.
type Peer struct {
	// Domain is the peer's domain, in any spelling.
	Domain string
	// Issuer is the URL of its issuer, exactly as it stands in `iss`.
	Issuer string
	// JWKS is the issuer's JWK Set (RFC 7517 §5). Empty means that it is found by the issuer's metadata. All peers of one
	// issuer have the same.
	JWKS []byte
	// Suspended keeps the peer in the table and believes nothing it says.
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
	// Client fetches from the issuers that are written down; nil means the strictest of this service.
	Client *http.Client
	// ForeignClient fetches what metadata points to at another origin than the issuer's; nil means the strictest.
	ForeignClient *http.Client
	// Fresh is for how long fetched keys are used unasked: zero means [DefaultFresh].
	Fresh time.Duration
	// Stale is for how long they are used while the issuer does not answer: zero means [DefaultStale].
	Stale time.Duration
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Development admits domains set aside for tests and issuers by http.
	Development bool
}

// A Table holds the peers. It does not change, but for the keys it has fetched, and is safe for concurrent use.
type Table struct {
	domains map[string][]line  // by domain
	issuers map[string]*issuer // by URL
}

// A line is a peer as seen from its domain.
type line struct {
	issuer    string
	suspended bool
}

type issuer struct {
	domains []string // that it may speak for now; none: all its peers are suspended
	keys    keySource
}

// A keySource finds the key of one issuer by its kid. A key that equals other is not the one that is asked for; nil is no
// restriction.
type keySource interface {
	key(ctx context.Context, kid string, other crypto.PublicKey) (publicKey, error)
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
	t := &Table{domains: make(map[string][]line), issuers: make(map[string]*issuer)}
	given := make(map[string]string) // the key sets as they are written
	for i, p := range cfg.Peers {
		domain, err := claims.CheckDomain(p.Domain, cfg.Development)
		if err != nil {
			return nil, fmt.Errorf("trust: peer %d: domain: %w", i+1, err)
		}
		if slices.ContainsFunc(t.domains[domain], func(l line) bool { return l.issuer == p.Issuer }) {
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
		t.domains[domain] = append(t.domains[domain], line{p.Issuer, p.Suspended})
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

// source returns where the keys of a peer's issuer come from.
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
	return written(keys), nil
}

// differs reports whether k is another key than other.
func (k publicKey) differs(other crypto.PublicKey) bool {
	key, ok := k.key.(interface{ Equal(crypto.PublicKey) bool })
	return !ok || !key.Equal(other)
}

// written are keys that stand in the table.
type written map[string]publicKey

func (w written) key(_ context.Context, kid string, other crypto.PublicKey) (publicKey, error) {
	k, ok := w[kid]
	if !ok || !k.differs(other) {
		return publicKey{}, ErrUnknownKey
	}
	return k, nil
}

// Issuers returns the URLs of those who may speak for a domain in canonical form, in the order of the table. The error
// is [ErrUntrusted] for a domain that the table lacks, and [ErrSuspended].
func (t *Table) Issuers(domain string) ([]string, error) {
	lines := t.domains[domain]
	if len(lines) == 0 {
		return nil, ErrUntrusted
	}
	var urls []string
	for _, l := range lines {
		if !l.suspended {
			urls = append(urls, l.issuer)
		}
	}
	if urls == nil {
		return nil, ErrSuspended
	}
	return urls, nil
}

// Domains returns the domains that an issuer may speak for, in canonical form: those to expect of its tokens. The error
// is [ErrUntrusted] or [ErrSuspended].
func (t *Table) Domains(issuer string) ([]string, error) {
	known := t.issuers[issuer]
	switch {
	case known == nil:
		return nil, ErrUntrusted
	case len(known.domains) == 0:
		return nil, ErrSuspended
	}
	return slices.Clone(known.domains), nil
}

// Speaks returns nil if the issuer may speak for a domain in canonical form. Otherwise it is [ErrUntrusted],
// [ErrSuspended] or [ErrForeignDomain]. It asks nobody.
func (t *Table) Speaks(_ context.Context, issuer, domain string) error {
	known := t.issuers[issuer]
	if known == nil {
		return ErrUntrusted
	}
	if slices.Contains(known.domains, domain) {
		return nil
	}
	if slices.Contains(t.domains[domain], line{issuer, true}) {
		return ErrSuspended
	}
	return ErrForeignDomain
}

// Key returns the key that an issuer signs with under kid, and its algorithm. The error is [ErrUntrusted],
// [ErrSuspended] or [ErrUnknownKey], which are final, or else means that this cannot be known now ([ErrUnavailable], or
// that of the context).
func (t *Table) Key(ctx context.Context, issuer, kid string) (key crypto.PublicKey, alg string, err error) {
	return t.OtherKey(ctx, issuer, kid, nil)
}

// OtherKey returns the key that an issuer signs with under kid, if that is another one than failed, which did not verify a
// signature: an issuer may have put a new key under an old kid. The keys are fetched again for it, at most once a minute.
// The errors are those of [Table.Key]; [ErrUnknownKey] also means that failed is still the issuer's key.
func (t *Table) OtherKey(ctx context.Context, issuer, kid string, failed crypto.PublicKey) (key crypto.PublicKey, alg string, err error) {
	known := t.issuers[issuer]
	switch {
	case known == nil:
		return nil, "", ErrUntrusted
	case len(known.domains) == 0:
		return nil, "", ErrSuspended
	}
	k, err := known.keys.key(ctx, kid, failed)
	return k.key, k.alg, err
}
