package edge

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"time"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/trust"
)

// A state is everything that changes when the settings are read again. A request ends with the state that it began with.
type state struct {
	cfg      *config.Gateway
	table    *trust.Table
	home     *home // nil if the settings have none
	verifier *gateway.Verifier
	checker  *gateway.Verifier // spends no proofs
	signer   *forwardauth.Signer
	reader   *forwardauth.Reader
	handler  *forwardauth.Handler
	check    *forwardauth.Handler // decides without spending proofs
	proxy    *forwardauth.Proxy   // nil unless there is an upstream
	metadata forwardauth.Metadata
}

// label returns the issuer of a token for a metric: that of a peer, or one word for all issuers of domains that are not listed, of which
// there may be any number.
func (s *state) label(issuer string) string {
	if s.cfg.Discovery.Open && !slices.ContainsFunc(s.cfg.Peers, func(p config.GatewayPeer) bool { return p.Issuer == issuer }) {
		return "discovered"
	}
	return issuer
}

// A keyFromStart is a key for identities that lives as long as the process.
type keyFromStart struct{ crypto.Signer }

func newKey() (*keyFromStart, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for identities: %w", err)
	}
	return &keyFromStart{key}, nil
}

// newState makes the state of settings. Of the one before it keeps what has not changed; nil stands for none before.
func (i *Instance) newState(cfg *config.Gateway, before *state) (*state, error) {
	s := &state{cfg: cfg}
	policy, err := cfg.FetchPolicy()
	if err != nil {
		return nil, err
	}
	policy.Observe = i.tracer.Fetch()
	client, err := fetch.NewClient(policy)
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	policy.AllowAnyPort = cfg.Development
	foreign, err := fetch.NewForeignClient(policy)
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	if err := i.openTrust(s, before, client, foreign); err != nil {
		return nil, err
	}
	if err := i.openHome(s, before, client, foreign); err != nil {
		return nil, err
	}
	if err := i.openSigner(s, before); err != nil {
		return nil, err
	}
	if err := i.openVerifiers(s, before, client, foreign); err != nil {
		return nil, err
	}
	return s, i.openHandlers(s)
}

// openTrust makes the table of trusted issuers, with the suspensions in force. Unchanged peers keep the keys that were fetched.
func (i *Instance) openTrust(s, before *state, client, foreign *http.Client) error {
	if before != nil && reflect.DeepEqual(s.cfg.Peers, before.cfg.Peers) &&
		reflect.DeepEqual(s.cfg.Outbound, before.cfg.Outbound) && reflect.DeepEqual(s.cfg.Discovery, before.cfg.Discovery) {
		s.table = before.table
		return nil
	}
	var peers []trust.Peer
	for _, p := range s.cfg.Peers {
		peers = append(peers, trust.Peer{Domain: p.Domain, Issuer: p.Issuer, JWKS: p.JWKS, Suspended: p.Suspended})
	}
	cfg := trust.Config{
		Peers: peers, Client: client, ForeignClient: foreign, Ahead: time.Minute, PinFile: i.pins, Log: i.log, Now: i.now,
		Development: s.cfg.Development,
	}
	if d := s.cfg.Discovery; d.Open {
		cfg.Open = &trust.Open{Allow: d.Allow, Refuse: d.Refuse, PerMinute: d.PerMinute, PerSource: d.PerSource}
	}
	if before != nil {
		cfg.Previous = before.table
	}
	var err error
	if s.table, err = trust.NewTable(cfg); err != nil {
		return config.Errors{s.cfg.Fault("peers", "%v", err)}
	}
	for _, domain := range i.stops.domains {
		if err := s.table.Suspend(domain, true); err != nil {
			i.log.Warn("a suspended peer is not in the settings", slog.String("domain", domain))
		}
	}
	return nil
}

// openSigner makes the signer of identities. The key before it is still published, until the settings are read again.
func (i *Instance) openSigner(s, before *state) error {
	key := s.cfg.Identity.Key
	if key == nil {
		key = i.made.Signer
	}
	var old []crypto.PublicKey
	if before != nil {
		last := before.cfg.Identity.Key
		if last == nil {
			last = i.made.Signer
		}
		if public, ok := last.Public().(interface{ Equal(crypto.PublicKey) bool }); ok && !public.Equal(key.Public()) {
			old = append(old, last.Public())
		}
	}
	var err error
	s.signer, err = forwardauth.NewSigner(forwardauth.SignerConfig{Issuer: s.cfg.Identity.Issuer, Key: key, Before: old, Now: i.now})
	return err
}

// openVerifiers makes the verifiers of tokens. Those before are kept if nothing that they depend on has changed, with the tokens that they
// know and the answers of issuers: in an outage, routes may let these pass.
func (i *Instance) openVerifiers(s, before *state, client, foreign *http.Client) error {
	cfg := s.cfg
	if before != nil && s.table == before.table && s.home == before.home && slices.Equal(cfg.Audience, before.cfg.Audience) &&
		cfg.Limits.Tokens == before.cfg.Limits.Tokens && cfg.Development == before.cfg.Development {
		s.verifier, s.checker = before.verifier, before.checker
		return nil
	}
	statuses, err := newStatuses(s, client, foreign, i.now)
	if err != nil {
		return err
	}
	c := gateway.Config{
		Trust: s.table, Audience: cfg.Audience, Statuses: statuses, CacheEntries: cfg.Limits.Tokens,
		Development: cfg.Development, Now: i.now, Proofs: i.proofs,
	}
	if s.home != nil {
		c.OwnIssuers, c.Ask, c.Feed = []string{s.home.cfg.Issuer}, s.home.ask, s.home.feedOf
	}
	if s.verifier, err = gateway.New(c); err != nil {
		return err
	}
	c.Proofs = i.dry
	s.checker, err = gateway.New(c)
	return err
}

// openHandlers makes what answers requests.
func (i *Instance) openHandlers(s *state) error {
	cfg := s.cfg
	kind := forwardauth.Kind(cfg.Proxy)
	if cfg.Upstream != "" {
		kind = forwardauth.Direct
	}
	var err error
	s.reader, err = forwardauth.NewReader(forwardauth.Config{Proxy: kind, Trusted: cfg.TrustedProxies, Origins: cfg.PublicOrigins})
	if err != nil {
		return err
	}
	routes, err := newRoutes(cfg)
	if err != nil {
		return err
	}
	handler := forwardauth.HandlerConfig{Reader: s.reader, Verifier: s.verifier, Proofs: i.proofs, Signer: s.signer, Routes: routes}
	if s.handler, err = forwardauth.NewHandler(handler); err != nil {
		return err
	}
	handler.Verifier, handler.Proofs = s.checker, i.dry
	if s.check, err = forwardauth.NewHandler(handler); err != nil {
		return err
	}
	s.metadata = newMetadata(cfg, i.proofs.Algorithms())
	if cfg.Upstream == "" {
		return nil
	}
	upstream, err := url.Parse(cfg.Upstream)
	if err != nil {
		return err
	}
	s.proxy, err = forwardauth.NewProxy(forwardauth.ProxyConfig{
		Handler: s.handler, Upstream: upstream, PassCredentials: cfg.PassCredentials, MaxBody: int64(cfg.Limits.Body),
		AnswerTime: cfg.Limits.AnswerTime, ErrorLog: slog.NewLogLogger(i.log.Handler(), slog.LevelWarn),
	})
	return err
}

// newMetadata returns the metadata of the public origins (RFC 9728), without the issuers.
func newMetadata(cfg *config.Gateway, algorithms []string) forwardauth.Metadata {
	m := forwardauth.Metadata{Audience: cfg.Audience, Algorithms: algorithms}
	for _, r := range cfg.Routes {
		for _, word := range r.Scopes {
			if !slices.Contains(m.ScopesSupported, word) {
				m.ScopesSupported = append(m.ScopesSupported, word)
			}
		}
	}
	return m
}
