package server_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/chaining"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

const grantBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// The clients of testdata/abroad.yaml that use grants of other issuers.
var (
	visitors    = caller{id: "visitors"}
	visitorsWeb = caller{id: "visitors-web", secret: secret}
)

// chainTwo runs two issuers: home, of example.com and others, gives travelApp grants for far, of abroad.example, which takes them for
// users of example.com.
func chainTwo(t *testing.T) (home, far *site) {
	t.Helper()
	t.Parallel()
	far = startBeside(t, map[string]string{"file": "abroad", "resources": "[]"})
	home = startBeside(t, map[string]string{"peers": fmt.Sprintf(
		"peers:\n  - {domain: abroad.example, issuer: %q, chaining: {give: [{client: travel-app, as: visitors}]}}\n", far.issuer)})
	far.reload(t, map[string]string{"peers": takenFrom(home.issuer)})
	return home, far
}

// takenFrom is the setting of a peer for example.com whose grants are taken.
func takenFrom(issuer string) string {
	return fmt.Sprintf(`peers:
  - domain: example.com
    issuer: %q
    chaining:
      give: [{client: visitors}]
      take: [visitors, visitors-web]
      lifetime: 5m
`, issuer)
}

// travel logs a person in with travelApp.
func (s *site) travel(t *testing.T, d *device, person, domain string) tokens {
	t.Helper()
	code := s.code(t, person, url.Values{
		"client_id": {travelApp.id}, "im_domain": {domain}, "scope": {"im:handle im:device account"},
	})
	return wantTokens(t, s.token(t, travelApp, d, codeForm(code, nil)))
}

// chainForm asks for an authorization grant for another issuer.
func chainForm(subject, issuer string) url.Values {
	return url.Values{
		"grant_type": {grantExchange}, "subject_token": {subject}, "subject_token_type": {typeAccess}, "requested_token_type": {typeJWT},
		"resource": {issuer},
	}
}

// grantFor gets an authorization grant for another issuer.
func (s *site) grantFor(t *testing.T, d *device, held tokens, issuer string) string {
	t.Helper()
	a := s.token(t, travelApp, d, chainForm(held.access, issuer))
	if a.status != http.StatusOK || a.text("token_type") != "N_A" || a.text("issued_token_type") != typeJWT || a.json["refresh_token"] != nil {
		t.Fatalf("answer = %v, want an authorization grant", a)
	}
	wantNotStored(t, a)
	return a.text("access_token")
}

// bearer presents an authorization grant.
func (s *site) bearer(t *testing.T, c caller, d *device, grant string, change url.Values) answer {
	t.Helper()
	form := url.Values{"grant_type": {grantBearer}, "assertion": {grant}}
	for name, v := range change {
		form[name] = v
	}
	return s.token(t, c, d, form)
}

// wantChained wants an access token for a user of another domain.
func wantChained(t *testing.T, a answer) tokens {
	t.Helper()
	if a.status != http.StatusOK || a.text("token_type") != "DPoP" || a.json["refresh_token"] != nil || a.json["issued_token_type"] != nil {
		t.Fatalf("answer = %v, want an access token alone", a)
	}
	wantNotStored(t, a)
	return tokens{access: a.text("access_token"), set: claimsOf(t, a.text("access_token"))}
}

// TestChaining takes a user of one issuer to the resources of another one, and ends their token in every way that there is.
func TestChaining(t *testing.T) {
	home, far := chainTwo(t)
	d := newDevice(t)
	alice := home.travel(t, d, "alice", "example.com")
	chained := func() tokens {
		t.Helper()
		return wantChained(t, far.bearer(t, visitors, d, home.grantFor(t, d, alice, far.issuer), nil))
	}
	held := chained()
	s := held.set
	if s.Issuer != far.issuer || s.HomeIss != home.issuer || s.Subject != alice.set.Subject || s.Handle != alice.set.Handle ||
		s.Device != alice.set.Device || s.JKT != d.JKT() || s.SID != "" || s.Gen != 0 || s.ClientID != visitors.id ||
		s.Scope != "im:handle im:device" || !slices.Equal(s.Audience, []string{ofAbroad}) || s.Expires.Sub(s.IssuedAt) > 5*time.Minute {
		t.Errorf("token = %s, want alice for five minutes", s.AppendJSON(nil))
	}
	a := far.introspect(t, peer, held.access)
	if a.json["active"] != true || a.text("home_iss") != home.issuer || a.text("iss") != far.issuer || a.text("sub") != alice.set.Subject ||
		a.text("username") != "@alice@example.com" || a.text("device") != alice.set.Device || a.text("token_type") != "DPoP" {
		t.Errorf("introspection = %v, want alice", a)
	}
	a = far.introspect(t, caller{id: "counter", secret: secret}, held.access)
	if a.json["active"] != true || a.json["home_iss"] != nil || a.json["handle"] != nil || !strings.HasPrefix(a.text("sub"), "pw_") ||
		!strings.HasPrefix(a.text("device"), "pw_") {
		t.Errorf("introspection = %v, want pairwise ids", a)
	}
	home.wantInactive(t, held.access)
	if a := home.introspect(t, peer, alice.access); a.json["active"] != true || a.json["home_iss"] != nil {
		t.Errorf("introspection = %v, want active without home_iss", a)
	}

	// Another client, narrower, for a service. Only its resources see it, whoever knows about all of a domain.
	rooms := wantChained(t, far.bearer(t, visitors, d, home.grantFor(t, d, alice, far.issuer), url.Values{
		"resource": {"https://rooms.abroad.example"}, "scope": {"im:handle"},
	}))
	if rooms.set.Device != "" || !slices.Equal(rooms.set.Audience, []string{"https://rooms.abroad.example"}) {
		t.Errorf("token = %s, want it for the service, without a device", rooms.set.AppendJSON(nil))
	}
	far.wantInactive(t, rooms.access)
	if a := far.introspect(t, caller{id: "rooms", secret: secret}, rooms.access); a.json["active"] != true || a.text("home_iss") != home.issuer {
		t.Errorf("introspection = %v, want active", a)
	}

	// It ends when it is revoked, with its key, and with its peer, for as long as that is suspended.
	wantError(t, far.revokeBy(t, visitors, newDevice(t), held.access), http.StatusBadRequest, "invalid_request")
	far.wantActive(t, held.access)
	wantStatus(t, far.revokeBy(t, visitors, d, held.access), http.StatusOK)
	far.wantInactive(t, held.access)
	held = chained()
	far.wantActive(t, held.access)
	far.reload(t, map[string]string{"peers": strings.Replace(takenFrom(home.issuer), "chaining:", "suspended: true\n    chaining:", 1)})
	far.wantInactive(t, held.access)
	wantError(t, far.bearer(t, visitors, d, home.grantFor(t, d, alice, far.issuer), nil), http.StatusBadRequest, "invalid_grant")
	far.reload(t, map[string]string{"peers": ""})
	far.wantInactive(t, held.access)
	far.reload(t, map[string]string{"peers": takenFrom(home.issuer)})
	far.wantActive(t, held.access)
	wantStatus(t, far.revokeKey(t, far.signingKey(t)), http.StatusOK)
	far.wantInactive(t, held.access)
	held = chained()
	far.wantActive(t, held.access)
	far.advance(t, 5*time.Minute+time.Second)
	far.wantInactive(t, held.access)

	// The home issuer gives no grant any more when the device is gone.
	home.remove(t, alice.set.Device)
	wantError(t, home.token(t, travelApp, d, chainForm(alice.access, far.issuer)), http.StatusBadRequest, "invalid_request")
}

// TestChainingPolicy holds both issuers to what their settings say about clients.
func TestChainingPolicy(t *testing.T) {
	home, far := chainTwo(t)
	d := newDevice(t)
	alice, org := home.travel(t, d, "alice", "example.com"), home.travel(t, d, "bob", "generic.example")
	// A domain that far does not list with this issuer.
	wantError(t, far.bearer(t, visitors, d, home.grantFor(t, d, org, far.issuer), nil), http.StatusBadRequest, "invalid_grant")
	// By the name of the domain.
	byName := chainForm(alice.access, "")
	byName.Del("resource")
	byName.Set("audience", ofAbroad)
	a := home.token(t, travelApp, d, byName)
	wantChained(t, far.bearer(t, visitors, d, a.text("access_token"), nil))
	// Another client of far may not use what is for visitors, also one that is listed.
	wantError(t, far.bearer(t, visitorsWeb, d, home.grantFor(t, d, alice, far.issuer), nil), http.StatusBadRequest, "invalid_grant")
	wantError(t, far.bearer(t, peer, d, home.grantFor(t, d, alice, far.issuer), nil), http.StatusBadRequest, "unauthorized_client")
	// One that authenticates, under which far knows the app now.
	home.reload(t, map[string]string{"peers": strings.Replace(home.fill["peers"], "as: visitors", "as: visitors-web", 1)})
	grant := home.grantFor(t, d, alice, far.issuer)
	wantError(t, far.bearer(t, caller{id: visitorsWeb.id}, d, grant, nil), http.StatusUnauthorized, "invalid_client")
	if held := wantChained(t, far.bearer(t, visitorsWeb, d, grant, nil)); held.set.ClientID != visitorsWeb.id {
		t.Errorf("client_id = %q, want %s", held.set.ClientID, visitorsWeb.id)
	}
	wantError(t, home.token(t, travelApp, d, chainForm(alice.access, home.issuer)), http.StatusBadRequest, "invalid_target")
	// Suspended at home, and not listed any more.
	for _, peers := range []string{strings.Replace(home.fill["peers"], "chaining:", "suspended: true, chaining:", 1), ""} {
		home.reload(t, map[string]string{"peers": peers})
		wantError(t, home.token(t, travelApp, d, chainForm(alice.access, far.issuer)), http.StatusBadRequest, "invalid_target")
	}
}

// TestChainedIsForResources holds that the holder of a token for users of another domain has no part in the issuer's own endpoints, and
// that no chain goes on from it.
func TestChainedIsForResources(t *testing.T) {
	home, far := chainTwo(t)
	d := newDevice(t)
	alice := home.travel(t, d, "alice", "example.com")
	grant := func() string { return home.grantFor(t, d, alice, far.issuer) }
	held := wantChained(t, far.bearer(t, visitors, d, grant(), nil))
	for name, resource := range map[string]string{
		"the issuer": far.issuer, "home": home.issuer, "the home domain": "im:example.com", "both": "", "a service of home": "https://rooms.example.com",
		"an unknown service": "https://files.abroad.example", "a user": held.set.Subject,
	} {
		form := url.Values{"resource": {cmp.Or(resource, ofAbroad), cmp.Or(resource, "im:example.com")}}
		if a := far.bearer(t, visitors, d, grant(), form); a.text("error") != "invalid_target" {
			t.Errorf("for %s: answer = %v, want invalid_target", name, a)
		}
	}
	for _, scope := range []string{"account", "introspect", "introspect:domain", "admin", "im:handle feed"} {
		wantError(t, far.bearer(t, visitors, d, grant(), url.Values{"scope": {scope}}), http.StatusBadRequest, "invalid_scope")
	}
	for _, path := range []string{"/me/actors", "/introspect", "/introspect/batch", "/events"} {
		method := http.MethodPost
		if path == "/events" || path == "/me/actors" {
			method = http.MethodGet
		}
		var body any
		if method == http.MethodPost {
			body = url.Values{"token": {held.access}}
		}
		if a := far.held(t, d, held.access, method, path, body); a.status != http.StatusUnauthorized {
			t.Errorf("%s: answer = %v, want 401", path, a)
		}
		if a := home.held(t, d, held.access, method, path, body); a.status != http.StatusUnauthorized {
			t.Errorf("%s at home: answer = %v, want 401", path, a)
		}
	}
	// It is a subject of nothing: neither of an exchange, nor of a further chain, which the client could otherwise have.
	for name, form := range map[string]url.Values{
		"exchange": {"grant_type": {grantExchange}, "subject_token": {held.access}, "subject_token_type": {typeAccess}},
		"actor": {
			"grant_type": {grantExchange}, "subject_token": {held.access}, "subject_token_type": {typeAccess}, "actor_token": {held.access},
			"actor_token_type": {typeAccess},
		},
		"chain": chainForm(held.access, home.issuer),
	} {
		if a := far.token(t, visitors, d, form); a.text("error") != "invalid_request" || !strings.Contains(a.text("error_description"), "identity chaining") {
			t.Errorf("%s: answer = %v, want it refused as chained", name, a)
		}
	}
	// Nor is it an assertion, at either end.
	wantError(t, far.bearer(t, visitors, d, held.access, nil), http.StatusBadRequest, "invalid_grant")
	wantError(t, home.token(t, travelApp, d, url.Values{"grant_type": {grantBearer}, "assertion": {held.access}}), http.StatusBadRequest, "invalid_grant")
	wantError(t, home.token(t, travelApp, d, chainForm(held.access, far.issuer)), http.StatusBadRequest, "invalid_request")
	// No verifier but those of far takes it, also one that trusts far for the user's domain.
	_, err := nested.Open(t.Context(), held.access, nested.Options{
		Keys: everyDomain{far.offline(t)}, Audience: []string{ofAbroad}, Now: far.clock.now, Development: true,
	})
	if err == nil || !strings.Contains(err.Error(), "home_iss") {
		t.Errorf("Open = %v, want a refusal of home_iss", err)
	}
	// The home issuer's own grant is no access token, and no client assertion.
	g := grant()
	far.wantInactive(t, g)
	home.wantInactive(t, g)
	if a := far.held(t, d, g, http.MethodPost, "/introspect", url.Values{"token": {held.access}}); a.status != http.StatusUnauthorized {
		t.Errorf("answer = %v, want 401", a)
	}
	// A staple says that it is active, as of every token.
	if a := far.held(t, d, held.access, http.MethodPost, "/staple", nil); a.status != http.StatusOK {
		t.Errorf("staple = %v, want one", a)
	}
}

// everyDomain lets an issuer speak for every domain.
type everyDomain struct{ offline }

func (everyDomain) Speaks(context.Context, string, string) error { return nil }

// grants signs an authorization grant for a user of the peer and the client visitors, after change.
func (a *abroad) grants(t *testing.T, jkt, audience string, change func(g *chaining.Grant)) string {
	t.Helper()
	now := a.now().Truncate(time.Second)
	g := chaining.Grant{
		Issuer: a.issuer, Subject: "im:n0b0dy@" + a.domain + ";id-type=user", Handle: "im:%40nobody@" + a.domain, Audience: audience,
		ClientID: visitors.id, Scope: "im:handle im:device", JTI: rand.Text(), IssuedAt: now, Expires: now.Add(time.Minute), JKT: jkt,
	}
	if change != nil {
		change(&g)
	}
	token, err := a.sign(jose.TypeAuthorizationGrant, g.AppendClaims(nil))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestChainGrantRefused presents wrong grants to an issuer.
func TestChainGrantRefused(t *testing.T) {
	home, far := chainTwo(t)
	d := newDevice(t)
	alice := home.travel(t, d, "alice", "example.com")
	// A peer beside home, whose key is at hand, and a stranger.
	school := &abroad{issuer: "https://id.school.example", domain: "school.example", kid: "school-1", key: newKey(t), now: far.clock.now}
	stranger := &abroad{issuer: "https://id.stranger.example", domain: "stranger.example", kid: "stranger-1", key: newKey(t), now: far.clock.now}
	line := strings.TrimSuffix(strings.TrimSpace(school.setting(t)), "}") + ", chaining: {take: [visitors]}}\n"
	far.reload(t, map[string]string{"peers": takenFrom(home.issuer) + "  " + line})
	wantChained(t, far.bearer(t, visitors, d, school.grants(t, d.JKT(), far.issuer, nil), nil))
	now := far.clock.now().Truncate(time.Second)
	forged := func(change func(g *chaining.Grant)) string { return school.grants(t, d.JKT(), far.issuer, change) }
	good := forged(nil)
	as := func(typ string) string {
		token, err := school.sign(typ, payloadOf(t, good))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	staple := home.held(t, d, alice.access, http.MethodPost, "/staple", nil).body
	member := school.states(t, nested.TypeMember, "im:wxyz=%23%23team@school.example", far.issuer, func(s *nested.Statement) {
		s.Party = alice.set.Subject
	})
	for name, grant := range map[string]string{
		"for another issuer": forged(func(g *chaining.Grant) { g.Audience = home.issuer }),
		"expired":            forged(func(g *chaining.Grant) { g.IssuedAt, g.Expires = now.Add(-3*time.Minute), now.Add(-2*time.Minute) }),
		"of the future":      forged(func(g *chaining.Grant) { g.IssuedAt, g.Expires = now.Add(2*time.Minute), now.Add(3*time.Minute) }),
		"for a day":          forged(func(g *chaining.Grant) { g.Expires = now.Add(24 * time.Hour) }),
		"of a stranger":      stranger.grants(t, d.JKT(), far.issuer, nil),
		"for a user of far": forged(func(g *chaining.Grant) {
			g.Subject, g.Handle = "im:n0b0dy@abroad.example;id-type=user", "im:%40nobody@abroad.example"
		}),
		"for a user of home": forged(func(g *chaining.Grant) { g.Subject, g.Handle = alice.set.Subject, alice.set.Handle }),
		"with home's handle": forged(func(g *chaining.Grant) { g.Handle = alice.set.Handle }),
		"with home's device": forged(func(g *chaining.Grant) { g.Device = alice.set.Device }),
		"in the name of home": func() string {
			posing := *school
			posing.issuer, posing.domain = home.issuer, "example.com"
			return posing.grants(t, d.JKT(), far.issuer, nil)
		}(),
		"an access token":        alice.access,
		"an ID token":            as("JWT"),
		"without a type":         as(""),
		"a statement":            member,
		"typed as a statement":   as(nested.TypeActor),
		"typed as a staple":      as(jose.TypeStaple),
		"a staple":               staple,
		"a refresh token":        alice.refresh,
		"the grant and its copy": good + " " + good,
		"not a token":            "x",
	} {
		t.Run(name, func(t *testing.T) {
			a := far.bearer(t, visitors, d, grant, nil)
			wantError(t, a, http.StatusBadRequest, "invalid_grant")
			if strings.Contains(a.body, "example;") {
				t.Errorf("answer = %v repeats what is in the grant", a)
			}
		})
	}
	copied := newDevice(t)
	real := home.grantFor(t, d, alice, far.issuer)
	wantError(t, far.bearer(t, visitors, copied, real, nil), http.StatusBadRequest, "invalid_grant")
	wantError(t, far.bearer(t, visitors, nil, real, nil), http.StatusBadRequest, "invalid_dpop_proof")
	wantError(t, far.bearer(t, visitors, d, real, url.Values{"assertion": {real, real}}), http.StatusBadRequest, "invalid_request")
	wantError(t, far.bearer(t, visitors, d, real, url.Values{"assertion": {""}}), http.StatusBadRequest, "invalid_request")
	for _, more := range []int{9 << 10, 1 << 20} {
		if a := far.bearer(t, visitors, d, real+strings.Repeat("x", more), nil); a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("answer to %d bytes more = %v, want 413", more, a)
		}
	}
	// None of these has spent it.
	wantChained(t, far.bearer(t, visitors, d, real, nil))
	wantError(t, far.bearer(t, visitors, d, real, nil), http.StatusBadRequest, "invalid_grant")
}

// TestChainGrantOnce holds that a grant gets one token: of twenty requests at once, after a restart, and after a crash.
func TestChainGrantOnce(t *testing.T) {
	home, far := chainTwo(t)
	d := newDevice(t)
	alice := home.travel(t, d, "alice", "example.com")
	grant := home.grantFor(t, d, alice, far.issuer)
	good := 0
	for _, a := range parallel(20, func() answer { return far.bearer(t, visitors, d, grant, nil) }) {
		if a.status == http.StatusOK {
			good++
		} else {
			wantError(t, a, http.StatusBadRequest, "invalid_grant")
		}
	}
	if good != 1 {
		t.Errorf("%d of 20 requests got a token, want 1", good)
	}
	again := func(step string) {
		t.Helper()
		if a := far.bearer(t, visitors, d, grant, nil); a.text("error") != "invalid_grant" || !strings.Contains(a.text("error_description"), "used before") {
			t.Errorf("%s: answer = %v, want the grant to be used", step, a)
		}
	}
	again("at once")
	far.restart(t, nil)
	again("after a restart")
	grant = home.grantFor(t, d, alice, far.issuer)
	wantChained(t, far.bearer(t, visitors, d, grant, nil))
	// The files as kill -9 leaves them.
	crashed := t.TempDir()
	err := os.CopyFS(crashed, os.DirFS(filepath.Dir(far.database())))
	if err == nil {
		err = os.Chmod(filepath.Join(crashed, "kek"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	far.restart(t, map[string]string{"data": crashed})
	again("after a crash")
	// The clock is set back, to when the grant was good.
	far.clock.setBy(-time.Minute)
	again("after the clock was set back")
}

// TestChainGrantWhileAway holds that an unknown kid is one request to the home issuer, and an answer that it may be good later. A grant that
// is not decided on is not spent.
func TestChainGrantWhileAway(t *testing.T) {
	home, far := chainTwo(t)
	d := newDevice(t)
	alice := home.travel(t, d, "alice", "example.com")
	posing := &abroad{issuer: home.issuer, domain: "example.com", kid: "unknown", key: newKey(t), now: far.clock.now}
	wantChained(t, far.bearer(t, visitors, d, home.grantFor(t, d, alice, far.issuer), nil)) // the keys are known
	var unknown, refused int
	for n := range 30 {
		posing.kid = fmt.Sprint("unknown-", n)
		switch a := far.bearer(t, visitors, d, posing.grants(t, d.JKT(), far.issuer, nil), nil); {
		case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
			unknown++
		case a.status == http.StatusBadRequest && a.text("error") == "invalid_grant":
			refused++
		default:
			t.Errorf("answer = %v, want 503 or invalid_grant", a)
		}
	}
	if unknown == 0 || refused > 1 {
		t.Errorf("%d answers 503 and %d refusals, want one refusal after a fetch at most", unknown, refused)
	}
	wantChained(t, far.bearer(t, visitors, d, home.grantFor(t, d, alice, far.issuer), nil)) // the flood stops nobody else

	grant := home.grantFor(t, d, alice, far.issuer)
	far.faults.set("SpendID")
	if a := far.bearer(t, visitors, d, grant, nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("answer = %v, want 503", a)
	}
	far.faults.set("")
	wantChained(t, far.bearer(t, visitors, d, grant, nil))
}

// TestChainingDiscovered lists the other domain without its issuer, which is found by the domain.
func TestChainingDiscovered(t *testing.T) {
	t.Parallel()
	far := startBeside(t, map[string]string{"file": "abroad", "resources": "[]", "origin": "https://id.abroad.example"})
	web := newFront(t, far)
	home := startBeside(t, map[string]string{
		"resources": peerResources, "outbound": web.settings,
		"peers": "peers:\n  - {domain: abroad.example, chaining: {give: [{client: travel-app, as: visitors}], take: [travel-app]}}\n",
	})
	far.reload(t, map[string]string{
		"peers": strings.Replace(takenFrom(home.issuer), "give: [{client: visitors}]", "give: [{client: app, as: travel-app}]", 1),
	})
	d, bobs := newDevice(t), newDevice(t)
	alice, bob := home.travel(t, d, "alice", "example.com"), far.login(t, bobs, "bob")
	there := func() string {
		t.Helper()
		a := far.token(t, app, bobs, chainForm(bob.access, home.issuer))
		if a.status != http.StatusOK {
			t.Fatalf("answer = %v, want a grant", a)
		}
		return a.text("access_token")
	}
	byName := chainForm(alice.access, "")
	byName.Del("resource")
	byName.Set("audience", ofAbroad)
	redeem := func(grant string) answer {
		return home.bearer(t, travelApp, bobs, grant, url.Values{"im_domain": {"example.com"}})
	}
	kept := there()

	web.down.Store(true) // nothing is known yet
	for name, a := range map[string]answer{
		"grant by name": home.token(t, travelApp, d, byName), "grant by URL": home.token(t, travelApp, d, chainForm(alice.access, far.issuer)),
		"token": redeem(kept),
	} {
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: answer = %v, want 503: an outage is no refusal", name, a)
		}
	}
	web.down.Store(false)
	home.restart(t, nil)
	for name, form := range map[string]url.Values{"by name": byName, "by URL": chainForm(alice.access, far.issuer)} {
		a := home.token(t, travelApp, d, form)
		if a.status != http.StatusOK {
			t.Fatalf("%s: answer = %v, want a grant", name, a)
		}
		wantChained(t, far.bearer(t, visitors, d, a.text("access_token"), nil))
	}
	held := wantChained(t, redeem(kept))
	if held.set.HomeIss != far.issuer || held.set.Subject != bob.set.Subject || !slices.Equal(held.set.Audience, []string{"im:example.com"}) {
		t.Errorf("token = %s, want bob", held.set.AppendJSON(nil))
	}
	home.wantActive(t, held.access)
	for _, resource := range []string{ofAbroad, far.issuer} {
		home.service(t, envoy, newDevice(t), url.Values{"resource": {resource}})
	}

	web.named.Store("https://other.example")
	home.restart(t, nil)
	wantError(t, redeem(there()), http.StatusBadRequest, "invalid_grant")
	wantError(t, home.token(t, travelApp, d, chainForm(alice.access, far.issuer)), http.StatusBadRequest, "invalid_target")
	home.wantInactive(t, held.access)
}

// chainedFlow gets an authorization grant for a peer, and uses one of the peer. The token is asked about and revoked.
func chainedFlow(t *testing.T, s *site) []step {
	school := s.chainedPeer(t)
	d := newDevice(t)
	alice := s.travel(t, d, "alice", "example.com")
	grant := school.grants(t, d.JKT(), s.issuer, func(g *chaining.Grant) { g.ClientID = travelApp.id })
	var held tokens
	redeem := func() answer {
		return s.bearer(t, travelApp, d, grant, url.Values{"im_domain": {"example.com"}})
	}
	return []step{
		{
			name: "grant for the peer",
			ask:  func() answer { return s.token(t, travelApp, d, chainForm(alice.access, school.issuer)) },
			good: func(a answer) {
				if a.status != http.StatusOK || a.text("token_type") != "N_A" {
					t.Errorf("answer = %v, want a grant", a)
				}
			},
		},
		{
			name: "grant of the peer", ask: redeem,
			again: func(durable bool) answer {
				if durable { // it is used, though the answer was lost
					wantError(t, redeem(), http.StatusBadRequest, "invalid_grant")
					grant = school.grants(t, d.JKT(), s.issuer, func(g *chaining.Grant) { g.ClientID = travelApp.id })
				}
				return redeem()
			},
			good: func(a answer) { held = wantChained(t, a) },
		},
		{
			name: "question",
			ask:  func() answer { return s.introspect(t, peer, held.access) },
			good: func(a answer) {
				if a.status != http.StatusOK || a.text("home_iss") != school.issuer {
					t.Errorf("introspection = %v, want active", a)
				}
			},
		},
		{
			name: "revocation",
			ask:  func() answer { return s.revokeBy(t, travelApp, d, held.access) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.soonInactive(t, held.access)
			},
		},
	}
}

// chainedPeer gives the issuer a peer with a key at hand, whose grants travelApp uses and for which it gets some.
func (s *site) chainedPeer(t *testing.T) *abroad {
	t.Helper()
	school := &abroad{issuer: "https://id.school.example", domain: "school.example", kid: "school-1", key: newKey(t), now: s.clock.now}
	line := strings.TrimSuffix(strings.TrimSpace(school.setting(t)), "}") + ", chaining: {give: [{client: travel-app}], take: [travel-app]}}\n"
	s.reload(t, map[string]string{"peers": "peers:\n  " + line})
	return school
}
