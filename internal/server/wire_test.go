package server_test

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/types/api"
)

// challengeURL is a challenge of a certificate authority of wire.example.
const challengeURL = "https://ca.example.com/acme/wire/challenge/QMPAm4Dt/dJnnMo1X"

// withWire gives wire.example two certificate authorities, and further settings of them.
func withWire(more string) map[string]string {
	return map[string]string{
		"wire": `wire: {provisioners: ["https://ca.example.com/acme/wire", "https://ca.example.com:9000/acme/wire"]` + more + `}`,
	}
}

// wireNonce asks for a nonce for Wire proofs. That never fails: see TestStoreFails.
func (s *site) wireNonce(t *testing.T) (nonce string) {
	t.Helper()
	s.faults.quietly(func() {
		a := s.get(t, "/wire/nonce")
		wantStatus(t, a, http.StatusNoContent)
		nonce = a.header.Get("Replay-Nonce")
	})
	return nonce
}

// A wireDevice is a device of wire.example, and its account at the certificate authority.
type wireDevice struct {
	*device
	account *device // holds the account key
	own     string  // the access token with which it asks
	held    tokens
	uri     string // wireapp:
	handle  string
}

// onWire signs in a person in wire.example with a new device.
func (s *site) onWire(t *testing.T, person string) wireDevice {
	t.Helper()
	d := newDevice(t)
	code := s.code(t, person, url.Values{
		"client_id": {manyApp.id}, "im_domain": {"wire.example"}, "scope": {"im:handle im:device account im:credential"}, "resource": {s.issuer},
	})
	held := wantTokens(t, s.token(t, manyApp, d, codeForm(code, nil)))
	id, err := held.set.Identity()
	if err != nil {
		t.Fatal(err)
	}
	return wireDevice{d, newDevice(t), held.access, held, id.Device.WireApp(), id.Handle.WireApp()}
}

// wireParams are the claims of a good Wire proof of a device.
func (s *site) wireParams(t *testing.T, d wireDevice) dpop.WireProofParams {
	t.Helper()
	name := strings.TrimPrefix(d.handle, "wireapp://%40")
	return dpop.WireProofParams{
		Target: s.issuer + "/wire/access-token", Audience: challengeURL, Challenge: "2FpTOmNQvNfWDktNWt1oIJnjLE3MkyFb", Device: d.uri,
		Handle: d.handle, Name: name[:strings.IndexByte(name, '@')], Nonce: s.wireNonce(t), IssuedAt: s.clock.now(),
	}
}

// wireProof makes a Wire proof by the account key of a device, good but for what change does.
func (s *site) wireProof(t *testing.T, d wireDevice, change func(p *dpop.WireProofParams)) string {
	t.Helper()
	p := s.wireParams(t, d)
	if change != nil {
		change(&p)
	}
	text, err := d.account.WireProof(p)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// askWire asks for a token for the certificate authority.
func (s *site) askWire(t *testing.T, d wireDevice, proof string) answer {
	t.Helper()
	return s.held(t, d.device, d.own, http.MethodPost, "/wire/access-token", object{"proof": proof})
}

// wantWireToken wants a token for the certificate authority.
func wantWireToken(t *testing.T, a answer) string {
	t.Helper()
	if a.status != http.StatusOK || a.text("type") != "DPoP" || a.text("token") == "" || len(a.json) != 3 {
		t.Fatalf("answer = %v, want a token", a)
	}
	wantNotStored(t, a)
	return a.text("token")
}

// wireKey returns the key by which the certificate authority verifies tokens, as the operator gets it.
func (s *site) wireKey(t *testing.T, method string) (kid string, key crypto.PublicKey) {
	t.Helper()
	var k api.WireKey
	a := s.operate(t, method, "/admin/wire-key", nil)
	wantStatus(t, a, http.StatusOK)
	decode(t, []byte(a.body), &k)
	block, rest := pem.Decode([]byte(k.PEM))
	if block == nil || len(rest) > 0 || block.Type != "PUBLIC KEY" || k.Alg != "ES256" {
		t.Fatalf("key = %+v, want one ES256 key in PEM", k)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if kid, err = jose.Thumbprint(key); err != nil || kid != k.KID {
		t.Errorf("kid = %s, want %s (%v)", k.KID, kid, err)
	}
	return kid, key
}

// TestWireToken gets a token as a client of Wire does: its proof is dated back by an hour. The token has exactly what step-ca reads.
func TestWireToken(t *testing.T) {
	for name, value := range map[string]string{"replay": "storage", "nonce": "off", "prefix": "/id"} {
		fill := withWire("")
		fill[name] = value
		s := startBeside(t, fill)
		s.freeze(t)
		s.advance(t, time.Minute) // without nonces, DPoP proofs must be younger than the process
		phone := s.onWire(t, "alice")
		kid, key := s.wireKey(t, http.MethodGet)
		now := s.clock.now()
		p := s.wireParams(t, phone)
		p.IssuedAt, p.Expires = now.Add(-time.Hour), now.Add(5*time.Minute)
		proof, err := phone.account.WireProof(p)
		if err != nil {
			t.Fatal(err)
		}
		var a answer
		events := s.audited(func() { a = s.askWire(t, phone, proof) })
		token := wantWireToken(t, a)
		jws, err := jose.ParseCompact(token, jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if h := jws.Header; h.Typ != "im-wire+jwt" || h.Kid != kid || h.JWK != nil || jws.Verify(jose.ES256, key) != nil {
			t.Errorf("header = %+v, want one of the key for Wire", h)
		}
		var got object
		decode(t, jws.Payload, &got)
		want := object{
			"iss": s.issuer + "/wire/access-token", "aud": challengeURL, "sub": phone.uri, "client_id": phone.uri, "handle": phone.handle,
			"cnf": object{"jkt": phone.account.JKT(), "kid": phone.account.JKT()}, "scope": "wire_client_id", "chal": p.Challenge,
			"nonce": p.Nonce, "proof": proof, "iat": now.Unix(), "exp": now.Unix() + 300, "jti": got["jti"], "api_version": 5,
		}
		if g, w := string(encode(got)), string(encode(want)); g != w || got["jti"] == nil {
			t.Errorf("claims = %s\nwant     %s", g, w)
		}
		if a.json["expires_in"] != 300.0 {
			t.Errorf("expires_in = %v, want 300", a.json["expires_in"])
		}
		id := deviceOf(t, phone.held)
		event := fmt.Sprintf("event=wire.token_issued actor=user domain=wire.example user=%s device=%s client=many-app session=%s key=%s "+
			"peer=https://ca.example.com/acme/wire id=%s address=127.0.0.1", id.Local(), id.Device(), phone.held.set.SID, kid,
			a.header.Get("X-Request-Id"))
		if len(events) != 1 || !sameWords(events[0], event) {
			t.Errorf("events = %q, want %q", events, event)
		}
		// A token lives no longer than its proof.
		a = s.askWire(t, phone, s.wireProof(t, phone, func(p *dpop.WireProofParams) { p.Expires = s.clock.now().Add(40 * time.Second) }))
		if wantWireToken(t, a); a.json["expires_in"] != 40.0 {
			t.Errorf("expires_in = %v, want 40", a.json["expires_in"])
		}
		// The other provisioner is at another port.
		wantWireToken(t, s.askWire(t, phone, s.wireProof(t, phone, func(p *dpop.WireProofParams) {
			p.Audience = "https://ca.example.com:9000/acme/wire/challenge/a/b"
		})))
	}
}

// TestWireTokenIsNone shows the token wherever an access token, a statement or a proof is read: it is none.
func TestWireTokenIsNone(t *testing.T) {
	s := start(t, withWire(""))
	phone := s.onWire(t, "alice")
	proof := s.wireProof(t, phone, nil)
	token := wantWireToken(t, s.askWire(t, phone, proof))
	if a := s.introspect(t, peer, token); a.status != http.StatusOK || a.json["active"] != false || len(a.json) != 1 {
		t.Errorf("introspection = %v, want inactive alone", a)
	}
	for _, d := range []*device{phone.device, phone.account} {
		wantRefused(t, s.held(t, d, token, http.MethodGet, "/me", nil), http.StatusUnauthorized, "invalid_token")
		wantRefused(t, s.held(t, d, token, http.MethodPost, "/wire/access-token", object{"proof": proof}), http.StatusUnauthorized, "invalid_token")
		wantRefused(t, s.held(t, d, token, http.MethodPost, "/credential", object{}), http.StatusUnauthorized, "invalid_token")
	}
	for _, a := range []answer{
		s.token(t, manyApp, phone.device, exchanging(token, typeAccess, phone.own, nil)),
		s.token(t, manyApp, phone.device, exchanging(phone.own, typeAccess, token, nil)),
	} {
		if a.status != http.StatusBadRequest {
			t.Errorf("token exchange = %v, want 400", a)
		}
	}
	// Nor is the key in the key set, so no verifier of access tokens finds it.
	kid, _ := s.wireKey(t, http.MethodGet)
	if a := s.get(t, "/jwks"); strings.Contains(a.body, kid) {
		t.Errorf("jwks = %s, with the key for Wire", a.body)
	}
}

// TestWireProofRefused holds which proofs are refused, and that nothing of it spends a proof.
func TestWireProofRefused(t *testing.T) {
	s := start(t, withWire(""))
	phone, hers, bob := s.onWire(t, "alice"), s.onWire(t, "alice"), s.onWire(t, "bob")
	now := s.clock.now().Unix()
	sign := func(key *device, change func(h, c object)) string {
		t.Helper()
		jwk, err := jose.MarshalJWK(key.key.Public())
		if err != nil {
			t.Fatal(err)
		}
		p := s.wireParams(t, phone)
		h := object{"typ": "dpop+jwt", "alg": "ES256", "jwk": json.RawMessage(jwk)}
		c := object{
			"jti": "1", "htm": "POST", "htu": p.Target, "iat": now - 3600, "nbf": now - 3600, "exp": now + 300, "nonce": p.Nonce, "sub": p.Device,
			"aud": p.Audience, "chal": p.Challenge, "handle": p.Handle, "name": p.Name, "team": nil,
		}
		change(h, c)
		text, err := jose.Sign(key.key, jose.ES256, encode(h), encode(c))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	set := func(name string, value any) func(h, c object) { return func(_, c object) { c[name] = value } }
	without := func(name string) func(h, c object) { return func(_, c object) { delete(c, name) } }
	head := func(name string, value any) func(h, c object) { return func(h, _ object) { h[name] = value } }
	good := sign(phone.account, func(object, object) {})
	for _, test := range []struct {
		name, part string
		change     func(h, c object)
	}{
		{"another typ", "typ", head("typ", "JWT")},
		{"a key proof", "typ", head("typ", "openid4vci-proof+jwt")},
		{"no typ", "typ", func(h, _ object) { delete(h, "typ") }},
		{"alg none", "alg", head("alg", "none")},
		{"HMAC", "alg", head("alg", "HS256")},
		{"alg of another key", "jwk", head("alg", "EdDSA")},
		{"kid", "kid", head("kid", phone.account.JKT())},
		{"x5c", "x5c", head("x5c", []string{"MII"})},
		{"crit", "crit", head("crit", []string{"x"})},
		{"private key", "jwk", func(h, _ object) {
			d, err := phone.account.key.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			jwk := object{}
			decode(t, h["jwk"].(json.RawMessage), &jwk)
			jwk["d"] = d
			h["jwk"] = jwk
		}},
		{"jwk of another key", "signature", func(h, _ object) {
			jwk, err := jose.MarshalJWK(hers.account.key.Public())
			if err != nil {
				t.Fatal(err)
			}
			h["jwk"] = json.RawMessage(jwk)
		}},
		{"no htm", "htm", without("htm")},
		{"htm GET", "htm", set("htm", "GET")},
		{"htm in lower case", "htm", set("htm", "post")},
		{"no htu", "htu", without("htu")},
		{"another htu", "htu", set("htu", s.issuer+"/credential")},
		{"htu with a query", "htu", set("htu", s.issuer+"/wire/access-token?x")},
		{"htu of another host", "htu", set("htu", "https://ca.example.com/wire/access-token")},
		{"no iat", "iat", without("iat")},
		{"iat of last week", "iat", set("iat", now-7*86400)},
		{"iat to come", "iat", set("iat", now+120)},
		{"nbf to come", "nbf", set("nbf", now+120)},
		{"no exp", "exp", without("exp")},
		{"exp as text", "exp", set("exp", "1")},
		{"expired", "exp", set("exp", now-61)},
		{"exp a day ahead", "exp", set("exp", now+86400)},
		{"no jti", "jti", without("jti")},
		{"long jti", "jti", set("jti", strings.Repeat("x", 256))},
		{"no nonce", "nonce", without("nonce")},
		{"nonce of nobody", "nonce", set("nonce", "wKI4LT17ac15ES9bw8ac4")},
		{"nonce of DPoP", "nonce", set("nonce", s.nonce(t))},
		{"c_nonce", "nonce", set("nonce", s.nonceForKeys(t))},
		{"no aud", "aud", without("aud")},
		{"audiences", "aud", set("aud", []string{challengeURL, "https://evil.example"})},
		{"another authority", "aud", set("aud", "https://evil.example/acme/wire/challenge/a/b")},
		{"another host with the name in front", "aud", set("aud", "https://ca.example.com.evil.example/acme/wire/challenge/a/b")},
		{"user information", "aud", set("aud", "https://ca.example.com@evil.example/acme/wire/challenge/a/b")},
		{"another port", "aud", set("aud", "https://ca.example.com:444/acme/wire/challenge/a/b")},
		{"default port", "aud", set("aud", "https://ca.example.com:443/acme/wire/challenge/a/b")},
		{"http", "aud", set("aud", "http://ca.example.com/acme/wire/challenge/a/b")},
		{"host in capitals", "aud", set("aud", "https://CA.example.com/acme/wire/challenge/a/b")},
		{"another provisioner", "aud", set("aud", "https://ca.example.com/acme/wire2/challenge/a/b")},
		{"another provisioner by dots", "aud", set("aud", "https://ca.example.com/acme/wire/challenge/../../other/challenge/a/b")},
		{"the provisioner escaped", "aud", set("aud", "https://ca.example.com/acme/wire%2Fchallenge/a/b")},
		{"no challenge", "aud", set("aud", "https://ca.example.com/acme/wire/challenge/a")},
		{"more than a challenge", "aud", set("aud", "https://ca.example.com/acme/wire/challenge/a/b/c")},
		{"an empty challenge", "aud", set("aud", "https://ca.example.com/acme/wire/challenge/a/")},
		{"the directory", "aud", set("aud", "https://ca.example.com/acme/wire/directory")},
		{"challenge with a query", "aud", set("aud", challengeURL+"?x=1")},
		{"challenge with a fragment", "aud", set("aud", challengeURL+"#x")},
		{"no chal", "chal", without("chal")},
		{"long chal", "chal", set("chal", strings.Repeat("x", 256))},
		{"no sub", "sub", without("sub")},
		{"another device of hers", "sub", set("sub", hers.uri)},
		{"bob's device", "sub", set("sub", bob.uri)},
		{"device with %21", "sub", set("sub", strings.Replace(phone.uri, "!", "%21", 1))},
		{"device as im: URI", "sub", set("sub", phone.held.set.Device)},
		{"no handle", "handle", without("handle")},
		{"bob's handle", "handle", set("handle", bob.handle)},
		{"handle with @", "handle", set("handle", strings.Replace(phone.handle, "%40", "@", 1))},
		{"no name", "name", without("name")},
		{"another name", "name", set("name", "Bob")},
		{"a team", "team", set("team", "red")},
		{"team a number", "team", set("team", 1)},
		{"ath", "payload", set("ath", "x")},
		{"a claim for the template", "payload", set("role", "admin")},
		{"claim in another case", "payload", set("Handle", bob.handle)},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.askWire(t, phone, sign(phone.account, test.change))
			code := "invalid_proof"
			if test.part == "nonce" {
				code = "invalid_nonce"
			}
			wantError(t, a, http.StatusBadRequest, code)
			if words := a.text("error_description"); test.part != "nonce" && !strings.Contains(words, " "+test.part+": ") {
				t.Errorf("error_description = %q, want one about %s", words, test.part)
			}
		})
	}
	for name, key := range map[string]*device{"its own key": phone.device, "the key of another device": hers.device, "bob's key": bob.device} {
		t.Run(name, func(t *testing.T) {
			wantError(t, s.askWire(t, phone, sign(key, func(object, object) {})), http.StatusBadRequest, "invalid_proof")
		})
	}
	for name, text := range map[string]string{
		"no JWT": "x", "two parts": good[:strings.LastIndexByte(good, '.')], "another signature": good[:len(good)-8] + "AAAAAAAA",
		"too long": good + strings.Repeat("A", 8<<10), "an access token": phone.own, "a DPoP proof": s.proof(t, phone.device, ""),
	} {
		t.Run(name, func(t *testing.T) { wantError(t, s.askWire(t, phone, text), http.StatusBadRequest, "invalid_proof") })
	}
	for name, body := range map[string]string{
		"nothing": "", "no JSON": "proof=" + good, "no proof": `{}`, "an empty proof": `{"proof":""}`, "proof null": `{"proof":null}`,
		"proofs": `{"proof":["` + good + `"]}`, "repeated": `{"proof":"` + good + `","proof":"` + good + `"}`,
		"another member": `{"proof":"` + good + `","x":1}`, "another case": `{"Proof":"` + good + `"}`, "more": `{"proof":"` + good + `"} {}`,
	} {
		t.Run("body "+name, func(t *testing.T) {
			wantError(t, s.held(t, phone.device, phone.own, http.MethodPost, "/wire/access-token", rawBody(body)), http.StatusBadRequest, "invalid_request")
		})
	}
	wantError(t, s.askWire(t, phone, strings.Repeat("A", 17<<10)), http.StatusRequestEntityTooLarge, "invalid_request")
	wantError(t, s.held(t, phone.device, phone.own, http.MethodPost, "/wire/access-token", url.Values{"proof": {good}}),
		http.StatusBadRequest, "invalid_request")
	// The good one is good, once.
	wantWireToken(t, s.askWire(t, phone, good))
	for _, d := range []wireDevice{phone, {hers.device, phone.account, hers.own, hers.held, hers.uri, hers.handle}} {
		wantError(t, s.askWire(t, d, good), http.StatusBadRequest, "invalid_proof")
	}
	// Another proof with the same jti is the same proof.
	a := s.askWire(t, phone, sign(phone.account, func(_, c object) { c["iat"] = now }))
	if wantError(t, a, http.StatusBadRequest, "invalid_proof"); !strings.Contains(a.text("error_description"), "used before") {
		t.Errorf("error_description = %q, want that it was used before", a.text("error_description"))
	}
	s.freeze(t)
	old := s.wireProof(t, phone, nil)
	s.advance(t, 4*time.Minute)
	wantError(t, s.askWire(t, phone, old), http.StatusBadRequest, "invalid_nonce")
}

// TestWireTokenOfTwo sends one proof many times at once: one request gets a token.
func TestWireTokenOfTwo(t *testing.T) {
	for _, replay := range []string{"memory", "storage"} {
		fill := withWire("")
		fill["replay"] = replay
		s := startBeside(t, fill)
		phone := s.onWire(t, "alice")
		proof := s.wireProof(t, phone, nil)
		var requests sync.WaitGroup
		answers := make([]answer, 8)
		for i := range answers {
			requests.Go(func() { answers[i] = s.askWire(t, phone, proof) })
		}
		requests.Wait()
		n := 0
		for _, a := range answers {
			if a.status == http.StatusOK {
				n++
			} else {
				wantError(t, a, http.StatusBadRequest, "invalid_proof")
			}
		}
		if n != 1 {
			t.Errorf("%d requests got a token with one proof, want 1", n)
		}
	}
}

// TestWireAccessRefused holds which access tokens are good for a token for Wire.
func TestWireAccessRefused(t *testing.T) {
	c := startCastWith(t, withWire(""))
	s := c.site
	phone := s.onWire(t, "alice")
	proof := s.wireProof(t, phone, nil)
	claimed := func(change func(set *claims.Set)) string {
		set := claimsOf(t, phone.own)
		set.JTI += "x"
		change(&set)
		return s.signs(t, set)
	}
	ask := func(d *device, token string) answer {
		return s.held(t, d, token, http.MethodPost, "/wire/access-token", object{"proof": proof})
	}
	gone, out, off := s.onWire(t, "alice"), s.onWire(t, "alice"), s.onWire(t, "bob")
	s.remove(t, gone.held.set.Device)
	wantStatus(t, s.revoke(t, manyApp, out.held.refresh), http.StatusOK)
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/users/@bob/disable", url.Values{"domain": {"wire.example"}}), http.StatusOK)
	member := json.RawMessage(`[{"type":"jwt","rel":"member_of","token":"` + c.member(t, nil).token + `"}]`)
	for _, test := range []struct {
		name   string
		d      *device
		token  string
		status int
		code   string
	}{
		{"without the scope", phone.device, claimed(func(set *claims.Set) { set.Scope = "im:handle im:device account" }), 403, "insufficient_scope"},
		{"for the domain", phone.device, claimed(func(set *claims.Set) { set.Audience = []string{"im:wire.example"} }), 401, "invalid_token"},
		{"for others, too", phone.device, claimed(func(set *claims.Set) { set.Audience = append(set.Audience, "im:wire.example") }), 401, "invalid_token"},
		{"of one who acts", phone.device, claimed(func(set *claims.Set) { set.Actor = &claims.Actor{Subject: bot.id, Issuer: s.issuer, ClientID: bot.id} }), 401, "invalid_token"},
		{"nested", phone.device, claimed(func(set *claims.Set) { set.Tokens = member }), 401, "invalid_token"},
		{"of a service", phone.device, claimed(func(set *claims.Set) {
			*set = claims.Set{
				Issuer: set.Issuer, Subject: bot.id, ClientID: bot.id, Audience: set.Audience, Scope: set.Scope, JTI: "service",
				IssuedAt: set.IssuedAt, Expires: set.Expires, JKT: phone.JKT(),
			}
		}), 401, "invalid_token"},
		{"without a device", phone.device, claimed(func(set *claims.Set) { set.Device = "" }), 401, "invalid_token"},
		{"of another device", phone.device, claimed(func(set *claims.Set) { set.Device = out.held.set.Device }), 401, "invalid_token"},
		{"of another session", phone.device, claimed(func(set *claims.Set) { set.SID = out.held.set.SID }), 401, "invalid_token"},
		{"of another client", phone.device, claimed(func(set *claims.Set) { set.ClientID = wallet.id }), 401, "invalid_token"},
		{"of another generation", phone.device, claimed(func(set *claims.Set) { set.Gen++ }), 401, "invalid_token"},
		{"of a removed device", gone.device, gone.own, 401, "invalid_token"},
		{"of a session that is over", out.device, out.own, 401, "invalid_token"},
		{"of a disabled user", off.device, off.own, 401, "invalid_token"},
		{"with another key", gone.device, phone.own, 401, "invalid_token"},
		{"a refresh token", phone.device, phone.held.refresh, 401, "invalid_token"},
		{"a Wire proof", phone.device, proof, 401, "invalid_token"},
	} {
		t.Run(test.name, func(t *testing.T) { wantRefused(t, ask(test.d, test.token), test.status, test.code) })
	}
	req := s.request(t, http.MethodPost, "/wire/access-token", string(encode(object{"proof": proof})))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+phone.own)
	wantRefused(t, s.send(t, s.http, req), http.StatusUnauthorized, "invalid_token")
	req = s.request(t, http.MethodPost, "/wire/access-token", string(encode(object{"proof": proof})))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "DPoP "+phone.own)
	req.Header.Set("DPoP", proof) // as clients of Wire send it to their server
	wantRefused(t, s.send(t, s.http, req), http.StatusUnauthorized, "use_dpop_nonce")

	// Domains of other systems have no certificate authority of Wire.
	d := newDevice(t)
	held := wantTokens(t, s.token(t, manyApp, d, codeForm(s.code(t, "alice", url.Values{
		"client_id": {manyApp.id}, "im_domain": {"generic.example"}, "scope": {"im:handle im:device im:credential"}, "resource": {s.issuer},
	}), nil)))
	wantRefused(t, ask(d, held.access), http.StatusForbidden, "access_denied")

	wantWireToken(t, ask(phone.device, phone.own)) // nothing of all that has spent the proof
	// A rename ends the token, and the next one is for the new handle.
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/@alice/handle", url.Values{"domain": {"wire.example"}, "handle": {"alicia"}}), http.StatusOK)
	wantRefused(t, ask(phone.device, phone.own), http.StatusUnauthorized, "invalid_token")
}

// TestWireTeam takes every name, and one team, where the settings say so.
func TestWireTeam(t *testing.T) {
	s := start(t, withWire(", name: unchecked, team: red"))
	phone := s.onWire(t, "alice")
	for team, name := range map[string]string{"": "alice", "blue": "alice", "Red": "Alice Smith"} {
		a := s.askWire(t, phone, s.wireProof(t, phone, func(p *dpop.WireProofParams) { p.Name, p.Team = name, team }))
		if wantError(t, a, http.StatusBadRequest, "invalid_proof"); !strings.Contains(a.text("error_description"), " team: ") {
			t.Errorf("error_description = %q, want one about the team", a.text("error_description"))
		}
	}
	for _, name := range []string{"alice", "Alice Smith", "ألِيس"} {
		wantWireToken(t, s.askWire(t, phone, s.wireProof(t, phone, func(p *dpop.WireProofParams) { p.Name, p.Team = name, "red" })))
	}
}

// TestWireKey replaces the key, which a restart does not.
func TestWireKey(t *testing.T) {
	s := start(t, withWire(""))
	phone := s.onWire(t, "alice")
	signed := func() string {
		t.Helper()
		jws, err := jose.ParseCompact(wantWireToken(t, s.askWire(t, phone, s.wireProof(t, phone, nil))), jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return jws.Header.Kid
	}
	first, _ := s.wireKey(t, http.MethodGet)
	if again, _ := s.wireKey(t, http.MethodGet); again != first || signed() != first {
		t.Errorf("key = %s, want the first one, %s", again, first)
	}
	var second string
	events := s.audited(func() { second, _ = s.wireKey(t, http.MethodPost) })
	if second == first || len(events) != 1 || !strings.Contains(events[0], "event=wire.key_made actor=admin ") ||
		!strings.Contains(events[0], " key="+second+" reason=operator") {
		t.Errorf("new key = %s after %s, events %q", second, first, events)
	}
	s.restart(t, nil)
	if now, _ := s.wireKey(t, http.MethodGet); now != second || signed() != second {
		t.Errorf("key after a restart = %s, want %s", now, second)
	}
	// Nothing else of the issuer knows it.
	if a := s.operate(t, http.MethodGet, "/admin/keys", nil); strings.Contains(a.body, second) {
		t.Errorf("signing keys = %s, with the key for Wire", a.body)
	}
}

// gettingWireToken gets a token for Wire. A request whose answer was lost is sent again with another proof.
func gettingWireToken(t *testing.T, s *site) []step {
	phone := s.onWire(t, "alice")
	proof := s.wireProof(t, phone, nil)
	return []step{{
		name: "token for Wire",
		ask:  func() answer { return s.askWire(t, phone, proof) },
		good: func(a answer) { wantWireToken(t, a) },
		again: func(durable bool) answer {
			a := s.askWire(t, phone, proof)
			if a.status == http.StatusOK && !durable {
				return a
			}
			proof = s.wireProof(t, phone, nil)
			return s.askWire(t, phone, proof)
		},
	}}
}
