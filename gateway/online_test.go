package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statuslist"
)

// online makes a verifier that asks both issuers, with clients that keep no answers.
func (w *world) online(t *testing.T, changes ...func(*gateway.Config)) {
	t.Helper()
	clients := make(map[string]gateway.Asker)
	for _, p := range []*provider{w.a, w.b} {
		client, err := introspect.NewClient(introspect.ClientConfig{
			Issuer: p.URL, HTTP: p.Client(), ClientID: "gate", Secret: "s3cret", AllowUnproven: true, MaxAge: -1, RefusalAge: -1, Now: w.clock.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		clients[p.URL] = client
	}
	statuses, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: w.table, Client: w.a.Client(), Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	cfg := gateway.Config{
		Trust: w.table, Audience: []string{"im:a.example"}, Now: w.clock.now, Development: true,
		Ask: func(issuer string) gateway.Asker { return clients[issuer] }, Statuses: statuses,
	}
	for _, change := range changes {
		change(&cfg)
	}
	w.use(t, cfg)
}

const inactive = `{"active":false}`

// TestIntrospect holds what is asked and when, and that an answer counts for as long as the policy says.
func TestIntrospect(t *testing.T) {
	w := newProviders(t)
	w.online(t)
	each := policy(t, gateway.PolicyConfig{Mode: gateway.Introspect})
	minute := policy(t, gateway.PolicyConfig{Mode: gateway.Introspect, Freshness: time.Minute})
	token := w.a.issue(t, w.alice)
	asked := func(n int) {
		t.Helper()
		if got := w.a.questions(); got != n {
			t.Errorf("the issuer was asked %d times, want %d", got, n)
		}
	}
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonAllowed)
	asked(0)
	for i := range 3 {
		want(t, w.ask(t, w.alice, token, each), gateway.ReasonAllowed)
		asked(i + 1)
	}
	want(t, w.ask(t, w.alice, token, minute), gateway.ReasonAllowed)
	w.clock.advance(time.Minute - time.Second)
	want(t, w.ask(t, w.alice, token, minute), gateway.ReasonAllowed)
	asked(3)
	w.clock.advance(time.Second)
	want(t, w.ask(t, w.alice, token, minute), gateway.ReasonAllowed)
	asked(4)
	w.clock.advance(-time.Second)
	want(t, w.ask(t, w.alice, token, minute), gateway.ReasonAllowed)
	asked(5) // an answer from the future is none
	w.clock.advance(time.Second)
	// A request that is refused for another reason is no question.
	strict := policy(t, gateway.PolicyConfig{Mode: gateway.Introspect, Scopes: []string{"more"}})
	want(t, w.ask(t, w.alice, token, strict), gateway.ReasonScope)
	asked(5)

	w.a.change(func() { w.a.answer = func(string) string { return inactive } })
	want(t, w.ask(t, w.alice, token, minute), gateway.ReasonAllowed) // for a minute
	want(t, w.ask(t, w.alice, token, each), gateway.ReasonInactive)
	want(t, w.ask(t, w.alice, token, minute), gateway.ReasonInactive)

	w.a.change(func() {
		w.a.answer = func(token string) string { return w.a.active(w.a.issue(t, w.bob)) }
	})
	d := w.ask(t, w.alice, w.b.issue(t, w.alice), each)
	want(t, d, gateway.ReasonAllowed) // b.example says nothing else
}

// TestAnswerForAnotherKey holds that an answer about another key is not taken for one about the token.
func TestAnswerForAnotherKey(t *testing.T) {
	w := newProviders(t)
	w.online(t)
	other := w.a.issue(t, w.bob)
	w.a.change(func() { w.a.answer = func(string) string { return w.a.active(other) } })
	for _, answer := range []string{"", `{"active":true,"token_type":"Bearer","expires_in":60,"max_age":5,"holder":"unverified"}`} {
		if answer != "" {
			w.a.change(func() { w.a.answer = func(string) string { return answer } })
		}
		d := w.ask(t, w.alice, w.a.issue(t, w.alice), policy(t, gateway.PolicyConfig{Mode: gateway.Introspect}))
		want(t, d, gateway.ReasonMisconfigured)
		if d.Status() != 503 || d.Err == nil {
			t.Errorf("Decide = %+v, want 503 with a cause", d)
		}
	}
}

// TestStaleAnswer holds that an answer that a client keeps for an outage is one only where the policy says so.
func TestStaleAnswer(t *testing.T) {
	w := newProviders(t)
	client, err := introspect.NewClient(introspect.ClientConfig{
		Issuer: w.a.URL, HTTP: w.a.Client(), ClientID: "gate", Secret: "s3cret", AllowUnproven: true, Grace: time.Hour, Now: w.clock.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.online(t, func(c *gateway.Config) { c.Ask = func(string) gateway.Asker { return client } })
	token := w.a.issue(t, w.alice)
	deny := policy(t, gateway.PolicyConfig{Mode: gateway.Introspect})
	want(t, w.ask(t, w.alice, token, deny), gateway.ReasonAllowed)
	w.a.change(func() { w.a.down = true })
	want(t, w.ask(t, w.alice, token, deny), gateway.ReasonAllowed) // the client keeps the answer for its max_age
	w.clock.advance(6 * time.Second)
	want(t, w.ask(t, w.alice, token, deny), gateway.ReasonNoAnswer)
	cache := policy(t, gateway.PolicyConfig{Mode: gateway.Introspect, Outage: gateway.Cache, MaxOutage: time.Minute})
	want(t, w.ask(t, w.alice, token, cache), gateway.ReasonCached)
}

// TestNotConfigured holds that a question that cannot be asked is no refusal.
func TestNotConfigured(t *testing.T) {
	w := newWorld(t)
	for _, mode := range []gateway.Mode{gateway.Introspect, gateway.Status} {
		p := policy(t, gateway.PolicyConfig{Mode: mode, Outage: gateway.Grace, MaxOutage: time.Hour})
		want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), p), gateway.ReasonMisconfigured)
	}
	w.online(t, func(c *gateway.Config) { c.Ask = func(string) gateway.Asker { return nil } })
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), policy(t, gateway.PolicyConfig{Mode: gateway.Introspect})), gateway.ReasonMisconfigured)
}

// TestStatus holds a policy that looks up the status list.
func TestStatus(t *testing.T) {
	w := newProviders(t)
	w.online(t)
	p := policy(t, gateway.PolicyConfig{Mode: gateway.Status, Outage: gateway.Cache, MaxOutage: 5 * time.Minute})
	at := func(index uint64) string {
		return w.a.issue(t, w.alice, func(s *claims.Set) { s.Status = &claims.Status{Index: index, URI: w.a.URL + "/status"} })
	}
	token := at(1)
	want(t, w.ask(t, w.alice, token, p), gateway.ReasonAllowed)
	w.a.change(func() {
		w.a.status = func(index uint64) statuslist.Status {
			if index == 1 {
				return statuslist.Invalid
			}
			return statuslist.Valid
		}
	})
	want(t, w.ask(t, w.alice, token, p), gateway.ReasonAllowed) // the list is used for its ttl
	w.clock.advance(10 * time.Second)
	want(t, w.ask(t, w.alice, token, p), gateway.ReasonRevoked)
	want(t, w.ask(t, w.alice, at(2), p), gateway.ReasonAllowed)
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), p), gateway.ReasonNoStatus)
	good := at(2)
	want(t, w.ask(t, w.alice, good, p), gateway.ReasonAllowed)
	w.a.change(func() { w.a.down = true })
	w.clock.advance(10 * time.Second)
	d := w.ask(t, w.alice, at(2), p)
	want(t, d, gateway.ReasonNoList)
	if d.Status() != 503 {
		t.Errorf("Decide = %+v, want 503", d)
	}
	want(t, w.ask(t, w.alice, good, p), gateway.ReasonCached)
	want(t, w.ask(t, w.alice, at(2), nil), gateway.ReasonAllowed) // offline
}

// TestModesApart holds that a status list, which may be behind, does not stand in for an answer of the issuer.
func TestModesApart(t *testing.T) {
	w := newProviders(t)
	w.online(t)
	of := func(mode gateway.Mode) *gateway.Policy {
		return policy(t, gateway.PolicyConfig{Mode: mode, Freshness: time.Minute, Outage: gateway.Grace, MaxOutage: 5 * time.Minute})
	}
	token := w.a.issue(t, w.alice, func(s *claims.Set) { s.Status = &claims.Status{Index: 1, URI: w.a.URL + "/status"} })
	want(t, w.ask(t, w.alice, token, of(gateway.Status)), gateway.ReasonAllowed)
	want(t, w.ask(t, w.alice, token, of(gateway.Introspect)), gateway.ReasonAllowed)
	if n := w.a.questions(); n != 1 {
		t.Errorf("the issuer was asked %d times, want once", n)
	}

	w.online(t)
	want(t, w.ask(t, w.alice, token, of(gateway.Status)), gateway.ReasonAllowed)
	w.a.change(func() { w.a.down = true })
	w.clock.advance(2 * time.Minute)
	want(t, w.ask(t, w.alice, token, of(gateway.Introspect)), gateway.ReasonNoAnswer)
	want(t, w.ask(t, w.alice, token, of(gateway.Status)), gateway.ReasonGrace)
}

// TestOutage holds what each policy lets through while the issuer does not answer questions about tokens.
func TestOutage(t *testing.T) {
	w := newProviders(t)
	w.online(t)
	of := func(outage gateway.Outage) *gateway.Policy {
		cfg := gateway.PolicyConfig{Mode: gateway.Introspect, Outage: outage, MaxOutage: 5 * time.Minute}
		if outage == gateway.Deny {
			cfg.MaxOutage = 0
		}
		return policy(t, cfg)
	}
	deny, cache, grace := of(gateway.Deny), of(gateway.Cache), of(gateway.Grace)
	carol := newDevice(t, "carol")
	removed := newDevice(t, "removed")
	known, stranger := w.a.issue(t, w.alice), w.a.issue(t, carol)
	want(t, w.ask(t, w.alice, known, deny), gateway.ReasonAllowed)
	gone := w.a.issue(t, removed)
	want(t, w.ask(t, removed, gone, deny), gateway.ReasonAllowed)
	w.a.change(func() { w.a.answer = func(string) string { return inactive } })
	want(t, w.ask(t, removed, gone, deny), gateway.ReasonInactive)
	refreshed := w.a.issue(t, w.alice) // another token of the same device
	w.a.change(func() { w.a.answer = func(string) string { return "nonsense" } })

	for name, test := range map[string]struct {
		device *device
		token  string
		method string
		policy *gateway.Policy
		reason gateway.Reason
	}{
		"deny":                        {w.alice, known, "GET", deny, gateway.ReasonNoAnswer},
		"cache":                       {w.alice, known, "POST", cache, gateway.ReasonCached},
		"cache, another token":        {w.alice, refreshed, "GET", cache, gateway.ReasonNoAnswer},
		"grace":                       {w.alice, known, "GET", grace, gateway.ReasonGrace},
		"grace, another token":        {w.alice, refreshed, "HEAD", grace, gateway.ReasonGrace},
		"grace, write":                {w.alice, known, "POST", grace, gateway.ReasonNoAnswer},
		"grace, method in lower case": {w.alice, known, "get", grace, gateway.ReasonNoAnswer},
		"grace, unknown device":       {carol, stranger, "GET", grace, gateway.ReasonNoAnswer},
		"grace, removed device":       {removed, w.a.issue(t, removed), "GET", grace, gateway.ReasonNoAnswer},
		"offline":                     {carol, stranger, "GET", nil, gateway.ReasonAllowed},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.request(t, test.device, test.method, test.token)
			d := w.Decide(t.Context(), r, test.policy)
			want(t, d, test.reason)
			if d.Outcome == gateway.Unknown && (d.Status() != 503 || d.RetryAfter <= 0 || d.Err == nil) {
				t.Errorf("Decide = %+v, want 503 with Retry-After and a cause", d)
			}
			if d.Outcome == gateway.Allowed && d.Identity == nil {
				t.Error("no identity")
			}
			// In an outage, too, a proof is good once.
			if d.Outcome == gateway.Allowed {
				want(t, w.Decide(t.Context(), r, test.policy), gateway.ReasonReplayed)
			}
		})
	}
	w.a.change(func() { w.a.answer = nil; w.a.down = true })
	if d := w.ask(t, w.alice, known, deny); d.RetryAfter != 7*time.Second {
		t.Errorf("RetryAfter = %v, want that of the issuer", d.RetryAfter)
	}
	w.clock.advance(5 * time.Minute)
	want(t, w.ask(t, w.alice, known, cache), gateway.ReasonCached)
	want(t, w.ask(t, w.alice, refreshed, grace), gateway.ReasonGrace)
	w.clock.advance(time.Second)
	want(t, w.ask(t, w.alice, known, cache), gateway.ReasonNoAnswer)
	want(t, w.ask(t, w.alice, refreshed, grace), gateway.ReasonNoAnswer)
	w.a.change(func() { w.a.down = false })
	want(t, w.ask(t, w.alice, known, deny), gateway.ReasonAllowed)
	w.clock.advance(-time.Minute) // a clock that is set back makes no confirmation younger
	w.a.change(func() { w.a.down = true })
	want(t, w.ask(t, w.alice, known, cache), gateway.ReasonNoAnswer)
}

// follow makes a verifier that follows the feed of a provider, from a fresh start on.
func (w *world) follow(t *testing.T, p *provider) (f *gateway.Feed, heard chan feed.Event, resets chan bool) {
	t.Helper()
	heard, resets = make(chan feed.Event, 100), make(chan bool, 100)
	f, err := gateway.Follow(feed.FollowerConfig{
		Issuer: p.URL, Client: p.Client(), Now: w.clock.now, Authorize: func(*http.Request) error { return nil },
		Event: func(_ feed.Key, e feed.Event) { heard <- e }, Reset: func() { resets <- true },
		After: func(d time.Duration) <-chan time.Time {
			if d < 30*time.Second {
				d /= 100 // a pause
			}
			return time.After(d)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	<-resets
	for !f.Heard(time.Minute) {
		time.Sleep(time.Millisecond)
	}
	w.online(t, func(c *gateway.Config) {
		c.Feed = func(issuer string) *gateway.Feed {
			if issuer == p.URL {
				return f
			}
			return nil
		}
	})
	return f, heard, resets
}

// event is the JSON of an event under the key of the provider.
func event(kind feed.Kind, value string, more string) string {
	hash := feed.Key{}.Hash(kind, value)
	if hash == "" {
		hash = "unknown"
	}
	return fmt.Sprintf(`{"kind":%q,"hash":%q%s}`, kind, hash, more)
}

// TestFeed holds that an event ends the tokens that it matches at once, seen or not, and no others.
func TestFeed(t *testing.T) {
	w := newProviders(t)
	_, heard, _ := w.follow(t, w.a)
	set := w.a.claimsOf(w.alice)
	for name, test := range map[string]struct {
		kind  feed.Kind
		value string
		more  string
		claim func(*claims.Set)
	}{
		"token":      {feed.Token, "j1", "", func(s *claims.Set) { s.JTI = "j1" }},
		"session":    {feed.Session, "s9", "", func(s *claims.Set) { s.SID = "s9" }},
		"device":     {feed.Device, "im:alice/d9@a.example", "", func(s *claims.Set) { s.Device = "im:alice/d9@a.example" }},
		"user":       {feed.User, "im:u9@a.example;id-type=user", "", func(s *claims.Set) { s.Subject, s.Device = "im:u9@a.example;id-type=user", "" }},
		"generation": {feed.Generation, "im:u8@a.example;id-type=user", `,"gen":3`, func(s *claims.Set) { s.Subject, s.Device, s.Gen = "im:u8@a.example;id-type=user", "", 2 }},
		"client":     {feed.Client, "app9", "", func(s *claims.Set) { s.ClientID = "app9" }},
		"actor":      {feed.Session, "s8", "", func(s *claims.Set) { s.Actor = &claims.Actor{Subject: "bot", SID: "s8"} }},
	} {
		t.Run(name, func(t *testing.T) {
			bots := policy(t, gateway.PolicyConfig{Bots: true})
			seen, unseen, other := w.a.issue(t, w.alice, test.claim), w.a.issue(t, w.alice, test.claim), w.a.issue(t, w.alice)
			want(t, w.ask(t, w.alice, seen, bots), gateway.ReasonAllowed)
			want(t, w.ask(t, w.alice, other, bots), gateway.ReasonAllowed)
			w.a.news <- event(test.kind, test.value, test.more)
			<-heard
			want(t, w.ask(t, w.alice, seen, bots), gateway.ReasonRevoked)
			want(t, w.ask(t, w.alice, unseen, bots), gateway.ReasonRevoked)
			want(t, w.ask(t, w.alice, seen, bots), gateway.ReasonRevoked)
			d := w.ask(t, w.alice, other, bots)
			want(t, d, gateway.ReasonAllowed)
			if !d.Seen {
				t.Error("Seen = false: the event has dropped another token")
			}
		})
	}
	if w.a.questions() != 0 {
		t.Error("the issuer was asked")
	}
	newer := w.a.issue(t, w.alice, func(s *claims.Set) { s.Subject, s.Device, s.Gen = "im:u8@a.example;id-type=user", "", 3 })
	want(t, w.ask(t, w.alice, newer, nil), gateway.ReasonAllowed)
	w.a.news <- event(feed.SigningKey, "k1", "")
	<-heard
	want(t, w.ask(t, w.alice, w.a.sign(t, "at+jwt", "k1", set.AppendJSON(nil)), nil), gateway.ReasonRevoked)
	want(t, w.ask(t, w.bob, w.b.issue(t, w.bob), nil), gateway.ReasonAllowed)
}

// TestFeedKeeps holds how long revocations are remembered: until the last token that they end has expired, also across fresh starts.
func TestFeedKeeps(t *testing.T) {
	w := newProviders(t)
	f, heard, resets := w.follow(t, w.a)
	ends := func(n int, after time.Duration) {
		for i := range n {
			w.a.news <- event(feed.Token, fmt.Sprint("old", after, i), fmt.Sprintf(`,"exp":%d`, w.clock.now().Add(after).Unix()))
			<-heard
		}
	}
	w.a.news <- event(feed.Token, "j1", "")
	<-heard
	ends(20, time.Minute)
	if n := f.Len(); n != 21 {
		t.Errorf("%d revocations are kept, want 21", n)
	}
	f.SetBounds(10, 1000)
	w.clock.advance(3 * time.Minute)
	ends(1, time.Hour)
	if n := f.Len(); n != 2 {
		t.Errorf("%d revocations are kept, want 2: the others have expired", n)
	}
	w.a.change(func() { w.a.lost = true })
	w.a.news <- ""
	<-resets
	<-resets
	revoked := w.a.issue(t, w.alice, func(s *claims.Set) { s.JTI = "j1" })
	want(t, w.ask(t, w.alice, revoked, nil), gateway.ReasonRevoked)
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), nil), gateway.ReasonAllowed)
}

// TestFeedFull holds that a feed that tells of more than can be kept is an outage, in every mode, until revocations have expired.
func TestFeedFull(t *testing.T) {
	w := newProviders(t)
	f, heard, _ := w.follow(t, w.a)
	f.SetBounds(10, 20)
	for i := range 25 {
		w.a.news <- event(feed.Token, fmt.Sprint("j", i), fmt.Sprintf(`,"exp":%d`, w.clock.now().Add(5*time.Minute).Unix()))
		<-heard
	}
	if n := f.Len(); n != 20 {
		t.Errorf("%d revocations are kept, want 20", n)
	}
	token := w.a.issue(t, w.alice)
	for range 2 {
		d := w.ask(t, w.alice, token, nil)
		want(t, d, gateway.ReasonNoFeed)
		if d.Status() != 503 || d.RetryAfter <= 0 {
			t.Errorf("Decide = %+v, want 503 with Retry-After", d)
		}
	}
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice, func(s *claims.Set) { s.JTI = "j3" }), nil), gateway.ReasonRevoked)
	want(t, w.ask(t, w.bob, w.b.issue(t, w.bob), nil), gateway.ReasonAllowed)
	w.clock.advance(7 * time.Minute)
	want(t, w.ask(t, w.alice, token, nil), gateway.ReasonAllowed)
	if n := f.Len(); n != 0 {
		t.Errorf("%d revocations are kept, want none", n)
	}
}

// TestFeedLost holds that revocations which could not be kept count until the last token that they end has expired: the feed is an outage,
// also when there is room again.
func TestFeedLost(t *testing.T) {
	w := newProviders(t)
	f, heard, _ := w.follow(t, w.a)
	f.SetBounds(1, 2)
	for i, life := range []time.Duration{time.Minute, time.Minute, 8 * time.Minute, 2 * time.Minute} {
		w.a.news <- event(feed.Token, fmt.Sprint("j", i), fmt.Sprintf(`,"exp":%d`, w.clock.now().Add(life).Unix()))
		<-heard
	}
	lost := w.a.issue(t, w.alice, func(s *claims.Set) { s.JTI = "j2" }) // its revocation did not fit
	want(t, w.ask(t, w.alice, lost, nil), gateway.ReasonNoFeed)
	w.clock.advance(3 * time.Minute)
	want(t, w.ask(t, w.alice, lost, nil), gateway.ReasonNoFeed)
	w.clock.advance(7 * time.Minute)
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), nil), gateway.ReasonAllowed)
}

// TestFeedInherits holds that a feed that replaces another one of the issuer knows its revocations, and those that it could not keep.
func TestFeedInherits(t *testing.T) {
	w := newProviders(t)
	first, heard, _ := w.follow(t, w.a)
	revoke := func(jti string) {
		w.a.news <- event(feed.Token, jti, fmt.Sprintf(`,"exp":%d`, w.clock.now().Add(5*time.Minute).Unix()))
		<-heard
	}
	revoke("j1")
	second, err := gateway.Follow(feed.FollowerConfig{
		Issuer: w.a.URL, Client: w.a.Client(), Now: w.clock.now, Authorize: func(*http.Request) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.online(t, func(c *gateway.Config) { c.Feed = func(string) *gateway.Feed { return second } })
	revoked := w.a.issue(t, w.alice, func(s *claims.Set) { s.JTI = "j1" })
	want(t, w.ask(t, w.alice, revoked, nil), gateway.ReasonAllowed) // the feed has no history
	second.Inherit(first)
	want(t, w.ask(t, w.alice, revoked, nil), gateway.ReasonRevoked)
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), nil), gateway.ReasonAllowed)
	if n := second.Len(); n != 1 {
		t.Errorf("%d revocations are kept, want 1", n)
	}
	first.SetBounds(1, 1)
	revoke("j2")
	second.Inherit(first)
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), nil), gateway.ReasonNoFeed)
}

// TestFeedFresh holds that a token need not be asked about again while the feed is followed, and that it is asked about after a fresh
// start, and when the issuer falls silent.
func TestFeedFresh(t *testing.T) {
	w := newProviders(t)
	_, heard, resets := w.follow(t, w.a)
	p := policy(t, gateway.PolicyConfig{Mode: gateway.Introspect, Freshness: time.Minute, Outage: gateway.Cache, MaxOutage: 5 * time.Minute})
	token := w.a.issue(t, w.alice)
	asked := func(n int, why string) {
		t.Helper()
		want(t, w.ask(t, w.alice, token, p), gateway.ReasonAllowed)
		if got := w.a.questions(); got != n {
			t.Errorf("the issuer was asked %d times, want %d: %s", got, n, why)
		}
	}
	asked(1, "the first time")
	for range 4 {
		w.clock.advance(40 * time.Second)
		w.a.news <- event(feed.Token, "another", "")
		<-heard
		w.a.news <- event(feed.Token, "another", "") // sent only after the page before it was taken
		<-heard
		asked(1, "the feed is followed")
	}
	w.clock.advance(61 * time.Second)
	asked(2, "the issuer was silent for more than a minute")
	w.clock.advance(61 * time.Second)
	w.a.change(func() { w.a.lost = true })
	w.a.news <- ""
	<-resets
	<-resets
	asked(3, "a fresh start")
	w.a.news <- event("next-year", "anything", "")
	<-heard
	w.clock.advance(60 * time.Second)
	w.a.news <- event(feed.Token, "another", "")
	<-heard
	asked(4, "an event of an unknown kind")
	// With the issuer down, an event still ends the token.
	w.a.news <- event(feed.Session, "s1", "")
	<-heard
	w.a.change(func() { w.a.down = true })
	want(t, w.ask(t, w.alice, token, p), gateway.ReasonRevoked)
}

// TestFeedOvertakes holds that an event that comes while the issuer answers ends the token.
func TestFeedOvertakes(t *testing.T) {
	w := newProviders(t)
	_, heard, _ := w.follow(t, w.a)
	w.a.change(func() {
		w.a.answer = func(token string) string {
			w.a.news <- event(feed.Session, "s1", "")
			<-heard
			return w.a.active(token)
		}
	})
	want(t, w.ask(t, w.alice, w.a.issue(t, w.alice), policy(t, gateway.PolicyConfig{Mode: gateway.Introspect})), gateway.ReasonRevoked)
}

// TestFeedNotEnough holds for which tokens the feed is not enough: those of domains that it does not cover, and those of which not every
// end is an event.
func TestFeedNotEnough(t *testing.T) {
	for name, test := range map[string]struct {
		covers string
		change func(*testing.T, *world) func(*claims.Set)
		asked  int
	}{
		"plain":          {"", func(*testing.T, *world) func(*claims.Set) { return func(*claims.Set) {} }, 1},
		"another domain": {"c.example", func(*testing.T, *world) func(*claims.Set) { return func(*claims.Set) {} }, 2},
		"actor": {"", func(*testing.T, *world) func(*claims.Set) {
			return func(s *claims.Set) { s.Actor = &claims.Actor{Subject: "bot"} }
		}, 2},
		"enclosed token": {"", func(t *testing.T, w *world) func(*claims.Set) { return enclosed(t, nested.MemberOf, w.member(t)) }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newProviders(t)
			w.a.covers = test.covers
			_, heard, _ := w.follow(t, w.a)
			p := policy(t, gateway.PolicyConfig{
				Mode: gateway.Introspect, Freshness: time.Minute, Bots: true, Relations: []nested.Relation{nested.MemberOf},
			})
			token := w.a.issue(t, w.alice, test.change(t, w))
			want(t, w.ask(t, w.alice, token, p), gateway.ReasonAllowed)
			w.clock.advance(2 * time.Minute)
			for range 2 { // the second is sent only after the page before it was taken
				w.a.news <- event(feed.Token, "another", "")
				<-heard
			}
			want(t, w.ask(t, w.alice, token, p), gateway.ReasonAllowed)
			if n := w.a.questions(); n != test.asked {
				t.Errorf("the issuer was asked %d times, want %d", n, test.asked)
			}
		})
	}
}
