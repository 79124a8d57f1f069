package simulation

import (
	"context"
	"crypto"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

const (
	issuerURL = "https://id.example.com"
	domain    = "example.com"
	upstream  = "https://login.example.com" // where users log in
	callback  = "https://app.example.com/callback"
	verifier  = "a-verifier-of-at-least-43-characters-as-it-must-be"
	app       = "app"
)

// Settings of the nodes. They are shorter than those of a server, so that a short simulation comes to the ends.
const (
	accessLife   = 10 * time.Minute
	codeLife     = time.Minute
	maxDevices   = 8
	rotateEvery  = 30 * time.Second
	publishAhead = 8 * time.Second
	keysInterval = 500 * time.Millisecond
	readInterval = 300 * time.Millisecond // of the revocations
)

var (
	errDown    = errors.New("simulation: the node is down")
	errReached = errors.New("simulation: the database cannot be reached")
)

// A node is one process of the issuer.
type node struct {
	world  *world
	number int
	name   string

	run    int // counts the starts
	up     bool
	cut    bool         // from the database
	offset atomic.Int64 // of its clock, as a duration
	steps  []clockStep
	stop   context.CancelFunc

	store        *Store
	mirror       *revocation.Mirror
	ring         *keys.Ring
	accounts     *account.Accounts
	proofs       *dpop.Verifier
	provider     *oauth.Provider
	introspector *introspect.Introspector
	lists        *lists
}

// An instance is one run of a node, from its start to its crash: the operations of an earlier one fail.
type instance struct {
	node *node
	run  int
}

func (n *node) now() time.Time { return time.Now().Add(time.Duration(n.offset.Load())) }

// reach waits for the turn of an operation of the database. The error says that there is no answer.
func (i *instance) reach(ctx context.Context, op string) error {
	w := i.node.world
	if err := w.gate(ctx, i.node.name+" "+op); err != nil {
		return err
	}
	slow := slowChance
	if op == "commit" {
		slow = slowCommit
	}
	if w.chance(slow) {
		if err := w.sleep(ctx, w.between(10*time.Millisecond, 600*time.Millisecond)); err != nil {
			return err
		}
	}
	switch {
	case !i.alive():
		return errDown
	case i.node.cut, w.down:
		return errReached
	case w.chance(faultChance):
		return errServer
	}
	return nil
}

// faultChance is that an operation fails alone, slowChance that it takes long, and slowCommit that a commit does: one in so many.
const (
	faultChance = 150
	slowChance  = 30
	slowCommit  = 6
)

// Step implements [Hooks]. Others run between the operations of a transaction now and then.
func (i *instance) Step(ctx context.Context, op string, inside bool) error {
	if inside && op != "Revoke" && i.alive() && i.node.world.rng.IntN(6) != 0 {
		return nil
	}
	return i.reach(ctx, op)
}

// Commit implements [Hooks].
func (i *instance) Commit(ctx context.Context) Outcome {
	if err := i.reach(ctx, "commit"); err != nil {
		if i.node.world.chance(2) {
			return Unknown
		}
		return Fails
	}
	if i.node.world.chance(40) {
		return Aborts
	}
	return Commits
}

// Committed implements [Hooks].
func (i *instance) Committed(ctx context.Context) error {
	if err := i.reach(ctx, "committed"); err != nil {
		return errOutcome
	}
	return nil
}

// authority trusts the issuer for its own domain.
type authority struct{ ring *keys.Ring }

func (a authority) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	if key, alg, ok := a.ring.Public(kid); ok && issuer == issuerURL {
		return key, alg, nil
	}
	return nil, "", claims.ErrIssuer
}

func (a authority) Speaks(_ context.Context, issuer, d string) error {
	if issuer == issuerURL && d == domain {
		return nil
	}
	return claims.ErrDomain
}

// records are never asked for: no token of the simulation has an actor or encloses another.
type records struct{}

func (records) Session(context.Context, string) (introspect.Reason, error)   { return "", errReached }
func (records) Statement(context.Context, string) (introspect.Reason, error) { return "", errReached }

// A random is a source of random bytes that depends on the seed alone.
type random struct{ *rand.Rand }

func (r random) Read(b []byte) (int, error) {
	var word [8]byte
	for i := 0; i < len(b); i += len(word) {
		binary.BigEndian.PutUint64(word[:], r.Uint64())
		copy(b[i:], word[:])
	}
	return len(b), nil
}

var theDomain = sync.OnceValues(func() (account.Domain, error) { return account.NewDomain(domain, "generic", false, true, nil) })

// client is the app of all users.
var client = clients.Client{
	ID: app, RedirectURIs: []string{callback}, Grants: []string{oauth.GrantCode, oauth.GrantRefresh},
	Scopes: []string{oauth.ScopeHandle, oauth.ScopeDevice}, Domains: []string{domain}, FirstParty: true,
}

// caller asks about the tokens of the app.
var caller = introspect.Caller{Name: app, ClientID: app, Scopes: []string{introspect.ScopeIntrospect}}

// start starts the node, which needs the database for it.
func (n *node) start(ctx context.Context) error {
	n.run++
	n.up = true
	if err := n.build(ctx); err != nil {
		n.up = false
		return err
	}
	running, stop := context.WithCancel(n.world.ctx)
	n.stop = stop
	ring, mirror := n.ring, n.mirror
	n.world.spawn(running, n.name+" keys", n, ring.Run)
	n.world.spawn(running, n.name+" mirror", n, mirror.Run)
	return nil
}

// crash ends the node at once: what it was doing stays half done.
func (n *node) crash() {
	n.up = false
	n.stop()
}

// build assembles the parts of a node, as internal/issuer does.
func (n *node) build(ctx context.Context) (err error) {
	w := n.world
	quiet := audit.New(slog.New(slog.DiscardHandler))
	i := &instance{n, n.run}
	n.store = w.database.Open(i)
	store := quiet.Store(n.store, audit.Chain{Node: n.name, Now: n.now, Rand: w.random})
	n.ring, err = keys.OpenRing(ctx, store, w.sealer, keys.RingConfig{
		Now: n.now, LongestLife: accessLife + 5*time.Minute, RotateEvery: rotateEvery, PublishAhead: publishAhead, Interval: keysInterval,
	})
	if err != nil {
		return err
	}
	var source revocation.Source = store
	if w.broken == FreshAfterFailure {
		source = forgiving{store}
	}
	n.mirror = revocation.NewMirror(revocation.Config{Source: source, Interval: readInterval, Limit: mirrorLimit, Now: n.now})
	revoked := n.mirror.Apply
	d, err := theDomain()
	if err != nil {
		return err
	}
	n.accounts, err = account.New(account.Config{
		Store: store, Domains: []account.Domain{d}, TokenLife: accessLife, MaxDevices: maxDevices, Revoked: revoked,
		CatchUp: n.mirror.Read, Now: n.now, Rand: w.random, TombstoneKey: [32]byte{5}, LinkKey: &[32]byte{6},
	})
	if err != nil {
		return err
	}
	replay := &nodeReplay{by: i}
	nonces, err := dpop.NewNonces([][32]byte{{2}}, n.now)
	if err != nil {
		return err
	}
	if n.proofs, err = dpop.NewVerifier(dpop.Config{Replay: replay, Nonces: nonces, Now: n.now}); err != nil {
		return err
	}
	registry, err := clients.New(clients.Config{Issuer: issuerURL, Store: store, TokenLife: accessLife, Now: n.now, Rand: w.random})
	if err != nil {
		return err
	}
	if err := registry.Set([]clients.Client{client}); err != nil {
		return err
	}
	made, err := statements.New(statements.Config{
		Issuer: issuerURL, Domains: []string{domain}, Clients: registry, Store: store, Accounts: n.accounts, Keys: n.ring,
		Authority: authority{n.ring}, Development: true, Life: time.Hour, Now: n.now, Rand: w.random,
	})
	if err != nil {
		return err
	}
	n.provider, err = oauth.New(oauth.Config{
		Issuer: issuerURL, Domains: []oauth.Domain{{Name: domain, Providers: []string{"login"}}}, Clients: registry, Statements: made,
		Store: store, Accounts: n.accounts, Keys: n.ring, Proofs: n.proofs, Development: true, RefreshKey: [32]byte{3},
		Lifetimes: oauth.Lifetimes{Access: accessLife, Code: codeLife, RefreshIdle: 24 * time.Hour, RefreshMax: 72 * time.Hour},
		Skew:      maxSkew, Revoked: revoked, CatchUp: n.mirror.Read, Now: n.now, Rand: w.random, Audit: quiet,
	})
	if err != nil {
		return err
	}
	var known introspect.Keys = n.ring
	if w.broken == UnknownKeyIsForeign {
		known = publicOnly{n.ring}
	}
	n.introspector, err = introspect.New(introspect.Config{
		Issuer: issuerURL, Domains: []string{domain}, Development: true, Keys: known, Revocations: n.mirror, Records: records{},
		Replay: replay, CacheBytes: 1 << 16, Now: n.now,
	})
	if err != nil {
		return err
	}
	n.lists, err = n.newLists()
	return err
}

// publicOnly are keys that wait for nothing.
type publicOnly struct{ introspect.Keys }

// forgiving takes a read that failed for one that found nothing.
type forgiving struct{ storage.Store }

func (f forgiving) Revocations(ctx context.Context, after int64, limit int) ([]storage.Revocation, int64, error) {
	rows, last, err := f.Store.Revocations(ctx, after, limit)
	if err != nil {
		return nil, after, nil
	}
	return rows, last, err
}
