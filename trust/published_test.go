package trust_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/trust"
)

// An issuer publishes metadata and keys, and counts how often it is asked for keys.
type issuer struct {
	*httptest.Server
	URL string // the issuer's, with a path

	mu     sync.Mutex
	kids   []string
	down   bool
	claims string // what the metadata says it is; "": URL
	keysAt string // jwks_uri; "": below URL
	typ    string // Content-Type of what it says; "": application/json
	pad    int    // spaces after the keys
	jwks   []byte // instead of a key of each kid
	hold   chan struct{}
	asked  atomic.Int32
}

func newIssuer(t *testing.T, kids ...string) *issuer {
	i := &issuer{kids: kids}
	i.Server = httptest.NewTLSServer(i)
	t.Cleanup(i.Close)
	i.URL = i.Server.URL + "/im"
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	w.Header().Set("Content-Type", cmp.Or(i.typ, "application/json"))
	switch {
	case i.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path == "/.well-known/oauth-authorization-server/im":
		metadata := map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/jwks"}
		if i.claims != "" {
			metadata["issuer"] = i.claims
		}
		if i.keysAt != "" {
			metadata["jwks_uri"] = i.keysAt
		}
		_ = json.NewEncoder(w).Encode(metadata)
	case r.URL.Path == "/im/jwks":
		i.asked.Add(1)
		if i.hold != nil {
			<-i.hold
		}
		keys := i.jwks
		if keys == nil {
			keys = jwks(i.kids...)
		}
		_, _ = w.Write(append(keys, strings.Repeat(" ", i.pad)...))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// A clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// asks returns a function that holds Key to an error and to how often the issuer has been asked since the beginning.
func (i *issuer) asks(t *testing.T) (c *clock, key func(kid string, want error, asked int32)) {
	c = &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	table := newTable(t, trust.Config{
		Peers:  []trust.Peer{{Domain: "one.example", Issuer: i.URL}},
		Client: i.Client(), Now: c.Now,
	})
	return c, func(kid string, want error, asked int32) {
		t.Helper()
		if _, _, err := table.Key(t.Context(), i.URL, kid); !errors.Is(err, want) {
			t.Errorf("Key(%s) = %v, want %v", kid, err, want)
		}
		if got := i.asked.Load(); got != asked {
			t.Errorf("asked %d times, want %d", got, asked)
		}
	}
}

func TestPublishedKeysAreKept(t *testing.T) {
	i := newIssuer(t, "a", "b")
	clock, key := i.asks(t)
	key("a", nil, 1)
	key("b", nil, 1)
	clock.add(trust.DefaultFresh - time.Second)
	key("a", nil, 1)

	// A key that is withdrawn is believed no longer than what is fresh.
	i.set(func() { i.kids = []string{"b"} })
	clock.add(time.Second)
	key("a", trust.ErrUnknownKey, 2)
	key("b", nil, 2)
}

// One made-up kid costs the issuer one question a minute; those beyond cannot be known.
func TestForcedRefresh(t *testing.T) {
	i := newIssuer(t, "a")
	clock, key := i.asks(t)
	key("a", nil, 1)
	key("x", trust.ErrUnknownKey, 2)
	key("x", trust.ErrUnavailable, 2)
	key("y", trust.ErrUnavailable, 2)
	key("a", nil, 2)
	i.set(func() { i.kids = []string{"a", "n"} })
	key("n", trust.ErrUnavailable, 2)
	clock.add(time.Minute)
	key("n", nil, 3)
	key("n", nil, 3)
}

// An outage is no revocation: what was known is used for a while, what is not known stays unknown.
func TestOutage(t *testing.T) {
	i := newIssuer(t, "a")
	i.set(func() { i.down = true })
	clock, key := i.asks(t)
	key("a", trust.ErrUnavailable, 0)
	i.set(func() { i.down = false })
	key("a", trust.ErrUnavailable, 0) // left alone for ten seconds
	clock.add(10 * time.Second)
	key("a", nil, 1)

	i.set(func() { i.down = true })
	key("x", trust.ErrUnavailable, 1) // fresh, but the question failed
	clock.add(trust.DefaultFresh)
	key("a", nil, 1)
	clock.add(trust.DefaultStale - trust.DefaultFresh - time.Second)
	key("a", nil, 1)
	clock.add(time.Second)
	key("a", trust.ErrUnavailable, 1)
	i.set(func() { i.down = false })
	clock.add(10 * time.Second)
	key("a", nil, 2)
}

func TestMetadataIsChecked(t *testing.T) {
	for name, v := range map[string]struct {
		change func(i *issuer)
		asked  int32
	}{
		"of another issuer": {func(i *issuer) { i.claims = i.Server.URL }, 0},
		"without keys":      {func(i *issuer) { i.keysAt = "nowhere" }, 0},
		"not a key set":     {func(i *issuer) { i.jwks = []byte(`{"keys":7}`) }, 1},
		"keys without end":  {func(i *issuer) { i.pad = 256 << 10 }, 1},
		"of another type":   {func(i *issuer) { i.typ = "text/html" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, "a")
			v.change(i)
			_, key := i.asks(t)
			key("a", trust.ErrUnavailable, v.asked)
		})
	}
}

// The client that may reach what the operator wrote down goes nowhere else.
func TestForeignOrigin(t *testing.T) {
	home, elsewhere := newIssuer(t, "a"), newIssuer(t, "a")
	home.keysAt = elsewhere.URL + "/jwks"
	for name, v := range map[string]struct {
		foreign *http.Client
		want    error
	}{"strict": {nil, trust.ErrUnavailable}, "allowed": {elsewhere.Client(), nil}} {
		table := newTable(t, trust.Config{
			Peers: []trust.Peer{{Domain: "one.example", Issuer: home.URL}}, Client: home.Client(), ForeignClient: v.foreign,
		})
		if _, _, err := table.Key(t.Context(), home.URL, "a"); !errors.Is(err, v.want) {
			t.Errorf("%s: Key = %v, want %v", name, err, v.want)
		}
	}
}

// Concurrent callers share one fetch, and a caller that gives up does not end it.
func TestConcurrentQuestions(t *testing.T) {
	i := newIssuer(t, "a")
	i.hold = make(chan struct{})
	table := newTable(t, trust.Config{Peers: []trust.Peer{{Domain: "one.example", Issuer: i.URL}}, Client: i.Client()})

	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, _, err := table.Key(ctx, i.URL, "a")
		first <- err
	}()
	for i.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("Key = %v, want %v", err, context.Canceled)
	}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if _, _, err := table.Key(t.Context(), i.URL, "a"); err != nil {
				t.Errorf("Key = %v", err)
			}
		})
	}
	close(i.hold)
	all.Wait()
	if got := i.asked.Load(); got != 1 {
		t.Errorf("asked %d times, want 1", got)
	}
}
