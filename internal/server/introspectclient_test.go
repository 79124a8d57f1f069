package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/introspect"
)

// A pathCounter counts the requests of a client by their paths.
type pathCounter struct {
	base  http.RoundTripper
	mu    sync.Mutex
	paths map[string]int
}

func (p *pathCounter) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	p.paths[r.URL.Path]++
	p.mu.Unlock()
	return p.base.RoundTrip(r)
}

func (p *pathCounter) of(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paths[path]
}

// asker returns an introspect.Client that asks as peer, after changes, and a count of its requests.
func (s *site) asker(t *testing.T, changes ...func(*introspect.ClientConfig)) (*introspect.Client, *pathCounter) {
	t.Helper()
	count := &pathCounter{base: s.http.Transport, paths: make(map[string]int)}
	cfg := introspect.ClientConfig{
		Issuer: s.issuer, HTTP: &http.Client{Transport: count}, AllowLoopback: true, ClientID: peer.id, Secret: peer.secret,
		AllowUnproven: true, Now: s.clock.now,
	}
	for _, change := range changes {
		change(&cfg)
	}
	c, err := introspect.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, count
}

// wantSays asks a client about a token.
func wantSays(t *testing.T, c *introspect.Client, token string, active bool) introspect.Answer {
	t.Helper()
	r, err := c.Introspect(t.Context(), introspect.Question{Token: token})
	if err != nil || r.Answer.Active != active || r.Stale {
		t.Fatalf("Introspect = %+v, %v, want active %t", r, err, active)
	}
	return r.Answer
}

// ownToken has a client ask with a token of its own.
func ownToken(d *device, token string, audience ...string) func(*introspect.ClientConfig) {
	return func(c *introspect.ClientConfig) {
		c.ClientID, c.Secret, c.Signer, c.Audience = "", "", d.Signer, audience
		c.Token = func(context.Context) (string, error) { return token, nil }
	}
}

// TestIntrospectClient asks a real issuer about tokens, with each kind of credentials, for plain and for signed answers.
func TestIntrospectClient(t *testing.T) {
	s := start(t, nil)
	d, machine := newDevice(t), newDevice(t)
	held := s.account(t, d, "alice")
	own := s.service(t, auditor, machine, url.Values{"resource": {s.issuer}, "scope": {"introspect introspect:domain introspect:reason"}})
	signed := func(c *introspect.ClientConfig) { c.Signed = true }
	signer := func(c *introspect.ClientConfig) {
		c.ClientID, c.Secret = "signer", ""
		c.Assertion = func(context.Context) (string, error) { return s.signer(t).Get("client_assertion"), nil }
	}
	for name, changes := range map[string][]func(*introspect.ClientConfig){
		"secret":            nil,
		"secret, signed":    {signed},
		"assertion":         {signer},
		"assertion, signed": {signer, signed},
		"token":             {ownToken(machine, own, auditor.id)},
		"token, signed":     {ownToken(machine, own, auditor.id), signed},
	} {
		t.Run(name, func(t *testing.T) {
			c, count := s.asker(t, changes...)
			a := wantSays(t, c, held.access, true)
			if a.Issuer != s.issuer || a.Subject != held.set.Subject || a.Device != held.set.Device || a.Confirmation.JKT != d.JKT() ||
				a.SID != held.set.SID || a.ClientID != accounts.id || a.MaxAge != 5 || a.Holder != introspect.Unverified {
				t.Errorf("answer = %+v, want that of the token", a)
			}
			asked := count.of("/introspect")
			wantSays(t, c, held.access, true)
			if n := count.of("/introspect"); n != asked {
				t.Errorf("%d more requests, want the answer to be kept", n-asked)
			}
			s.advance(t, 6*time.Second)
			wantSays(t, c, held.access, true)
			if n := count.of("/introspect"); n == asked {
				t.Error("the answer is kept for longer than its max_age")
			}
			wantSays(t, c, "never-issued", false)
			wantSays(t, c, held.refresh, false)
			all, err := c.IntrospectAll(t.Context(), []string{"never-issued-1", "never-issued-2"})
			if err != nil || all[0].Err != nil || all[0].Answer.Active || all[1].Err != nil || all[1].Answer.Active {
				t.Errorf("IntrospectAll = %+v, %v, want inactive", all, err)
			}
			if count.of("/introspect/batch") == 0 {
				t.Error("two tokens are not asked about together")
			}
		})
	}
	// Another audience is not this caller: its answers are not believed.
	c, _ := s.asker(t, ownToken(machine, own, peer.id), signed)
	if r, err := c.Introspect(t.Context(), introspect.Question{Token: held.access}); !errors.Is(err, introspect.ErrUnknown) {
		t.Errorf("Introspect = %+v, %v, want ErrUnknown", r, err)
	}
	c, _ = s.asker(t, func(c *introspect.ClientConfig) { c.Secret = "wrong" })
	if r, err := c.Introspect(t.Context(), introspect.Question{Token: held.access}); !errors.Is(err, introspect.ErrCaller) {
		t.Errorf("Introspect = %+v, %v, want ErrCaller", r, err)
	}
	s.remove(t, held.set.Device)
	c, _ = s.asker(t, ownToken(machine, own, auditor.id), signed)
	if a := wantSays(t, c, held.access, false); a.Reason != introspect.DeviceRemoved {
		t.Errorf("reason = %q, want device_removed", a.Reason)
	}
}

// TestIntrospectClientPeer asks the issuer of another domain, with a token of the caller's own issuer.
func TestIntrospectClientPeer(t *testing.T) {
	home, far := startTwo(t, "")
	code := home.code(t, "alice", url.Values{"resource": {"im:abroad.example"}})
	held := wantTokens(t, home.token(t, app, newDevice(t), codeForm(code, nil)))
	bobs := newDevice(t)
	bob := far.loginFor(t, bobs, "bob", "im:abroad.example", home.issuer)
	for _, signed := range []bool{false, true} {
		c, _ := home.asker(t, ownToken(bobs, bob.access, bob.set.Subject), func(c *introspect.ClientConfig) { c.Signed = signed })
		if a := wantSays(t, c, held.access, true); a.Subject != held.set.Subject {
			t.Errorf("answer = %+v, want Alice", a)
		}
	}
}

// TestIntrospectClientHolder has the issuer check who holds a token: each proof and presentation once.
func TestIntrospectClientHolder(t *testing.T) {
	s := start(t, nil)
	d, thief := newDevice(t), newDevice(t)
	held := s.login(t, d, "alice")
	s.advance(t, 2*time.Minute) // the store of spent proofs is older than the proofs
	c, _ := s.asker(t, func(c *introspect.ClientConfig) { c.AllowUnproven = false })
	if _, err := c.Introspect(t.Context(), introspect.Question{Token: held.access}); !errors.Is(err, introspect.ErrUnproven) {
		t.Errorf("Introspect = %v, want ErrUnproven", err)
	}
	for name, form := range map[string]func(d *device) url.Values{
		"proof":        func(d *device) url.Values { return s.shown(t, d, held.access, nil) },
		"presentation": func(d *device) url.Values { return s.presented(t, d, held.access, "im:example.com") },
	} {
		question := func(d *device) introspect.Question {
			f := form(d)
			return introspect.Question{Token: held.access, Shown: introspect.Shown{
				Proof: f.Get("proof"), Method: f.Get("proof_htm"), URL: f.Get("proof_htu"), Nonce: f.Get("proof_nonce") + f.Get("presentation_nonce"),
				Presentation: f.Get("presentation"), Audience: f.Get("presentation_aud"),
			}}
		}
		once := question(d)
		if r, err := c.Introspect(t.Context(), once); err != nil || !r.Answer.Active || r.Answer.Holder != introspect.Verified {
			t.Errorf("%s: Introspect = %+v, %v, want verified", name, r, err)
		}
		for _, q := range []introspect.Question{once, question(thief)} {
			if r, err := c.Introspect(t.Context(), q); err != nil || r.Answer.Active {
				t.Errorf("%s: Introspect = %+v, %v, want inactive", name, r, err)
			}
		}
	}
	foreign := introspect.Question{Token: held.access, Shown: introspect.Shown{Presentation: "p", Audience: "im:example.org", Nonce: "n"}}
	if r, err := c.Introspect(t.Context(), foreign); !errors.Is(err, introspect.ErrCaller) {
		t.Errorf("Introspect = %+v, %v, want ErrCaller for the name of another verifier", r, err)
	}
}

// TestIntrospectClientRoom asks about a room of 500 tokens in one call, by five requests.
func TestIntrospectClientRoom(t *testing.T) {
	s := start(t, nil)
	here, gone := s.login(t, newDevice(t), "alice"), s.login(t, newDevice(t), "bob")
	s.remove(t, gone.set.Device)
	tokens := []string{here.access, gone.access}
	for range 248 {
		a := s.token(t, mute, nil, url.Values{"grant_type": {"client_credentials"}})
		if a.status != http.StatusOK {
			t.Fatalf("client_credentials = %v, want a token", a)
		}
		tokens = append(tokens, a.text("access_token"))
	}
	for i := range 250 {
		tokens = append(tokens, fmt.Sprint("never-issued-", i))
	}
	for _, signed := range []bool{false, true} {
		c, count := s.asker(t, func(c *introspect.ClientConfig) { c.Signed = signed })
		all, err := c.IntrospectAll(t.Context(), tokens)
		if err != nil || len(all) != 500 {
			t.Fatalf("IntrospectAll = %d results, %v, want 500", len(all), err)
		}
		for i, r := range all {
			if active := i < 250 && i != 1; r.Err != nil || r.Answer.Active != active {
				t.Fatalf("%d: %+v, want active %t", i, r, active)
			}
		}
		if all[0].Answer.JTI != here.set.JTI {
			t.Errorf("the first answer is %+v, want that of the first token", all[0])
		}
		if n, m := count.of("/introspect/batch"), count.of("/introspect"); n != 5 || m != 0 {
			t.Errorf("%d requests about several tokens and %d about one, want 5", n, m)
		}
	}
}

// withFeed are the scopes of the client follower in tests in which it also introspects.
var withFeed = map[string]string{"feed": `[feed, introspect, "introspect:domain"]`}

// follow has package feed follow the revocations as the client follower, until the end of the test. It returns the events that come.
func (s *site) follow(t *testing.T) (*feed.Follower, <-chan feed.Event) {
	t.Helper()
	events, resets := make(chan feed.Event, 100), make(chan bool, 10)
	follow, err := feed.NewFollower(feed.FollowerConfig{
		Issuer: s.issuer, Client: &http.Client{Transport: s.transport}, Stream: true, Wait: time.Second, Now: s.clock.now,
		Authorize: func(r *http.Request) error { follower.authenticate(url.Values{}, r.Header); return nil },
		Event:     func(_ feed.Key, e feed.Event) { events <- e }, Reset: func() { resets <- true },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- follow.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	<-resets
	for !follow.Alive(s.clock.now(), time.Minute) {
		time.Sleep(time.Millisecond)
	}
	return follow, events
}

// followed has a client ask as follower, and drop what an event has ended. Answers stay fresh however long the test takes.
func (s *site) followed(f *feed.Follower) func(*introspect.ClientConfig) {
	now := s.clock.now()
	return func(c *introspect.ClientConfig) {
		c.ClientID, c.Follower, c.Now = follower.id, f, func() time.Time { return now }
	}
}

// TestIntrospectClientFeed holds that the removal of a device ends the answer that a client keeps, with the next event.
func TestIntrospectClientFeed(t *testing.T) {
	s := start(t, withFeed)
	follow, events := s.follow(t)
	c, count := s.asker(t, s.followed(follow))
	alice, bob := s.login(t, newDevice(t), "alice"), s.login(t, newDevice(t), "bob")
	wantSays(t, c, alice.access, true)
	wantSays(t, c, bob.access, true)
	mark := follow.Mark()
	s.remove(t, alice.set.Device)
	for !follow.Ended(mark, subject(t, alice)) {
		<-events
	}
	wantSays(t, c, alice.access, false)
	before := count.of("/introspect")
	wantSays(t, c, bob.access, true)
	if n := count.of("/introspect"); n != before {
		t.Error("the event has ended the answer about another user")
	}
}

// TestIntrospectClientOutage holds that an issuer that cannot know is no "no", and what the grace permits.
func TestIntrospectClientOutage(t *testing.T) {
	s := start(t, nil)
	held := s.login(t, newDevice(t), "alice")
	strict, _ := s.asker(t)
	lenient, _ := s.asker(t, func(c *introspect.ClientConfig) { c.Grace = 2 * time.Minute })
	wantSays(t, strict, held.access, true)
	wantSays(t, lenient, held.access, true)
	s.faults.set("Revocations")
	s.clock.advance(time.Minute)
	r, err := strict.Introspect(t.Context(), introspect.Question{Token: held.access})
	var unknown *introspect.UnknownError
	if !errors.As(err, &unknown) || unknown.Status != http.StatusServiceUnavailable || unknown.RetryAfter <= 0 || r.Answer.Active {
		t.Errorf("Introspect = %+v, %v, want ErrUnknown with Retry-After", r, err)
	}
	all, err := strict.IntrospectAll(t.Context(), []string{held.access, "never-issued"})
	if err != nil || slices.ContainsFunc(all, func(a introspect.Asked) bool { return !errors.Is(a.Err, introspect.ErrUnknown) }) {
		t.Errorf("IntrospectAll = %+v, %v, want ErrUnknown", all, err)
	}
	if r, err := lenient.Introspect(t.Context(), introspect.Question{Token: held.access}); err != nil || !r.Answer.Active || !r.Stale {
		t.Errorf("Introspect = %+v, %v, want a stale answer", r, err)
	}
	s.faults.set("")
	s.waitReady(t)
	wantSays(t, strict, held.access, true)
	wantSays(t, lenient, held.access, true)
}
