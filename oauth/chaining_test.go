package oauth_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/chaining"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// Resource makes the domains and the issuers of peers resources.
func (a *authority) Resource(resource string) bool {
	for url, p := range a.peers {
		if resource == url || resource == "im:"+p.domain {
			return true
		}
	}
	return false
}

// Give lets app get grants for every peer, which knows it as visitor.
func (a *authority) Give(_ context.Context, target, client string) (issuer, as string, err error) {
	if err := a.faults.before("Give"); err != nil {
		return "", "", err
	}
	for url, p := range a.peers {
		if client == "app" && (target == url || target == "im:"+p.domain) {
			return url, "visitor", nil
		}
	}
	return "", "", claims.ErrIssuer
}

// Take lets visitors use the grants of every peer.
func (a *authority) Take(issuer, domain, client string) (time.Duration, error) {
	if err := a.faults.before("Take"); err != nil {
		return 0, err
	}
	if a.peers[issuer] == nil || client != "visitors" {
		return 0, claims.ErrIssuer
	}
	return 5 * time.Minute, nil
}

// grants makes an authorization grant of the peer for a user of its domain and the client visitors, after change.
func (p *peer) grants(t *testing.T, jkt string, change func(g *chaining.Grant)) string {
	t.Helper()
	now := p.now().Truncate(time.Second)
	g := chaining.Grant{
		Issuer: p.issuer, Subject: "im:a11ce@" + p.domain + ";id-type=user", Handle: "im:%40alice@" + p.domain,
		Device: "im:a11ce/7@" + p.domain, Audience: issuerURL, ClientID: "visitors", Scope: "im:handle im:device", JTI: rand.Text(),
		IssuedAt: now, Expires: now.Add(chaining.Life), AuthTime: now.Add(-time.Hour), ACR: "phr", AMR: []string{"pwd"}, JKT: jkt,
	}
	if change != nil {
		change(&g)
	}
	token, err := p.sign(jose.TypeAuthorizationGrant, g.AppendClaims(nil))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// chainForm asks for an authorization grant for another issuer.
func chainForm(subject, issuer string) url.Values {
	return url.Values{
		"grant_type": {oauth.GrantExchange}, "subject_token": {subject}, "subject_token_type": {accessToken},
		"requested_token_type": {chaining.TokenType}, "resource": {issuer},
	}
}

// bearerForm presents an authorization grant.
func bearerForm(assertion string) url.Values {
	return url.Values{"grant_type": {oauth.GrantJWTBearer}, "assertion": {assertion}}
}

// TestAuthorizationGrant holds what a grant for another issuer says.
func TestAuthorizationGrant(t *testing.T) {
	i, d := newIssuer(t, true), newDevice(t)
	away := i.peer(t, "away.example")
	alice := i.user(t, "alice")
	held := i.login(t, alice, d)
	own := claimsOf(t, held.AccessToken)
	i.log.take(t)
	for name, change := range map[string]url.Values{
		"by resource": {}, "by audience": {"resource": nil, "audience": {away.issuer}}, "by the domain": {"resource": nil, "audience": {"im:away.example"}},
		"twice the same": {"audience": {away.issuer}},
	} {
		a := i.token(t, "app", d, with(chainForm(held.AccessToken, away.issuer), change))
		jws, err := jose.ParseCompact(a.AccessToken, jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		set := claimsOf(t, a.AccessToken)
		if a.TokenType != "N_A" || a.IssuedTokenType != chaining.TokenType || a.RefreshToken != "" || a.ExpiresIn != 60 ||
			a.Scope != "im:handle im:device" || jws.Header.Typ != "im-authz-grant+jwt" {
			t.Errorf("%s: Token = %+v with typ %s, want a grant for 60 s", name, a, jws.Header.Typ)
		}
		want := claims.Set{
			Issuer: issuerURL, Subject: own.Subject, Handle: own.Handle, Device: own.Device, Audience: []string{away.issuer}, ClientID: "visitor",
			Scope: "im:handle im:device", JTI: set.JTI, IssuedAt: i.clock.now(), Expires: i.clock.now().Add(time.Minute), AuthTime: own.AuthTime,
			ACR: own.ACR, AMR: own.AMR, JKT: d.JKT(),
		}
		if got := string(set.AppendJSON(nil)); got != string(want.AppendJSON(nil)) || set.JTI == "" {
			t.Errorf("%s: grant = %s, want %s", name, got, want.AppendJSON(nil))
		}
		events := i.log.take(t)
		if len(events) != 1 || events[0]["event"] != "chaining.granted" || events[0]["peer"] != away.issuer || events[0]["session"] != own.SID ||
			events[0]["user"] != alice.ID || events[0]["device"] == "" || events[0]["client"] != "app" {
			t.Errorf("%s: events = %v, want one of the grant", name, events)
		}
	}
	fewer := i.token(t, "app", d, with(chainForm(held.AccessToken, away.issuer), url.Values{"scope": {"im:handle"}}))
	if set := claimsOf(t, fewer.AccessToken); set.Device != "" || set.Handle == "" || set.Scope != "im:handle" {
		t.Errorf("grant = %+v, want no device", set)
	}
	i.advance(t, 9*time.Minute+30*time.Second)
	if set := claimsOf(t, i.token(t, "app", d, chainForm(held.AccessToken, away.issuer)).AccessToken); !set.Expires.Equal(own.Expires) {
		t.Errorf("the grant expires at %v, want no later than the token, at %v", set.Expires, own.Expires)
	}
}

// TestAuthorizationGrantRefused holds every refusal of a grant for another issuer.
func TestAuthorizationGrantRefused(t *testing.T) {
	const invalid, target = "invalid_request", "invalid_target"
	i, phone, machine := newIssuer(t, true), newDevice(t), newDevice(t)
	away := i.peer(t, "away.example")
	alice := i.user(t, "alice")
	held := i.login(t, alice, phone)
	grant := i.state(t, held.AccessToken, grantTo("app", "im:handle"))
	bobs := newDevice(t)
	his := i.login(t, i.user(t, "bob"), bobs).AccessToken
	toBob := i.state(t, held.AccessToken, nested.Statement{Type: nested.TypeActor, Party: claimsOf(t, his).Subject, Scope: "im:handle"})
	acting := i.token(t, "app", bobs, exchangeForm(toBob.Token, statement, his)).AccessToken
	nest := i.token(t, "app", phone, with(embedForm(i.memberOf(t, alice)), subjectForm(held.AccessToken))).AccessToken
	service := i.token(t, "service", machine, serviceForm).AccessToken
	chained := i.token(t, "visitors", phone, bearerForm(away.grants(t, phone.JKT(), nil))).AccessToken
	elsewhere := i.login(t, i.user(t, "carol"), machine).AccessToken
	own := claimsOf(t, held.AccessToken)
	disabled, ended, removed := newDevice(t), newDevice(t), newDevice(t)
	dora := i.user(t, "dora")
	ofDisabled := i.login(t, dora, disabled).AccessToken
	if _, err := i.accounts.Disable(t.Context(), dora.Domain, dora.ID); err != nil {
		t.Fatal(err)
	}
	eve := i.user(t, "eve")
	ofEnded, ofRemoved := i.login(t, eve, ended), i.login(t, eve, removed).AccessToken
	if err := i.Revoke(t.Context(), i.request(t, "app", nil, url.Values{"token": {ofEnded.RefreshToken}})); err != nil {
		t.Fatal(err)
	}
	gone, err := i.store.DeviceByKey(t.Context(), eve.Domain, removed.JKT())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.accounts.RemoveDevice(t.Context(), gone.Domain, gone.ID, "lost"); err != nil {
		t.Fatal(err)
	}
	i.peer(t, "other.example")
	bearer := own
	bearer.JKT = ""

	type test struct {
		client string // "" is app
		device *device
		change url.Values
		want   refusal
	}
	by := func(token string) url.Values { return url.Values{"subject_token": {token}} }
	for name, v := range map[string]test{
		"no proof":                   {change: nil, want: refusal{err: dpop.ErrNoProof}},
		"no subject_token":           {device: phone, change: by(""), want: refusal{code: invalid, description: "The parameter subject_token is missing"}},
		"a statement as subject":     {device: phone, change: url.Values{"subject_token": {grant.Token}, "subject_token_type": {statement}}, want: refusal{code: invalid, description: "The subject_token_type must be " + accessToken + " for an authorization grant"}},
		"no type of the subject":     {device: phone, change: url.Values{"subject_token_type": nil}, want: refusal{code: invalid, description: "The subject_token_type must be"}},
		"an actor":                   {device: phone, change: url.Values{"actor_token": {held.AccessToken}, "actor_token_type": {accessToken}}, want: refusal{code: invalid, description: "An authorization grant is about the user alone"}},
		"the type of an actor":       {device: phone, change: url.Values{"actor_token_type": {accessToken}}, want: refusal{code: invalid, description: "about the user alone"}},
		"evidence":                   {device: phone, change: url.Values{"im_evidence": {"true"}}, want: refusal{code: invalid, description: "about the user alone"}},
		"tokens along":               {device: phone, change: url.Values{"im_along": {"[]"}}, want: refusal{code: invalid, description: "about the user alone"}},
		"no target":                  {device: phone, change: url.Values{"resource": nil}, want: refusal{code: invalid, description: "A JWT is an authorization grant for another issuer: name that by resource"}},
		"an empty target":            {device: phone, change: url.Values{"resource": {""}}, want: refusal{code: target, description: "Name one issuer"}},
		"two targets":                {device: phone, change: url.Values{"resource": {away.issuer, "https://id.other.example"}}, want: refusal{code: target, description: "Name one issuer"}},
		"a stranger":                 {device: phone, change: url.Values{"resource": {"https://id.stranger.example"}}, want: refusal{code: target, description: "may not get authorization grants for this issuer"}},
		"itself":                     {device: phone, change: url.Values{"resource": {issuerURL}}, want: refusal{code: target, description: "may not get authorization grants"}},
		"the token endpoint":         {device: phone, change: url.Values{"resource": {away.issuer + "/token"}}, want: refusal{code: target, description: "may not get authorization grants"}},
		"another client":             {client: "other", device: phone, want: refusal{code: target, description: "may not get authorization grants"}},
		"no token":                   {device: phone, change: by("a.b.c"), want: refusal{code: invalid, description: "The subject_token is not valid"}},
		"a refresh token":            {device: phone, change: by(held.RefreshToken), want: refusal{code: invalid, description: "The subject_token is not valid"}},
		"another issuer's token":     {device: phone, change: by(away.vouches(t, phone.JKT())), want: refusal{code: invalid, description: "The subject_token is not valid"}},
		"a disabled user":            {device: disabled, change: by(ofDisabled), want: refusal{code: invalid, description: "The subject_token is not valid"}},
		"an ended session":           {device: ended, change: by(ofEnded.AccessToken), want: refusal{code: invalid, description: "The subject_token is not valid"}},
		"a removed device":           {device: removed, change: by(ofRemoved), want: refusal{code: invalid, description: "The subject_token is not valid"}},
		"another key":                {device: machine, want: refusal{code: invalid, description: "bound to another key"}},
		"another's token":            {device: phone, change: by(elsewhere), want: refusal{code: invalid, description: "bound to another key"}},
		"a bearer token":             {device: phone, change: by(i.sign(t, bearer)), want: refusal{code: invalid, description: "bound to another key"}},
		"one who acts":               {device: bobs, change: by(acting), want: refusal{code: invalid, description: "An authorization grant is about the user alone"}},
		"tokens inside":              {device: phone, change: by(nest), want: refusal{code: invalid, description: "An authorization grant is about the user alone"}},
		"a chained token":            {device: phone, change: by(chained), want: refusal{code: invalid, description: "The token was made by identity chaining"}},
		"a grant of this issuer":     {device: phone, change: by(i.token(t, "app", phone, chainForm(held.AccessToken, away.issuer)).AccessToken), want: refusal{code: invalid, description: "The subject_token is not valid"}},
		"a scope for this issuer":    {device: phone, change: url.Values{"scope": {"introspect"}}, want: refusal{code: "invalid_scope", description: "The scope 'introspect' cannot be granted here"}},
		"a scope that was not given": {device: phone, change: url.Values{"scope": {"account"}}, want: refusal{code: "invalid_scope", description: "The scope 'account' cannot be granted here"}},
	} {
		t.Run(name, func(t *testing.T) {
			client := v.client
			if client == "" {
				client = "app"
			}
			i.refuses(t, i.request(t, client, v.device, with(chainForm(held.AccessToken, away.issuer), v.change)), v.want)
		})
	}
	// The token of a service, whose client is listed.
	i.register(t, "app", func(c *clients.Client) { c.SecretSHA256 = i.clients[3].SecretSHA256 })
	i.register(t, "app", func(c *clients.Client) { c.Grants = append(c.Grants, oauth.GrantClientCredentials) })
	mine := i.token(t, "app", machine, serviceForm).AccessToken
	i.refuses(t, i.request(t, "app", machine, chainForm(mine, away.issuer)), refusal{code: invalid, description: "The subject_token is a service's"})
	i.refuses(t, i.request(t, "app", machine, chainForm(service, away.issuer)), refusal{code: invalid, description: "another client's"})
	// The registration has shrunk since.
	i.register(t, "app", func(c *clients.Client) { c.Scopes = []string{"im:handle"} })
	i.refuses(t, i.request(t, "app", phone, chainForm(held.AccessToken, away.issuer)), refusal{code: "invalid_scope", description: "no longer registered for the scope 'im:device' of the subject_token"})
	i.register(t, "app", func(c *clients.Client) { c.Domains = []string{"acme.example"} })
	i.refuses(t, i.request(t, "app", phone, with(chainForm(held.AccessToken, away.issuer), url.Values{"scope": {"im:handle"}})), refusal{code: invalid, description: "The subject is of a domain"})
}

// TestChained holds what a token for a user of another domain says.
func TestChained(t *testing.T) {
	i, d := newIssuer(t, true), newDevice(t)
	away := i.peer(t, "away.example")
	now := i.clock.now()
	for name, v := range map[string]struct {
		grant  func(g *chaining.Grant)
		change url.Values
		want   func(s *claims.Set)
	}{
		"as it comes": {},
		"a service of the client": {nil, url.Values{"resource": {"https://rooms.example.com"}}, func(s *claims.Set) {
			s.Audience = []string{"https://rooms.example.com"}
		}},
		"both": {nil, url.Values{"resource": {"https://rooms.example.com", "im:example.com"}}, func(s *claims.Set) {
			s.Audience = []string{"https://rooms.example.com", "im:example.com"}
		}},
		"a scope fewer":          {nil, url.Values{"scope": {"im:handle"}}, func(s *claims.Set) { s.Scope, s.Device = "im:handle", "" }},
		"a scope fewer at home":  {func(g *chaining.Grant) { g.Scope, g.Handle = "im:device", "" }, nil, func(s *claims.Set) { s.Scope, s.Handle = "im:device", "" }},
		"scopes of the home":     {func(g *chaining.Grant) { g.Scope += " account admin im:handle" }, nil, nil},
		"names without a scope":  {func(g *chaining.Grant) { g.Scope = "" }, nil, func(s *claims.Set) { s.Scope, s.Handle, s.Device = "", "", "" }},
		"without a login's data": {func(g *chaining.Grant) { g.AuthTime, g.ACR, g.AMR = time.Time{}, "", nil }, nil, func(s *claims.Set) { s.AuthTime, s.ACR, s.AMR = time.Time{}, "", nil }},
	} {
		i.log.take(t)
		a := i.token(t, "visitors", d, with(bearerForm(away.grants(t, d.JKT(), v.grant)), v.change))
		set := claimsOf(t, a.AccessToken)
		want := claims.Set{
			Issuer: issuerURL, Subject: "im:a11ce@away.example;id-type=user", Handle: "im:%40alice@away.example", Device: "im:a11ce/7@away.example",
			Audience: []string{"im:example.com"}, ClientID: "visitors", Scope: "im:handle im:device", JTI: set.JTI, IssuedAt: now,
			Expires: now.Add(5 * time.Minute), AuthTime: now.Add(-time.Hour), ACR: "phr", AMR: []string{"pwd"}, JKT: d.JKT(), HomeIss: away.issuer,
		}
		if v.want != nil {
			v.want(&want)
		}
		if got := string(set.AppendJSON(nil)); got != string(want.AppendJSON(nil)) || set.JTI == "" {
			t.Errorf("%s: token = %s\nwant %s", name, got, want.AppendJSON(nil))
		}
		if a.TokenType != "DPoP" || a.RefreshToken != "" || a.ExpiresIn != 300 || a.Scope != want.Scope {
			t.Errorf("%s: Token = %+v, want an access token for 300 s", name, a)
		}
		err := set.Validate(claims.Expect{
			Issuer: issuerURL, Audience: want.Audience[0], Domains: []string{"example.com"}, Own: true, Now: now, Development: true,
		})
		if err != nil {
			t.Errorf("%s: Validate = %v", name, err)
		}
		events := i.log.take(t)
		if len(events) != 1 || events[0]["event"] != "chaining.redeemed" || events[0]["peer"] != away.issuer ||
			events[0]["user"] != "a11ce" || events[0]["domain"] != "away.example" || events[0]["client"] != "visitors" {
			t.Errorf("%s: events = %v, want one of the token", name, events)
		}
	}
}

// TestChainedRefused holds every refusal of an authorization grant of another issuer.
func TestChainedRefused(t *testing.T) {
	const invalid = "invalid_grant"
	i, d := newIssuer(t, true), newDevice(t)
	away := i.peer(t, "away.example")
	stranger := i.stranger(t, "stranger.example")
	impostor := i.stranger(t, "away.example") // with a key of its own
	alice := i.user(t, "alice")
	own := i.login(t, alice, newDevice(t)).AccessToken
	grants := func(change func(g *chaining.Grant)) string { return away.grants(t, d.JKT(), change) }
	as := func(typ string) string {
		g := grants(nil)
		return away.edited(t, typ, g, `"scope"`, `"scope"`)
	}
	edited := func(from, to string) string {
		return away.edited(t, jose.TypeAuthorizationGrant, grants(nil), from, to)
	}
	now := i.clock.now()
	type test struct {
		assertion string
		device    *device
		client    string
		change    url.Values
		want      refusal
	}
	refused := func(words string) refusal { return refusal{code: invalid, description: words} }
	tests := map[string]test{
		"no proof":                    {assertion: grants(nil), device: &device{}, want: refusal{err: dpop.ErrNoProof}},
		"no assertion":                {want: refusal{code: "invalid_request", description: "The parameter assertion is missing"}},
		"no token":                    {assertion: "a.b.c", want: refused("The assertion is not valid: header")},
		"nine kilobytes":              {assertion: edited(`"scope"`, `"x":"`+strings.Repeat("x", 9<<10)+`","scope"`), want: refused("size: longer than 8192 bytes")},
		"a copy without the key":      {assertion: grants(nil), device: newDevice(t), want: refused("cnf: not the key of the proof")},
		"another aud":                 {assertion: grants(func(g *chaining.Grant) { g.Audience = "https://id.other.example" }), want: refused("aud: for another audience")},
		"the token endpoint":          {assertion: grants(func(g *chaining.Grant) { g.Audience += "/token" }), want: refused("aud: for another audience")},
		"expired":                     {assertion: grants(func(g *chaining.Grant) { g.IssuedAt, g.Expires = now.Add(-2*time.Minute), now.Add(-time.Minute) }), want: refused("exp: expired")},
		"too long":                    {assertion: grants(func(g *chaining.Grant) { g.Expires = now.Add(6 * time.Minute) }), want: refused("exp: more than 5 minutes")},
		"of the future":               {assertion: grants(func(g *chaining.Grant) { g.IssuedAt, g.Expires = now.Add(2*time.Minute), now.Add(3*time.Minute) }), want: refused("iat: not yet valid")},
		"another client's":            {assertion: grants(func(g *chaining.Grant) { g.ClientID = "other" }), want: refused("client_id: not the client")},
		"a client that is not listed": {assertion: grants(func(g *chaining.Grant) { g.ClientID = "short" }), client: "short", want: refused("The client may not use authorization grants of this issuer")},
		"an untrusted issuer":         {assertion: stranger.grants(t, d.JKT(), nil), want: refused("the issuer is not a peer, is suspended")},
		"a forged one":                {assertion: impostor.grants(t, d.JKT(), nil), want: refused("signature: not made by the issuer")},
		"an unknown kid":              {assertion: strange(t, away, grants(nil)), want: refused("iss: not a trusted issuer, or it publishes no such key")},
		"a user of this issuer":       {assertion: grants(ofDomain("example.com")), want: refused("a domain that its issuer does not speak for")},
		"a user of a third domain":    {assertion: grants(ofDomain("third.example")), want: refused("a domain that its issuer does not speak for")},
		"this issuer's own":           {assertion: i.ownGrant(t, d.JKT(), issuerURL), want: refused("iss: is the issuer to which the grant is presented")},
		"a handle elsewhere":          {assertion: grants(func(g *chaining.Grant) { g.Handle = "im:%40alice@example.com" }), want: refused("handle: does not agree")},
		"a device elsewhere":          {assertion: grants(func(g *chaining.Grant) { g.Device = "im:a11ce/7@example.com" }), want: refused("device: does not agree")},
		"a client as subject":         {assertion: grants(func(g *chaining.Grant) { g.Subject, g.Handle, g.Device = "visitors", "", "" }), want: refused("sub: a client")},
		"an access token":             {assertion: away.vouches(t, d.JKT()), want: refused("typ: must be im-authz-grant+jwt")},
		"an access token of ours":     {assertion: own, want: refused("typ: must be")},
		"a JWT":                       {assertion: as("JWT"), want: refused("typ: must be")},
		"an ID token":                 {assertion: as(""), want: refused("typ: must be")},
		"a staple":                    {assertion: as(jose.TypeStaple), want: refused("typ: must be")},
		"a statement":                 {assertion: as(nested.TypeActor), want: refused("typ: must be")},
		"a client assertion":          {assertion: as("client-authentication+jwt"), want: refused("typ: must be")},
		"a proof":                     {assertion: i.proof(t, d), want: refused("typ: must be")},
		"with tokens":                 {assertion: edited(`"scope"`, `"tokens":[],"scope"`), want: refused("tokens: not a claim of a grant")},
		"with an actor":               {assertion: edited(`"scope"`, `"act":{"sub":"bot"},"scope"`), want: refused("act: not a claim of a grant")},
		"of a chain":                  {assertion: edited(`"scope"`, `"home_iss":"https://id.third.example","scope"`), want: refused("home_iss: not a claim of a grant")},
		"repeated claims":             {assertion: edited(`"scope"`, `"sub":"x","scope"`), want: refused("The assertion is not valid: payload")},

		"a scope of the issuer":      {assertion: grants(func(g *chaining.Grant) { g.Scope += " account" }), change: url.Values{"scope": {"account"}}, want: refusal{code: "invalid_scope", description: "The scope 'account' cannot be granted to a user of another domain"}},
		"a scope that is not in it":  {assertion: grants(func(g *chaining.Grant) { g.Scope, g.Device = "im:handle", "" }), change: url.Values{"scope": {"im:handle im:device"}}, want: refusal{code: "invalid_scope", description: "The scope 'im:device' cannot be granted"}},
		"the issuer":                 {assertion: grants(nil), change: url.Values{"resource": {issuerURL}}, want: refusal{code: "invalid_target", description: "is not one of this issuer's for users of other domains"}},
		"the home domain":            {assertion: grants(nil), change: url.Values{"resource": {"im:away.example"}}, want: refusal{code: "invalid_target", description: "is not one of this issuer's"}},
		"the home issuer":            {assertion: grants(nil), change: url.Values{"resource": {"https://id.away.example"}}, want: refusal{code: "invalid_target", description: "is not one of this issuer's"}},
		"a domain of another client": {assertion: grants(nil), change: url.Values{"resource": {"im:acme.example"}}, want: refusal{code: "invalid_target", description: "is not one of this issuer's"}},
		"a resource of others":       {assertion: grants(nil), change: url.Values{"resource": {"im:example.com", "https://files.example.com"}}, want: refusal{code: "invalid_target", description: "The resource 'https://files.example.com' is not one of this issuer's"}},
		"an unknown domain":          {assertion: grants(nil), change: url.Values{"im_domain": {"nobody.example"}}, want: refusal{code: "invalid_request", description: "not registered for the im_domain"}},
	}
	i.register(t, "short", func(c *clients.Client) { c.Grants = append(c.Grants, oauth.GrantJWTBearer) })
	for name, v := range tests {
		t.Run(name, func(t *testing.T) {
			by, client := v.device, v.client
			if by == nil {
				by = d
			} else if by.Signer == nil {
				by = nil
			}
			if client == "" {
				client = "visitors"
			}
			form := bearerForm(v.assertion)
			if v.assertion == "" {
				form.Del("assertion")
			}
			i.refuses(t, i.request(t, client, by, with(form, v.change)), v.want)
		})
	}
	// A refused request spends nothing: the same grant is good for a better request. Then it is spent.
	once := grants(nil)
	i.refuses(t, i.request(t, "visitors", d, with(bearerForm(once), url.Values{"resource": {issuerURL}})), refusal{code: "invalid_target"})
	i.token(t, "visitors", d, bearerForm(once))
	for range 2 {
		_, err := i.Token(t.Context(), i.request(t, "visitors", d, bearerForm(once)))
		refused("The assertion was used before").check(t, err)
	}
	i.limits.user = errLimit
	i.refuses(t, i.request(t, "visitors", d, bearerForm(grants(nil))), refusal{err: errLimit})
	i.limits.user = nil
	// A client of several domains names one.
	i.register(t, "visitors", func(c *clients.Client) { c.Domains = []string{"example.com", "acme.example"} })
	i.refuses(t, i.request(t, "visitors", d, bearerForm(grants(nil))), refusal{code: "invalid_request", description: "The client has several domains"})
	for resource, form := range map[string]url.Values{"im:acme.example": {"im_domain": {"acme.example"}}, "im:example.com": {"resource": {"im:example.com"}}} {
		if set := claimsOf(t, i.token(t, "visitors", d, with(bearerForm(grants(nil)), form)).AccessToken); set.Audience[0] != resource {
			t.Errorf("aud = %q, want %s", set.Audience, resource)
		}
	}
	// An issuer without peers takes none.
	delete(i.peers.peers, away.issuer)
	i.refuses(t, i.request(t, "visitors", d, bearerForm(grants(nil))), refused("is not a peer"))
}

// ofDomain makes a grant that of a user of another domain.
func ofDomain(domain string) func(g *chaining.Grant) {
	return func(g *chaining.Grant) {
		g.Subject, g.Handle, g.Device = "im:a11ce@"+domain+";id-type=user", "im:%40alice@"+domain, "im:a11ce/7@"+domain
	}
}

// ownGrant makes a grant of the issuer itself.
func (i *issuer) ownGrant(t *testing.T, jkt, audience string) string {
	t.Helper()
	g := chaining.Grant{
		Issuer: issuerURL, Subject: "im:a11ce@example.com;id-type=user", Audience: audience, ClientID: "visitors", JTI: rand.Text(),
		IssuedAt: i.clock.now(), Expires: i.clock.now().Add(time.Minute), JKT: jkt,
	}
	token, err := i.ring.Sign(jose.TypeAuthorizationGrant, g.AppendClaims(nil))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// strange signs a grant again under a kid that its issuer does not publish.
func strange(t *testing.T, p *peer, grant string) string {
	t.Helper()
	set := claimsOf(t, grant)
	token, err := jose.Sign(p.key, jose.ES256, []byte(`{"typ":"im-authz-grant+jwt","alg":"ES256","kid":"unknown"}`), set.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestChainedEnds holds that nothing comes of a token for a user of another domain but what it is for, and that it can be revoked.
func TestChainedEnds(t *testing.T) {
	i, d := newIssuer(t, true), newDevice(t)
	away := i.peer(t, "away.example")
	held := i.token(t, "visitors", d, bearerForm(away.grants(t, d.JKT(), nil))).AccessToken
	chained := refusal{code: "invalid_request", description: "The token was made by identity chaining"}
	i.refuses(t, i.request(t, "visitors", d, exchangeForm(held, accessToken, "")), chained)
	i.refuses(t, i.request(t, "visitors", d, exchangeForm(held, accessToken, held)), chained)
	member := entry(t, nested.MemberOf, away.states(t, nested.TypeMember, "im:wxyz=%23%23team@away.example", func(s *nested.Statement) {
		s.Party, s.Audience = "im:a11ce@away.example;id-type=user", []string{issuerURL, "im:away.example"}
	}))
	i.register(t, "visitors", func(c *clients.Client) { c.Embed = append(c.Embed, nested.MemberOf) })
	i.refuses(t, i.request(t, "visitors", d, with(embedForm(member), subjectForm(held))), chained)
	i.refuses(t, i.request(t, "app", d, with(embedForm(mustEntry(t, accessToken, nested.AttestedBy, held)), subjectForm(i.login(t, i.user(t, "alice"), d).AccessToken))),
		refusal{code: "invalid_embedded_token", description: "tokens[0]: bad_claim: claims: home_iss"})
	i.log.take(t)
	if err := i.Revoke(t.Context(), i.revocation(t, "visitors", newDevice(t), held)); err == nil {
		t.Error("Revoke by another key = nil, want an error")
	}
	if err := i.Revoke(t.Context(), i.revocation(t, "visitors", d, held)); err != nil {
		t.Fatal(err)
	}
	row, err := i.store.Revocation(t.Context(), storage.RevokeToken, claimsOf(t, held).JTI)
	if err != nil || row.Domain != "example.com" || row.User != "" || row.Owner != "" {
		t.Errorf("revocation = %+v, %v, want one of the domain of the client", row, err)
	}
	if events := i.log.take(t); len(events) != 1 || events[0]["event"] != "token.revoked" || events[0]["user"] != "a11ce" || events[0]["domain"] != "away.example" {
		t.Errorf("events = %v, want one of the revocation", events)
	}
}

// TestChainedInParallel presents one grant twenty times at once: one request gets a token.
func TestChainedInParallel(t *testing.T) {
	i, d := newIssuer(t, true), newDevice(t)
	grant := i.peer(t, "away.example").grants(t, d.JKT(), nil)
	requests := make([]oauth.TokenRequest, 20)
	for n := range requests {
		requests[n] = i.request(t, "visitors", d, bearerForm(grant))
	}
	errs := make(chan error, len(requests))
	start := make(chan struct{})
	for _, r := range requests {
		go func() {
			<-start
			_, err := i.Token(context.WithoutCancel(t.Context()), r)
			errs <- err
		}()
	}
	close(start)
	good := 0
	for range requests {
		if err := <-errs; err == nil {
			good++
		} else {
			refusal{code: "invalid_grant", description: "The assertion was used before"}.check(t, err)
		}
	}
	if good != 1 {
		t.Errorf("%d of %d requests got a token, want 1", good, len(requests))
	}
}

// mustEntry is an entry of a type of its own.
func mustEntry(t *testing.T, typ string, rel nested.Relation, token string) string {
	t.Helper()
	data, err := json.Marshal([]map[string]string{{"type": typ, "rel": string(rel), "token": token}})
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
