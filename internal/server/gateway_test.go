package server_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

// abroadRooms is the URL of a service behind the gateway of abroad.example.
const abroadRooms = "https://rooms.abroad.example/1"

// An edge is the gateway of abroad.example, which lets users of example.com in.
type edge struct {
	*gateway.Verifier
	home *site
}

// edge returns a gateway that trusts both issuers, after changes.
func (home *site) edge(t *testing.T, far *site, changes ...func(*gateway.Config)) edge {
	t.Helper()
	table, err := trust.NewTable(trust.Config{
		Peers:  []trust.Peer{{Domain: "example.com", Issuer: home.issuer}, {Domain: "abroad.example", Issuer: far.issuer}},
		Client: home.http, ForeignClient: home.http, Now: home.clock.now, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := gateway.Config{Trust: table, Audience: []string{"im:abroad.example"}, Now: home.clock.now, Development: true}
	for _, change := range changes {
		change(&cfg)
	}
	v, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return edge{v, home}
}

// ask has the gateway decide about a request with a token and a new proof.
func (e edge) ask(t *testing.T, d *device, method, token string, p *gateway.Policy) gateway.Decision {
	t.Helper()
	nonce := e.Decide(t.Context(), gateway.Request{}, nil).Nonce
	proof, err := d.Proof(dpop.ProofParams{Method: method, URL: abroadRooms, Nonce: nonce, AccessToken: token, IssuedAt: e.home.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	return e.Decide(t.Context(), gateway.Request{
		Method: method, URL: abroadRooms, Authorization: []string{"DPoP " + token}, DPoP: []string{proof},
	}, p)
}

func wantReason(t *testing.T, d gateway.Decision, reason gateway.Reason) {
	t.Helper()
	if d.Reason != reason {
		t.Errorf("Decide = %s (%s, %v), want %s", d.Reason, d.Explanation, d.Err, reason)
	}
}

// asksHome has a gateway ask the issuer of example.com as a client that is registered there, which keeps no answers.
func asksHome(t *testing.T, home *site) func(*gateway.Config) {
	client, _ := home.asker(t, func(c *introspect.ClientConfig) {
		c.ClientID, c.MaxAge, c.RefusalAge = follower.id, -1, -1
	})
	return func(c *gateway.Config) {
		c.Ask = func(issuer string) gateway.Asker {
			if issuer == home.issuer {
				return client
			}
			return nil
		}
	}
}

func gatewayPolicy(t *testing.T, cfg gateway.PolicyConfig) *gateway.Policy {
	t.Helper()
	p, err := gateway.NewPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGateway has the gateway of one domain decide about tokens that a real issuer of another domain has made.
func TestGateway(t *testing.T) {
	home, far := startTwo(t, "")
	home.reload(t, withFeed)
	phone, thief := newDevice(t), newDevice(t)
	code := home.code(t, "alice", url.Values{"resource": {"im:abroad.example"}})
	alice := wantTokens(t, home.token(t, app, phone, codeForm(code, nil)))
	online := gatewayPolicy(t, gateway.PolicyConfig{Mode: gateway.Introspect})
	cached := gatewayPolicy(t, gateway.PolicyConfig{Mode: gateway.Introspect, Outage: gateway.Cache, MaxOutage: 5 * time.Minute})
	grace := gatewayPolicy(t, gateway.PolicyConfig{Mode: gateway.Introspect, Outage: gateway.Grace, MaxOutage: 5 * time.Minute})

	heard, resets := make(chan feed.Event, 100), make(chan bool, 10)
	follow, err := gateway.Follow(feed.FollowerConfig{
		Issuer: home.issuer, Client: &http.Client{Transport: home.transport}, Stream: true, Wait: time.Second, Now: home.clock.now,
		Authorize: func(r *http.Request) error { follower.authenticate(url.Values{}, r.Header); return nil },
		Event:     func(_ feed.Key, e feed.Event) { heard <- e }, Reset: func() { resets <- true },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- follow.Run(ctx) }()
	<-resets
	following := home.edge(t, far, asksHome(t, home), func(c *gateway.Config) {
		c.Feed = func(issuer string) *gateway.Feed {
			if issuer == home.issuer {
				return follow
			}
			return nil
		}
	})
	without := home.edge(t, far, asksHome(t, home))

	for _, e := range []edge{following, without} {
		for _, p := range []*gateway.Policy{nil, online, cached, grace} {
			d := e.ask(t, phone, http.MethodGet, alice.access, p)
			wantReason(t, d, gateway.ReasonAllowed)
			if id := d.Identity; id == nil || id.User != alice.set.Subject || id.Handle != alice.set.Handle || id.Device != alice.set.Device ||
				id.Domain != "example.com" || id.Issuer != home.issuer {
				t.Errorf("Identity = %+v, want Alice on her phone", d.Identity)
			}
			wantReason(t, e.ask(t, thief, http.MethodGet, alice.access, p), gateway.ReasonOtherKey)
		}
		here := home.login(t, phone, "alice") // for im:example.com
		wantReason(t, e.ask(t, phone, http.MethodGet, here.access, nil), gateway.ReasonWrongAudience)
		wantReason(t, e.ask(t, phone, http.MethodGet, here.refresh, nil), gateway.ReasonMalformed)
	}

	// The issuer is down: only the policy that says so lets a device pass that was seen a short while ago.
	home.faults.set("Revocations")
	home.clock.advance(time.Minute) // the issuer does not know the revocations any more
	wantReason(t, without.ask(t, phone, http.MethodGet, alice.access, online), gateway.ReasonNoAnswer)
	wantReason(t, without.ask(t, phone, http.MethodGet, alice.access, cached), gateway.ReasonCached)
	wantReason(t, without.ask(t, phone, http.MethodGet, alice.access, grace), gateway.ReasonGrace)
	wantReason(t, without.ask(t, phone, http.MethodPost, alice.access, grace), gateway.ReasonNoAnswer)
	wantReason(t, without.ask(t, phone, http.MethodGet, alice.access, nil), gateway.ReasonAllowed)
	home.faults.set("")
	home.waitReady(t)

	// The device is removed: the feed says so at once. Without it the token is good offline until it expires, and the issuer says no.
	home.remove(t, alice.set.Device)
	for e := range heard {
		if e.Kind == feed.Device {
			break
		}
	}
	wantReason(t, following.ask(t, phone, http.MethodGet, alice.access, nil), gateway.ReasonRevoked)
	wantReason(t, following.ask(t, phone, http.MethodGet, alice.access, grace), gateway.ReasonRevoked)
	wantReason(t, without.ask(t, phone, http.MethodGet, alice.access, nil), gateway.ReasonAllowed)
	wantReason(t, without.ask(t, phone, http.MethodGet, alice.access, grace), gateway.ReasonInactive)

	// With the feed down, what it has said is still known.
	stop()
	<-ended
	home.clock.advance(time.Minute)
	home.waitReady(t)
	if follow.Heard(30 * time.Second) {
		t.Error("Heard = true a minute after the feed ended")
	}
	wantReason(t, following.ask(t, phone, http.MethodGet, alice.access, nil), gateway.ReasonRevoked)
	home.clock.advance(9 * time.Minute)
	home.waitReady(t)
	wantReason(t, without.ask(t, phone, http.MethodGet, alice.access, nil), gateway.ReasonExpired)
}

// TestGatewayOtherObjects shows everything else that the issuer signs as an access token.
func TestGatewayOtherObjects(t *testing.T) {
	t.Parallel()
	home := startBeside(t, withStatuses)
	e := home.edge(t, home, func(c *gateway.Config) {
		table, err := trust.NewTable(trust.Config{
			Peers: []trust.Peer{{Domain: "example.com", Issuer: home.issuer}}, Client: home.http, ForeignClient: home.http, Now: home.clock.now,
			Development: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		reader, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: table, Client: home.http, AllowHTTP: true, Now: home.clock.now})
		if err != nil {
			t.Fatal(err)
		}
		c.Trust, c.Audience, c.Statuses = table, []string{"im:example.com"}, reader
	})
	d := newDevice(t)
	held := home.login(t, d, "alice")
	list := gatewayPolicy(t, gateway.PolicyConfig{Mode: gateway.Status})
	wantReason(t, e.ask(t, d, http.MethodGet, held.access, list), gateway.ReasonAllowed)
	machine := newDevice(t)
	service := home.service(t, bot, machine, nil)
	wantReason(t, e.ask(t, machine, http.MethodGet, service, nil), gateway.ReasonBot)

	header := http.Header{"Accept": {mediaSigned}}
	form := url.Values{"token": {held.access}}
	peer.authenticate(form, header)
	status, err := url.Parse(held.set.Status.URI)
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]answer{
		"staple":               home.held(t, d, held.access, http.MethodPost, "/staple", nil),
		"introspection answer": home.post(t, "/introspect", form, header),
		"status list":          home.get(t, status.Path),
	} {
		if a.status != http.StatusOK {
			t.Fatalf("%s: %v, want 200", name, a)
		}
		for _, p := range []*gateway.Policy{nil, list} {
			if got := e.ask(t, d, http.MethodGet, a.body, p); got.Reason != gateway.ReasonWrongType {
				t.Errorf("%s: Decide = %s (%s), want wrong_type", name, got.Reason, got.Explanation)
			}
		}
	}

	// The session ends: the list says so once the copy of it is too old.
	home.remove(t, held.set.Device)
	home.clock.advance(6 * time.Minute)
	home.waitReady(t)
	wantReason(t, e.ask(t, d, http.MethodGet, held.access, list), gateway.ReasonRevoked)
	wantReason(t, e.ask(t, d, http.MethodGet, held.access, nil), gateway.ReasonAllowed)
}
