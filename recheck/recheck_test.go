package recheck_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/recheck"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/storage/storagetest"
)

const domain = "example.com"

// every and grace are the policy of the tests.
const (
	every = 24 * time.Hour
	grace = 2 * time.Hour
)

// A world is a database, a provider that replaces each token at its use, and the time.
type world struct {
	store    storage.Store
	accounts *account.Accounts
	provider *login.Provider
	key      [32]byte
	now      atomic.Int64 // seconds since 1970

	mu    sync.Mutex
	valid map[string]bool // tokens of the provider
	asked int
	down  bool
	wait  func() // before the answer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{valid: make(map[string]bool)}
	w.now.Store(time.Now().Unix())
	_, _ = rand.Read(w.key[:])
	var err error
	w.store, err = sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	d, err := account.NewDomain(domain, claims.SystemGeneric, false, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.accounts, err = account.New(account.Config{
		Store: w.store, Domains: []account.Domain{d}, TokenLife: time.Hour, MaxDevices: 100, Now: w.time,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(server.Close)
	w.provider, err = login.New(login.Config{
		ID: "corp", Domain: domain, Issuer: server.URL, ClientID: "issuer", RedirectURL: "http://127.0.0.1/callback", Refresh: true,
	}, server.Client(), w.time)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) time() time.Time { return time.Unix(w.now.Load(), 0) }

func (w *world) advance(d time.Duration) { w.now.Add(int64(d / time.Second)) }

// serve is the provider. Its answers have no ID token.
func (w *world) serve(to http.ResponseWriter, r *http.Request) {
	to.Header().Set("Content-Type", "application/json")
	answer := func(v any) { _ = json.NewEncoder(to).Encode(v) }
	at := "http://" + r.Host
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer(map[string]any{"issuer": at, "authorization_endpoint": at + "/auth", "token_endpoint": at + "/token", "jwks_uri": at + "/jwks"})
		return
	case "/jwks":
		answer(map[string]any{"keys": []any{}})
		return
	}
	w.mu.Lock()
	w.asked++
	wait := w.wait
	w.mu.Unlock()
	if wait != nil {
		wait()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	token := r.PostFormValue("refresh_token")
	switch {
	case w.down:
		to.WriteHeader(http.StatusServiceUnavailable)
	case !w.valid[token]:
		to.WriteHeader(http.StatusBadRequest)
		answer(map[string]any{"error": "invalid_grant"})
	default:
		delete(w.valid, token)
		next := rand.Text()
		w.valid[next] = true
		answer(map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "refresh_token": next})
	}
}

func (w *world) wantAsked(t *testing.T, n int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked != n {
		t.Errorf("the provider was asked %d times, want %d", w.asked, n)
	}
	w.asked = 0
}

// node returns the checker of a node; change may be nil.
func (w *world) node(t *testing.T, change func(*recheck.Config)) *recheck.Checker {
	t.Helper()
	cfg := recheck.Config{
		Store: w.store, Accounts: w.accounts, Key: w.key, TokenLife: time.Hour, Now: w.time,
		Providers: map[string]recheck.Provider{"corp": w.provider}, Policies: map[string]recheck.Policy{"corp": {Every: every, Grace: grace}},
	}
	if change != nil {
		change(&cfg)
	}
	c, err := recheck.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// session stores the session of a login of a user.
func (w *world) session(t *testing.T, c *recheck.Checker, user string) storage.Grant {
	t.Helper()
	token := rand.Text()
	w.mu.Lock()
	w.valid[token] = true
	w.mu.Unlock()
	u, err := c.Keep("corp", login.Identity{Issuer: w.provider.Issuer(), Refresh: login.RefreshToken{Token: token, Subject: user}})
	if err != nil || u == nil {
		t.Fatalf("Keep = %v, %v, want a record", u, err)
	}
	u.User = user
	now := w.time()
	g := storage.Grant{
		ID: "grant of " + user, Domain: domain, Client: "app", User: user, Device: "device of " + user, Issuer: w.provider.Issuer(),
		UpstreamToken: u.ID, CreatedAt: now, IdleAt: now.Add(30 * every), ExpiresAt: now.Add(30 * every),
	}
	w.update(t, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertUser(ctx, storage.User{Domain: domain, ID: user, CreatedAt: now}),
			tx.InsertDevice(ctx, storage.Device{Domain: domain, ID: g.Device, User: user, JKT: "key of " + user, CreatedAt: now}),
			tx.InsertUpstreamToken(ctx, *u), tx.InsertGrant(ctx, g))
	})
	return g
}

func (w *world) update(t *testing.T, fn func(ctx context.Context, tx storage.Tx) error) {
	t.Helper()
	if err := w.store.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func begin() error { return nil }

// want checks a session by a node.
func want(t *testing.T, c *recheck.Checker, g storage.Grant, alive bool, cause error) {
	t.Helper()
	got, err := c.Check(t.Context(), g, netip.Addr{}, begin)
	if got != alive || !errors.Is(err, cause) {
		t.Errorf("Check = %v, %v, want %v, %v", got, err, alive, cause)
	}
}

// TestNodesRace lets sessions be checked by two nodes at once: the provider, which refuses a token that it has replaced, is asked once.
func TestNodesRace(t *testing.T) {
	w := newWorld(t)
	nodes := []*recheck.Checker{w.node(t, nil), w.node(t, nil)}
	g := w.session(t, nodes[0], "alice")
	for range 5 {
		w.advance(every)
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				if alive, err := nodes[i%2].Check(t.Context(), g, netip.Addr{}, begin); !alive || err != nil {
					t.Errorf("Check = %v, %v, want true", alive, err)
				}
			})
		}
		all.Wait()
		w.wantAsked(t, 1)
	}
}

// TestNodeStops holds what another node does while one asks, and when that has stopped before it wrote the answer.
func TestNodeStops(t *testing.T) {
	w := newWorld(t)
	var stopped atomic.Bool
	gone := errors.New("the node has stopped")
	first := w.node(t, func(cfg *recheck.Config) {
		cfg.Store = storagetest.Faulty{Store: w.store, Fail: func(op string) error {
			if stopped.Load() {
				return gone
			}
			return nil
		}}
	})
	second := w.node(t, func(cfg *recheck.Config) { cfg.Timeout = time.Second })
	g := w.session(t, first, "alice")
	w.advance(every)
	w.mu.Lock()
	w.wait = func() { stopped.Store(true) }
	w.mu.Unlock()
	want(t, first, g, false, gone)
	w.wantAsked(t, 1)

	// The first may still be there: the second waits, and then goes on within the grace.
	want(t, second, g, true, nil)
	w.wantAsked(t, 0)
	// It is not: the provider knows only the token that nobody has.
	w.advance(time.Minute)
	want(t, second, g, true, nil)
	w.wantAsked(t, 1)
	w.advance(grace - 2*time.Minute)
	want(t, second, g, true, nil)
	w.advance(time.Minute)
	want(t, second, g, false, nil)
	w.wantAsked(t, 0)
	stored, _, _, err := w.store.Session(t.Context(), g.ID)
	if err != nil || stored.EndedReason != "recheck_lost" {
		t.Errorf("session = %+v, %v, want it ended because the token is lost", stored, err)
	}
	if _, err := w.store.UpstreamToken(t.Context(), g.UpstreamToken); err != storage.ErrNotFound {
		t.Errorf("UpstreamToken = %v, want %v", err, storage.ErrNotFound)
	}
}

// TestProviderPauses holds that the provider is not asked for each session while it is down.
func TestProviderPauses(t *testing.T) {
	w := newWorld(t)
	c := w.node(t, nil)
	alice, bob := w.session(t, c, "alice"), w.session(t, c, "bob")
	w.advance(every)
	w.down = true
	want(t, c, alice, true, nil)
	want(t, c, bob, true, nil)
	want(t, c, alice, true, nil)
	w.wantAsked(t, 1)
	w.advance(5 * time.Second)
	want(t, c, bob, true, nil)
	w.wantAsked(t, 1)
	w.advance(grace)
	want(t, c, alice, false, recheck.ErrUnavailable)
	w.wantAsked(t, 1)
	w.down = false
	w.advance(time.Minute)
	want(t, c, alice, true, nil)
	want(t, c, bob, true, nil)
	w.wantAsked(t, 2)
}

// TestRequestGivenUp holds that a replaced token is stored although nobody waits for the answer any more.
func TestRequestGivenUp(t *testing.T) {
	w := newWorld(t)
	c := w.node(t, nil)
	g := w.session(t, c, "alice")
	w.advance(every)
	ctx, cancel := context.WithCancel(t.Context())
	w.mu.Lock()
	w.wait = cancel
	w.mu.Unlock()
	if alive, err := c.Check(ctx, g, netip.Addr{}, begin); !alive || err != nil {
		t.Errorf("Check = %v, %v, want true", alive, err)
	}
	w.advance(every)
	want(t, c, g, true, nil)
	w.wantAsked(t, 2)
}

// TestBegin holds that nothing is asked or written if the caller does not begin.
func TestBegin(t *testing.T) {
	w := newWorld(t)
	c := w.node(t, nil)
	g := w.session(t, c, "alice")
	refused, calls := errors.New("the proof was used before"), 0
	refuse := func() error { calls++; return refused }
	if alive, err := c.Check(t.Context(), g, netip.Addr{}, refuse); !alive || err != nil || calls != 0 {
		t.Errorf("Check before it is due = %v, %v, begun %d times, want true", alive, err, calls)
	}
	w.advance(every)
	if _, err := c.Check(t.Context(), g, netip.Addr{}, refuse); err != refused || calls != 1 {
		t.Errorf("Check = %v, begun %d times, want %v, once", err, calls, refused)
	}
	w.wantAsked(t, 0)
}

// TestSealedForItsRecord holds that a sealed token opens in its own record only, and that a session uses those of its user only.
func TestSealedForItsRecord(t *testing.T) {
	w := newWorld(t)
	c := w.node(t, nil)
	alice, bob := w.session(t, c, "alice"), w.session(t, c, "bob")
	w.advance(every)
	foreign := alice
	foreign.UpstreamToken = bob.UpstreamToken
	if alive, err := c.Check(t.Context(), foreign, netip.Addr{}, begin); alive || err == nil {
		t.Errorf("Check with the token of another user = %v, %v, want an error", alive, err)
	}
	w.update(t, func(ctx context.Context, tx storage.Tx) error {
		a, err1 := tx.UpstreamToken(ctx, alice.UpstreamToken)
		b, err2 := tx.UpstreamToken(ctx, bob.UpstreamToken)
		a.Sealed = b.Sealed
		return errors.Join(err1, err2, tx.UpdateUpstreamToken(ctx, a))
	})
	if alive, err := c.Check(t.Context(), alice, netip.Addr{}, begin); alive || err == nil {
		t.Errorf("Check with the sealed token of another record = %v, %v, want an error", alive, err)
	}
	w.wantAsked(t, 0)
	want(t, c, bob, true, nil)
}

// TestProviderHasAnotherID holds that a session is one without a token if the settings call its provider by another id.
func TestProviderHasAnotherID(t *testing.T) {
	w := newWorld(t)
	g := w.session(t, w.node(t, nil), "alice")
	for _, required := range []bool{false, true} {
		c := w.node(t, func(cfg *recheck.Config) {
			cfg.Providers = map[string]recheck.Provider{"company": w.provider}
			cfg.Policies = map[string]recheck.Policy{"company": {Every: every, Grace: grace, Required: required}}
		})
		if !required {
			want(t, c, g, true, nil)
			w.advance(every)
		}
		want(t, c, g, !required, nil)
	}
	w.wantAsked(t, 0)
	stored, _, _, err := w.store.Session(t.Context(), g.ID)
	if err != nil || stored.EndedReason != "recheck_no_token" {
		t.Errorf("session = %+v, %v, want it ended because there is no token", stored, err)
	}
}

// TestNewRefuses holds that settings without meaning are refused.
func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*recheck.Config){
		"no key":           func(c *recheck.Config) { c.Key = [32]byte{} },
		"no store":         func(c *recheck.Config) { c.Store = nil },
		"unknown provider": func(c *recheck.Config) { c.Providers = nil },
		"no time":          func(c *recheck.Config) { c.Policies = map[string]recheck.Policy{"corp": {}} },
	} {
		cfg := recheck.Config{
			Store: w.store, Accounts: w.accounts, Key: w.key, TokenLife: time.Hour,
			Providers: map[string]recheck.Provider{"corp": w.provider}, Policies: map[string]recheck.Policy{"corp": {Every: every}},
		}
		change(&cfg)
		if _, err := recheck.New(cfg); err == nil {
			t.Errorf("New with %s = nil, want an error", name)
		}
	}
}
