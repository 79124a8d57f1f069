package server_test

import (
	"crypto"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// A keyServer publishes the keys of the client publisher.
type keyServer struct {
	*httptest.Server
	mu    sync.Mutex
	down  bool
	body  string
	asked int
}

func startKeyServer(t *testing.T, body string) *keyServer {
	k := &keyServer{body: body}
	k.Server = httptest.NewServer(k)
	t.Cleanup(k.Close)
	return k
}

func (k *keyServer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked++
	if k.down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write([]byte(k.body))
}

func (k *keyServer) set(down bool, body string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down, k.body = down, body
}

func (k *keyServer) times() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked
}

// TestPublishedClientKeys holds what a client's jwks_uri is good for: its keys come and go without the operator, an outage
// is never an answer of no, and nobody can make the issuer ask more than once a minute.
func TestPublishedClientKeys(t *testing.T) {
	old, next := newKey(t), newKey(t)
	only := keySet(old.Public(), "old")
	k := startKeyServer(t, only)
	s := start(t, map[string]string{"jwks_uri": k.URL + "/jwks?of=publisher"})
	ask := func(key crypto.Signer, kid string) answer {
		return s.post(t, "/token", joined(serviceForm, s.assert(t, key, kid, "publisher", nil)), nil)
	}
	passes := func(a answer, asked int) {
		t.Helper()
		if a.status != http.StatusOK || k.times() != asked {
			t.Errorf("answer = %v after %d questions, want a token after %d", a, k.times(), asked)
		}
	}
	unknown := func(a answer, asked int) {
		t.Helper()
		wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
		if k.times() != asked {
			t.Errorf("asked %d times, want %d", k.times(), asked)
		}
	}
	refused := func(a answer, asked int) {
		t.Helper()
		wantInvalidClient(t, a)
		if k.times() != asked {
			t.Errorf("asked %d times, want %d", k.times(), asked)
		}
	}
	k.set(true, only)
	refused(ask(old, "old"), 1) // nothing is known of its keys, and who has none is not to learn that there is such a client
	refused(ask(old, "old"), 1) // left alone for ten seconds
	k.set(false, only)
	s.clock.advance(10 * time.Second)
	passes(ask(old, "old"), 2)
	passes(ask(old, "old"), 2)
	wantInvalidClient(t, ask(next, "old")) // its key, somebody else's signature
	wantInvalidClient(t, ask(next, "next"))
	if k.times() != 3 {
		t.Errorf("asked %d times, want 3", k.times())
	}

	// The client begins to use a new key.
	k.set(false, keySet(old.Public(), "old", next.Public(), "next"))
	refused(ask(next, "next"), 3) // somebody asked for it too early
	s.clock.advance(time.Minute)
	passes(ask(next, "next"), 4)
	for range 3 {
		refused(ask(next, "made-up"), 4)
	}
	passes(ask(old, "old"), 4)

	// It withdraws the old one.
	k.set(false, keySet(next.Public(), "next"))
	s.advance(t, 5*time.Minute)
	wantInvalidClient(t, ask(old, "old"))
	passes(ask(next, "next"), 5)

	// What was known outlives an outage, for an hour.
	k.set(true, "")
	s.advance(t, 50*time.Minute)
	passes(ask(next, "next"), 6)
	refused(ask(old, "old"), 6)
	s.advance(t, 10*time.Minute)
	refused(ask(newKey(t), "next"), 7)
	s.advance(t, 10*time.Second)
	unknown(ask(next, "next"), 8)
	for _, body := range []string{"", "{}", `{"keys":7}`} {
		k.set(false, body)
		asked := k.times()
		s.clock.advance(10 * time.Second)
		unknown(ask(next, "next"), asked+1)
	}
	s.waitReady(t)
	once := joined(url.Values{"token": {"AAAA"}}, s.assert(t, next, "next", "publisher", nil))
	k.set(false, keySet(next.Public(), "next"))
	s.clock.advance(10 * time.Second)
	s.waitReady(t)
	if a := s.post(t, "/introspect", once, nil); a.status != http.StatusOK {
		t.Errorf("introspection = %v, want 200", a)
	}
}

// TestReviewB6ClientWithdrawsOnlyKey: a client that withdraws its only key is not believed after the next fetch; an answer that
// is no key set changes nothing.
func TestReviewB6ClientWithdrawsOnlyKey(t *testing.T) {
	key := newKey(t)
	only := keySet(key.Public(), "only")
	k := startKeyServer(t, only)
	s := start(t, map[string]string{"jwks_uri": k.URL})
	ask := func() answer {
		return s.post(t, "/token", joined(serviceForm, s.assert(t, key, "only", "publisher", nil)), nil)
	}
	for i, body := range []string{only, `{"keys":7}`, `{"keys":[{"kty":"oct","k":"AAAA","kid":"only"}]}`, only, `{"keys":[]}`} {
		k.set(false, body)
		s.advance(t, 5*time.Minute)
		if a := ask(); i == 0 || i == 1 || i == 3 {
			if a.status != http.StatusOK {
				t.Errorf("answer = %v where the key set is %s, want a token", a, body)
			}
		} else {
			wantInvalidClient(t, a)
		}
	}
}

// TestReviewC6ClientsAreNotEnumerable: without a key of the client, nobody learns from answers or outages that there is a
// client which publishes its keys, and nobody writes errors into the log.
func TestReviewC6ClientsAreNotEnumerable(t *testing.T) {
	key := newKey(t)
	only := keySet(key.Public(), "only")
	k := startKeyServer(t, only)
	s := start(t, map[string]string{"jwks_uri": k.URL})
	ask := func(client, kid string) answer {
		return s.post(t, "/token", joined(serviceForm, s.assert(t, newKey(t), kid, client, nil)), nil)
	}
	look := func(state string) {
		t.Helper()
		for _, kid := range []string{"a", "b", "c", "only", "only", ""} {
			got, want := ask("publisher", kid), ask("nobody", kid)
			wantInvalidClient(t, got)
			if got.status != want.status || got.body != want.body {
				t.Errorf("%s, kid %q: answer = %v, want that to an unknown client, %v", state, kid, got, want)
			}
		}
	}
	k.set(true, "")
	look("never read")
	k.set(false, only)
	s.advance(t, 10*time.Second)
	if a := s.post(t, "/token", joined(serviceForm, s.assert(t, key, "only", "publisher", nil)), nil); a.status != http.StatusOK {
		t.Fatalf("answer = %v, want a token", a)
	}
	look("just read")
	s.advance(t, 5*time.Minute)
	look("read again")
	k.set(true, "")
	s.advance(t, 30*time.Minute)
	look("stale")
	s.advance(t, time.Hour)
	look("too stale")
	if s.witness.said("keys of client publisher") {
		t.Error("requests without a key of the client wrote an error into the log")
	}
	if !s.witness.said("reading the keys of a client") {
		t.Error("the log does not tell the operator that the keys of a client cannot be read")
	}
	a := s.post(t, "/token", joined(serviceForm, s.assert(t, key, "only", "publisher", nil)), nil)
	wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable") // the client itself is told of the outage
}

// TestReviewE6ClientKey: a client puts another key under a kid that is known. It is fetched at the first signature that the
// old one did not make, once a minute.
func TestReviewE6ClientKey(t *testing.T) {
	old, next := newKey(t), newKey(t)
	k := startKeyServer(t, keySet(old.Public(), "one"))
	s := start(t, map[string]string{"jwks_uri": k.URL})
	ask := func(key crypto.Signer) answer {
		return s.post(t, "/token", joined(serviceForm, s.assert(t, key, "one", "publisher", nil)), nil)
	}
	for i, key := range []crypto.Signer{old, next} {
		k.set(false, keySet(key.Public(), "one"))
		if a := ask(key); a.status != http.StatusOK || k.times() != i+1 {
			t.Errorf("answer = %v after %d questions, want a token after %d", a, k.times(), i+1)
		}
	}
	for range 3 {
		wantInvalidClient(t, ask(old))
	}
	if k.times() != 2 {
		t.Errorf("asked %d times, want 2", k.times())
	}
}

// TestClientKeysStayOutside holds that a jwks_uri leads to private networks only where the settings say so.
func TestClientKeysStayOutside(t *testing.T) {
	key := newKey(t)
	k := startKeyServer(t, keySet(key.Public(), "one"))
	s := start(t, map[string]string{"jwks_uri": k.URL, "networks": "10.0.0.0/8"})
	a := s.post(t, "/token", joined(serviceForm, s.assert(t, key, "one", "publisher", nil)), nil)
	wantInvalidClient(t, a)
	if k.times() != 0 {
		t.Errorf("asked %d times, want 0", k.times())
	}
}

// TestReviewC6CrowdWritesNoErrors: that too many logins wait is no fault of the server, and anybody can bring it about.
func TestReviewC6CrowdWritesNoErrors(t *testing.T) {
	s := start(t, smallPool())
	full := false
	for i := range 110 {
		full = s.beginFrom(t, fmt.Sprintf("203.0.113.%d", i), authorization(nil)).status == http.StatusServiceUnavailable || full
	}
	if !full {
		t.Error("110 logins wait, want at most 100")
	}
	if s.witness.said("route=/authorize error=") {
		t.Error("a login for which there was no room wrote an error into the log")
	}
}
