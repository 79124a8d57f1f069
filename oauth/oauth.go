// Package oauth is the issuer's OAuth 2.0 authorization server without its HTTP: clients, authorization requests,
// codes, sessions (grants), refresh tokens and access tokens (RFC 6749, RFC 7636, RFC 7009, RFC 8628, RFC 8707,
// RFC 9068, RFC 9207, RFC 9449). A [Provider] answers; the caller turns [Error] and the errors of package dpop into HTTP.
//
// fosite dispatches requests to the token endpoint. Each grant type is a handler of ours, in a file of its own. No type of
// fosite leaves this package.
//
// Three things are easily misunderstood. Access tokens are not stored. A refresh token is derived and not random, so that a
// repeated or racing refresh gets the same successor. The proof of a request is spent after every other check and before
// the first write.
package oauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// Scopes are the scopes that the server tells of in its metadata: all but [ScopeAdmin] and [ScopeSCIM]. The first two are the default of
// a login; a service gets by default all scopes that it is registered for.
var Scopes = []string{ScopeHandle, ScopeDevice, ScopeAccount, ScopeIntrospect, ScopeIntrospectDomain, ScopeIntrospectReason,
	ScopeFeed, ScopeCredential}

// The scopes by name.
const (
	ScopeHandle           = "im:handle"
	ScopeDevice           = "im:device"
	ScopeAccount          = "account" // the user's own account, at /me
	ScopeIntrospect       = "introspect"
	ScopeIntrospectDomain = "introspect:domain"
	ScopeIntrospectReason = "introspect:reason" // why a token is not active
	ScopeFeed             = "feed"              // to follow the revocations
	ScopeCredential       = "im:credential"     // to get credentials for the device, at /credential
	ScopeAdmin            = "admin"             // the endpoints for operators; only services have it
	ScopeSCIM             = "scim"              // to manage the users of an OpenID provider, for services
)

// A Domain is a domain in which the server issues identities.
type Domain struct {
	// Name is the domain, in lower-case A-labels.
	Name string
	// Providers are the ids of its OpenID providers, in the order in which users see them. No two domains share one.
	Providers []string

	uri string // the domain's own
}

// A Store is the part of storage that a [Provider] uses.
type Store interface {
	Reader
	Pushed(ctx context.Context, uri [32]byte) (storage.Pushed, error)
	DeviceCodeOf(ctx context.Context, userCode [32]byte) (storage.DeviceCode, error)
	account.ActiveDevices
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error
}

// A Reader reads the rows that a token is issued from: those of a [Store], or of one of its transactions.
type Reader interface {
	Client(ctx context.Context, id string) (storage.Client, error)
	Code(ctx context.Context, hash [32]byte) (storage.Code, error)
	DeviceCode(ctx context.Context, hash [32]byte) (storage.DeviceCode, error)
	User(ctx context.Context, domain, id string) (storage.User, error)
	Session(ctx context.Context, id string) (storage.Grant, storage.User, storage.Device, error)
	DeviceByKey(ctx context.Context, domain, jkt string) (storage.Device, error)
}

// Keys sign access tokens.
type Keys interface {
	// Sign returns claims as a compact JWS with header typ, under the key that signs now.
	Sign(typ string, claims []byte) (string, error)
}

// Lifetimes are the lifetimes of the server's tokens, codes and sessions.
type Lifetimes struct {
	Access      time.Duration // of an access token
	Code        time.Duration // of an authorization code
	DeviceCode  time.Duration // of a device code; zero means ten minutes
	RefreshIdle time.Duration // of a session that is not refreshed
	RefreshMax  time.Duration // of any session
}

// A Limiter lets requests through or refuses them, before anything is spent or written. Its errors are returned as they are.
type Limiter interface {
	// Client is asked when the client of a request is known. A client with credentials is authenticated by then; a public one
	// is only named.
	Client(c *clients.Client, from netip.Addr) error
	// User is asked about a request of a client for tokens of a user after every other check, and before the proof is spent.
	User(u storage.User, client string) error
}

type noLimiter struct{}

func (noLimiter) Client(*clients.Client, netip.Addr) error { return nil }
func (noLimiter) User(storage.User, string) error          { return nil }

// Config configures [New]. All fields are required except where they say otherwise.
type Config struct {
	// Issuer is the server's own URL, without a slash at its end. The URL of an endpoint is Issuer with a path.
	Issuer  string
	Domains []Domain
	Clients *clients.Registry
	// Statements judges tokens of this server and enclosed tokens.
	Statements *statements.Service
	Store      Store
	Accounts   *account.Accounts
	Keys       Keys
	// Proofs checks DPoP proofs.
	Proofs *dpop.Verifier
	// IDTokens verifies ID tokens of apps. Nil accepts none.
	IDTokens IDTokens
	// CWTs writes and reads access tokens in the form of CWTs. Nil: there are none.
	CWTs CWTs
	// Rechecks asks OpenID providers whether the logins of sessions still stand, before these are refreshed. Nil asks none.
	Rechecks Rechecks
	// Peers are the issuers of other domains. Nil means that there are none. Development admits reserved domains in what they sign.
	Peers       Peers
	Development bool
	// SpendInUpdate says that the replay store of Proofs is in memory, so that a proof can be spent within a transaction of
	// Store: a refresh is then one transaction. A replay store that is a database must not be called there.
	SpendInUpdate bool
	// RefreshKey is the secret that refresh tokens are derived from, and the key under which user codes are stored.
	RefreshKey [32]byte
	// RefreshKeys replaces RefreshKey by keys that change: it returns those that are accepted now, at least one, and the same slice as
	// long as they are the same. The first one is used for what is new. Its error means that they are not known now.
	RefreshKeys func() ([][32]byte, error)
	Lifetimes   Lifetimes
	// Skew is how far the clocks of two nodes that share Store may be apart. A code is accepted for so much longer than Lifetimes.Code, or
	// a node whose clock is ahead would refuse a code that was just issued. A nonce counts as so much older than it says, or a late
	// duplicate of a refresh could end a session. Zero is right for a single node.
	Skew time.Duration
	// Statuses gives the sessions of some domains entries in status lists. Nil gives none.
	Statuses Statuses
	// Limiter refuses requests that come too often. Nil refuses none.
	Limiter Limiter
	// Revoked is told of revocations as soon as they are durable. Nil tells no one.
	Revoked func(...storage.Revocation)
	// CatchUp learns of all revocations that are durable. It is called before the answer that a session has ended, see
	// [account.Config]. Nil does nothing.
	CatchUp func(ctx context.Context) error
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes codes, ids and states. Nil means [crypto/rand.Reader].
	Rand io.Reader
	// Audit writes the lines of events that commit nothing. Nil writes none. The other events are in the audit log of Store.
	Audit *audit.Recorder
}

// A Provider answers authorization, token and revocation requests. Its methods are safe for concurrent use.
type Provider struct {
	issuer     string
	domains    map[string]Domain
	clients    *clients.Registry
	statements *statements.Service
	store      Store
	accounts   *account.Accounts
	keys       Keys
	proofs     *dpop.Verifier
	peers      Peers
	idTokens   IDTokens
	cwts       CWTs
	rechecks   Rechecks

	development   bool
	spendInUpdate bool

	refresh   *refreshTokens
	userCodes userCodes
	polls     *devicePolls
	lifetimes Lifetimes
	skew      time.Duration
	statuses  Statuses
	limiter   Limiter
	revoked   func(...storage.Revocation)
	catchUp   func(ctx context.Context) error
	now       func() time.Time
	rand      io.Reader
	audit     *audit.Recorder
	engines   map[string]engine // by grant type, see dispatch
}

// New returns a provider.
func New(cfg Config) (*Provider, error) {
	if cfg.Issuer == "" || cfg.Clients == nil || cfg.Statements == nil || cfg.Store == nil || cfg.Accounts == nil || cfg.Keys == nil ||
		cfg.Proofs == nil {
		return nil, errors.New("oauth: Config needs Issuer, Clients, Statements, Store, Accounts, Keys and Proofs")
	}
	if cfg.RefreshKeys == nil {
		if cfg.RefreshKey == [32]byte{} {
			return nil, errors.New("oauth: Config needs a RefreshKey")
		}
		fixed := [][32]byte{cfg.RefreshKey}
		cfg.RefreshKeys = func() ([][32]byte, error) { return fixed, nil }
	}
	l := cfg.Lifetimes
	l.DeviceCode = cmp.Or(l.DeviceCode, deviceCodeLife)
	if l.Access <= 0 || l.Code <= 0 || l.DeviceCode < 0 || l.RefreshIdle <= 0 || l.RefreshMax < l.RefreshIdle {
		return nil, errors.New("oauth: Config.Lifetimes must be positive, and RefreshMax no shorter than RefreshIdle")
	}
	p := &Provider{
		issuer:     cfg.Issuer,
		domains:    make(map[string]Domain, len(cfg.Domains)),
		clients:    cfg.Clients,
		statements: cfg.Statements,
		store:      cfg.Store,
		accounts:   cfg.Accounts,
		keys:       cfg.Keys,
		proofs:     cfg.Proofs,
		peers:      cfg.Peers,
		idTokens:   cfg.IDTokens,
		cwts:       cfg.CWTs,
		rechecks:   cfg.Rechecks,

		development:   cfg.Development,
		spendInUpdate: cfg.SpendInUpdate,

		refresh:   newRefreshTokens(cfg.RefreshKeys),
		userCodes: userCodes{cfg.RefreshKeys},
		polls:     newDevicePolls(),
		lifetimes: l,
		skew:      cfg.Skew,
		statuses:  cfg.Statuses,
		limiter:   cfg.Limiter,
		revoked:   cfg.Revoked,
		catchUp:   cfg.CatchUp,
		now:       cfg.Now,
		rand:      cfg.Rand,
		audit:     cfg.Audit,
	}
	for _, d := range cfg.Domains {
		if len(d.Providers) == 0 {
			return nil, fmt.Errorf("oauth: domain %s has no OpenID provider", d.Name)
		}
		var err error
		if d.uri, err = p.accounts.DomainURI(d.Name); err != nil {
			return nil, fmt.Errorf("oauth: %w", err)
		}
		p.domains[d.Name] = d
	}
	if p.limiter == nil {
		p.limiter = noLimiter{}
	}
	if p.peers == nil {
		p.peers = noPeers{}
	}
	if p.idTokens == nil {
		p.idTokens = noIDTokens{}
	}
	if p.cwts == nil {
		p.cwts = noCWTs{}
	}
	if p.revoked == nil {
		p.revoked = func(...storage.Revocation) {}
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.rand == nil {
		p.rand = rand.Reader
	}
	p.engines = newEngines(p)
	return p, nil
}

// Client returns the registered client of an id, and false if there is none.
func (p *Provider) Client(id string) (*clients.Client, bool) { return p.clients.Client(id) }
