package server_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// A sharedCache is an intermediary that keeps every answer which does not forbid it (RFC 9111 §3), also of POST, and gives it to
// whoever sends the same request with any credentials.
type sharedCache struct {
	base http.RoundTripper

	mu     sync.Mutex
	kept   map[string]answer
	served map[string]int // by path
}

func (c *sharedCache) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	key := strings.Join([]string{r.Method, r.URL.String(), string(body), r.Header.Get("Accept")}, "\n")
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, ok := c.kept[key]; ok {
		c.served[r.URL.Path]++
		return &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
	}
	resp, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(resp.Header.Get("Cache-Control"), "no-store") {
		c.kept[key] = answer{status: resp.StatusCode, header: resp.Header, body: string(text)}
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}

// TestIntermediaries holds that no answer about a token comes from an intermediary: neither a "yes" nor a "no", nor an error, in any form.
// What everyone may see does.
func TestIntermediaries(t *testing.T) {
	s := start(t, nil)
	d, machine := newDevice(t), newDevice(t)
	held := s.login(t, d, "alice")
	own := s.service(t, peer, machine, url.Values{"resource": {s.issuer}})
	about := func(token string) url.Values { return url.Values{"token": {token}} }
	direct := s.http.Transport
	cache := &sharedCache{base: direct, kept: make(map[string]answer), served: make(map[string]int)}
	s.http.Transport = cache
	questions := map[string]func() answer{
		"active":          func() answer { return s.introspect(t, peer, held.access) },
		"inactive":        func() answer { return s.introspect(t, peer, "never-issued") },
		"signed":          func() answer { return s.asking(t, peer, "/introspect", about(held.access), mediaSigned) },
		"batch":           func() answer { return s.asking(t, peer, "/introspect/batch", batch(held.access, "never-issued")) },
		"signed batch":    func() answer { return s.asking(t, peer, "/introspect/batch", batch(held.access), mediaBatch) },
		"by a token":      func() answer { return s.held(t, machine, own, http.MethodPost, "/introspect", about(held.access)) },
		"staple":          func() answer { return s.held(t, d, held.access, http.MethodPost, "/staple", nil) },
		"events":          func() answer { return s.askEvents(t, follower, nil) },
		"no credentials":  func() answer { return s.post(t, "/introspect", about(held.access), nil) },
		"without a scope": func() answer { return s.introspect(t, mute, held.access) },
		"no token":        func() answer { return s.asking(t, peer, "/introspect", url.Values{}) },
		"too long":        func() answer { return s.introspect(t, peer, strings.Repeat("a", 1<<20)) },
	}
	twice := func(wanted int) {
		t.Helper()
		for name, ask := range questions {
			for range 2 {
				if a := ask(); wanted != 0 && a.status != wanted {
					t.Errorf("%s: answer = %v, want %d", name, a, wanted)
				}
			}
		}
	}
	twice(0)
	if a := questions["active"](); a.json["active"] != true {
		t.Errorf("answer = %v, want active", a)
	}
	s.remove(t, held.set.Device)
	if a := questions["active"](); a.json["active"] != false {
		t.Errorf("answer = %v, want inactive", a)
	}
	for _, path := range []string{"/jwks", "/jwks", "/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server"} {
		s.get(t, path)
	}
	for _, name := range []string{"no credentials", "without a scope", "no token", "too long", "by a token", "staple"} {
		delete(questions, name)
	}
	s.faults.set("Revocations")
	s.clock.advance(time.Minute)
	twice(http.StatusServiceUnavailable)
	for path, n := range cache.served {
		if path != "/jwks" && path != "/.well-known/oauth-authorization-server" {
			t.Errorf("%s: %d answers come from the intermediary, want none", path, n)
		}
	}
	if len(cache.served) != 2 {
		t.Errorf("answers from the intermediary = %v, want keys and metadata", cache.served)
	}
}
