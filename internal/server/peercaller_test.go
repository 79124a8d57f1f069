package server_test

import (
	"crypto/ecdsa"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
)

// startTwo runs two issuers. The first one, of example.com, trusts the other one, of abroad.example, with a policy; each has clients
// that may get tokens for the other.
func startTwo(t *testing.T, policy string) (home, far *site) {
	t.Helper()
	t.Parallel()
	far = startBeside(t, map[string]string{"file": "abroad", "resources": "[]"})
	home = startBeside(t, map[string]string{
		"resources": `["https://rooms.example.com", "im:abroad.example"]`,
		"peers":     fmt.Sprintf("peers:\n  - {domain: abroad.example, issuer: %q%s}\n", far.issuer, policy),
	})
	far.reload(t, map[string]string{"resources": fmt.Sprintf("[%q]", home.issuer)})
	return home, far
}

// loginFor logs a person in with app, for the domain and for another issuer, and gets a token to ask that issuer with.
func (s *site) loginFor(t *testing.T, d *device, person, domain, other string) tokens {
	t.Helper()
	code := s.code(t, person, url.Values{"scope": {"im:handle im:device introspect"}, "resource": {domain, other}})
	form := refreshForm(wantTokens(t, s.token(t, app, d, codeForm(code, nil))).refresh)
	form.Set("resource", other)
	form.Set("scope", "introspect")
	return wantTokens(t, s.token(t, app, d, form))
}

// TestPeerAsks lets a user of another domain ask about a token that he is shown, and a client of that domain's issuer.
func TestPeerAsks(t *testing.T) {
	home, far := startTwo(t, "")
	phone, bobs := newDevice(t), newDevice(t)
	code := home.code(t, "alice", url.Values{"resource": {"im:abroad.example"}})
	alice := wantTokens(t, home.token(t, app, phone, codeForm(code, nil)))
	bob := far.loginFor(t, bobs, "bob", "im:abroad.example", home.issuer)
	about := func(token string) url.Values { return url.Values{"token": {token}} }
	a := home.held(t, bobs, bob.access, http.MethodPost, "/introspect", about(alice.access))
	if a.json["active"] != true || a.text("sub") != alice.set.Subject || a.text("device") != alice.set.Device || a.text("iss") != home.issuer {
		t.Fatalf("answer = %v, want the whole token", a)
	}
	wantNotStored(t, a)
	// He does not see what is for others.
	others := home.login(t, newDevice(t), "bob")
	for name, token := range map[string]string{"for others": others.access, "his own": bob.access, "none": "never-issued"} {
		if a := home.held(t, bobs, bob.access, http.MethodPost, "/introspect", about(token)); a.status != http.StatusOK || a.body != "{\"active\":false}\n" {
			t.Errorf("answer about a token %s = %v, want 200 {\"active\":false}", name, a)
		}
	}
	// A client of his issuer is not the client of that name here: it sees what is for its own domain.
	machine := newDevice(t)
	service := far.service(t, peer, machine, url.Values{"resource": {home.issuer}, "scope": {"introspect introspect:domain introspect:reason"}})
	if a := home.held(t, machine, service, http.MethodPost, "/introspect", about(alice.access)); a.json["active"] != true {
		t.Errorf("answer = %v, want active", a)
	}
	mine := home.service(t, peer, newDevice(t), nil)
	for name, token := range map[string]string{"for others": others.access, "of the client with its id": mine} {
		if a := home.held(t, machine, service, http.MethodPost, "/introspect", about(token)); a.body != "{\"active\":false}\n" {
			t.Errorf("answer about a token %s = %v, want {\"active\":false}", name, a)
		}
	}
	home.remove(t, alice.set.Device)
	for d, own := range map[*device]string{bobs: bob.access, machine: service} {
		if a := home.held(t, d, own, http.MethodPost, "/introspect", about(alice.access)); a.body != "{\"active\":false}\n" {
			t.Errorf("answer = %v after the device was removed, want {\"active\":false} without a reason", a)
		}
	}
}

// TestPeerIsTold holds callers from a peer to the policy of its entry.
func TestPeerIsTold(t *testing.T) {
	home, far := startTwo(t, ", introspection: {claims: [sub, device, act], reasons: true, pairwise: true}")
	code := home.code(t, "alice", url.Values{"resource": {"im:abroad.example"}})
	alice := wantTokens(t, home.token(t, app, newDevice(t), codeForm(code, nil)))
	machine := newDevice(t)
	service := far.service(t, peer, machine, url.Values{"resource": {home.issuer}})
	ask := url.Values{"token": {alice.access}}
	a := home.held(t, machine, service, http.MethodPost, "/introspect", ask)
	if a.json["active"] != true || !strings.HasPrefix(a.text("sub"), "pw_") || !strings.HasPrefix(a.text("device"), "pw_") || a.json["exp"] != nil || a.json["handle"] != nil {
		t.Errorf("answer = %v, want pairwise ids alone", a)
	}
	bobs := newDevice(t)
	bob := far.loginFor(t, bobs, "bob", "im:abroad.example", home.issuer)
	if b := home.held(t, bobs, bob.access, http.MethodPost, "/introspect", ask); b.json["active"] != true || b.text("sub") == a.text("sub") {
		t.Errorf("answer = %v, want another pairwise id for another caller", b)
	}
	home.remove(t, alice.set.Device)
	if a := home.held(t, machine, service, http.MethodPost, "/introspect", ask); a.text("reason") != "device_removed" {
		t.Errorf("answer = %v, want the reason", a)
	}
	// The policy is read again while the issuer runs, and suspension ends the right to ask.
	peers := home.fill["peers"]
	home.reload(t, map[string]string{"peers": strings.Replace(peers, "reasons: true", "reasons: false", 1)})
	if a := home.held(t, machine, service, http.MethodPost, "/introspect", ask); a.body != "{\"active\":false}\n" {
		t.Errorf("answer = %v, want no reason", a)
	}
	home.reload(t, map[string]string{"peers": strings.Replace(peers, "introspection:", "suspended: true, introspection:", 1)})
	wantRefused(t, home.held(t, machine, service, http.MethodPost, "/introspect", ask), http.StatusUnauthorized, "invalid_token")
	home.reload(t, map[string]string{"peers": ""})
	wantRefused(t, home.held(t, machine, service, http.MethodPost, "/introspect", ask), http.StatusUnauthorized, "invalid_token")
}

// TestPeerRefused holds what does not authenticate a caller from another issuer.
func TestPeerRefused(t *testing.T) {
	w := startWorld(t, map[string]string{"resources": `["im:school.example"]`})
	code := w.code(t, "alice", url.Values{"resource": {"im:school.example"}})
	alice := wantTokens(t, w.token(t, app, newDevice(t), codeForm(code, nil)))
	d := newDevice(t)
	ask := func(token string) answer {
		return w.held(t, d, token, http.MethodPost, "/introspect", url.Values{"token": {alice.access}})
	}
	credential := func(a *abroad, change func(s *claims.Set)) string {
		return a.vouches(t, d.JKT(), w.issuer, func(s *claims.Set) {
			if s.Scope = "introspect"; change != nil {
				change(s)
			}
		})
	}
	good := credential(w.school, nil)
	if a := ask(good); a.json["active"] != true {
		t.Fatalf("answer = %v, want active", a)
	}
	service := credential(w.school, func(s *claims.Set) { s.Subject = s.ClientID })
	if a := ask(service); a.json["active"] != true {
		t.Fatalf("answer to a service = %v, want active", a)
	}
	now := w.clock.now().Truncate(time.Second)
	forged := func(typ, kid string, key *ecdsa.PrivateKey) string {
		token, err := jose.Sign(key, jose.ES256, fmt.Appendf(nil, `{"typ":%q,"alg":"ES256","kid":%q}`, typ, kid), payloadOf(t, good))
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for name, token := range map[string]string{
		"an issuer that is no peer":     credential(w.rogue, nil),
		"the name of a peer":            credential(w.rogue, func(s *claims.Set) { s.Issuer = w.school.issuer }),
		"another audience":              credential(w.school, func(s *claims.Set) { s.Audience = []string{"https://else.example"} }),
		"the domain as audience":        credential(w.school, func(s *claims.Set) { s.Audience = []string{"im:example.com"} }),
		"another audience, too":         credential(w.school, func(s *claims.Set) { s.Audience = []string{w.issuer, "https://else.example"} }),
		"no key":                        credential(w.school, func(s *claims.Set) { s.Subject, s.JKT = s.ClientID, "" }),
		"another key":                   credential(w.school, func(s *claims.Set) { s.JKT = newDevice(t).JKT() }),
		"a user of another peer":        credential(w.school, func(s *claims.Set) { s.Subject = "im:n0b0dy@old.example;id-type=user" }),
		"a user of this issuer":         credential(w.school, func(s *claims.Set) { s.Subject = alice.set.Subject }),
		"the issuer itself":             credential(w.school, func(s *claims.Set) { s.Issuer = w.issuer }),
		"no user":                       credential(w.school, func(s *claims.Set) { s.Subject = "nobody" }),
		"an actor of a user":            credential(w.school, func(s *claims.Set) { s.Actor = &claims.Actor{Subject: "bot"} }),
		"a user of a third issuer":      credential(w.school, func(s *claims.Set) { s.HomeIss = w.old.issuer }),
		"a token that encloses another": credential(w.school, func(s *claims.Set) { s.Tokens = []byte(`[]`) }),
		"a token that has expired":      credential(w.school, func(s *claims.Set) { s.Expires = now }),
		"a token of the future": credential(w.school, func(s *claims.Set) {
			s.IssuedAt, s.Expires = now.Add(10*time.Minute), now.Add(20*time.Minute)
		}),
		"a token for a day":      credential(w.school, func(s *claims.Set) { s.Expires = now.Add(24 * time.Hour) }),
		"another type":           forged("JWT", w.school.kid, w.school.key),
		"a statement":            forged("im-actor+jwt", w.school.kid, w.school.key),
		"an unknown key":         forged("at+jwt", "unknown", w.school.key),
		"no kid":                 forged("at+jwt", "", w.school.key),
		"a key of the caller":    forged("at+jwt", w.school.kid, d.key),
		"the subject's token":    alice.access,
		"a token without claims": "a.b.c",
	} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, ask(token), http.StatusUnauthorized, "invalid_token")
		})
	}
	t.Run("without the scope", func(t *testing.T) {
		wantRefused(t, ask(credential(w.school, func(s *claims.Set) { s.Scope = "im:handle introspect:domain" })), http.StatusForbidden, "insufficient_scope")
	})
	form := url.Values{"token": {alice.access}}
	t.Run("without a proof", func(t *testing.T) {
		wantRefused(t, w.post(t, "/introspect", form, http.Header{"Authorization": {"DPoP " + good}}), http.StatusUnauthorized, "invalid_dpop_proof")
	})
	t.Run("as Bearer", func(t *testing.T) {
		wantRefused(t, w.post(t, "/introspect", form, http.Header{"Authorization": {"Bearer " + good}}), http.StatusUnauthorized, "invalid_token")
	})
	prove := func(change func(p *dpop.ProofParams)) answer {
		p := dpop.ProofParams{Method: http.MethodPost, URL: w.issuer + "/introspect", Nonce: w.nonce(t), AccessToken: good, IssuedAt: w.clock.now()}
		change(&p)
		proof, err := d.Proof(p)
		if err != nil {
			t.Fatal(err)
		}
		return w.post(t, "/introspect", form, http.Header{"Authorization": {"DPoP " + good}, "Dpop": {proof}})
	}
	for name, change := range map[string]func(p *dpop.ProofParams){
		"a proof for another endpoint": func(p *dpop.ProofParams) { p.URL = w.issuer + "/token" },
		"a proof for another issuer":   func(p *dpop.ProofParams) { p.URL = w.school.issuer + "/introspect" },
		"a proof for another token":    func(p *dpop.ProofParams) { p.AccessToken = service },
	} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, prove(change), http.StatusUnauthorized, "invalid_dpop_proof")
		})
	}
	t.Run("a proof twice", func(t *testing.T) {
		again := func(p *dpop.ProofParams) { p.JTI = "once" }
		if a := prove(again); a.json["active"] != true {
			t.Fatalf("answer = %v, want active", a)
		}
		wantRefused(t, prove(again), http.StatusUnauthorized, "invalid_dpop_proof")
	})
	t.Run("suspended", func(t *testing.T) {
		peers := w.fill["peers"]
		w.reload(t, map[string]string{"peers": strings.ReplaceAll(peers, "}\n", ", suspended: true}\n")})
		wantRefused(t, ask(good), http.StatusUnauthorized, "invalid_token")
		w.reload(t, map[string]string{"peers": peers})
		if a := ask(good); a.json["active"] != true {
			t.Errorf("answer = %v, want active", a)
		}
	})
}

// TestPeerAway holds that a caller whose issuer publishes no keys now is not called wrong.
func TestPeerAway(t *testing.T) {
	w := startWorld(t, nil)
	w.reload(t, map[string]string{"peers": "peers:\n  - {domain: school.example, issuer: \"http://127.0.0.1:1\"}\n"})
	d := newDevice(t)
	w.school.issuer = "http://127.0.0.1:1" // nobody is there
	token := w.school.vouches(t, d.JKT(), w.issuer, func(s *claims.Set) { s.Scope = "introspect" })
	a := w.held(t, d, token, http.MethodPost, "/introspect", url.Values{"token": {"never-issued"}})
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
		t.Errorf("answer = %v, want 503 with Retry-After", a)
	}
	wantNotStored(t, a)
}
