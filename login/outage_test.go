package login_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/login"
)

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, login.ErrUnavailable) {
		t.Errorf("%s = %v, want %v", what, err, login.ErrUnavailable)
	}
}

// TestOutage makes each endpoint of the provider fail in each of the usual ways.
func TestOutage(t *testing.T) {
	ways := map[string]http.HandlerFunc{
		"answers 503":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"answers 429":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"hangs up":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"hangs":          func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"hangs midway":   func(w http.ResponseWriter, r *http.Request) { trickle(w); <-r.Context().Done() },
		"never ends":     func(w http.ResponseWriter, r *http.Request) { endless(w, r) },
		"redirects away": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	}
	bare := func(_, claims object) { delete(claims, "preferred_username") }
	for _, path := range []string{"/.well-known/openid-configuration", "/oauth/token", "/keys", "/userinfo"} {
		for name, way := range ways {
			if name == "hangs midway" && path != "/oauth/token" {
				continue // Bodies are read in one place.
			}
			t.Run(strings.TrimPrefix(path, "/")+" "+name, func(t *testing.T) {
				t.Parallel() // Half of them wait for a time limit.
				tam := newTamperer(t)
				tam.idToken = bare
				var broken atomic.Bool
				broken.Store(true)
				tam.answer = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != path || !broken.Load() {
						return false
					}
					_, _ = io.Copy(io.Discard, r.Body) // Else a server does not notice that the client has gone.
					way(w, r)
					return true
				}
				p, err := login.New(config(serve(t, tam.wrap, dev)), client(t, 3*time.Second), nil)
				if err != nil {
					t.Fatal(err)
				}
				start, err := p.Begin(t.Context(), login.BeginParams{})
				if err == nil {
					_, err = p.Finish(t.Context(), start.Pending, visit(t, start, "alice"))
				}
				wantUnavailable(t, "login", err)

				broken.Store(false) // Nothing of the outage is remembered.
				start = begin(t, p, login.BeginParams{})
				if _, err = p.Finish(t.Context(), start.Pending, visit(t, start, "alice")); err != nil {
					t.Errorf("Finish after the outage: %v", err)
				}
			})
		}
	}
}

func trickle(w http.ResponseWriter) {
	_, _ = w.Write([]byte(`{"`))
	w.(http.Flusher).Flush()
}

func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte(strings.Repeat(" ", 64<<10))); err != nil {
			return
		}
	}
}

func TestDown(t *testing.T) {
	p := newProvider(t, config("http://127.0.0.1:1"))
	_, err := p.Begin(t.Context(), login.BeginParams{})
	wantUnavailable(t, "Begin", err)
	_, err = p.Finish(t.Context(), login.Pending{State: "a"}, nil)
	wantUnavailable(t, "Finish", err)
}

// TestGivenUp ends the context of a caller while the provider hangs. The next caller is not delayed by it.
func TestGivenUp(t *testing.T) {
	tam := newTamperer(t)
	asked := make(chan struct{}, 1)
	release := make(chan struct{})
	tam.answer = func(http.ResponseWriter, *http.Request) bool {
		asked <- struct{}{}
		<-release
		return false
	}
	p := newProvider(t, config(serve(t, tam.wrap, dev)))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	_, err := p.Begin(ctx, login.BeginParams{})
	wantUnavailable(t, "Begin", err)
	close(release)
	if _, err := p.Begin(t.Context(), login.BeginParams{}); err != nil {
		t.Errorf("Begin: %v", err)
	}
}

func TestMetadataRefused(t *testing.T) {
	for name, change := range map[string]func(object){
		"foreign issuer":  func(m object) { m["issuer"] = "https://idp.example.net" },
		"no keys":         func(m object) { delete(m, "jwks_uri") },
		"no token":        func(m object) { delete(m, "token_endpoint") },
		"relative":        func(m object) { m["authorization_endpoint"] = "/authorize" },
		"script":          func(m object) { m["authorization_endpoint"] = "javascript:alert(1)" },
		"bad userinfo":    func(m object) { m["userinfo_endpoint"] = "file:///etc/passwd" },
		"only HMAC":       func(m object) { m["id_token_signing_alg_values_supported"] = []string{"HS256", "none"} },
		"no secrets":      func(m object) { m["token_endpoint_auth_methods_supported"] = []string{"private_key_jwt"} },
		"algs no strings": func(m object) { m["id_token_signing_alg_values_supported"] = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			tam := newTamperer(t)
			tam.metadata = change
			_, err := newProvider(t, config(serve(t, tam.wrap, dev))).Begin(t.Context(), login.BeginParams{})
			wantUnavailable(t, "Begin", err)
		})
	}
}

func TestSecretInTheBody(t *testing.T) {
	tam := newTamperer(t)
	tam.metadata = func(m object) { m["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"} }
	var basic atomic.Bool
	tam.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/oauth/token" {
			_, _, ok := r.BasicAuth()
			basic.Store(ok)
		}
		return false
	}
	if _, err := tam.finish(t, nil, login.BeginParams{}); err != nil || basic.Load() {
		t.Errorf("Finish = %v, Basic = %v, want the secret in the body", err, basic.Load())
	}
}

// A clock is set by hand and read by several goroutines.
type clock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

// TestForcedRefresh has a provider sign with keys that it does not publish: it is asked again once a minute.
func TestForcedRefresh(t *testing.T) {
	tam := newTamperer(t)
	tam.idToken = func(header, _ object) { header["kid"] = "unknown" }
	var c clock
	p, err := login.New(config(serve(t, tam.wrap, dev)), client(t, 0), c.Now)
	if err != nil {
		t.Fatal(err)
	}
	finish := func() error {
		start := begin(t, p, login.BeginParams{})
		_, err := p.Finish(t.Context(), start.Pending, visit(t, start, "alice"))
		return err
	}
	asked := func(want int32) {
		t.Helper()
		if n := tam.keysAsked.Load(); n != want {
			t.Errorf("the keys were fetched %d times, want %d", n, want)
		}
	}
	wantRejected(t, finish(), "id_token")
	asked(2) // the first time, and once for the unknown key
	for range 3 {
		wantUnavailable(t, "Finish", finish())
	}
	asked(2)
	c.advance(61 * time.Second)
	wantRejected(t, finish(), "id_token")
	asked(3)

	tam.idToken = func(object, object) {}
	if err := finish(); err != nil {
		t.Errorf("Finish: %v", err)
	}
}

// TestMetadataGone makes the metadata unavailable after the login has begun: the keys are fetched by the known metadata. If a
// token cannot be verified then, that is an outage, not a refusal: the metadata may have changed.
func TestMetadataGone(t *testing.T) {
	for _, test := range []struct {
		name   string
		forged bool
	}{{"good", false}, {"forged", true}} {
		t.Run(test.name, func(t *testing.T) {
			tam := newTamperer(t)
			tam.idToken = func(object, object) {}
			if test.forged {
				tam.sign = func(tam *tamperer, h, c object) string { return signWith(tam.stranger, h, c) }
			}
			var gone atomic.Bool
			tam.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if !gone.Load() || r.URL.Path != "/.well-known/openid-configuration" {
					return false
				}
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			var c clock
			p, err := login.New(config(serve(t, tam.wrap, dev)), client(t, 0), c.Now)
			if err != nil {
				t.Fatal(err)
			}
			start := begin(t, p, login.BeginParams{})
			callback := visit(t, start, "alice")
			gone.Store(true)
			_, err = p.Finish(t.Context(), start.Pending, callback)
			if !test.forged && err != nil {
				t.Errorf("Finish = %v, want a login", err)
			} else if test.forged {
				wantUnavailable(t, "Finish", err)
			}
			if !test.forged {
				return
			}
			gone.Store(false)
			c.advance(61 * time.Second)
			start = begin(t, p, login.BeginParams{})
			_, err = p.Finish(t.Context(), start.Pending, visit(t, start, "alice"))
			wantRejected(t, err, "id_token")
		})
	}
}
