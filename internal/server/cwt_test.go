package server_test

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/trust"
)

const typeCWT = "tag:imidentity.github.io,2026:cwt"

// asCWT is a request for the CWT with the claims of an access token, after a change.
func asCWT(token string, change url.Values) url.Values {
	form := exchanging(token, typeAccess, "", url.Values{"requested_token_type": {typeCWT}})
	maps.Copy(form, change)
	return form
}

// twin exchanges an access token for a CWT.
func (s *site) twin(t *testing.T, c caller, d *device, token string) string {
	t.Helper()
	a := s.token(t, c, d, asCWT(token, nil))
	set, ttl := claimsOf(t, token), a.json["expires_in"]
	left, _ := ttl.(float64)
	if a.status != http.StatusOK || a.text("token_type") != "DPoP" || a.text("issued_token_type") != typeCWT || a.json["refresh_token"] != nil ||
		a.text("scope") != set.Scope || left <= 0 || s.clock.now().Add(time.Duration(left)*time.Second).After(set.Expires.Add(2*time.Second)) {
		t.Fatalf("exchange for a CWT = %v, want a CWT of the type DPoP for the rest of the life of %+v", a, set)
	}
	wantNotStored(t, a)
	return a.text("access_token")
}

// readCWT verifies a CWT as a resource does that knows nothing but the issuer's URL.
func (s *site) readCWT(t *testing.T, text string) *cwt.AccessToken {
	t.Helper()
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "example.com", Issuer: s.issuer}}, Client: s.http, ForeignClient: s.http, Now: s.clock.now, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := cwt.ReadText(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := (&cwt.Decoder{Keys: table}).Decode(t.Context(), data)
	if err != nil {
		t.Fatalf("Decode = %v", err)
	}
	return token
}

// TestCWT holds that the twin of a token says the same, of the same key, to those who verify it by themselves and to those who ask.
func TestCWT(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) { testCWT(t, alg) })
	}
}

func testCWT(t *testing.T, alg string) {
	s := start(t, map[string]string{"statuses": "true", "more": "signing: {alg: " + alg + "}"})
	d, machine := newDevice(t), newDevice(t)
	held := s.account(t, d, "alice")
	both := url.Values{"client_id": {accounts.id}, "resource": {"im:example.com", "https://rooms.example.com"}}
	wide := wantTokens(t, s.token(t, accounts, d, codeForm(s.code(t, "alice", both), nil))).access
	for name, test := range map[string]struct {
		c     caller
		d     *device
		token string
	}{
		"a device's":             {accounts, d, held.access},
		"for several resources":  {accounts, d, wide},
		"that was narrowed":      {accounts, d, issued(t, s.token(t, accounts, d, exchanging(held.access, typeAccess, "", url.Values{"scope": {"im:handle"}})))},
		"a service's":            {bot, machine, s.service(t, bot, machine, nil)},
		"for the issuer itself":  {accounts, d, s.forIssuer(t, d, held, "account").access},
		"with a scope like all":  {accounts, d, held.access},
		"of a session with more": {accounts, d, wantTokens(t, s.token(t, accounts, d, refreshForm(held.refresh))).access},
	} {
		t.Run(name, func(t *testing.T) {
			set := claimsOf(t, test.token)
			twin := s.twin(t, test.c, test.d, test.token)
			read := s.readCWT(t, twin)
			if !reflect.DeepEqual(read.Set(), set) || !read.BoundTo(test.d.key.Public()) || read.BoundTo(newKey(t).Public()) {
				t.Errorf("the CWT says %+v, want %+v, and the key of the proof", read.Set(), set)
			}
			if read.KID() != kidOf(t, test.token) {
				t.Errorf("kid = %q, want that of the JWT", read.KID())
			}
			for _, by := range []caller{peer, rooms, stranger} {
				jwt, cwt := s.introspect(t, by, test.token), s.introspect(t, by, twin)
				again := s.introspect(t, by, twin) // as it was seen before
				if got, want := timeless(cwt.json), timeless(jwt.json); got != want || timeless(again.json) != want || cwt.status != http.StatusOK {
					t.Errorf("%s: introspection = %s, want as of the JWT: %s", by.id, got, want)
				}
			}
			if a := s.introspect(t, peer, twin); test.c == accounts && !slices.Equal(set.Audience, []string{s.issuer}) && (a.json["active"] != true || a.text("jti") != set.JTI) {
				t.Errorf("introspection = %v, want active", a)
			}
		})
	}
	// A request may name what the token has anyway.
	set := claimsOf(t, wide)
	a := s.token(t, accounts, d, asCWT(wide, url.Values{"scope": {set.Scope}, "resource": set.Audience}))
	if a.status != http.StatusOK {
		t.Errorf("exchange with the scope and the resources of the token = %v, want a CWT", a)
	}
	list := func(names ...string) []string { return names }
	m := s.get(t, "/.well-known/oauth-authorization-server")
	if got, want := string(encode(m.json["im_requested_token_types_supported"])), string(encode(list(typeAccess, typeCWT))); got != want {
		t.Errorf("im_requested_token_types_supported = %s, want %s", got, want)
	}
}

// TestCWTAsked holds that all ways to ask take a CWT like the JWT.
func TestCWTAsked(t *testing.T) {
	s := start(t, nil)
	d, machine := newDevice(t), newDevice(t)
	held := s.account(t, d, "alice")
	twin := s.twin(t, accounts, d, held.access)
	s.advance(t, 2*time.Minute) // the store of spent proofs is older than the proofs

	got := answers(t, s.asking(t, peer, "/introspect/batch", batch(twin, held.access, "never-issued", twin)))
	if len(got) != 4 || got[0] != got[1] || got[0] != got[3] || !strings.Contains(got[0], held.set.JTI) || got[2] != `{"active":false}` {
		t.Errorf("answers = %s, want that of the JWT for both", strings.Join(got, "\n"))
	}
	signed := func(token string) string {
		c := s.openedJWT(t, s.asking(t, peer, "/introspect", url.Values{"token": {token}}, mediaSigned), mediaSigned, "token-introspection+jwt", "ES256")
		delete(c, "iat")
		inner, _ := c["token_introspection"].(object)
		return timeless(inner) + string(encode(c))
	}
	if cwt, jwt := signed(twin), signed(held.access); cwt != jwt || !strings.Contains(cwt, held.set.JTI) {
		t.Errorf("signed answer = %s, want as of the JWT: %s", cwt, jwt)
	}
	c, _ := s.asker(t)
	if a := wantSays(t, c, twin, true); a.JTI != held.set.JTI || a.Confirmation.JKT != d.JKT() {
		t.Errorf("a client is told %+v, want that of the JWT", a)
	}

	// A proof goes with the text that it names, and counts once.
	ask := func(form url.Values) answer { return s.asking(t, peer, "/introspect", maps.Clone(form)) }
	proven := s.shown(t, d, twin, nil)
	if a := ask(proven); a.text("holder") != "verified" || a.text("jti") != held.set.JTI {
		t.Errorf("introspection with a proof = %v, want a verified holder", a)
	}
	for name, form := range map[string]url.Values{
		"the same proof again":       proven,
		"a proof for the JWT":        s.shown(t, d, held.access, func(form url.Values) { form.Set("token", twin) }),
		"a proof by another key":     s.shown(t, newDevice(t), twin, nil),
		"the JWT, a proof for a CWT": s.shown(t, d, twin, func(form url.Values) { form.Set("token", held.access) }),
	} {
		if a := ask(form); strings.TrimSpace(a.body) != `{"active":false}` {
			t.Errorf("%s: introspection = %v, want inactive", name, a)
		}
	}
	if a := ask(s.presented(t, d, twin, "im:example.com")); a.text("holder") != "verified" {
		t.Errorf("introspection with a presentation = %v, want a verified holder", a)
	}

	// The endpoints of the issuer are a resource, for which the CWT is as good.
	own := s.forIssuer(t, d, held, "account").access
	for name, test := range map[string]struct {
		d      *device
		token  string
		status int
	}{
		"the CWT":                {d, s.twin(t, accounts, d, own), http.StatusOK},
		"of another audience":    {d, twin, http.StatusUnauthorized},
		"with another's proof":   {machine, s.twin(t, accounts, d, own), http.StatusUnauthorized},
		"with another's CWT too": {machine, s.twin(t, accounts, d, held.access), http.StatusUnauthorized},
	} {
		if a := s.held(t, test.d, test.token, http.MethodGet, "/me/devices", nil); a.status != test.status {
			t.Errorf("%s: GET /me/devices = %v, want %d", name, a, test.status)
		}
	}
	// A caller does not see the token that it asks with, in either form.
	asks := s.forIssuer(t, d, held, "introspect").access
	for _, token := range []string{asks, s.twin(t, accounts, d, asks)} {
		if a := s.held(t, d, s.twin(t, accounts, d, asks), http.MethodPost, "/introspect", url.Values{"token": {token}}); strings.TrimSpace(a.body) != `{"active":false}` {
			t.Errorf("introspection of the caller's own token = %v, want inactive", a)
		}
	}
	staple, err := introspect.OpenStaple(t.Context(), s.held(t, d, twin, http.MethodPost, "/staple", nil).body, twin, introspect.StapleOptions{
		Issuer: s.issuer, Keys: s.gateway(t), Now: s.clock.now,
	})
	if err != nil || staple.ATH != dpop.ATH(twin) {
		t.Errorf("staple = %+v, %v, want one of the CWT", staple, err)
	}
	s.wantSuccessor(t, "two forms", held.access, twin, told{true, true, "active", "", ""})
	s.wantSuccessor(t, "two forms", twin, held.access, told{true, true, "active", "", ""})
}

// TestCWTEnds holds that whatever ends a token ends its CWTs at once, whether they were asked about before or not, and the other way.
func TestCWTEnds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s *site, d *device, held tokens, twin string) answer{ // zero if it was checked
		"the JWT is revoked": func(t *testing.T, s *site, d *device, held tokens, _ string) answer {
			return s.revokeBy(t, accounts, d, held.access)
		},
		"the CWT is revoked": func(t *testing.T, s *site, d *device, _ tokens, twin string) answer {
			return s.revokeBy(t, accounts, d, twin)
		},
		"the session is revoked": func(t *testing.T, s *site, _ *device, held tokens, _ string) answer {
			return s.revoke(t, accounts, held.refresh)
		},
		"the device is removed": func(t *testing.T, s *site, _ *device, held tokens, _ string) (a answer) {
			s.remove(t, held.set.Device)
			return a
		},
		"the user is renamed": func(t *testing.T, s *site, _ *device, held tokens, _ string) (a answer) {
			s.rename(t, deviceOf(t, held).Local(), "renamed")
			return a
		},
		"the key is replaced": func(t *testing.T, s *site, d *device, held tokens, _ string) (a answer) {
			s.rekeyed(t, d, newDevice(t), held)
			return a
		},
		"the user is disabled": func(t *testing.T, s *site, _ *device, held tokens, _ string) answer {
			return s.disable(t, deviceOf(t, held).Local())
		},
		"the user is removed": func(t *testing.T, s *site, _ *device, held tokens, _ string) answer {
			return s.removeUser(t, deviceOf(t, held).Local())
		},
		"the signing key is revoked": func(t *testing.T, s *site, _ *device, held tokens, _ string) answer {
			return s.revokeKey(t, kidOf(t, held.access))
		},
		"it expires": func(t *testing.T, s *site, _ *device, _ tokens, _ string) (a answer) {
			s.advance(t, 10*time.Minute)
			return a
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			d := newDevice(t)
			held := s.account(t, d, "alice")
			seen, unseen := s.twin(t, accounts, d, held.access), s.twin(t, accounts, d, held.access)
			s.wantActive(t, seen)
			s.wantActive(t, held.access)
			if a := end(t, s, d, held, seen); a.status != 0 {
				wantStatus(t, a, http.StatusOK)
			}
			want := s.audit(t, held.access)
			if want.json["active"] != false || want.text("reason") == "" {
				t.Fatalf("introspection of the JWT = %v, want a reason", want)
			}
			if a := s.audit(t, seen); a.body != want.body {
				t.Errorf("introspection = %v, want as of the JWT: %v", a, want)
			}
			for _, token := range []string{held.access, seen, unseen} {
				s.wantInactive(t, token)
			}
			wantError(t, s.token(t, accounts, d, asCWT(held.access, nil)), http.StatusBadRequest, "invalid_request")
		})
	}
	t.Run("the client is removed", func(t *testing.T) {
		s := start(t, nil)
		c := s.registered(t, object{
			"id": "bridge", "auth": "secret", "grants": []string{"client_credentials", grantExchange}, "domains": []string{"example.com"},
		})
		machine := newDevice(t)
		twin := s.twin(t, c, machine, s.service(t, c, machine, nil)) // a service has no session
		s.wantActive(t, twin)
		s.unregister(t, c.id)
		s.wantInactive(t, twin)
	})
}

// TestCWTRevoked holds who may revoke a CWT, and that other texts end nothing.
func TestCWTRevoked(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	jwt, twin := s.unevenTwin(t, d)
	wantError(t, s.revoke(t, accounts, twin), http.StatusBadRequest, "invalid_dpop_proof")              // a public client proves the key
	wantError(t, s.revokeBy(t, accounts, newDevice(t), twin), http.StatusBadRequest, "invalid_request") // and no other
	for _, a := range []answer{s.revokeBy(t, app, d, twin), s.revoke(t, peer, twin)} {                  // another client's is unknown to it
		wantStatus(t, a, http.StatusOK)
	}
	for name, text := range s.brokenCWTs(t, jwt, twin) {
		if a := s.revokeBy(t, accounts, d, text); a.status != http.StatusOK || a.body != "" {
			t.Errorf("%s: revocation = %v, want 200 and no more", name, a)
		}
	}
	s.wantActive(t, twin)
	s.wantActive(t, jwt)
	if events := s.audited(func() { wantStatus(t, s.revokeBy(t, accounts, d, twin), http.StatusOK) }); len(events) != 1 ||
		!strings.Contains(events[0], "event=token.revoked") || !strings.Contains(events[0], "session="+claimsOf(t, jwt).SID) {
		t.Errorf("events = %q, want the end of the token", events)
	}
	s.wantInactive(t, jwt)
}

// brokenCWTs are texts that are nearly a CWT of the issuer, by what is wrong with them.
func (s *site) brokenCWTs(t *testing.T, jwt, twin string) map[string]string {
	t.Helper()
	data, err := cwt.ReadText(twin)
	if err != nil {
		t.Fatal(err)
	}
	kek, err := keys.ReadKEK(filepath.Join(s.fill["data"], "kek"))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.OpenRing(t.Context(), s.store, keys.NewSealer(kek), keys.RingConfig{Alg: "ES256", Now: s.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	kid, alg, own := ring.Signer()
	holder := newDevice(t)
	set := claimsOf(t, jwt)
	set.JKT = holder.JKT()
	signedBy := func(kid, alg string, change func(*claims.Set)) string {
		t.Helper()
		key := own
		if alg == "" { // a stranger's key
			key, alg = newKey(t), "ES256"
		}
		signer, err := cwt.NewSigner(kid, alg, key)
		if err != nil {
			t.Fatal(err)
		}
		changed := set
		if change != nil {
			change(&changed)
		}
		token, err := cwt.SignAccessToken(changed, holder.key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		return cwt.Text(token)
	}
	if text := signedBy(kid, alg, nil); s.introspect(t, peer, text).json["active"] != true {
		t.Fatal("a CWT that the key of the issuer signs is not active: the others say nothing")
	}
	signer, err := cwt.NewSigner(kid, alg, own)
	if err != nil {
		t.Fatal(err)
	}
	vc, err := (&cwt.VC{
		Issuer: s.issuer, ID: set.JTI, Device: set.Device, User: set.Subject, Key: holder.key.Public(), IssuedAt: s.clock.now(),
		Expires: s.clock.now().Add(time.Hour),
	}).Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := cwt.Parse(vc)
	if err != nil {
		t.Fatal(err)
	}
	kbt, err := credential.Present(holder.key, cwt.Binding{Audience: "im:example.com", Nonce: []byte("nonce")}, s.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := twin[:len(twin)-1] + string(digits[strings.IndexByte(digits, twin[len(twin)-1])^1])
	flipped := slices.Clone(data)
	flipped[len(flipped)-1] ^= 1
	claimFlipped := slices.Clone(data)
	claimFlipped[len(data)/2] ^= 1
	return map[string]string{
		"with padding":            base64.URLEncoding.EncodeToString(data),
		"in the other base64":     base64.RawStdEncoding.EncodeToString(data),
		"with a line break":       twin[:40] + "\n" + twin[40:],
		"with a space":            " " + twin,
		"cut short":               twin[:len(twin)-4],
		"half of it":              twin[:len(twin)/2/4*4],
		"longer":                  twin + "AAAA",
		"twice":                   twin + twin,
		"too long":                cwt.Text(append(slices.Clone(data), make([]byte, cwt.MaxSize)...)),
		"as long as may be":       cwt.Text(append(slices.Clone(data), make([]byte, cwt.MaxSize-len(data))...)),
		"tag 61 around it":        cwt.Text(append([]byte{0xd8, 61}, data...)),
		"tag 98":                  cwt.Text(append([]byte{0xd8, 98}, data[1:]...)),
		"no tag":                  cwt.Text(data[1:]),
		"tag 18 in two bytes":     cwt.Text(append([]byte{0xd8, 18}, data[1:]...)),
		"of indefinite length":    cwt.Text(append(append([]byte{0xd2, 0x9f}, data[2:]...), 0xff)),
		"the JWT as bytes":        cwt.Text([]byte(jwt)),
		"the claims of the JWT":   strings.Split(jwt, ".")[1],
		"JSON":                    `{"iss":"` + s.issuer + `"}`,
		"another signature":       cwt.Text(flipped),
		"another claim":           cwt.Text(claimFlipped),
		"deep":                    cwt.Text(slices.Repeat([]byte{0x81}, cwt.MaxSize)),
		"signed by a stranger":    signedBy(kid, "", nil),
		"of an unknown key":       signedBy("unknown", "", nil),
		"of another issuer":       signedBy(kid, alg, func(set *claims.Set) { set.Issuer = "https://id.example.net" }),
		"of no issuer":            signedBy(kid, alg, func(set *claims.Set) { set.Issuer = "" }),
		"a credential":            cwt.Text(vc),
		"a key binding":           cwt.Text(kbt),
		"with bits after its end": last,
	}
}

// unevenTwin returns a token and its CWT, the text of which has bits after its end.
func (s *site) unevenTwin(t *testing.T, d *device) (jwt, twin string) {
	t.Helper()
	held := s.account(t, d, "alice")
	for _, scope := range []string{held.set.Scope, "im:handle im:device account"} { // their lengths differ by 11
		jwt = issued(t, s.token(t, accounts, d, exchanging(held.access, typeAccess, "", url.Values{"scope": {scope}})))
		if twin = s.twin(t, accounts, d, jwt); len(twin)%4 != 0 {
			break
		}
	}
	return jwt, twin
}

// TestCWTInactive holds that every text that is not a CWT of the issuer gets the same answer as garbage.
func TestCWTInactive(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	jwt, twin := s.unevenTwin(t, d)
	s.wantActive(t, twin)
	for name, text := range s.brokenCWTs(t, jwt, twin) {
		t.Run(name, func(t *testing.T) {
			s.wantInactive(t, text)
			s.wantInactive(t, text) // it is not taken for one that was seen
			if a := s.audit(t, text); strings.TrimSpace(a.body) != `{"active":false}` {
				t.Errorf("introspection = %v, want no reason for what is no token", a)
			}
			if !strings.Contains(text, "\n") { // no header has one
				wantStatus(t, s.held(t, d, text, http.MethodGet, "/me/devices", nil), http.StatusUnauthorized)
			}
		})
	}
	s.wantActive(t, twin)
	s.wantActive(t, jwt)
}

// TestCWTRefused holds what is not exchanged for a CWT: nothing is written, and the proof is good for another request.
func TestCWTRefused(t *testing.T) {
	c := startCast(t)
	const invalid = "invalid_request"
	actor := c.service(t, bot, c.machine, nil)
	_, grant := c.lets(t, bot.id, c.issuer, "im:handle")
	acting := issued(t, c.token(t, bot, c.machine, exchanging(grant, typeJWT, actor, nil)))
	nest := c.nested(t, embedding{c: accounts, d: c.bobs, subject: c.bob.access, inside: []inside{{
		rel: "moved_from", token: c.old.states(t, nested.TypeMove, oldAlice, c.issuer, func(s *nested.Statement) { s.Party = c.bob.set.Subject }),
	}}}, asValue).token
	_, link := c.made(t, c.phone, c.alice, "links", object{"same_as": oldAlice})
	twin := c.twin(t, accounts, c.phone, c.alice.access)
	ended := c.account(t, newDevice(t), "bob")
	c.revoke(t, accounts, ended.refresh)
	foreign, err := c.old.sign(nested.TypeAccessToken, c.alice.set.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	spare := map[*device]url.Values{c.phone: refreshForm(c.alice.refresh), c.bobs: refreshForm(c.bob.refresh), c.machine: {"grant_type": {"client_credentials"}}}
	change := func(name string, values ...string) url.Values { return url.Values{name: values} }
	for _, test := range []struct {
		name string
		c    caller
		d    *device
		form url.Values
		code string
		says string // some of the description
	}{
		{"no subject_token", accounts, c.phone, asCWT("", nil), invalid, "subject_token is missing"},
		{"no type of it", accounts, c.phone, asCWT(c.alice.access, change("subject_token_type", "")), invalid, "subject_token_type must be"},
		{"a CWT", accounts, c.phone, asCWT(twin, nil), invalid, "is a CWT already"},
		{"a CWT that says so", accounts, c.phone, asCWT(twin, change("subject_token_type", typeCWT)), invalid, "is a CWT already"},
		{"a JWT called a CWT", accounts, c.phone, asCWT(c.alice.access, change("subject_token_type", typeCWT)), invalid, "send the JWT"},
		{"an ID token", accounts, c.phone, asCWT(c.alice.access, change("subject_token_type", "urn:ietf:params:oauth:token-type:id_token")), invalid, "ID tokens"},
		{"a grant", bot, c.machine, asCWT(grant, change("subject_token_type", typeJWT)), invalid, "subject_token_type must be"},
		{"a link", accounts, c.phone, asCWT(link, nil), invalid, "The subject_token is not valid"},
		{"a refresh token", accounts, c.phone, asCWT(c.alice.refresh, nil), invalid, "The subject_token is not valid"},
		{"garbage", accounts, c.phone, asCWT("garbage", nil), invalid, "The subject_token is not valid"},
		{"an actor's token beside it", accounts, c.phone, asCWT(c.alice.access, url.Values{"actor_token": {c.alice.access}, "actor_token_type": {typeAccess}}), invalid, "alone"},
		{"evidence", accounts, c.phone, asCWT(c.alice.access, change("im_evidence", "false")), invalid, "alone"},
		{"tokens sent along", accounts, c.phone, asCWT(c.alice.access, change("im_along", "[]")), invalid, "alone"},
		{"a token that names an actor", bot, c.machine, asCWT(acting, nil), invalid, "names no actor"},
		{"a token that encloses some", accounts, c.bobs, asCWT(nest, nil), invalid, "encloses no tokens"},
		{"another's token", accounts, c.phone, asCWT(c.bob.access, nil), invalid, "another key"},
		{"another client's token", bot, c.machine, asCWT(c.alice.access, nil), invalid, "another client's"},
		{"a bearer token", bot, c.machine, asCWT(c.service(t, mute, nil, nil), nil), invalid, "another client's"},
		{"a token of another issuer", accounts, c.phone, asCWT(foreign, nil), invalid, "not one of this server's"},
		{"a token of an ended session", accounts, c.phone, asCWT(ended.access, nil), invalid, "expired, revoked"},
		{"a narrower scope", accounts, c.phone, asCWT(c.alice.access, change("scope", "im:handle")), "invalid_scope", "narrower JWT first"},
		{"a wider scope", accounts, c.phone, asCWT(c.alice.access, change("scope", "im:handle im:credential")), "invalid_scope", "cannot be granted"},
		{"another resource", accounts, c.phone, asCWT(c.alice.access, change("resource", "https://rooms.example.com")), "invalid_target", "is not for"},
		{"another audience", accounts, c.phone, asCWT(c.alice.access, change("audience", "https://rooms.example.com")), "invalid_target", "is not for"},
	} {
		t.Run(test.name, func(t *testing.T) {
			proof, before := c.proof(t, test.d, ""), c.rows(t)
			a := c.tokenWith(t, test.c, test.d, test.form, proof)
			wantError(t, a, http.StatusBadRequest, test.code)
			if !strings.Contains(a.text("error_description"), test.says) {
				t.Errorf("error_description = %q, want %q in it", a.text("error_description"), test.says)
			}
			if after := c.rows(t); strings.Join(after, "\n") != strings.Join(before, "\n") {
				t.Error("rows changed")
			}
			if a := c.tokenWith(t, test.c, test.d, spare[test.d], proof); a.status != http.StatusOK {
				t.Errorf("answer to the next request with the same proof = %v, want a token", a)
			}
		})
	}
	t.Run("a narrower resource", func(t *testing.T) {
		both := url.Values{"client_id": {accounts.id}, "resource": {"im:example.com", "https://rooms.example.com"}}
		wide := wantTokens(t, c.token(t, accounts, c.phone, codeForm(c.code(t, "alice", both), nil))).access
		a := c.token(t, accounts, c.phone, asCWT(wide, change("resource", "im:example.com")))
		wantError(t, a, http.StatusBadRequest, "invalid_target")
		if !strings.Contains(a.text("error_description"), "narrower JWT first") {
			t.Errorf("error_description = %q, want what to do", a.text("error_description"))
		}
	})
	t.Run("without a proof", func(t *testing.T) {
		wantError(t, c.token(t, accounts, nil, asCWT(c.alice.access, nil)), http.StatusBadRequest, "invalid_dpop_proof")
	})
	t.Run("a proof by another key", func(t *testing.T) {
		wantError(t, c.token(t, accounts, newDevice(t), asCWT(c.alice.access, nil)), http.StatusBadRequest, invalid)
	})
	t.Run("a proof that was used", func(t *testing.T) {
		proof := c.proof(t, c.phone, "")
		wantStatus(t, c.tokenWith(t, accounts, c.phone, asCWT(c.alice.access, nil), proof), http.StatusOK)
		wantError(t, c.tokenWith(t, accounts, c.phone, asCWT(c.alice.access, nil), proof), http.StatusBadRequest, "invalid_dpop_proof")
	})
	t.Run("a client without the grant", func(t *testing.T) {
		d := newDevice(t)
		held := c.login(t, d, "alice")
		wantError(t, c.token(t, app, d, asCWT(held.access, nil)), http.StatusBadRequest, "unauthorized_client")
	})
	t.Run("by another grant", func(t *testing.T) {
		form := refreshForm(c.alice.refresh)
		form.Set("requested_token_type", typeCWT)
		wantTokens(t, c.token(t, accounts, c.phone, form)) // it is no parameter of that grant
	})
	t.Run("embedded", func(t *testing.T) {
		for name, form := range map[string]url.Values{
			"the subject": {"grant_type": {grantEmbed}, "subject_token": {twin}, "subject_token_type": {typeAccess}, "tokens": {entries(t, object{"rel": "member_of", "token": twin})}},
			"an actor":    exchanging(grant, typeJWT, twin, nil),
		} {
			if a := c.token(t, accounts, c.phone, form); a.status != http.StatusBadRequest {
				t.Errorf("%s: answer = %v, want 400", name, a)
			}
		}
	})
}

// TestCWTWithRSA holds that an issuer that signs with RS256, which no CWT is signed with here, says so.
func TestCWTWithRSA(t *testing.T) {
	s := start(t, map[string]string{"more": "signing: {alg: RS256}"})
	d := newDevice(t)
	held := s.account(t, d, "alice")
	a := s.token(t, accounts, d, asCWT(held.access, nil))
	wantError(t, a, http.StatusBadRequest, "invalid_request")
	if says := a.text("error_description"); !strings.Contains(says, "ES256 and EdDSA") || !strings.Contains(says, typeAccess) {
		t.Errorf("error_description = %q, want why, and what to do", says)
	}
	issued(t, s.token(t, accounts, d, exchanging(held.access, typeAccess, "", nil)))
	m := s.get(t, "/.well-known/oauth-authorization-server")
	if got, want := string(encode(m.json["im_requested_token_types_supported"])), string(encode([]string{typeAccess})); got != want {
		t.Errorf("im_requested_token_types_supported = %s, want %s", got, want)
	}
	s.wantInactive(t, cwt.Text([]byte{0xd2, 0x84}))
}
