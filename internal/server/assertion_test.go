package server_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/internal/jose"
)

// signerKey is the key of the clients signer and other-signer.
var (
	signerKey  = generateKey()
	signerKeys = keySet(signerKey.Public(), "one")
)

func generateKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// keySet writes public keys as a JWK Set; each has the kid after it.
func keySet(keysAndKids ...any) string {
	var keys []string
	for i := 0; i < len(keysAndKids); i += 2 {
		jwk, err := jose.MarshalJWK(keysAndKids[i].(crypto.PublicKey))
		if err != nil {
			panic(err)
		}
		keys = append(keys, fmt.Sprintf("%s,\"kid\":%q}", jwk[:len(jwk)-1], keysAndKids[i+1]))
	}
	return `{"keys":[` + strings.Join(keys, ",") + `]}`
}

// assert makes the parameters that authenticate a client by a good assertion, but for changes to its claims; what is nil
// is left out.
func (s *site) assert(t *testing.T, key crypto.Signer, kid, client string, change object) url.Values {
	t.Helper()
	now := s.clock.now()
	claims := object{"iss": client, "sub": client, "aud": s.issuer, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jose.Sign(key, "ES256", fmt.Appendf(nil, `{"typ":"JWT","alg":"ES256","kid":%q}`, kid), payload)
	if err != nil {
		t.Fatal(err)
	}
	return url.Values{"client_assertion_type": {assertion.Type}, "client_assertion": {token}}
}

// signer makes the parameters that authenticate the client signer.
func (s *site) signer(t *testing.T) url.Values {
	t.Helper()
	return s.assert(t, signerKey, "one", "signer", nil)
}

// joined returns the parameters of all forms.
func joined(forms ...url.Values) url.Values {
	all := url.Values{}
	for _, form := range forms {
		maps.Copy(all, form)
	}
	return all
}

var serviceForm = url.Values{"grant_type": {"client_credentials"}}

// narrower is the form that exchanges a token for one of less scope (RFC 8693).
func narrower(token string) url.Values {
	return url.Values{
		"grant_type":    {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token": {token}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"scope": {"im:device"},
	}
}

// proven sends a form with a good proof by a device.
func (s *site) proven(t *testing.T, path string, d *device, form url.Values) answer {
	t.Helper()
	proof, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + path, Nonce: s.nonce(t), IssuedAt: s.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	return s.post(t, path, form, http.Header{"Dpop": {proof}})
}

func wantInvalidClient(t *testing.T, a answer) {
	t.Helper()
	wantError(t, a, http.StatusUnauthorized, "invalid_client")
	if a.header.Get("WWW-Authenticate") == "" {
		t.Error("invalid_client without WWW-Authenticate")
	}
}

// An endpoint that clients authenticate at, and a request that passes there.
type endpoint struct {
	path   string
	status int
	form   func(t *testing.T) url.Values
}

func (s *site) endpoints() []endpoint {
	push := authorization(url.Values{"client_id": nil})
	return []endpoint{
		{"/token", http.StatusOK, func(*testing.T) url.Values { return serviceForm }},
		{"/par", http.StatusCreated, func(*testing.T) url.Values { return push }},
		{"/introspect", http.StatusOK, func(*testing.T) url.Values { return url.Values{"token": {"AAAA"}} }},
		{"/revoke", http.StatusOK, func(*testing.T) url.Values { return url.Values{"token": {"AAAA"}} }},
	}
}

// TestAssertion holds that an assertion authenticates a client at each endpoint, once, wherever it is shown again.
func TestAssertion(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	for _, first := range s.endpoints() {
		t.Run(first.path, func(t *testing.T) {
			for name, id := range map[string]url.Values{"by itself": nil, "with client_id": {"client_id": {"signer"}}} {
				if a := s.proven(t, first.path, d, joined(first.form(t), s.signer(t), id)); a.status != first.status {
					t.Errorf("%s: answer = %v, want %d", name, a, first.status)
				}
			}
			used := s.signer(t)
			if a := s.proven(t, first.path, d, joined(first.form(t), used)); a.status != first.status {
				t.Errorf("answer = %v, want %d", a, first.status)
			}
			for _, again := range s.endpoints() {
				a := s.proven(t, again.path, d, joined(again.form(t), used))
				wantInvalidClient(t, a)
				if !strings.Contains(a.text("error_description"), "used before") {
					t.Errorf("answer = %v, want one that says why", a)
				}
			}
		})
	}
	t.Run("by another client with the same jti", func(t *testing.T) {
		for _, client := range []string{"signer", "other-signer"} {
			form := joined(serviceForm, s.assert(t, signerKey, "one", client, object{"jti": "shared"}))
			if a := s.proven(t, "/token", d, form); a.status != http.StatusOK || claimsOf(t, a.text("access_token")).Subject != client {
				t.Errorf("answer to %s = %v, want a token for it", client, a)
			}
		}
	})
	t.Run("after a restart", func(t *testing.T) {
		used := s.signer(t)
		if a := s.proven(t, "/token", d, joined(serviceForm, used)); a.status != http.StatusOK {
			t.Fatalf("answer = %v, want a token", a)
		}
		s.restart(t, nil)
		wantInvalidClient(t, s.proven(t, "/token", d, joined(serviceForm, used)))
	})
}

// TestAssertionInJSON holds that the one grant that takes JSON takes an assertion there, too.
func TestAssertionInJSON(t *testing.T) {
	s := start(t, nil)
	for name, v := range map[string]struct {
		credentials url.Values
		status      int
		code        string
	}{
		"good":    {s.signer(t), http.StatusBadRequest, "unauthorized_client"}, // it is known, and not registered for the grant
		"wrong":   {s.assert(t, newKey(t), "one", "signer", nil), http.StatusUnauthorized, "invalid_client"},
		"missing": {nil, http.StatusUnauthorized, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			members := object{"grant_type": "urn:ietf:params:oauth:grant-type:embedded-tokens", "client_id": "signer", "tokens": []any{}}
			for name := range v.credentials {
				members[name] = v.credentials.Get(name)
			}
			req := s.request(t, http.MethodPost, "/token", string(encode(members)))
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("DPoP", s.proof(t, newDevice(t), ""))
			wantError(t, s.send(t, s.http, req), v.status, v.code)
		})
	}
}

// TestAssertionSession walks through a session of a client that authenticates by assertions.
func TestAssertionSession(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	code := s.code(t, "alice", url.Values{"client_id": {"signer"}})
	wantInvalidClient(t, s.proven(t, "/token", d, joined(codeForm(code, nil), url.Values{"client_id": {"signer"}})))
	first := wantTokens(t, s.proven(t, "/token", d, joined(codeForm(code, nil), s.signer(t))))
	used := s.signer(t)
	second := wantTokens(t, s.proven(t, "/token", d, joined(refreshForm(first.refresh), used)))
	// A repeat writes nothing for the session, but is a request of its own.
	wantInvalidClient(t, s.proven(t, "/token", d, joined(refreshForm(first.refresh), used)))
	if again := wantTokens(t, s.proven(t, "/token", d, joined(refreshForm(first.refresh), s.signer(t)))); again.refresh != second.refresh {
		t.Error("a repeated refresh has another successor")
	}
	if a := s.post(t, "/introspect", joined(url.Values{"token": {second.access}}, s.signer(t)), nil); a.json["active"] != true {
		t.Errorf("introspection = %v, want active", a)
	}
	used = s.signer(t)
	if a := s.proven(t, "/token", d, joined(narrower(second.access), used)); a.status != http.StatusOK {
		t.Errorf("exchange = %v, want a token", a)
	}
	wantInvalidClient(t, s.proven(t, "/token", d, joined(narrower(second.access), used)))
	used = s.signer(t)
	if a := s.post(t, "/revoke", joined(url.Values{"token": {"AAAA"}}, used), nil); a.status != http.StatusOK {
		t.Errorf("revocation = %v, want 200", a)
	}
	wantInvalidClient(t, s.post(t, "/revoke", joined(url.Values{"token": {second.refresh}}, used), nil))
	if a := s.post(t, "/introspect", joined(url.Values{"token": {second.access}}, s.signer(t)), nil); a.json["active"] != true {
		t.Errorf("introspection = %v, want active: the revocation was refused", a)
	}
	for _, token := range []string{second.access, second.refresh} {
		if a := s.post(t, "/revoke", joined(url.Values{"token": {token}}, s.signer(t)), nil); a.status != http.StatusOK {
			t.Errorf("revocation = %v, want 200", a)
		}
	}
	wantError(t, s.proven(t, "/token", d, joined(refreshForm(second.refresh), s.signer(t))), http.StatusBadRequest, "invalid_grant")
}

// TestAssertionIsSpentLast holds that a request which is refused costs no assertion: clients send the same one again with
// the nonce that they were told.
func TestAssertionIsSpentLast(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	proof := func(t *testing.T, path, nonce string) http.Header {
		text, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + path, Nonce: nonce, IssuedAt: s.clock.now()})
		if err != nil {
			t.Fatal(err)
		}
		return http.Header{"Dpop": {text}}
	}
	for _, e := range s.endpoints()[:2] {
		t.Run(e.path, func(t *testing.T) {
			form := joined(e.form(t), s.signer(t))
			refused := s.post(t, e.path, form, proof(t, e.path, ""))
			wantError(t, refused, http.StatusBadRequest, "use_dpop_nonce")
			spent := proof(t, e.path, s.nonce(t))
			if a := s.post(t, e.path, joined(e.form(t), s.signer(t)), spent); a.status != e.status {
				t.Fatalf("answer = %v, want %d", a, e.status)
			}
			for name, header := range map[string]http.Header{
				"of another endpoint": proof(t, "/nowhere", s.nonce(t)), "replayed": spent, "twice": {"Dpop": {"a.b.c", "a.b.c"}},
			} {
				t.Run("proof "+name, func(t *testing.T) {
					wantError(t, s.post(t, e.path, form, header), http.StatusBadRequest, "invalid_dpop_proof")
				})
			}
			changes := []url.Values{{"scope": {"unheard-of"}}, {"resource": {"https://evil.example.com"}}}
			if e.path == "/token" {
				changes = append(changes, codeForm("AAAA", nil), refreshForm("AAAA"), url.Values{"grant_type": {"password"}})
			}
			for _, change := range changes {
				if a := s.proven(t, e.path, d, joined(form, change)); a.status != http.StatusBadRequest {
					t.Errorf("answer to %v = %v, want 400", change, a)
				}
			}
			if a := s.post(t, e.path, form, proof(t, e.path, refused.header.Get("DPoP-Nonce"))); a.status != e.status {
				t.Errorf("answer in the end = %v, want %d", a, e.status)
			}
		})
	}
	t.Run("no proof", func(t *testing.T) {
		form := joined(serviceForm, s.signer(t))
		wantError(t, s.post(t, "/token", form, nil), http.StatusBadRequest, "invalid_dpop_proof")
		if a := s.proven(t, "/token", d, form); a.status != http.StatusOK {
			t.Errorf("answer = %v, want a token", a)
		}
	})
	t.Run("no token", func(t *testing.T) {
		form := s.signer(t)
		for _, path := range []string{"/introspect", "/revoke"} {
			wantError(t, s.post(t, path, form, nil), http.StatusBadRequest, "invalid_request")
		}
		if a := s.post(t, "/introspect", joined(form, url.Values{"token": {"AAAA"}}), nil); a.status != http.StatusOK {
			t.Errorf("answer = %v, want 200", a)
		}
	})
}

// TestAssertionRaced holds that of many requests with one assertion exactly one passes.
func TestAssertionRaced(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	code := s.code(t, "alice", url.Values{"client_id": {"signer"}})
	held := wantTokens(t, s.proven(t, "/token", d, joined(codeForm(code, nil), s.signer(t))))
	for name, request := range map[string]func(t *testing.T, once url.Values) answer{
		"client_credentials": func(t *testing.T, once url.Values) answer { return s.proven(t, "/token", d, joined(serviceForm, once)) },
		"refresh": func(t *testing.T, once url.Values) answer {
			return s.proven(t, "/token", d, joined(refreshForm(held.refresh), once))
		},
		"introspection": func(t *testing.T, once url.Values) answer {
			return s.post(t, "/introspect", joined(url.Values{"token": {held.access}}, once), nil)
		},
		"push": func(t *testing.T, once url.Values) answer {
			return s.proven(t, "/par", d, joined(authorization(url.Values{"client_id": nil}), once))
		},
		"revocation": func(t *testing.T, once url.Values) answer {
			return s.post(t, "/revoke", joined(url.Values{"token": {"AAAA"}}, once), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			once := s.signer(t)
			answers := make([]answer, 16)
			var all sync.WaitGroup
			for i := range answers {
				all.Go(func() { answers[i] = request(t, once) })
			}
			all.Wait()
			passed := 0
			for _, a := range answers {
				if a.status < 300 {
					passed++
				} else {
					wantInvalidClient(t, a)
				}
			}
			if passed != 1 {
				t.Errorf("%d of %d passed, want 1", passed, len(answers))
			}
		})
	}
}

// TestAssertionRefused holds the endpoints to RFC 7521 §4.2 and RFC 7523 §3; package assertion is held to the rest.
func TestAssertionRefused(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	good := func(change object) url.Values { return s.assert(t, signerKey, "one", "signer", change) }
	now := s.clock.now()
	proof, err := dpop.NewSigner(signerKey, "")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := proof.Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + "/token"})
	if err != nil {
		t.Fatal(err)
	}
	token := s.proven(t, "/token", d, joined(serviceForm, s.signer(t))).text("access_token")
	assertionOf := func(text string) url.Values {
		return url.Values{"client_assertion_type": {assertion.Type}, "client_assertion": {text}}
	}
	for name, v := range map[string]struct {
		form   url.Values
		header http.Header
		status int
	}{
		"for another server":         {form: good(object{"aud": "https://other.example.net"}), status: 401},
		"for the token endpoint":     {form: good(object{"aud": s.issuer + "/token"}), status: 401},
		"for two":                    {form: good(object{"aud": []string{s.issuer, "https://other.example.net"}}), status: 401},
		"expired":                    {form: good(object{"iat": now.Add(-3 * time.Minute).Unix(), "exp": now.Add(-2 * time.Minute).Unix()}), status: 401},
		"for an hour":                {form: good(object{"exp": now.Add(time.Hour).Unix()}), status: 401},
		"without exp":                {form: good(object{"exp": nil}), status: 401},
		"without jti":                {form: good(object{"jti": nil}), status: 401},
		"for another client":         {form: good(object{"sub": "peer"}), status: 401},
		"for a client with a colon":  {form: good(object{"iss": "https://a.example/client", "sub": "https://a.example/client"}), status: 401},
		"by another key":             {form: s.assert(t, newKey(t), "one", "signer", nil), status: 401},
		"with another kid":           {form: s.assert(t, signerKey, "two", "signer", nil), status: 401},
		"of an unknown client":       {form: s.assert(t, signerKey, "one", "nobody", nil), status: 401},
		"of a client with a secret":  {form: s.assert(t, signerKey, "one", "peer", nil), status: 401},
		"of a public client":         {form: s.assert(t, signerKey, "one", "app", nil), status: 401},
		"that is a proof":            {form: assertionOf(shown), status: 401},
		"that is a token":            {form: assertionOf(token), status: 401},
		"that is nothing":            {form: assertionOf("AAAA"), status: 401},
		"beside another client_id":   {form: joined(good(nil), url.Values{"client_id": {"other-signer"}}), status: 401},
		"of another type":            {form: joined(good(nil), url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}}), status: 401},
		"without its type":           {form: joined(good(nil), url.Values{"client_assertion_type": nil}), status: 400},
		"that is missing":            {form: joined(good(nil), url.Values{"client_assertion": nil}), status: 400},
		"beside a secret":            {form: joined(good(nil), url.Values{"client_secret": {secret}}), status: 400},
		"beside an Authorization":    {form: good(nil), header: http.Header{"Authorization": {basic("signer", secret)}}, status: 400},
		"replaced by the client id":  {form: url.Values{"client_id": {"signer"}}, status: 401},
		"replaced by a secret":       {form: url.Values{"client_id": {"signer"}, "client_secret": {secret}}, status: 401},
		"replaced by an empty one":   {form: url.Values{"client_id": {"signer"}, "client_secret": {""}}, status: 401},
		"replaced by an empty Basic": {header: http.Header{"Authorization": {basic("signer", "")}}, status: 401},
	} {
		for _, e := range s.endpoints() {
			t.Run(name+e.path, func(t *testing.T) {
				header := maps.Clone(v.header)
				if header == nil {
					header = http.Header{}
				}
				if e.path == "/token" {
					header.Set("DPoP", s.proof(t, d, ""))
				}
				a := s.post(t, e.path, joined(e.form(t), v.form), header)
				if v.status == http.StatusBadRequest {
					wantError(t, a, v.status, "invalid_request")
				} else {
					wantInvalidClient(t, a)
				}
			})
		}
	}
	t.Run("all alike", func(t *testing.T) {
		want := s.post(t, "/introspect", joined(url.Values{"token": {"AAAA"}}, s.assert(t, signerKey, "one", "nobody", nil)), nil).body
		for name, form := range map[string]url.Values{
			"wrong key": s.assert(t, newKey(t), "one", "signer", nil), "wrong kid": s.assert(t, signerKey, "two", "signer", nil),
			"secret": s.assert(t, signerKey, "one", "peer", nil), "public": s.assert(t, signerKey, "one", "app", nil),
		} {
			if got := s.post(t, "/introspect", joined(url.Values{"token": {"AAAA"}}, form), nil).body; got != want {
				t.Errorf("%s: answer = %s, want what an unknown client is told: %s", name, got, want)
			}
		}
	})
}

// asserted is what a client does that authenticates by assertions. What fails costs none: the same one is sent again,
// unless the request was done and only its answer lost.
func asserted(t *testing.T, s *site) []step {
	d := newDevice(t)
	var held, replaced tokens
	code := s.code(t, "alice", url.Values{"client_id": {"signer"}})
	proven := func(path string, form url.Values) answer {
		var proof string
		s.faults.quietly(func() {
			var err error
			proof, err = d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + path, Nonce: s.nonce(t), IssuedAt: s.clock.now()})
			if err != nil {
				t.Fatal(err)
			}
		})
		return s.post(t, path, form, http.Header{"Dpop": {proof}})
	}
	assertedStep := func(name string, ask func(once url.Values) answer, good func(a answer)) step {
		once := s.signer(t)
		return step{
			name: name, good: good,
			ask: func() answer { return ask(once) },
			again: func(durable bool) answer {
				if durable {
					if a := ask(once); a.status < 400 {
						t.Errorf("%s: answer = %v to an assertion that was spent", name, a)
					}
					once = s.signer(t)
					if name == "code" {
						s.faults.quietly(func() { code = s.code(t, "alice", url.Values{"client_id": {"signer"}}) })
					}
				}
				return ask(once)
			},
		}
	}
	status := func(want int) func(answer) { return func(a answer) { wantStatus(t, a, want) } }
	revoke := func(token func() string) func(url.Values) answer {
		return func(once url.Values) answer {
			return s.post(t, "/revoke", joined(url.Values{"token": {token()}}, once), nil)
		}
	}
	return []step{
		assertedStep("client_credentials", func(once url.Values) answer { return proven("/token", joined(serviceForm, once)) }, status(http.StatusOK)),
		assertedStep("push", func(once url.Values) answer {
			return proven("/par", joined(authorization(url.Values{"client_id": nil}), once))
		}, status(http.StatusCreated)),
		assertedStep("code", func(once url.Values) answer { return proven("/token", joined(codeForm(code, nil), once)) },
			func(a answer) { held = wantTokens(t, a) }),
		assertedStep("refresh", func(once url.Values) answer { return proven("/token", joined(refreshForm(held.refresh), once)) },
			func(a answer) { replaced, held = held, wantTokens(t, a) }),
		assertedStep("exchange", func(once url.Values) answer { return proven("/token", joined(narrower(held.access), once)) }, status(http.StatusOK)),
		assertedStep("introspection", func(once url.Values) answer {
			return s.post(t, "/introspect", joined(url.Values{"token": {held.access}}, once), nil)
		}, func(a answer) {
			if a.status != http.StatusOK || a.json["active"] != true {
				t.Errorf("introspection = %v, want active", a)
			}
		}),
		assertedStep("revocation of nothing", revoke(func() string { return "AAAA" }), status(http.StatusOK)),
		assertedStep("revocation of an access token", revoke(func() string { return replaced.access }), func(a answer) {
			wantStatus(t, a, http.StatusOK)
			s.soonInactive(t, replaced.access)
		}),
		assertedStep("revocation of a session", revoke(func() string { return held.refresh }), func(a answer) {
			wantStatus(t, a, http.StatusOK)
			s.soonInactive(t, held.access)
		}),
	}
}

// TestAssertionAndStolenCode holds that the end of a session that a spent code brings about spends the assertion too, in
// one.
func TestAssertionAndStolenCode(t *testing.T) {
	s := start(t, nil)
	code := s.code(t, "alice", url.Values{"client_id": {"signer"}})
	held := wantTokens(t, s.proven(t, "/token", newDevice(t), joined(codeForm(code, nil), s.signer(t))))
	once := s.signer(t)
	s.faults.set("SpendID")
	wantError(t, s.proven(t, "/token", newDevice(t), joined(codeForm(code, nil), once)), http.StatusServiceUnavailable, "temporarily_unavailable")
	s.faults.set("")
	s.wantActive(t, held.access)
	wantError(t, s.proven(t, "/token", newDevice(t), joined(codeForm(code, nil), once)), http.StatusBadRequest, "invalid_grant")
	s.wantInactive(t, held.access)
	wantInvalidClient(t, s.proven(t, "/token", newDevice(t), joined(serviceForm, once)))
}

// TestAssertionWhileRevocationsUnknown holds that an introspection which cannot be answered costs no assertion.
func TestAssertionWhileRevocationsUnknown(t *testing.T) {
	s := start(t, nil)
	form := joined(url.Values{"token": {"AAAA"}}, s.signer(t))
	s.faults.set("Revocations")
	s.clock.advance(3 * time.Second)
	wantError(t, s.post(t, "/introspect", form, nil), http.StatusServiceUnavailable, "temporarily_unavailable")
	s.faults.set("")
	s.waitReady(t)
	if a := s.post(t, "/introspect", form, nil); a.status != http.StatusOK {
		t.Errorf("answer = %v, want 200", a)
	}
}

// TestReviewB4AssertionAfterClockWasSetBack: the clock is set ahead, so far that the assertion is over and what was spent is
// swept, and then back: the assertion is in time again, and still spent.
func TestReviewB4AssertionAfterClockWasSetBack(t *testing.T) {
	s := start(t, fast)
	d := newDevice(t)
	used := s.signer(t)
	if a := s.proven(t, "/token", d, joined(serviceForm, used)); a.status != http.StatusOK {
		t.Fatalf("answer = %v, want a token", a)
	}
	s.clock.setBy(4 * time.Minute)
	meanwhile()
	s.clock.setBy(-4 * time.Minute)
	s.waitReady(t)
	a := s.proven(t, "/token", d, joined(serviceForm, used))
	wantInvalidClient(t, a)
	if !strings.Contains(a.text("error_description"), "used before") {
		t.Errorf("answer = %v, want one that says that the assertion was used before", a)
	}
}
