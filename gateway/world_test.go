package gateway_test

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// A clock is set by hand.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return start.Add(time.Duration(c.offset.Load())) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// A provider is an issuer that publishes its metadata and keys over TLS, and signs tokens.
type provider struct {
	*httptest.Server
	domain string
	now    func() time.Time

	news   chan string // the next events, as JSON
	covers string      // the domain of the feed, if it is another

	// If hold is not nil, requests for keys are reported by reached, and wait until hold is closed.
	reached, hold chan bool

	mu     sync.Mutex
	keys   map[string]*ecdsa.PrivateKey // published, by kid
	down   bool
	lost   bool                                 // the next position in the feed
	asked  int                                  // for keys
	asks   int                                  // about tokens
	answer func(token string) string            // about a token; nil: the token is active
	status func(index uint64) statuslist.Status // in the list; nil: valid
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newProvider(t testing.TB, domain string, now func() time.Time) *provider {
	t.Helper()
	p := &provider{domain: domain, now: now, keys: map[string]*ecdsa.PrivateKey{"k1": newKey(t)}, news: make(chan string)}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/events" && r.FormValue("after") != "" {
		select {
		case <-r.Context().Done():
		case events := <-p.news:
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.lost {
				p.lost = false
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusGone)
				fmt.Fprint(w, `{"error":"fresh_start_required"}`)
				return
			}
			p.page(w, events)
		}
		return
	}
	if p.hold != nil && r.URL.Path == "/jwks" {
		p.reached <- true
		<-p.hold
	}
	p.mu.Lock()
	if r.URL.Path == "/introspect" && !p.down {
		p.asks++
		answer := p.active
		if p.answer != nil {
			answer = p.answer
		}
		p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, answer(r.FormValue("token")))
		return
	}
	defer p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case p.down:
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
	case r.URL.Path == "/.well-known/oauth-authorization-server":
		_ = json.NewEncoder(w).Encode(map[string]string{
			"issuer": p.URL, "jwks_uri": p.URL + "/jwks", "introspection_endpoint": p.URL + "/introspect",
		})
	case r.URL.Path == "/jwks":
		p.asked++
		var keys []string
		for kid, key := range p.keys {
			jwk, err := jose.MarshalJWK(key.Public())
			if err != nil {
				panic(err) // every P-256 key can be written
			}
			keys = append(keys, strings.TrimSuffix(string(jwk), "}")+fmt.Sprintf(`,"kid":%q,"alg":"ES256"}`, kid))
		}
		fmt.Fprintf(w, `{"keys":[%s]}`, strings.Join(keys, ","))
	case r.URL.Path == "/status":
		w.Header().Set("Content-Type", statuslist.MediaType)
		fmt.Fprint(w, p.list())
	case r.URL.Path == "/events":
		p.page(w, "")
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// page answers with events.
func (p *provider) page(w http.ResponseWriter, events string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"events":[%s],"cursor":"c","more":false,"hash_key":%q,"domains":[%q]}`, events, strings.Repeat("A", 43),
		cmp.Or(p.covers, p.domain))
}

// active is what an issuer says about an active token.
func (p *provider) active(token string) string {
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil {
		return `{"active":false}`
	}
	set, err := claims.ParseSet(jws.Payload)
	if err != nil {
		return `{"active":false}`
	}
	return fmt.Sprintf(`{"active":true,"sub":%q,"cnf":{"jkt":%q},"token_type":"DPoP","expires_in":60,"max_age":5,"holder":"unverified"}`,
		set.Subject, set.JKT)
}

// list is the signed status list.
func (p *provider) list() string {
	list, err := statuslist.New(2, 8)
	for i := range uint64(8) {
		if p.status != nil && err == nil {
			err = list.Set(i, p.status(i))
		}
	}
	if err != nil {
		panic(err) // a status that does not fit
	}
	token := statuslist.Token{
		Issuer: p.URL, Subject: p.URL + "/status", IssuedAt: p.now(), Expires: p.now().Add(time.Hour), TTL: 10 * time.Second, List: list,
	}
	text, err := token.Sign(listSigner{p.keys["k1"]})
	if err != nil {
		panic(err)
	}
	return text
}

type listSigner struct{ key *ecdsa.PrivateKey }

func (s listSigner) Sign(typ string, payload []byte) (string, error) {
	return jose.Sign(s.key, jose.ES256, fmt.Appendf(nil, `{"typ":%q,"alg":"ES256","kid":"k1"}`, typ), payload)
}

func (p *provider) change(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) fetches() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

// questions returns how often the issuer was asked about tokens.
func (p *provider) questions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asks
}

// peer is the entry of the provider in a table of trust.
func (p *provider) peer() trust.Peer { return trust.Peer{Domain: p.domain, Issuer: p.URL} }

// claimsOf are those of an access token for a device, for im:a.example.
func (p *provider) claimsOf(d *device) claims.Set {
	return claims.Set{
		Issuer: p.URL, Subject: "im:" + d.user + "@" + p.domain + ";id-type=user", Handle: "im:%40" + d.user + "@" + p.domain,
		Device: "im:" + d.user + "/d1@" + p.domain, Audience: []string{"im:a.example"}, ClientID: "app", Scope: "im:handle im:device",
		JTI: rand.Text(), IssuedAt: p.now(), Expires: p.now().Add(10 * time.Minute), SID: "s1", JKT: d.JKT(),
	}
}

// serviceClaims are those of a token for a client itself.
func (p *provider) serviceClaims(jkt string) claims.Set {
	return claims.Set{
		Issuer: p.URL, Subject: "bot", ClientID: "bot", Audience: []string{"im:a.example"}, Scope: "rooms", JTI: rand.Text(),
		IssuedAt: p.now(), Expires: p.now().Add(10 * time.Minute), JKT: jkt,
	}
}

// issue signs an access token for a device, with the claims that are changed.
func (p *provider) issue(t testing.TB, d *device, changes ...func(*claims.Set)) string {
	t.Helper()
	set := p.claimsOf(d)
	for _, change := range changes {
		change(&set)
	}
	return p.sign(t, jose.TypeAccessToken, "k1", set.AppendJSON(nil))
}

func (p *provider) sign(t testing.TB, typ, kid string, payload []byte) string {
	t.Helper()
	p.mu.Lock()
	key := p.keys[kid]
	p.mu.Unlock()
	return signWith(t, key, typ, kid, payload)
}

func signWith(t testing.TB, key *ecdsa.PrivateKey, typ, kid string, payload []byte) string {
	t.Helper()
	token, err := jose.Sign(key, jose.ES256, fmt.Appendf(nil, `{"typ":%q,"alg":"ES256","kid":%q}`, typ, kid), payload)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A device has a key.
type device struct {
	*dpop.Signer
	user string
}

func newDevice(t testing.TB, user string) *device {
	t.Helper()
	signer, err := dpop.NewSigner(newKey(t), "")
	if err != nil {
		t.Fatal(err)
	}
	return &device{signer, user}
}

// chat is the URL of the service behind the verifier.
const chat = "https://chat.a.example/rooms/1"

// A world is a verifier of a.example with two providers: its own, and b.example.
type world struct {
	*gateway.Verifier
	clock *clock
	table *trust.Table
	a, b  *provider
	alice *device // of a.example
	bob   *device // of b.example
}

func newWorld(t testing.TB, changes ...func(*gateway.Config)) *world {
	t.Helper()
	w := newProviders(t)
	cfg := gateway.Config{Trust: w.table, Audience: []string{"im:a.example"}, Now: w.clock.now, Development: true}
	for _, change := range changes {
		change(&cfg)
	}
	w.use(t, cfg)
	return w
}

// use makes the verifier.
func (w *world) use(t testing.TB, cfg gateway.Config) {
	t.Helper()
	var err error
	if w.Verifier, err = gateway.New(cfg); err != nil {
		t.Fatal(err)
	}
}

// newProviders returns a world without a verifier.
func newProviders(t testing.TB) *world {
	t.Helper()
	w := &world{clock: new(clock), alice: newDevice(t, "alice"), bob: newDevice(t, "bob")}
	w.a, w.b = newProvider(t, "a.example", w.clock.now), newProvider(t, "b.example", w.clock.now)
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{w.a.peer(), w.b.peer()}, Client: w.a.Client(), ForeignClient: w.a.Client(), Now: w.clock.now, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.table = table
	return w
}

// nonce is the newest nonce of the verifier.
func (w *world) nonce(t testing.TB) string {
	return w.Decide(t.Context(), gateway.Request{Method: "GET", URL: chat}, nil).Nonce
}

// proof makes a proof for a request to chat.
func (w *world) proof(t testing.TB, d *device, method, token string) string {
	t.Helper()
	proof, err := d.Proof(dpop.ProofParams{Method: method, URL: chat, Nonce: w.nonce(t), AccessToken: token, IssuedAt: w.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// request is a request to chat with a token and a new proof.
func (w *world) request(t testing.TB, d *device, method, token string) gateway.Request {
	t.Helper()
	return gateway.Request{
		Method: method, URL: chat, Authorization: []string{"DPoP " + token}, DPoP: []string{w.proof(t, d, method, token)},
	}
}

// ask has the verifier decide about a GET with a token and a new proof.
func (w *world) ask(t testing.TB, d *device, token string, p *gateway.Policy) gateway.Decision {
	t.Helper()
	return w.Decide(t.Context(), w.request(t, d, "GET", token), p)
}

// want holds a decision to a reason.
func want(t testing.TB, d gateway.Decision, reason gateway.Reason) {
	t.Helper()
	if d.Reason != reason || d.Outcome != reason.Outcome() {
		t.Errorf("Decide = %v %s (%s, %v), want %v %s", d.Outcome, d.Reason, d.Explanation, d.Err, reason.Outcome(), reason)
	}
}

func policy(t testing.TB, cfg gateway.PolicyConfig) *gateway.Policy {
	t.Helper()
	p, err := gateway.NewPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
