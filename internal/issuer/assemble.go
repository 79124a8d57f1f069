package issuer

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/admin"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/idempotency"
	"github.com/imidentity/issuer/internal/registration"
	"github.com/imidentity/issuer/internal/server"
	"github.com/imidentity/issuer/internal/signed"
	"github.com/imidentity/issuer/internal/vci"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/recheck"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// assemble builds the parts of the issuer on its store, each from those before it.
func (i *Instance) assemble(ctx context.Context, sealer *keys.Sealer, replay dpop.Replay) error {
	cfg := i.cfg
	// First: this fails with the wrong key-encryption key, before a signing key is made under that.
	if err := i.openCluster(ctx, sealer); err != nil {
		return err
	}
	var err error
	i.mirror = revocation.NewMirror(revocation.Config{
		Source: i.store, Repair: i.repair, Recovered: func() { i.clients.restart() }, Now: i.now, Log: i.log,
	})
	i.ring, err = keys.OpenRing(ctx, i.store, sealer, keys.RingConfig{
		Alg: cfg.Signing.Alg, LongestLife: longestLife(cfg),
		RotateEvery: time.Duration(cfg.Signing.RotateEvery), PublishAhead: cfg.Signing.PublishAhead,
		Revoked: i.revoked, Changed: i.keyChanged, Now: i.now, Log: i.log,
	})
	if err != nil {
		return err
	}
	i.book = audit.NewBook(audit.BookConfig{
		Store: i.store, Issuer: cfg.Issuer, Keys: i.ring, Node: cfg.Audit.Node, HeadsEvery: cfg.Audit.HeadsEvery,
		HeadsFile: cfg.Audit.HeadsFile, Retention: time.Duration(cfg.Retention.Audit),
		DetailRetention: time.Duration(cfg.Retention.AuditDetails), Now: i.now,
	})
	i.metrics.registry.MustRegister(keyAges{i.ring, i.now})
	nonces := i.cluster.Derive(labelNonces, dpop.NonceLife)
	proofs, err := newProofs(cfg, nonces.Keys, replay, i.metrics.offset, i.now)
	if err != nil {
		return err
	}
	if err := i.mirror.Read(ctx); err != nil {
		return err
	}
	if err := i.openAccounts(ctx, i.cluster.Lasting(labelTombstones), i.cluster.Lasting(labelLinks)); err != nil {
		return err
	}
	if err := i.openStatuses(ctx); err != nil {
		return err
	}
	if err := i.openCAs(); err != nil {
		return err
	}
	if i.trusted, err = newAuthority(cfg, i.ring, i.tracer.Fetch(), i.now, i.log); err != nil {
		return err
	}
	i.limits = server.NewLimits(rates(cfg), i.now)
	if i.shared != nil {
		i.limits.Share(i.shared, i.cluster.Lasting(labelLimits), i.log)
	}
	registry, err := i.newRegistry()
	if err != nil {
		return err
	}
	made, err := i.newStatements(registry)
	if err != nil {
		return err
	}
	logins, err := newLogins(cfg, i.tracer.Fetch(), i.now)
	if err != nil {
		return err
	}
	rechecks, err := i.newRechecks(logins, i.cluster.Lasting(labelUpstream))
	if err != nil {
		return err
	}
	provider, err := i.openProvider(registry, made, proofs, logins, rechecks)
	if err != nil {
		return err
	}
	if i.clients, err = openRegister(ctx, i.store, registry, cfg, i.log); err != nil {
		return err
	}
	crossSigned, err := signed.New(signed.Config{Store: i.store, Accounts: i.accounts, Now: i.now})
	if err != nil {
		return err
	}
	introspector, err := introspect.New(introspect.Config{
		Issuer: cfg.Issuer, Domains: domainNames(cfg), Keys: i.ring, Revocations: i.mirror, Records: records{i.store},
		History: history{i.ring, i.store, i.now}, ParseCWT: parseCWT, CrossSigning: crossSigned,
		Authority: i.trusted, PairwiseKey: i.cluster.Lasting(labelPairwise),
		Replay: replay, ProofAlgorithms: cfg.DPoP.Algorithms, Development: cfg.Development, Now: i.now,
	})
	if err != nil {
		return err
	}
	if i.feed, err = newFeed(cfg, i.mirror, i.cluster, i.now); err != nil {
		return err
	}
	i.kept, err = idempotency.New(idempotency.Config{
		Store: i.store, Secret: i.cluster.Lasting(labelIdempotency), Now: i.now, Rand: rand.Reader,
	})
	if err != nil {
		return err
	}
	credentials, err := i.newCredentials(registry, replay)
	if err != nil {
		return err
	}
	if i.wire, err = i.openWire(ctx, sealer, registry, replay); err != nil {
		return err
	}
	return i.openServer(ctx, registry, made, proofs, logins, rechecks, provider, introspector, credentials, crossSigned)
}

// openAccounts makes the accounts, with keys for the marks of removed users and for the ids of links, and renews the collision keys of
// names that an earlier version made.
func (i *Instance) openAccounts(ctx context.Context, tombstones, links [32]byte) error {
	domains, err := accountDomains(i.cfg)
	if err != nil {
		return err
	}
	i.accounts, err = account.New(account.Config{
		Store: i.store, Domains: domains, TokenLife: i.cfg.Lifetimes.Access, MaxDevices: i.cfg.Limits.DevicesPerUser,
		MaxStatements: i.cfg.Limits.StatementsPerUser, MaxRevocations: i.cfg.Limits.RevocationsPerUser,
		TombstoneKey: tombstones, LinkKey: &links, Forget: i.forget, Revoked: i.revoked, CatchUp: i.mirror.Read,
		Now: i.now,
	})
	if err != nil {
		return err
	}
	renewed, clashes, err := i.accounts.RenewKeys(ctx)
	if err != nil {
		return err
	}
	if renewed > 0 {
		i.log.Info("the collision keys of names were renewed", slog.Int("names", renewed), slog.Int("clashes", len(clashes)))
	}
	for _, n := range clashes {
		i.log.Warn("a name looks like another one of its domain: check whether it deceives people",
			slog.String("domain", n.Domain), slog.String("name", n.Local), slog.String("user", n.User))
	}
	return nil
}

// newRegistry makes the registry of clients. It has none until the register gives it some.
func (i *Instance) newRegistry() (*clients.Registry, error) {
	keys, err := newClientKeys(i.cfg, i.tracer.Fetch(), i.now, i.log)
	if err != nil {
		return nil, err
	}
	return clients.New(clients.Config{
		Issuer: i.cfg.Issuer, Store: i.store, Keys: keys, TokenLife: i.cfg.Lifetimes.Access, Revoked: i.revoked, Now: i.now,
	})
}

// newStatements makes the service of statements.
func (i *Instance) newStatements(registry *clients.Registry) (*statements.Service, error) {
	return statements.New(statements.Config{
		Issuer: i.cfg.Issuer, Domains: domainNames(i.cfg), Clients: registry, Store: i.store, Accounts: i.accounts, Keys: i.ring,
		Authority: i.trusted, Development: i.cfg.Development, Life: i.cfg.Lifetimes.Statement,
		Limiter: i.limits, Now: i.now,
	})
}

// newCredentials makes the service that issues credentials.
func (i *Instance) newCredentials(registry *clients.Registry, replay dpop.Replay) (*vci.Service, error) {
	return vci.New(vci.Config{
		Issuer: i.cfg.Issuer, Life: i.cfg.Lifetimes.Credential, Store: i.store, Accounts: i.accounts, Clients: registry, Keys: i.ring,
		Statuses: i.statuses, CAs: i.cas, Replay: replay, SpendInUpdate: i.memoryReplay != nil,
		Nonces: i.cluster.Derive(labelKeyProofs, dpop.NonceLife).Keys, Limiter: i.limits, Now: i.now,
	})
}

// openProvider makes the OAuth server.
func (i *Instance) openProvider(
	registry *clients.Registry, made *statements.Service, proofs *dpop.Verifier, logins map[string]*login.Provider,
	rechecks *recheck.Checker,
) (*oauth.Provider, error) {
	cfg := i.cfg
	o := oauth.Config{
		Issuer: cfg.Issuer, Domains: oauthDomains(cfg),
		Clients: registry, Statements: made, Store: i.store, Accounts: i.accounts, Keys: i.ring,
		Proofs: proofs, IDTokens: idTokens(logins), CWTs: cwts{i.ring, i.now}, Peers: i.trusted,
		Development: cfg.Development, SpendInUpdate: i.memoryReplay != nil,
		RefreshKeys: i.cluster.Derive(labelRefresh, refreshLife(cfg)).Fresh,
		Lifetimes: oauth.Lifetimes{
			Access: cfg.Lifetimes.Access, Code: cfg.Lifetimes.Code, DeviceCode: cfg.Lifetimes.DeviceCode,
			RefreshIdle: cfg.Lifetimes.RefreshIdle, RefreshMax: cfg.Lifetimes.RefreshMax,
		},
		Skew: i.skew, Statuses: i.statuses, Limiter: i.limits, Revoked: i.revoked, CatchUp: i.mirror.Read, Audit: i.audit, Now: i.now,
	}
	if rechecks != nil {
		o.Rechecks = rechecks
	}
	return oauth.New(o)
}

// openServer makes the HTTP side.
func (i *Instance) openServer(
	ctx context.Context, registry *clients.Registry, made *statements.Service, proofs *dpop.Verifier, logins map[string]*login.Provider,
	rechecks *recheck.Checker, provider *oauth.Provider, introspector *introspect.Introspector, credentials *vci.Service,
	crossSigned *signed.Service,
) error {
	cfg := i.cfg
	choose, systems, others := make(map[string]bool), make(map[string]claims.System), make(map[string][]string)
	for _, d := range cfg.Domains {
		choose[d.Name], systems[d.Name], others[d.Name] = d.ChooseHandle, claims.System(d.System), d.OtherIssuers
	}
	backup := i.takeBackup
	if i.backup == nil {
		backup = nil
	}
	operators, err := admin.New(admin.Config{
		Issuer: cfg.Issuer, Domains: domainNames(cfg), Settings: cfg.Domains, Providers: providerIssuers(cfg),
		Accounts: i.accounts, Statements: made, Keys: i.ring, Cluster: i.cluster,
		Registry: registry, Clients: i.clients, Backup: backup, Audit: i.book, Idempotency: i.kept, Now: i.now,
		WireKey: i.readWireKey, ReplaceWireKey: i.replaceWireKey,
	})
	if err != nil {
		return err
	}
	var registrations *registration.Service
	if tokens := cfg.DynamicRegistration.InitialTokens; len(tokens) > 0 {
		registrations = registration.New(registration.Config{
			URL: cfg.Issuer + "/register", Tokens: tokens, Registry: registry, Register: i.clients, Store: i.store,
		})
	}
	var upstream signin.Upstream
	if rechecks != nil {
		upstream = rechecks
	}
	i.server, err = server.New(server.Config{
		Issuer: cfg.Issuer, Domains: domainNames(cfg), OtherIssuers: others, Algorithms: cfg.DPoP.Algorithms,
		Registry: registry, Statements: made, OAuth: provider, OperatorRoutes: operators.Routes(), OperatorsURL: cfg.AdminURL,
		OperatorsBehindProxy: cfg.AdminBehindProxy(), SCIMForOperators: cfg.SCIM.Listener == "admin", Accounts: i.accounts,
		Introspector: introspector, Peers: i.trusted, Registrations: registrations, Feed: i.feed,
		Proofs: proofs, Keys: i.ring, Statuses: i.statuses, Credentials: credentials, CAs: i.cas, Wire: i.wire, Signed: crossSigned,
		Store: i.store, Logins: logins, Upstream: upstream,
		ChooseHandle: choose, Systems: systems,
		Service: service(cfg), Ready: i.ready, Time: i.time, TrustedProxies: cfg.TrustedProxies,
		Limits: i.limits, PendingLogins: quotaSize(cfg), Metrics: i.metrics.registry, Tracer: i.tracer,
		QueryKeys: i.cluster.Derive(labelQueries, queryLife).Fresh,
		Now:       i.now, Log: i.log,
	})
	if err != nil {
		return err
	}
	return i.server.CountPendingLogins(ctx)
}

// keyChanged records what became of a signing key.
func (i *Instance) keyChanged(ctx context.Context, tx storage.Tx, e keys.Event) error {
	event := audit.Event{Kind: audit.KeyRotated, Actor: audit.ActorIssuer, Key: e.KID, Reason: e.Reason}
	if e.Revoked {
		event.Kind = audit.KeyRevoked
	}
	if e.Asked {
		by, _ := httpapi.OperatorOf(ctx)
		event.Actor, event.Address = admin.Actor(ctx), by.Address
	}
	return audit.Append(ctx, tx, event)
}

// revoked is called with revocations as soon as they are durable.
func (i *Instance) revoked(rows ...storage.Revocation) {
	i.mirror.Apply(rows...)
	i.metrics.revoked(rows...)
}
