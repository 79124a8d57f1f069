package oauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/storage/storagetest"
)

const (
	issuerURL = "https://id.example.com"
	provider  = "https://login.example.com" // where users log in
	callback  = "https://app.example.com/callback"
	verifier  = "a-verifier-of-at-least-43-characters-as-it-must-be"
	secret    = "a secret of the service"
)

// A clock stands still until a test moves it.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// An issuer is a provider on a real database, without HTTP. What it asks of others can be made to fail: see faults.
type issuer struct {
	*oauth.Provider
	path     string
	store    storage.Store
	faults   *faults
	log      *events
	peers    *authority
	accounts *account.Accounts
	ring     *keys.Ring
	proofs   *dpop.Verifier // makes nonces
	clock    *clock
	limits   *limiter
	registry *clients.Registry
	made     *statements.Service
	entries  *entries
	cwts     *cwts
	clients  []clients.Client

	assertions func(t *testing.T) string // of the client signing
}

// A limiter refuses what a test wants it to.
type limiter struct{ client, user error }

func (l *limiter) Client(*clients.Client, netip.Addr) error { return l.client }
func (l *limiter) User(storage.User, string) error          { return l.user }

// An authority trusts the issuer for its own domains, and each peer for the domain of the peer.
type authority struct {
	ring   *keys.Ring
	peers  map[string]*peer // by issuer
	faults *faults
}

func (a *authority) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	if err := a.faults.before("Key"); err != nil {
		return nil, "", err
	}
	if p, ok := a.peers[issuer]; ok && kid == peerKID {
		return p.key.Public(), jose.ES256, nil
	}
	if key, alg, ok := a.ring.Public(kid); ok && issuer == issuerURL {
		return key, alg, nil
	}
	return nil, "", claims.ErrIssuer
}

func (a *authority) Speaks(_ context.Context, issuer, domain string) error {
	if err := a.faults.before("Speaks"); err != nil {
		return err
	}
	if issuer == issuerURL && (domain == "example.com" || domain == "acme.example") {
		return nil
	}
	if p, ok := a.peers[issuer]; ok && p.domain == domain {
		return nil
	}
	return claims.ErrDomain
}

// clientList returns the clients of every test.
func clientList() []clients.Client {
	sum := sha256.Sum256([]byte(secret))
	app := clients.Client{
		ID: "app", RedirectURIs: []string{callback}, Grants: oauth.GrantTypes[:2], Scopes: []string{"im:handle", "im:device",
			"introspect"},
		Domains: []string{"example.com"}, FirstParty: true,
	}
	app.Grants = append([]string{oauth.GrantExchange, oauth.GrantEmbed}, app.Grants...)
	app.Embed = []nested.Relation{nested.SameAs, nested.ActsFor, nested.AttestedBy, nested.MemberOf, nested.MovedFrom}
	other, short := app, app
	other.ID, other.Grants, other.Embed = "other", app.Grants[:3], nil // no refresh tokens
	short.ID, short.Scopes = "short", []string{"im:handle"}
	service := clients.Client{
		ID: "service", SecretSHA256: sum[:], Grants: []string{oauth.GrantClientCredentials, oauth.GrantExchange, oauth.GrantEmbed},
		Scopes: []string{"introspect", "introspect:domain",
			"im:handle"}, Domains: []string{"example.com"}, Resources: []string{"https://rooms.example.com"},
		Embed: []nested.Relation{nested.ActsFor},
	}
	bearer, wide := service, service
	bearer.ID, bearer.Bearer = "bearer", true
	wide.ID, wide.Domains = "wide", []string{"example.com", "acme.example"}
	visitors := clients.Client{
		ID: "visitors", Grants: []string{oauth.GrantJWTBearer, oauth.GrantExchange, oauth.GrantEmbed}, Scopes: []string{"im:handle", "im:device",
			"account"}, Domains: []string{"example.com"}, Resources: []string{"https://rooms.example.com", "im:away.example",
			"https://id.away.example"}, PeerResources: true, Embed: []nested.Relation{nested.ActsFor, nested.AttestedBy},
	}
	return []clients.Client{app, other, short, service, bearer, wide, visitors}
}

// newIssuer starts an issuer on an empty database. Spent proofs are in memory; inUpdate lets refreshes spend them within the
// transaction.
func newIssuer(t *testing.T, inUpdate bool) *issuer {
	t.Helper()
	return startIssuer(t, setup{inUpdate: inUpdate})
}

// A setup is how an issuer is started.
type setup struct {
	inUpdate bool // refreshes spend their proofs within the transaction
	nonceOff bool
	statuses bool // the sessions of example.com have entries in status lists
	skew     time.Duration
}

func startIssuer(t *testing.T, s setup) *issuer {
	t.Helper()
	i := &issuer{
		path: sqlitetest.Temporary(t), clock: &clock{at: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}, limits: &limiter{},
		clients: clientList(), faults: &faults{}, log: &events{},
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	database, err := sqlite.Open(t.Context(), i.path, sqlite.Options{})
	check(err)
	t.Cleanup(func() { _ = database.Close() })
	i.store = storagetest.Faulty{Store: database, Fail: i.faults.before}
	recorder := audit.New(slog.New(slog.NewJSONHandler(i.log, nil)))
	var domains []account.Domain
	for _, name := range []string{"example.com", "acme.example", "two.example"} {
		d, err := account.NewDomain(name, "generic", false, true, nil)
		check(err)
		domains = append(domains, d)
	}
	i.accounts, err = account.New(account.Config{
		Store: i.store, Domains: domains, TokenLife: 10 * time.Minute, MaxDevices: 4, Now: i.clock.now, Rand: i.faults,
	})
	check(err)
	i.ring, err = keys.OpenRing(t.Context(), i.store, keys.NewSealer([32]byte{1}), keys.RingConfig{Now: i.clock.now})
	check(err)
	spent, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Now: i.clock.now})
	check(err)
	var nonces *dpop.Nonces
	if !s.nonceOff {
		nonces, err = dpop.NewNonces([][32]byte{{2}}, i.clock.now)
		check(err)
	}
	i.proofs, err = dpop.NewVerifier(dpop.Config{Replay: spent, Nonces: nonces, Now: i.clock.now})
	check(err)
	proofs, err := dpop.NewVerifier(dpop.Config{Replay: replay{spent, i.faults}, Nonces: nonces, Now: i.clock.now})
	check(err)
	i.peers = &authority{ring: i.ring, peers: map[string]*peer{}, faults: i.faults}
	i.registry, err = clients.New(clients.Config{Issuer: issuerURL, Store: i.store, TokenLife: 10 * time.Minute, Now: i.clock.now})
	check(err)
	i.made, err = statements.New(statements.Config{
		Issuer: issuerURL, Domains: []string{"example.com", "acme.example"}, Clients: i.registry, Store: i.store, Accounts: i.accounts,
		Keys: i.ring, Authority: i.peers, Development: true, Life: time.Hour, Limiter: i.limits, Now: i.clock.now,
	})
	check(err)
	i.cwts = &cwts{i: i}
	i.Provider, err = oauth.New(oauth.Config{
		Issuer: issuerURL, CWTs: i.cwts,
		Domains: []oauth.Domain{
			{Name: "example.com", Providers: []string{"login"}}, {Name: "acme.example", Providers: []string{"acme"}},
			{Name: "two.example", Providers: []string{"one", "two"}},
		},
		Clients: i.registry, Statements: i.made, Store: recorder.Store(i.store, audit.Chain{Node: "main", Now: i.clock.now}),
		Accounts: i.accounts, Keys: signer{i.ring, i.faults}, Proofs: proofs,
		Peers: i.peers, IDTokens: saidTokens{i}, Development: true,
		SpendInUpdate: s.inUpdate,
		RefreshKey:    [32]byte{3},
		Lifetimes: oauth.Lifetimes{
			Access: 10 * time.Minute, Code: time.Minute, RefreshIdle: 24 * time.Hour, RefreshMax: 72 * time.Hour,
		},
		Skew:     s.skew,
		Statuses: i.newStatuses(t, s.statuses),
		Limiter:  i.limits, Now: i.clock.now, Rand: i.faults, Audit: recorder,
	})
	check(err)
	check(i.registry.Set(i.clients))
	return i
}

// advance moves the clock. The keys are read again, as they are all the time.
func (i *issuer) advance(t *testing.T, d time.Duration) {
	t.Helper()
	i.clock.advance(d)
	if err := i.ring.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// register changes the registration of a client.
func (i *issuer) register(t *testing.T, id string, change func(c *clients.Client)) {
	t.Helper()
	for n := range i.clients {
		if i.clients[n].ID == id {
			change(&i.clients[n])
		}
	}
	if err := i.registry.Set(i.clients); err != nil {
		t.Fatal(err)
	}
}

// user signs a user in who has a name at the provider.
func (i *issuer) user(t *testing.T, name string) storage.User {
	t.Helper()
	u, err := i.accounts.SignIn(t.Context(), account.SignIn{Domain: "example.com", Issuer: provider, Subject: name, Handle: name})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// change writes another row of a user.
func (i *issuer) change(t *testing.T, u storage.User, change func(u *storage.User)) {
	t.Helper()
	change(&u)
	i.update(t, func(ctx context.Context, tx storage.Tx) error { return tx.UpdateUser(ctx, u) })
}

func (i *issuer) update(t *testing.T, fn func(ctx context.Context, tx storage.Tx) error) {
	t.Helper()
	if err := i.store.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// A device is a key with the proofs that it makes.
type device struct{ *dpop.Signer }

func newDevice(t *testing.T) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return &device{s}
}

// proof makes a proof for the token endpoint.
func (i *issuer) proof(t *testing.T, d *device) string {
	t.Helper()
	nonce, err := i.proofs.Nonce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: issuerURL + "/token", Nonce: nonce, IssuedAt: i.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// request is a request of a client to the token endpoint: by a device, unless that is nil.
func (i *issuer) request(t *testing.T, client string, d *device, form url.Values) oauth.TokenRequest {
	t.Helper()
	r := oauth.TokenRequest{Header: http.Header{}, Form: maps.Clone(form), Source: netip.MustParseAddr("192.0.2.1")}
	r.Form.Set("client_id", client)
	for n := range i.clients {
		if i.clients[n].ID == client && i.clients[n].SecretSHA256 != nil {
			r.Form.Set("client_secret", secret)
		}
	}
	if d != nil {
		r.Header.Set("DPoP", i.proof(t, d))
	}
	return r
}

// token wants an answer of the token endpoint.
func (i *issuer) token(t *testing.T, client string, d *device, form url.Values) oauth.TokenAnswer {
	t.Helper()
	a, err := i.Token(t.Context(), i.request(t, client, d, form))
	if err != nil {
		t.Fatalf("Token = %v, want tokens", err)
	}
	return a
}

// claimsOf reads an access token.
func claimsOf(t *testing.T, token string) claims.Set {
	t.Helper()
	body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	set, err := claims.ParseSet(body)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// with returns a form with some parameters replaced; nil removes one.
func with(form, change url.Values) url.Values {
	form = maps.Clone(form)
	for name, values := range change {
		if values == nil {
			delete(form, name)
		} else {
			form[name] = values
		}
	}
	return form
}

// A refusal is an error of the token endpoint.
type refusal struct {
	code, description string // of an [oauth.Error]
	err               error  // or an error that this is
}

func (want refusal) check(t *testing.T, err error) {
	t.Helper()
	var e *oauth.Error
	if errors.As(err, &e) {
		noteRefusal(e.Description)
	}
	switch {
	case want.err != nil:
		if !errors.Is(err, want.err) {
			t.Errorf("Token = %v, want %v", err, want.err)
		}
	case !errors.As(err, &e):
		t.Errorf("Token = %v, want %s", err, want.code)
	case e.Code != want.code || !strings.Contains(e.Description, want.description):
		t.Errorf("Token = %s: %s\nwant %s: %s", e.Code, e.Description, want.code, want.description)
	}
}

// refuses wants a refusal that writes nothing, and that does not spend the proof: the same proof is good for another request.
func (i *issuer) refuses(t *testing.T, r oauth.TokenRequest, want refusal) {
	t.Helper()
	before := sqlitetest.Rows(t, i.path)
	_, err := i.Token(t.Context(), r)
	want.check(t, err)
	if changes := sqlitetest.Changes(before, sqlitetest.Rows(t, i.path)); len(changes) > 0 {
		t.Errorf("the refusal changed rows:\n%s", strings.Join(changes, "\n"))
	}
	if proof := r.Header.Get("DPoP"); proof != "" && (want.err == nil || want.err == errLimit) {
		sum := sha256.Sum256([]byte(secret))
		spare := clients.Client{
			ID: "spare", SecretSHA256: sum[:], Grants: []string{oauth.GrantClientCredentials}, Scopes: []string{"introspect"},
			Domains: []string{"example.com"},
		}
		if err := i.registry.Set(append([]clients.Client{spare}, i.clients...)); err != nil {
			t.Fatal(err)
		}
		limits := *i.limits
		*i.limits = limiter{}
		q := oauth.TokenRequest{Header: http.Header{"Dpop": {proof}}, Form: url.Values{
			"grant_type": {oauth.GrantClientCredentials}, "client_id": {"spare"}, "client_secret": {secret},
		}}
		if _, err := i.Token(t.Context(), q); err != nil {
			t.Errorf("the proof of the refused request is not good any more: %v", err)
		}
		*i.limits = limits
	}
}
