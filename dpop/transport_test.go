package dpop_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// A resource is an HTTP server that demands proofs, as authorization server below /token and as resource
// everywhere else.
type resource struct {
	*server
	url      string
	requests atomic.Int32
	bodies   sync.Map // request number to body
}

func newResource(t *testing.T, nonces bool) *resource {
	t.Helper()
	r := &resource{server: newServer(t, nonces)}
	r.clock.unix.Store(time.Now().Unix())
	r.store.current.Store(newMemory(t, 0, func() time.Time { return time.Now().Add(-time.Hour) }))
	site := httptest.NewServer(r)
	t.Cleanup(site.Close)
	r.url = site.URL
	return r
}

func (r *resource) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	r.bodies.Store(r.requests.Add(1), string(body))
	nonce, err := r.Nonce(q.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if nonce != "" {
		w.Header().Set("DPoP-Nonce", nonce)
	}
	w.Header().Set("Date", r.clock.now().UTC().Format(http.TimeFormat))
	token := strings.TrimPrefix(q.Header.Get("Authorization"), "DPoP ")
	p, err := r.Check(q.Context(), dpop.Request{
		Method: q.Method, URL: r.url + q.URL.RequestURI(), Proofs: q.Header.Values("DPoP"), AccessToken: token,
	})
	if err == nil {
		err = r.Spend(q.Context(), p, netip.Addr{})
	}
	switch {
	case err == nil:
		fmt.Fprint(w, p.JKT)
	case q.URL.Path == "/token" && errors.Is(err, dpop.ErrUseNonce):
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"use_dpop_nonce"}`)
	case q.URL.Path == "/token":
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_dpop_proof","error_description":"`+err.Error()+`"}`)
	case errors.Is(err, dpop.ErrUseNonce):
		w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce", algs="ES256"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.Header().Set("WWW-Authenticate", `DPoP error="invalid_dpop_proof", algs="ES256"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// do sends a request and returns the status and the body of the answer.
func do(t *testing.T, client *http.Client, method, url, token string, body io.Reader) (int, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		q.Header.Set("Authorization", "DPoP "+token)
	}
	answer, err := client.Do(q)
	if err != nil {
		t.Fatalf("%s %s = %v", method, url, err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if q.Header.Get("DPoP") != "" {
		t.Error("the transport changed the caller's request")
	}
	return answer.StatusCode, string(text)
}

func TestTransport(t *testing.T) {
	r := newResource(t, true)
	signer := newSigner(t, p256(t))
	client := &http.Client{Transport: &dpop.Transport{Signer: signer}}
	want := func(requests int32, method, path, token, body string) {
		t.Helper()
		before := r.requests.Load()
		status, text := do(t, client, method, r.url+path, token, strings.NewReader(body))
		if status != http.StatusOK || text != signer.JKT() {
			t.Errorf("%s %s = %d %s, want 200", method, path, status, text)
		}
		n := r.requests.Load()
		if n-before != requests {
			t.Errorf("%s %s took %d requests, want %d", method, path, n-before, requests)
		}
		if got, _ := r.bodies.Load(n); got != body {
			t.Errorf("%s %s arrived with the body %q, want %q", method, path, got, body)
		}
	}
	want(2, "POST", "/token", "", "grant_type=client_credentials") // learns the nonce
	want(1, "POST", "/token", "", "grant_type=client_credentials")
	want(1, "GET", "/a/../b%2Fc?q=1", "token", "") // the same origin, the same nonce
	want(1, "PUT", "", "token", "x")
	r.clock.turn(3 * time.Minute) // the nonce grows old
	want(2, "GET", "/", "token", "")
	r.store.current.Store(newMemory(t, 0, r.clock.now)) // the server restarts
	want(2, "POST", "/token", "", "a=b")

	// A body that cannot be had again is not sent again: the answer is the server's.
	r.clock.turn(3 * time.Minute)
	status, text := do(t, client, "POST", r.url+"/token", "", io.MultiReader(strings.NewReader("once")))
	if status != http.StatusBadRequest || text != `{"error":"use_dpop_nonce"}` {
		t.Errorf("POST of a stream = %d %s, want 400 use_dpop_nonce", status, text)
	}
	want(1, "POST", "/token", "", "") // but the nonce was learned
}

// A client whose clock is wrong sets it by the server's Date.
func TestTransportClock(t *testing.T) {
	r := newResource(t, false)
	signer := newSigner(t, p256(t))
	for _, offset := range []time.Duration{-time.Hour, time.Hour, 100 * 24 * time.Hour} {
		now := func() time.Time { return time.Now().Add(offset) }
		client := &http.Client{Transport: &dpop.Transport{Signer: signer, Now: now}}
		for i, want := range []int32{2, 1} {
			before := r.requests.Load()
			path := []string{"/token", "/a"}[i]
			if status, text := do(t, client, "POST", r.url+path, "", strings.NewReader("x")); status != http.StatusOK {
				t.Errorf("POST with a clock %v off = %d %s, want 200", offset, status, text)
			}
			if n := r.requests.Load() - before; n != want {
				t.Errorf("POST number %d with a clock %v off took %d requests, want %d", i+1, offset, n, want)
			}
		}
	}
}

// A server that is never content gets a bounded number of requests, and its answer comes back whole.
func TestTransportGivesUp(t *testing.T) {
	for name, respond := range map[string]func(w http.ResponseWriter, n int32){
		"new nonces without end": func(w http.ResponseWriter, n int32) {
			w.Header().Set("DPoP-Nonce", fmt.Sprint("nonce", n))
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"use_dpop_nonce"}`)
		},
		"no nonce": func(w http.ResponseWriter, n int32) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"use_dpop_nonce"}`)
		},
		"two nonces": func(w http.ResponseWriter, n int32) {
			w.Header().Add("DPoP-Nonce", fmt.Sprint("a", n))
			w.Header().Add("DPoP-Nonce", fmt.Sprint("b", n))
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"use_dpop_nonce"}`)
		},
		"another error": func(w http.ResponseWriter, n int32) {
			w.Header().Set("DPoP-Nonce", fmt.Sprint("nonce", n))
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant","error_description":"use_dpop_nonce"}`)
		},
		"long answer": func(w http.ResponseWriter, n int32) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, strings.Repeat("x", 100_000))
		},
		"success that says error": func(w http.ResponseWriter, n int32) {
			w.Header().Set("DPoP-Nonce", fmt.Sprint("nonce", n))
			fmt.Fprint(w, `{"error":"use_dpop_nonce"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				respond(w, requests.Add(1))
			}))
			defer site.Close()
			_, text := do(t, &http.Client{Transport: &dpop.Transport{Signer: newSigner(t, p256(t))}}, "GET", site.URL, "", nil)
			recorded := httptest.NewRecorder()
			respond(recorded, requests.Load())
			if text != recorded.Body.String() {
				t.Errorf("the answer has %d octets, want %d", len(text), recorded.Body.Len())
			}
			if n := requests.Load(); n > 2 || n > 1 && name != "new nonces without end" {
				t.Errorf("%d requests", n)
			}
		})
	}
}

type closed struct {
	io.Reader
	n atomic.Int32
}

func (c *closed) Close() error { c.n.Add(1); return nil }

// As every RoundTripper, it closes the body of a request that it cannot send.
func TestTransportClosesBody(t *testing.T) {
	for name, transport := range map[string]*dpop.Transport{
		"bad URL":    {Signer: newSigner(t, p256(t))},
		"broken key": {Signer: newSigner(t, brokenKey{p256(t), errors.New("gone")})},
	} {
		q, err := http.NewRequestWithContext(context.Background(), "POST", "https://as.example/token", nil)
		if err != nil {
			t.Fatal(err)
		}
		if name == "bad URL" {
			q.URL.Scheme = "ftp"
		}
		body := &closed{Reader: strings.NewReader("x")}
		q.Body = body
		if answer, err := transport.RoundTrip(q); err == nil {
			t.Errorf("RoundTrip with a %s = %v, want an error", name, answer)
		}
		if body.n.Load() != 1 {
			t.Errorf("RoundTrip with a %s closed the body %d times, want once", name, body.n.Load())
		}
	}
}

func TestTransportInParallel(t *testing.T) {
	r := newResource(t, true)
	client := &http.Client{Transport: &dpop.Transport{Signer: newSigner(t, p256(t))}}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if status, text := do(t, client, "POST", r.url+"/token", "", strings.NewReader("x")); status != http.StatusOK {
				t.Errorf("POST = %d %s, want 200", status, text)
			}
		})
	}
	group.Wait()
}
