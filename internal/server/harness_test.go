package server_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
	"github.com/imidentity/issuer/storage/storagetest"
)

// The clients of testdata/settings.yaml.
var (
	app       = caller{id: "app"}
	otherApp  = caller{id: "other-app"}
	strictApp = caller{id: "strict-app"}
	bothApp   = caller{id: "both-app"}
	twoApp    = caller{id: "two-app"}
	guestApp  = caller{id: "guest-app"}
	guestWeb  = caller{id: "guest-web", secret: secret}
	deskApp   = caller{id: "desk-app", secret: secret}
	webApp    = caller{id: "web-app_1.0", secret: secret}
	peer      = caller{id: "peer", secret: secret}
	rooms     = caller{id: "rooms", secret: secret}
	accounts  = caller{id: "account-app"}
	bot       = caller{id: "bot", secret: secret}
	auditor   = caller{id: "auditor", secret: secret}
	stranger  = caller{id: "stranger", secret: secret}
	mute      = caller{id: "mute", secret: secret}
	envoy     = caller{id: "envoy", secret: secret}
	travelApp = caller{id: "travel-app"}
)

// What app may ask for, unless a test says otherwise.
const (
	bothScopes    = `["im:handle", "im:device"]`
	bothResources = `["https://rooms.example.com", "https://files.example.com"]`
)

const secret = "s3cret-with_all.of~them+and/more=%20:"

// A site is a whole issuer, with an OpenID provider in front of it, on sockets and files of its own. When its test
// ends it is shut down, and its log is searched for what does not belong there.
type site struct {
	issuer   string // URL
	admin    string // URL of the admin listener
	network  string // URL of the listener for operators over the network, see withOperators
	provider *provider
	guests   *provider            // another one, for tests that ask for it: see withGuests
	store    storage.Store        // the real one, below the faults
	reading  *sqlitetest.Database // a connection to the database for many reads, or nil
	faults   faults
	clock    clock
	witness  *witness
	http     *http.Client // follows no redirects, keeps no cookies

	transport *http.Transport
	fill      map[string]string // what is filled into the settings
	accept    bool              // the issuer is started with --accept-clock
	instance  *issuer.Instance
	stop      func(t *testing.T)
}

// withGuests has start run a second OpenID provider, for guests of two.example.
var withGuests = map[string]string{"guests": "too"}

// start runs a site. The settings are those of testdata/settings.yaml; fill replaces what is filled in there, "prefix"
// is the path of the issuer's URL, "origin" what stands before it where that is not the address it listens at, and
// "background" may be "fast" for what the issuer does by itself. As no test shares its site with another, they all run
// beside each other.
func start(t *testing.T, fill map[string]string) *site {
	t.Helper()
	t.Parallel()
	return startBeside(t, fill)
}

// startBeside is start for a further site of a test. The settings are those of testdata/FILE.yaml where fill has the file.
func startBeside(t *testing.T, fill map[string]string) *site {
	t.Helper()
	public, admin := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	transport := &http.Transport{MaxIdleConnsPerHost: 32}
	origin := "http://" + public.Addr().String()
	if fill["origin"] != "" {
		origin = fill["origin"]
		// As if a proxy stood in front of the issuer that speaks TLS for it, at the address which the name stands for.
		transport.DialTLSContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, public.Addr().String())
		}
	}
	s := &site{
		issuer: origin + fill["prefix"], admin: "http://" + admin.Addr().String(),
		witness: newWitness(), transport: transport,
	}
	s.http = &http.Client{
		Transport:     recorder{transport, s.witness},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.provider = startProvider(t, s.witness, s.issuer+"/login/callback/")
	guests := "http://127.0.0.1:1" // nobody is there
	if maps.Equal(fill, withGuests) {
		s.guests = startProvider(t, s.witness, s.issuer+"/login/callback/")
		guests = s.guests.url
	}
	hash := sha256.Sum256([]byte(secret))
	s.fill = map[string]string{
		"issuer": s.issuer, "provider": s.provider.url, "data": t.TempDir(), "secret": hex.EncodeToString(hash[:]), "guests": guests,
		"nonce": "required", "replay": "memory", "proofs": "100000", "scim": scimClients, "subject": "sub", "both": "[example.com, example.org]", "devices": "1000", "choose": "false", "statuses": "false", "limits": "", "networks": "127.0.0.0/8", "jwks": signerKeys, "feed": "[feed]", "followed": "[example.com]", "jwks_uri": "http://127.0.0.1:9/jwks", "scopes": bothScopes, "resources": bothResources,
	}
	if s.guests == nil {
		maps.Copy(s.fill, fill)
	}
	if _, err := os.Stat(s.database()); err != nil { // the test brings none
		sqlitetest.Create(t, s.database())
	}
	s.serve(t, public, admin)
	s.waitReady(t)
	t.Cleanup(func() {
		s.stop(t)
		s.witness.report(t)
	})
	return s
}

// serve puts an issuer together from the settings and the data folder of the site.
func (s *site) serve(t *testing.T, public, admin net.Listener) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	operators := s.listenOperators(t)
	var monitor net.Listener
	if s.fill["metrics"] != "" {
		monitor = listen(t, s.fill["metrics"])
		s.fill["metrics"] = monitor.Addr().String()
	}
	var every time.Duration // as is usual
	if s.fill["background"] == "fast" {
		every = 20 * time.Millisecond
	}
	instance, err := issuer.Open(ctx, settings(t, s.fill), issuer.Options{
		SweepEvery: every, NoteEvery: every,
		Log: slog.New(slog.NewTextHandler(s.witness, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now: s.clock.now, Elapsed: s.clock.elapsed, AcceptClock: s.accept,
		Store: func(real storage.Store) storage.Store {
			s.store = real
			return storagetest.Faulty{Store: real, Fail: s.faults.fail}
		},
		Replay: func(real dpop.Replay) dpop.Replay { return faultyReplay{real, s.faults.fail} },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.instance = instance
	ended := make(chan error, 1)
	go func() {
		ended <- instance.Serve(ctx, issuer.Listeners{Public: public, Admin: admin, Operators: operators, Monitor: monitor})
	}()
	s.stop = func(t *testing.T) {
		t.Helper()
		s.transport.CloseIdleConnections() // the server waits for connections that were never used
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v, want nil", err)
		}
	}
}

// settings reads testdata/settings.yaml with what is filled in.
func settings(t *testing.T, fill map[string]string) *config.Config {
	t.Helper()
	text, err := os.ReadFile("testdata/" + cmp.Or(fill["file"], "settings") + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	filled := os.Expand(string(text), func(name string) string { return fill[name] })
	cfg, err := config.Parse("settings.yaml", []byte(filled), nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// reload has the issuer take up settings that differ, as SIGHUP does.
func (s *site) reload(t *testing.T, fill map[string]string) {
	t.Helper()
	maps.Copy(s.fill, fill)
	if err := s.instance.Reload(settings(t, s.fill)); err != nil {
		t.Fatal(err)
	}
}

// restart stops the issuer and starts another one with the same data, at the same addresses, and with settings that
// may differ.
func (s *site) restart(t *testing.T, fill map[string]string) {
	t.Helper()
	s.restartUnready(t, fill)
	s.waitReady(t)
}

// restartUnready is restart for an issuer that may not become ready.
func (s *site) restartUnready(t *testing.T, fill map[string]string) {
	t.Helper()
	s.stop(t)
	maps.Copy(s.fill, fill)
	s.serve(t, listen(t, strings.TrimSuffix(s.issuer[len("http://"):], s.fill["prefix"])), listen(t, s.admin[len("http://"):]))
}

func (s *site) waitReady(t *testing.T) {
	t.Helper()
	for range 1000 {
		if s.get(t, "/readyz").status == http.StatusOK {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("the issuer does not become ready")
}

// advance lets time pass. The revocations are read again before it returns.
func (s *site) advance(t *testing.T, d time.Duration) {
	t.Helper()
	s.clock.advance(d)
	s.waitReady(t)
}

// freeze stops the clock in the middle of the present minute, in which all nonces are the same.
func (s *site) freeze(t *testing.T) {
	t.Helper()
	s.clock.freeze(time.Now().Truncate(time.Minute).Add(30 * time.Second))
	s.waitReady(t)
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A clock is the time that an issuer lives by: real time, moved on, or standing still but for a step at each look. It
// may also be set, which is not the passing of time.
type clock struct {
	mu     sync.Mutex
	ahead  time.Duration
	set    time.Duration // beside ahead
	frozen time.Time
	step   time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen.IsZero() {
		c.frozen = c.frozen.Add(c.step)
		return c.frozen.Add(c.set)
	}
	return setBy(time.Now().Add(c.ahead), c.set)
}

// setBy returns t with its hands moved by whole seconds, and what time.Since goes by left as it is: as time.Now is
// after the system's clock was set. Package time has no way to say that.
func setBy(t time.Time, by time.Duration) time.Time {
	moved := t
	*(*uint64)(unsafe.Pointer(&moved)) += uint64(by/time.Second) << 30 // see the source of time.Time
	if !moved.Round(0).Equal(t.Round(0).Add(by)) || moved.Sub(t) != 0 {
		panic("time.Time is made otherwise now, or by is not whole seconds")
	}
	return moved
}

// elapsed is the time that has passed, from some moment on.
func (c *clock) elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen.IsZero() {
		return c.frozen.Sub(began)
	}
	return time.Since(began) + c.ahead
}

var began = time.Now()

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen.IsZero() {
		c.ahead += d
	} else {
		c.frozen = c.frozen.Add(d)
	}
}

// setBy sets the clock, on top of what it was set before.
func (c *clock) setBy(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set += d
}

func (c *clock) freeze(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = at
}

// hasten lets a clock that stands still take a step at each look.
func (c *clock) hasten(step time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.step = step
}
