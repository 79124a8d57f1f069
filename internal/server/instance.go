package server

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/bucket"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/timed"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/web"
)

// shutdownTime is how long requests under way may take after the server was asked to stop.
const shutdownTime = 10 * time.Second

// An Instance is a whole issuer as one configuration describes it: storage, keys, rules and HTTP.
type Instance struct {
	reloading sync.Mutex
	cfg       *config.Config // what it runs with

	log   *slog.Logger
	clock *clock
	now   func() time.Time // of the clock

	sweepEvery, noteEvery time.Duration

	store    storage.Store
	backup   func(ctx context.Context, to string) error
	mirror   *revocation.Mirror
	ring     *keys.Ring
	metrics  *metrics
	server   *Server
	clients  *register
	believed *authority
	shown    *certificate // nil: a proxy in front ends TLS

	replayDone func() error       // closes the store of spent proofs; nil if that needs no closing
	remembered *dpop.MemoryReplay // that store, if it is in memory

	behind  atomic.Pointer[clockError] // the clock is behind what another node has noted; nil if it is not
	pinging sync.Mutex
	pinged  time.Time // when the store was last asked, and what it said
	pingErr error
}

// Options are what an instance takes from the process that it runs in. The zero value is right but for its silence.
type Options struct {
	// Log receives requests and failures. Nil discards them.
	Log *slog.Logger
	// Now is the system's clock, which every part of the issuer lives by for as long as it can be believed. Nil means
	// [time.Now].
	Now func() time.Time
	// Elapsed goes on as time does, also when the system's clock is set. Nil means that Now tells both, as that of
	// [time.Now] does.
	Elapsed func() time.Duration
	// AcceptClock takes the system's clock for right though the database has seen a later time, or none for long.
	AcceptClock bool
	// SweepEvery is how often expired rows are removed: a sweep looks at every session. Zero means five minutes.
	SweepEvery time.Duration
	// NoteEvery is how often it is noted in the database how far time has come. Zero means 20 s.
	NoteEvery time.Duration
	// Store is given the opened store and returns the one to work with. Nil leaves it as it is.
	Store func(storage.Store) storage.Store
	// Replay is the same for the store of spent proofs.
	Replay func(dpop.Replay) dpop.Replay
}

// Open puts an issuer together. It makes the data folder, the database and the signing key at the first start.
func Open(ctx context.Context, cfg *config.Config, o Options) (*Instance, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = 5 * time.Minute
	}
	if o.NoteEvery == 0 {
		o.NoteEvery = 20 * time.Second
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	readKEK := keys.ReadKEK
	if cfg.Development {
		readKEK = keys.CreateKEK
	}
	kek, err := readKEK(cfg.KEKFile)
	if err != nil {
		return nil, err
	}
	i := &Instance{cfg: cfg, log: o.Log, sweepEvery: o.SweepEvery, noteEvery: o.NoteEvery, metrics: newMetrics()}
	db, err := sqlite.Open(ctx, cfg.Database(), sqlite.Options{})
	if err != nil {
		return nil, err
	}
	i.store, i.backup = db, db.Backup
	if o.Store != nil {
		i.store = o.Store(i.store)
	}
	i.store = timed.New(i.store, i.metrics.timer("read"), i.metrics.timer("update"))
	newest, err := i.store.Newest(ctx)
	if err != nil {
		return nil, errors.Join(err, i.store.Close())
	}
	i.clock = newClock(o, newest, cfg.Development)
	i.now = i.clock.now
	if o.AcceptClock {
		newest = time.Time{}
	}
	replay, done, err := openReplay(ctx, cfg, db, i.now, newest)
	if err != nil {
		return nil, errors.Join(err, i.store.Close())
	}
	i.replayDone = done
	i.remembered, _ = replay.(*dpop.MemoryReplay)
	if o.Replay != nil {
		replay = o.Replay(replay)
	}
	if i.shown, err = openCertificate(cfg.TLS.CertFile, cfg.TLS.KeyFile, o.Log); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	if err := i.assemble(ctx, keys.NewSealer(kek), replay); err != nil {
		if errors.Is(err, keys.ErrWrongKey) {
			err = fmt.Errorf("%s does not open what %s holds: set kek_file to the key that it was made under: %w", cfg.KEKFile, cfg.Database(), err)
		}
		return nil, errors.Join(err, i.Close())
	}
	if o.AcceptClock {
		if err := i.clock.note(ctx, i.store, true); err != nil {
			return nil, errors.Join(err, i.Close())
		}
	}
	i.watch(db)
	return i, nil
}

func (i *Instance) assemble(ctx context.Context, sealer *keys.Sealer, replay dpop.Replay) error {
	cfg := i.cfg
	// First what tells a wrong key-encryption key: a signing key that was made under one would not open with the right one.
	secret, err := keys.ClusterSecret(ctx, i.store, sealer, nil)
	if err != nil {
		return err
	}
	i.mirror = revocation.NewMirror(revocation.Config{Source: i.store, Now: i.now, Log: i.log})
	ring, err := keys.OpenRing(ctx, i.store, sealer, keys.RingConfig{
		Alg: cfg.Signing.Alg, LongestLife: longestLife(cfg),
		RotateEvery: time.Duration(cfg.Signing.RotateEvery), PublishAhead: cfg.Signing.PublishAhead,
		Revoked: i.revoked, Now: i.now, Log: i.log,
	})
	if err != nil {
		return err
	}
	i.ring = ring
	proofs, err := newProofs(cfg, keys.Derive(secret, "dpop nonce"), replay, i.metrics.offset, i.now)
	if err != nil {
		return err
	}
	if err := i.mirror.Read(ctx); err != nil {
		return err
	}
	named, err := accountDomains(cfg)
	if err != nil {
		return err
	}
	accounts, err := account.New(account.Config{
		Store: i.store, Domains: named, TokenLife: cfg.Lifetimes.Access, MaxDevices: cfg.Limits.DevicesPerUser,
		MaxStatements: cfg.Limits.StatementsPerUser, MaxRevocations: cfg.Limits.RevocationsPerUser,
		Revoked: i.revoked, Now: i.now,
	})
	if err != nil {
		return err
	}
	renewed, clashes, err := accounts.RenewKeys(ctx)
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
	logins, err := newLogins(cfg, i.now)
	if err != nil {
		return err
	}
	limits := NewLimits(rates(cfg), i.now)
	peers, err := newPeers(cfg)
	if err != nil {
		return err
	}
	domains, choose, systems := make([]string, 0, len(cfg.Domains)), make(map[string]bool), make(map[string]claims.System)
	for _, d := range cfg.Domains {
		domains = append(domains, d.Name)
		choose[d.Name], systems[d.Name] = d.ChooseHandle, claims.System(d.System)
	}
	i.believed = &authority{issuer: cfg.Issuer, domains: domains, ring: ring}
	i.believed.peers.Store(peers)
	clientKeys, err := newClientKeys(cfg, i.now, i.log)
	if err != nil {
		return err
	}
	provider, err := oauth.New(oauth.Config{
		Issuer: cfg.Issuer, Domains: oauthDomains(cfg),
		Store: i.store, Accounts: accounts, Keys: ring, Proofs: proofs, Authority: i.believed, Development: cfg.Development,
		ClientKeys: clientKeys,
		RefreshKey: keys.Derive(secret, "refresh token"),
		Lifetimes: oauth.Lifetimes{
			Access: cfg.Lifetimes.Access, Code: cfg.Lifetimes.Code,
			RefreshIdle: cfg.Lifetimes.RefreshIdle, RefreshMax: cfg.Lifetimes.RefreshMax, Statement: cfg.Lifetimes.Statement,
		},
		Limiter: limits, Revoked: i.revoked, Now: i.now, Log: i.log,
	})
	if err != nil {
		return err
	}
	if i.clients, err = openRegister(ctx, i.store, provider, cfg, i.log); err != nil {
		return err
	}
	introspector, err := introspect.New(introspect.Config{
		Issuer: cfg.Issuer, Domains: domains, Source: &judge{ring, i.mirror, i.store, i.now}, Authority: i.believed, Development: cfg.Development, Now: i.now,
	})
	if err != nil {
		return err
	}
	i.server, err = New(Config{
		Issuer: cfg.Issuer, Domains: domains, Algorithms: cfg.DPoP.Algorithms,
		OAuth: provider, Clients: i.clients, Accounts: accounts, Introspector: introspector,
		Proofs: proofs, Keys: ring, Store: i.store, Logins: logins, ChooseHandle: choose, Systems: systems, Service: service(cfg), Ready: i.ready, Time: i.time, Backup: i.takeBackup, TrustedProxies: cfg.TrustedProxies,
		Limits: limits, PendingLogins: quotaSize(cfg), metrics: i.metrics,
		Now: i.now, Log: i.log,
	})
	if err != nil {
		return err
	}
	return i.server.quota.recount(ctx, i.store.Waiting)
}

func service(cfg *config.Config) web.Service {
	s := web.Service{Name: cfg.Service.Name, PrivacyURL: cfg.Service.PrivacyURL, TermsURL: cfg.Service.TermsURL}
	if len(cfg.Service.Logo) > 0 {
		s.Logo = template.URL("data:" + http.DetectContentType(cfg.Service.Logo) + ";base64," + base64.StdEncoding.EncodeToString(cfg.Service.Logo))
	}
	return s
}

func quotaSize(cfg *config.Config) QuotaSize {
	l := cfg.Limits
	return QuotaSize{
		Total:      l.WaitingLogins,
		PerNetwork: max(1, l.WaitingLogins*l.WaitingAddressPercent/100),
		Reserved:   l.WaitingLogins * l.WaitingReservedPercent / 100,
	}
}

func rates(cfg *config.Config) Rates {
	limit := func(r config.Rate) bucket.Limit { return bucket.Limit{Count: r.Count, Period: r.Per} }
	l := cfg.Limits
	return Rates{Address: limit(l.PerAddress), Client: limit(l.PerClient), UserClient: limit(l.PerUserClient), User: limit(l.PerUser)}
}

// clockSkew is by how much the clocks of nodes may differ, with the time for which one signs by keys that it could not
// read again.
const clockSkew = 5 * time.Minute

// longestLife is the longest life of anything that is signed with the issuer's keys: for so long a key must be there
// after it has signed for the last time.
func longestLife(cfg *config.Config) time.Duration {
	return max(cfg.Lifetimes.Access, cfg.Lifetimes.Statement) + clockSkew
}

// outbound makes the client for URLs of the settings.
func outbound(cfg *config.Config) (*http.Client, error) {
	policy, err := cfg.FetchPolicy()
	if err != nil {
		return nil, err
	}
	return fetch.NewClient(policy)
}

func newLogins(cfg *config.Config, now func() time.Time) (map[string]*login.Provider, error) {
	client, err := outbound(cfg)
	if err != nil {
		return nil, err
	}
	logins := make(map[string]*login.Provider)
	for _, d := range cfg.Domains {
		for _, p := range d.Providers {
			logins[p.ID], err = login.New(login.Config{
				ID: p.ID, Name: p.Name, Domain: d.Name, Issuer: p.Issuer,
				ClientID: p.ClientID, ClientSecret: string(p.ClientSecret), Scopes: p.Scopes,
				RedirectURL: cfg.Issuer + "/login/callback/" + p.ID, HandleClaim: d.Claims.Handle, UserClaim: d.Claims.User,
				AuthoritativeHandles: p.AuthoritativeHandles,
			}, client, now)
			if err != nil {
				return nil, err
			}
		}
	}
	return logins, nil
}

func accountDomains(cfg *config.Config) ([]account.Domain, error) {
	var list []account.Domain
	for _, d := range cfg.Domains {
		domain, err := account.NewDomain(d.Name, claims.System(d.System), d.URI == "mimi", cfg.Development, d.Protected)
		if err != nil {
			return nil, fmt.Errorf("domain %s: %w", d.Name, err)
		}
		domain.Policy.Scripts = claims.Restriction(d.Scripts)
		list = append(list, domain)
	}
	return list, nil
}

func oauthDomains(cfg *config.Config) []oauth.Domain {
	var list []oauth.Domain
	for _, d := range cfg.Domains {
		domain := oauth.Domain{Name: d.Name}
		for _, p := range d.Providers {
			domain.Providers = append(domain.Providers, p.ID)
		}
		list = append(list, domain)
	}
	return list
}

func oauthClient(c config.Client) oauth.Client {
	k := oauth.Client{
		ID: c.ID, Name: c.Name, RedirectURIs: c.RedirectURIs, Grants: c.Grants, Scopes: c.Scopes,
		Domains: c.Domains, Resources: c.Resources,
		FirstParty: c.FirstParty, Embed: relations(c.Embed), Bearer: c.DPoP == "optional", RequirePAR: c.RequirePAR, RequireDPoPJKT: c.RequireDPoPJKT,
	}
	switch c.Auth {
	case "secret":
		k.SecretSHA256 = c.SecretSHA256[:]
	case "private_key_jwt":
		k.Keys, k.JWKSURI = c.Keys, c.JWKSURI
	}
	return k
}

func relations(names []string) []nested.Relation {
	var list []nested.Relation
	for _, name := range names {
		list = append(list, nested.Relation(name))
	}
	return list
}

// readyAge is how long an answer about the store holds. It costs a durable write, and anybody may ask.
const readyAge = time.Second

// ready reports why the issuer cannot issue now.
func (i *Instance) ready(ctx context.Context) error {
	if err := i.time(); err != nil {
		return err
	}
	if err := errors.Join(i.mirror.Fresh(i.now()), i.ring.Fresh(i.now())); err != nil {
		return err
	}
	i.pinging.Lock()
	defer i.pinging.Unlock()
	if now := i.now(); now.Sub(i.pinged).Abs() >= readyAge {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // the answer is for others too
		defer cancel()
		i.pingErr = i.store.Ping(ctx)
		i.pinged = i.now() // those who waited meanwhile take this answer
	}
	return i.pingErr
}

// Server returns the HTTP side.
func (i *Instance) Server() *Server { return i.server }

// Serve answers on the two listeners, by TLS on the public one if there is a certificate, until ctx ends, then lets the
// requests under way finish. It closes the listeners and the store.
func (i *Instance) Serve(ctx context.Context, public, admin net.Listener) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { i.mirror.Run(work) })
	background.Go(func() { i.ring.Run(work) })
	background.Go(func() { i.sweep(work) })
	background.Go(func() { i.keepTime(work) })
	background.Go(func() { i.clients.follow(work) })
	background.Go(func() { i.server.quota.follow(work, i.store.Waiting, i.log) })

	servers := []*http.Server{HTTP(i.server.Public(), i.log), HTTP(i.server.Admin(), i.log)}
	failed := make(chan error, len(servers))
	for n, l := range []net.Listener{public, admin} {
		serve := servers[n].Serve
		if n == 0 && i.shown != nil {
			servers[n].TLSConfig = i.shown.config()
			serve = func(l net.Listener) error { return servers[n].ServeTLS(l, "", "") }
			background.Go(func() { i.shown.follow(work) })
		}
		go func() { failed <- serve(l) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	end, cancel := context.WithTimeout(work, shutdownTime)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(end))
	}
	stop()
	background.Wait()
	return errors.Join(err, i.Close())
}

// Close gives up an instance that is not served.
func (i *Instance) Close() error {
	var err error
	if i.replayDone != nil {
		err = i.replayDone()
	}
	return errors.Join(err, i.store.Close())
}

// sweep removes what has expired, now and then.
func (i *Instance) sweep(ctx context.Context) {
	tick := time.NewTicker(i.sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if i.time() != nil {
				continue // who knows what has expired
			}
			err := errors.Join(i.sweepOnce(ctx), i.server.Accounts.FinishWithdrawals(ctx))
			if err != nil && ctx.Err() == nil {
				i.log.Error("sweep expired rows", slog.Any("error", err))
			}
		}
	}
}

// sweepBatch is how many rows one transaction of the sweep removes or looks at: others write in between.
const sweepBatch = 500

// sweepOnce removes all that has expired, in many transactions.
func (i *Instance) sweepOnce(ctx context.Context) error {
	now := i.now()
	for at := (storage.SweepPosition{}); ; {
		var next storage.SweepPosition
		err := i.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
			next, _, err = tx.Sweep(ctx, now, at, sweepBatch)
			return err
		})
		if at = next; err != nil || at == (storage.SweepPosition{}) {
			return err
		}
	}
}

// ListenAdmin opens the admin socket at path, for its owner alone. One that a dead process left behind is replaced;
// one that answers is an error.
func ListenAdmin(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("the admin socket %s is in use: is another issuer running on this data folder?", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the old admin socket: %w", err)
	}
	// No one else may connect at any moment, so the mode is right from the start; a stricter mask for whatever else
	// this process may create meanwhile does no harm.
	mask := syscall.Umask(0o177)
	l, err := net.Listen("unix", path)
	syscall.Umask(mask)
	if errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("the path of the admin socket %s is longer than the system allows: set admin to a shorter one", path)
	} else if err != nil {
		return nil, fmt.Errorf("make the admin socket: %w", err)
	}
	return l, nil
}
