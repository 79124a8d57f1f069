package signin_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/devidp"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

const (
	callback    = "http://127.0.0.1:9/login/callback/" // nothing is requested there
	consentPage = "https://issuer.example.com/login/consent"
	home        = "https://app.example.com/callback"
)

// The clients: the operator's own, which needs no consent, one of others, and one of two domains.
var registered = []clients.Client{
	client("own", true, "example.com"),
	client("guest", false, "example.com"),
	client("two", false, "example.com", "example.org"),
}

func client(id string, firstParty bool, domains ...string) clients.Client {
	return clients.Client{
		ID: id, FirstParty: firstParty, Domains: domains, RedirectURIs: []string{home},
		Grants: []string{oauth.GrantCode}, Scopes: []string{oauth.ScopeHandle},
	}
}

// A world is an issuer's logins without HTTP, over a real database and a real OpenID provider.
type world struct {
	logins   *signin.Logins
	quota    *signin.Quota
	accounts *account.Accounts
	oauth    *oauth.Provider
	clients  *clients.Registry
	store    storage.Store // below the interceptor
	path     string        // of the database
	idp      string        // URL of the OpenID provider

	mu      sync.Mutex
	ahead   time.Duration
	idpDown func(path string) bool   // the OpenID provider fails at these paths
	before  func(op string) error    // called before each operation of the store
	ops     []string                 // the operations
	results map[signin.Result]int    // of logins
	log     bytes.Buffer             // of the audit
	limit   func(storage.User) error // the limiter
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.ahead)
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ahead += d
}

// Write is the log of the audit.
func (w *world) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(line)
}

var event = regexp.MustCompile(` event=(\S+)`)

// events returns the kinds of the audit events since it was last called.
func (w *world) events() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kinds []string
	for _, m := range event.FindAllStringSubmatch(w.log.String(), -1) {
		kinds = append(kinds, m[1])
	}
	w.log.Reset()
	return strings.Join(kinds, " ")
}

// User is the limiter.
func (w *world) User(u storage.User, _ string) error {
	if w.limit != nil {
		return w.limit(u)
	}
	return nil
}

func (w *world) intercept(op string) error {
	w.mu.Lock()
	w.ops = append(w.ops, op)
	before := w.before
	w.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(op)
}

// count returns how many operations of a name the store was asked for while fn ran.
func (w *world) count(op string, fn func()) int {
	w.mu.Lock()
	w.ops = nil
	w.mu.Unlock()
	fn()
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, done := range w.ops {
		if done == op {
			n++
		}
	}
	return n
}

// once has fn run before the next update, outside of it.
func (w *world) once(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = func(op string) error {
		if op == "Update" {
			w.mu.Lock()
			w.before = nil
			w.mu.Unlock()
			fn()
		}
		return nil
	}
}

// nobody is believed about tokens. No login asks.
type nobody struct{}

func (nobody) Key(context.Context, string, string) (crypto.PublicKey, string, error) {
	return nil, "", errors.New("nobody")
}
func (nobody) Speaks(context.Context, string, string) error { return errors.New("nobody") }

func open(t testing.TB, change func(*signin.Config)) *world {
	t.Helper()
	w := &world{path: sqlitetest.Temporary(t), results: make(map[signin.Result]int)}
	w.idp = startProvider(t, w)
	db, err := sqlite.Open(t.Context(), w.path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	w.store = db
	recorder := audit.New(slog.New(slog.NewTextHandler(w, nil)))
	store := storage.Intercepted{Store: db, Fail: w.intercept}
	var domains []account.Domain
	for _, name := range []string{"example.com", "example.org"} {
		d, err := account.NewDomain(name, claims.SystemGeneric, false, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		domains = append(domains, d)
	}
	w.accounts, err = account.New(account.Config{Store: store, Domains: domains, TokenLife: time.Hour, MaxDevices: 1, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.OpenRing(t.Context(), db, keys.NewSealer([32]byte{1}), keys.RingConfig{Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	replay, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := dpop.NewVerifier(dpop.Config{Replay: replay, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	w.clients, err = clients.New(clients.Config{Issuer: "https://issuer.example.com", Store: store, TokenLife: time.Minute, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	made, err := statements.New(statements.Config{
		Issuer: "https://issuer.example.com", Domains: []string{"example.com", "example.org"}, Clients: w.clients, Store: store,
		Accounts: w.accounts, Keys: ring, Authority: nobody{}, Development: true, Life: time.Hour, Now: w.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.oauth, err = oauth.New(oauth.Config{
		Issuer: "https://issuer.example.com", Clients: w.clients, Statements: made, Store: store, Accounts: w.accounts, Keys: ring, Proofs: proofs,
		Domains: []oauth.Domain{
			{Name: "example.com", Providers: []string{"dev"}}, {Name: "example.org", Providers: []string{"other", "third"}},
		},
		RefreshKey: [32]byte{1}, Now: w.now,
		Lifetimes: oauth.Lifetimes{
			Access: time.Minute, Code: time.Minute, RefreshIdle: time.Hour, RefreshMax: time.Hour,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.clients.Set(registered); err != nil {
		t.Fatal(err)
	}
	w.quota = signin.NewQuota(signin.QuotaSize{}, w.now)
	cfg := signin.Config{
		Store: recorder.Store(store, audit.Chain{Node: "main", Now: w.now}), OAuth: w.oauth, Accounts: w.accounts,
		Providers: make(map[string]signin.Provider),
		Domains: map[string]signin.Domain{
			"example.com": {System: claims.SystemGeneric, ChooseHandle: true}, "example.org": {System: claims.SystemGeneric},
		},
		Quota: w.quota, ConsentPage: consentPage, Limiter: w, Now: w.now,
		Count: func(_ string, r signin.Result) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.results[r]++
		},
	}
	for id, domain := range map[string]string{"dev": "example.com", "other": "example.org", "third": "example.org"} {
		cfg.Providers[id] = w.provider(t, id, domain)
	}
	if change != nil {
		change(&cfg)
	}
	if w.logins, err = signin.New(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// startProvider runs the development provider. It fails as w.idpDown says.
func startProvider(t testing.TB, w *world) string {
	t.Helper()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		down := w.idpDown
		w.mu.Unlock()
		if down != nil && down(r.URL.Path) {
			http.Error(rw, "broken", http.StatusInternalServerError)
			return
		}
		handler.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	var err error
	handler, err = devidp.New(devidp.Config{
		Issuer: server.URL,
		Clients: []devidp.Client{{
			ID: "issuer", RedirectURIs: []string{callback + "dev", callback + "other", callback + "third"},
		}},
		People: []devidp.Person{devidp.Alice, devidp.Bob, {Subject: "dev-10023", Username: "Alice"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return server.URL
}

// provider is the client of the development provider.
func (w *world) provider(t testing.TB, id, domain string) *login.Provider {
	t.Helper()
	client, err := fetch.NewClient(fetch.Policy{AllowHTTP: true, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	p, err := login.New(login.Config{
		ID: id, Domain: domain, Issuer: w.idp, ClientID: "issuer", RedirectURL: callback + id, AuthoritativeHandles: true,
	}, client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// fail has the OpenID provider fail at a path; it works again if that is empty.
func (w *world) fail(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idpDown = func(p string) bool { return path != "" && p == path }
}
