package issuer

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/server"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/trust"
)

// An authority decides which issuers are trusted for enclosed tokens: the issuer itself for its own domains, and the
// peers of the settings. The peers can be replaced while it is in use.
type authority struct {
	issuer  string
	domains []string
	ring    *keys.Ring
	peers   atomic.Pointer[peers]
}

// peers are the issuers of other domains, what their callers are told at introspection, and their entries in the settings.
type peers struct {
	*trust.Table
	entries  []config.Peer
	listed   []trust.Peer
	releases map[speaker]*introspect.Release
}

// A speaker is an issuer and a domain that it may speak for.
type speaker struct{ issuer, domain string }

var (
	_ nested.OtherKeySource = (*authority)(nil)
	_ server.Peers          = (*authority)(nil)
	_ oauth.Peers           = (*authority)(nil)
)

func newAuthority(cfg *config.Config, ring *keys.Ring, observe fetch.Observer, now func() time.Time, log *slog.Logger) (*authority, error) {
	peers, err := newPeers(cfg, nil, observe, now, log)
	if err != nil {
		return nil, err
	}
	a := &authority{issuer: cfg.Issuer, domains: domainNames(cfg), ring: ring}
	a.peers.Store(peers)
	return a, nil
}

// Key returns the key that issuer publishes under kid.
func (a *authority) Key(ctx context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	if issuer != a.issuer {
		return a.peers.Load().Key(ctx, issuer, kid)
	}
	key, alg, ok := a.ring.Public(kid)
	if !ok { // another node may have made it just before
		if err := a.ring.Await(ctx, kid); err != nil {
			return nil, "", fmt.Errorf("issuer: %w", err)
		}
		key, alg, ok = a.ring.Public(kid)
	}
	if !ok {
		return nil, "", fmt.Errorf("issuer: no such key of this issuer: %w", claims.ErrIssuer)
	}
	return key, alg, nil
}

// OtherKey returns the key that a peer publishes under kid now, if it is not the key that failed. The issuer itself never
// uses a kid for two keys.
func (a *authority) OtherKey(ctx context.Context, issuer, kid string, failed crypto.PublicKey) (crypto.PublicKey, string, error) {
	if issuer != a.issuer {
		return a.peers.Load().OtherKey(ctx, issuer, kid, failed)
	}
	return nil, "", fmt.Errorf("issuer: no other key of this issuer: %w", claims.ErrIssuer)
}

// Speaks returns nil if issuer may speak for domain. Nobody else may speak for the issuer's own domains.
func (a *authority) Speaks(ctx context.Context, issuer, domain string) error {
	own := slices.Contains(a.domains, domain)
	switch {
	case issuer == a.issuer && own:
		return nil
	case issuer == a.issuer || own:
		return fmt.Errorf("issuer: not the issuer of this domain: %w", claims.ErrDomain)
	}
	return a.peers.Load().Speaks(ctx, issuer, domain)
}

// Domains returns the domains that a peer may speak for, as far as that is known: see [trust.Table.Domains].
func (a *authority) Domains(issuer string) ([]string, error) { return a.peers.Load().Domains(issuer) }

// Release returns what callers from a peer are told.
func (a *authority) Release(issuer, domain string) (*introspect.Release, bool) {
	releases := a.peers.Load().releases
	r, listed := releases[speaker{issuer, domain}]
	if !listed {
		r, listed = releases[speaker{"", domain}] // its issuer was discovered
	}
	return r, listed
}

// pinsName is the file of the pinned issuers in the data folder.
const pinsName = "pins.json"

// Resource reports whether a resource is a URI of the domain of a peer that is not suspended, or the URL of such a peer's issuer.
func (a *authority) Resource(resource string) bool {
	peers := a.peers.Load()
	if domain, ok := claims.DomainOf(resource); ok {
		_, err := peers.Issuers(domain)
		return !isRefusal(err)
	}
	_, err := peers.Domains(resource)
	return !isRefusal(err)
}

// isRefusal reports whether an error of the table is final.
func isRefusal(err error) bool {
	return errors.Is(err, claims.ErrIssuer) || errors.Is(err, claims.ErrDomain)
}

// Give returns the issuer that target names, by its URL or by a URI of its domain, and the id under which it knows a client, if the
// settings let the client get authorization grants for it. The issuers of a peer that is listed without one are discovered.
func (a *authority) Give(ctx context.Context, target, client string) (issuer, as string, err error) {
	peers := a.peers.Load()
	domain, byDomain := claims.DomainOf(target)
	unknown := claims.ErrIssuer
	for _, e := range peers.entries {
		i := slices.IndexFunc(e.Chaining.Give, func(c config.GivenClient) bool { return c.Client == client })
		if i < 0 || byDomain && e.Domain != domain {
			continue
		}
		issuers, err := peers.Discover(ctx, e.Domain) // those that are not suspended
		if err != nil && !isRefusal(err) {
			unknown = err
		}
		for _, url := range issuers {
			if (e.Issuer == url || e.Issuer == "") && (byDomain || url == target) {
				return url, e.Chaining.Give[i].As, nil
			}
		}
	}
	return "", "", unknown
}

// Take returns the longest life of the tokens that a client gets by authorization grants of an issuer for users of a domain, if the
// settings let it use them. Whether the issuer speaks for the domain is not checked.
func (a *authority) Take(issuer, domain, client string) (time.Duration, error) {
	for _, e := range a.peers.Load().entries {
		if e.Domain == domain && (e.Issuer == issuer || e.Issuer == "") && slices.Contains(e.Chaining.Take, client) {
			return e.Chaining.Lifetime, nil
		}
	}
	return 0, claims.ErrIssuer
}

// newPeers returns the peers of the settings. Their keys are fetched under the rules for outbound requests. If the issuers are those of
// before, the keys that were fetched from them are kept. Nil stands for none before.
func newPeers(
	cfg *config.Config, before *peers, observe fetch.Observer, now func() time.Time, log *slog.Logger,
) (*peers, error) {
	policy, err := cfg.FetchPolicy()
	if err != nil {
		return nil, err
	}
	policy.Observe = observe
	client, err := fetch.NewClient(policy)
	if err != nil {
		return nil, err
	}
	policy.AllowAnyPort = cfg.Development
	foreign, err := fetch.NewForeignClient(policy)
	if err != nil {
		return nil, err
	}
	p := &peers{entries: cfg.Peers, releases: make(map[speaker]*introspect.Release)}
	for _, e := range cfg.Peers {
		p.listed = append(p.listed, trust.Peer{Domain: e.Domain, Issuer: e.Issuer, JWKS: e.JWKS, CA: e.CA, Suspended: e.Suspended})
		p.releases[speaker{e.Issuer, e.Domain}] = e.Introspection.Release
	}
	if before != nil && reflect.DeepEqual(p.listed, before.listed) {
		p.Table = before.Table
		return p, nil
	}
	table := trust.Config{
		Peers: p.listed, Client: client, ForeignClient: foreign, Ahead: time.Minute, PinFile: filepath.Join(cfg.Data, pinsName),
		Development: cfg.Development, Now: now, Log: log,
	}
	if before != nil {
		table.Previous = before.Table
	}
	p.Table, err = trust.NewTable(table)
	return p, err
}
