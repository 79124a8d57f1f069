package issuer

import (
	"context"
	"crypto"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/trust"
)

// An authority decides which issuers are trusted for enclosed tokens: the issuer itself for its own domains, and the
// peers of the settings. The peers can be replaced while it is in use.
type authority struct {
	issuer  string
	domains []string
	ring    *keys.Ring
	peers   atomic.Pointer[trust.Table]
}

var _ nested.OtherKeySource = (*authority)(nil)

func newAuthority(cfg *config.Config, ring *keys.Ring) (*authority, error) {
	peers, err := newPeers(cfg)
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

// newPeers returns the table of peers. Their keys are fetched under the rules for outbound requests.
func newPeers(cfg *config.Config) (*trust.Table, error) {
	client, err := outbound(cfg)
	if err != nil {
		return nil, err
	}
	peers := make([]trust.Peer, len(cfg.Peers))
	for i, p := range cfg.Peers {
		peers[i] = trust.Peer{Domain: p.Domain, Issuer: p.Issuer, JWKS: p.JWKS, Suspended: p.Suspended}
	}
	return trust.NewTable(trust.Config{Peers: peers, Client: client, Development: cfg.Development})
}
