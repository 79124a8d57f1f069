package introspect_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/introspect"
)

// wantAsked wants a number of requests about one token.
func (f *faultyIssuer) wantAsked(t *testing.T, want int, why string) {
	t.Helper()
	if n, _ := f.asked(); n != want {
		t.Fatalf("%d requests, want %d: %s", n, want, why)
	}
}

// TestClientCache holds for how long answers are kept.
func TestClientCache(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	c, clock := f.client(t)
	wantActive(t, c, "token")
	clock.advance(5*time.Second - 1)
	if a := wantActive(t, c, "token").Answer; a.ExpiresIn != 55 || a.MaxAge != 0 {
		t.Errorf("expires_in = %d, max_age = %d, want them to be 5 less", a.ExpiresIn, a.MaxAge)
	}
	f.wantAsked(t, 1, "the answer is kept for max_age")
	clock.advance(1)
	wantActive(t, c, "token")
	f.wantAsked(t, 2, "and no longer")
	wantActive(t, c, "another")
	f.wantAsked(t, 3, "another token")
	clock.advance(-time.Second)
	wantActive(t, c, "token")
	f.wantAsked(t, 4, "the clock was set back")
	c.Forget()
	wantActive(t, c, "token")
	f.wantAsked(t, 5, "everything is forgotten")

	f.change(func() { f.answer = says(strings.Replace(activeAnswer, `"expires_in":60`, `"expires_in":2`, 1)) })
	wantActive(t, c, "brief")
	clock.advance(2 * time.Second)
	f.change(func() { f.answer = says(inactive) })
	if r, err := c.Introspect(t.Context(), about("brief")); err != nil || r.Answer.Active {
		t.Errorf("Introspect = %+v, %v, want inactive: the token has expired", r, err)
	}
	f.wantAsked(t, 7, "not past expires_in")
	f.change(func() {
		f.answer = says(strings.Replace(activeAnswer, `{`, fmt.Sprintf(`{"exp":%d,`, clock.now().Unix()+1), 1))
	})
	wantActive(t, c, "dated")
	clock.advance(2 * time.Second)
	wantActive(t, c, "dated")
	f.wantAsked(t, 9, "not past exp")

	f.change(func() { f.answer = says(strings.Replace(activeAnswer, `"max_age":5`, `"max_age":0`, 1)) })
	wantActive(t, c, "never-kept")
	wantActive(t, c, "never-kept")
	f.wantAsked(t, 11, "an answer with max_age 0")
	f.change(func() { f.answer = says(strings.Replace(activeAnswer, `"max_age":5`, `"max_age":2000000000`, 1)) })
	c, clock = f.client(t, func(c *introspect.ClientConfig) { c.MaxAge = 10 * time.Second })
	wantActive(t, c, "long")
	clock.advance(10 * time.Second)
	wantActive(t, c, "long")
	f.wantAsked(t, 13, "not for longer than the client allows")
	c, _ = f.client(t, func(c *introspect.ClientConfig) { c.MaxAge = -1 })
	wantActive(t, c, "token")
	wantActive(t, c, "token")
	f.wantAsked(t, 15, "the client keeps no answers")
}

// TestClientRefusals holds that it is kept for a moment that a token is not active.
func TestClientRefusals(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	f.answer = says(`{"active":false,"reason":"device_removed","path":"tokens[0]","sub":"ignored"}`)
	c, clock := f.client(t)
	ask := func(c *introspect.Client) {
		t.Helper()
		r, err := c.Introspect(t.Context(), about("token"))
		if a := r.Answer; err != nil || a.Active || a.Reason != introspect.DeviceRemoved || a.Path != "tokens[0]" || a.Subject != "" {
			t.Errorf("Introspect = %+v, %v, want inactive with the reason alone", r, err)
		}
	}
	ask(c)
	clock.advance(time.Second - 1)
	ask(c)
	f.wantAsked(t, 1, "a refusal is kept for a second")
	clock.advance(1)
	ask(c)
	f.wantAsked(t, 2, "and no longer")
	none, _ := f.client(t, func(c *introspect.ClientConfig) { c.RefusalAge = -1 })
	ask(none)
	ask(none)
	f.wantAsked(t, 4, "no refusals are kept")
}

// TestClientCacheBounds holds that the oldest answers go when there are too many, or they are too large.
func TestClientCacheBounds(t *testing.T) {
	for name, change := range map[string]func(*introspect.ClientConfig){
		"entries": func(c *introspect.ClientConfig) { c.CacheEntries = 3 },
		"bytes":   func(c *introspect.ClientConfig) { c.CacheBytes = 3*(1<<10+2*len(activeAnswer)) + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaultyIssuer(t, nil)
			c, _ := f.client(t, change)
			for i := range 4 {
				wantActive(t, c, fmt.Sprint("token-", i))
			}
			for i := 1; i < 4; i++ {
				wantActive(t, c, fmt.Sprint("token-", i))
			}
			f.wantAsked(t, 4, "the last three are kept")
			wantActive(t, c, "token-0")
			f.wantAsked(t, 5, "the first is not")
			wantActive(t, c, "token-1")
			f.wantAsked(t, 6, "and the oldest has made room for it")
		})
	}
	f := newFaultyIssuer(t, nil)
	c, _ := f.client(t, func(c *introspect.ClientConfig) { c.CacheBytes = 100 })
	wantActive(t, c, "token")
	wantActive(t, c, "token")
	f.wantAsked(t, 2, "an answer that is larger than the cache is not kept")
}

// TestClientGrace holds what is used in an outage, and what is not.
func TestClientGrace(t *testing.T) {
	f := newFaultyIssuer(t, nil)
	c, clock := f.client(t, func(c *introspect.ClientConfig) { c.Grace = 20 * time.Second })
	strict, _ := f.client(t, func(c *introspect.ClientConfig) { c.Now = clock.now })
	wantActive(t, c, "token")
	wantActive(t, strict, "token")
	clock.advance(6 * time.Second)
	f.change(func() { f.answer = fails(503, `{}`, "Retry-After", "1") })
	if r := wantActive(t, c, "token"); !r.Stale || r.Answer.ExpiresIn != 54 || r.Answer.MaxAge != 0 {
		t.Errorf("Introspect = %+v, want a stale answer", r)
	}
	unknown := func(c *introspect.Client, token string) {
		t.Helper()
		if r, err := c.Introspect(t.Context(), about(token)); !errors.Is(err, introspect.ErrUnknown) || r.Answer.Active {
			t.Errorf("Introspect = %+v, %v, want ErrUnknown", r, err)
		}
	}
	unknown(strict, "token")   // by default
	unknown(c, "never-active") // there is no answer from before
	f.change(func() { f.answer = says(activeAnswer) })
	if r := wantActive(t, c, "token"); r.Stale {
		t.Error("an answer of the issuer is stale")
	}
	// A refusal of the caller is no outage, and a "no" replaces the last answer.
	clock.advance(6 * time.Second)
	f.change(func() { f.answer = fails(401, `{"error":"invalid_client"}`) })
	if r, err := c.Introspect(t.Context(), about("token")); !errors.Is(err, introspect.ErrCaller) {
		t.Errorf("Introspect = %+v, %v, want ErrCaller", r, err)
	}
	f.change(func() { f.answer = says(inactive) })
	if r, err := c.Introspect(t.Context(), about("token")); err != nil || r.Answer.Active {
		t.Errorf("Introspect = %+v, %v, want inactive", r, err)
	}
	clock.advance(2 * time.Second)
	f.change(func() { f.answer = fails(503, ``) })
	unknown(c, "token")
	// Not for longer than the grace, and not past the end of the token.
	f.change(func() { f.answer = says(activeAnswer) })
	wantActive(t, c, "long")
	f.change(func() { f.answer = says(strings.Replace(activeAnswer, `"expires_in":60`, `"expires_in":10`, 1)) })
	wantActive(t, c, "short")
	f.change(func() { f.answer = fails(503, ``) })
	clock.advance(10 * time.Second)
	if r := wantActive(t, c, "long"); !r.Stale {
		t.Errorf("Introspect = %+v, want a stale answer", r)
	}
	unknown(c, "short")
	clock.advance(15 * time.Second)
	unknown(c, "long")
}

// TestClientAllocations holds the cost of an answer from the cache: it allocates nothing.
func TestClientAllocations(t *testing.T) {
	c, token, ctx := cachedClient(t), strings.Repeat("t", 900), t.Context()
	allocs := testing.AllocsPerRun(200, func() {
		if r, err := c.Introspect(ctx, about(token)); err != nil || !r.Answer.Active {
			t.Errorf("Introspect = %+v, %v, want active", r, err)
		}
	})
	if allocs > 0 {
		t.Errorf("an answer from the cache makes %v allocations, want none", allocs)
	}
}

// BenchmarkClientHit asks about a token whose answer is kept.
func BenchmarkClientHit(b *testing.B) {
	c, token, ctx := cachedClient(b), strings.Repeat("t", 900), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if r, err := c.Introspect(ctx, about(token)); err != nil || !r.Answer.Active {
			b.Fatal(err)
		}
	}
}

// cachedClient returns a client whose issuer has answered, with a real clock.
func cachedClient(t testing.TB) *introspect.Client {
	f := newFaultyIssuer(t, nil)
	f.answer = func(w http.ResponseWriter, r *http.Request, token string) {
		says(strings.NewReplacer(`"max_age":5`, `"max_age":3600`, `"expires_in":60`, `"expires_in":3600`).Replace(activeAnswer))(w, r, token)
	}
	c, _ := f.client(t, func(c *introspect.ClientConfig) { c.Now, c.MaxAge = time.Now, time.Hour })
	wantActive(t, c, strings.Repeat("t", 900))
	return c
}
