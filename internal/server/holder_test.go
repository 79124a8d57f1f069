package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// shown is a question to which a proof by the holder belongs, for a URL of peer, after a change.
func (s *site) shown(t *testing.T, d *device, token string, change func(form url.Values)) url.Values {
	t.Helper()
	const at = "https://peer.example.net/messages"
	proof, err := d.Proof(dpop.ProofParams{Method: http.MethodGet, URL: at, Nonce: "n-1", AccessToken: token, IssuedAt: s.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"token": {token}, "proof": {proof}, "proof_htm": {http.MethodGet}, "proof_htu": {at}, "proof_nonce": {"n-1"}}
	if change != nil {
		change(form)
	}
	return form
}

// presented is the same for a presentation to an audience.
func (s *site) presented(t *testing.T, d *device, token, audience string) url.Values {
	t.Helper()
	p, err := d.Presentation(dpop.PresentationParams{Audience: audience, Nonce: "n-2", AccessToken: token, IssuedAt: s.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	return url.Values{"token": {token}, "presentation": {p}, "presentation_aud": {audience}, "presentation_nonce": {"n-2"}}
}

// heldByProof is a flow in which a caller has a proof of the holder checked.
func heldByProof() func(t *testing.T, s *site) []step {
	var (
		d    *device
		held tokens
	)
	return func(t *testing.T, s *site) []step {
		if d == nil {
			d = newDevice(t)
			held = s.login(t, d, "alice")
			s.advance(t, 2*time.Minute) // the store of spent proofs is older than the proofs
		}
		return []step{{
			name: "introspection",
			ask:  func() answer { return s.asking(t, peer, "/introspect", s.shown(t, d, held.access, nil)) },
			good: func(a answer) {
				if a.status != http.StatusOK || a.text("holder") != "verified" {
					t.Errorf("introspection = %v, want verified", a)
				}
			},
		}}
	}
}

// TestHolder holds that a caller can have the issuer check who holds a token.
func TestHolder(t *testing.T) {
	s := start(t, nil)
	d, thief := newDevice(t), newDevice(t)
	held := s.login(t, d, "alice")
	s.advance(t, 2*time.Minute) // the store of spent proofs is older than the proofs
	ask := func(form url.Values) answer { return s.asking(t, peer, "/introspect", form) }
	wantVerified := func(t *testing.T, a answer) {
		t.Helper()
		if a.status != http.StatusOK || a.json["active"] != true || a.text("holder") != "verified" || a.json["max_age"] != float64(0) {
			t.Errorf("answer = %v, want verified, and not to be cached", a)
		}
		wantNotStored(t, a)
	}
	wantNo := func(t *testing.T, a answer) {
		t.Helper()
		if a.status != http.StatusOK || a.body != "{\"active\":false}\n" {
			t.Errorf("answer = %v, want 200 {\"active\":false}", a)
		}
	}
	proof, presentation := s.shown(t, d, held.access, nil), s.presented(t, d, held.access, "im:example.com")
	for name, form := range map[string]url.Values{"proof": proof, "presentation": presentation} {
		t.Run(name, func(t *testing.T) {
			wantVerified(t, ask(form))
			wantNo(t, ask(form)) // it was used
			s.wantActive(t, held.access)
		})
	}
	t.Run("a copied token", func(t *testing.T) {
		wantNo(t, ask(s.shown(t, thief, held.access, nil)))
		wantNo(t, ask(s.presented(t, thief, held.access, "im:example.com")))
	})
	t.Run("an old one", func(t *testing.T) {
		proof, presentation := s.shown(t, d, held.access, nil), s.presented(t, d, held.access, "im:example.com")
		s.advance(t, 61*time.Second)
		wantNo(t, ask(proof))
		wantNo(t, ask(presentation))
	})
	t.Run("signed", func(t *testing.T) {
		claims := s.openedJWT(t, s.asking(t, peer, "/introspect", s.shown(t, d, held.access, nil), mediaSigned), mediaSigned, "token-introspection+jwt", "ES256")
		if inner, _ := claims["token_introspection"].(object); inner["holder"] != "verified" {
			t.Errorf("claims = %v, want verified", claims)
		}
	})
	t.Run("the reason", func(t *testing.T) {
		machine := newDevice(t)
		own := s.service(t, auditor, machine, url.Values{"resource": {s.issuer}, "scope": {"introspect introspect:domain introspect:reason"}})
		a := s.held(t, machine, own, http.MethodPost, "/introspect", s.presented(t, thief, held.access, "im:example.com"))
		if a.json["active"] != false || a.text("reason") != "invalid_proof" {
			t.Errorf("answer = %v, want the reason", a)
		}
	})
	t.Run("a user asks", func(t *testing.T) {
		phone := newDevice(t)
		bob := s.account(t, phone, "bob")
		own := s.forIssuer(t, phone, bob, "introspect").access
		s.advance(t, 0)
		wantVerified(t, s.held(t, phone, own, http.MethodPost, "/introspect", s.presented(t, d, held.access, bob.set.Device)))
		wantError(t, s.held(t, phone, own, http.MethodPost, "/introspect", s.shown(t, d, held.access, nil)), http.StatusBadRequest, "invalid_request")
	})
	for name, test := range map[string]struct {
		change url.Values
		says   string
	}{
		"outside the caller's URLs": {url.Values{"proof_htu": {"https://rooms.example.com/"}}, "proof_htu is not under"},
		"a proof without its URL":   {url.Values{"proof_htu": nil}, "goes with proof_htm and proof_htu"},
		"without its method":        {url.Values{"proof_htm": nil}, "goes with proof_htm and proof_htu"},
		"a URL without its proof":   {url.Values{"proof": nil}, "goes with proof, which is missing"},
		"a proof and a presentation": {
			url.Values{"presentation": {"x"}, "presentation_aud": {"im:example.com"}, "presentation_nonce": {"x"}}, "a proof and a presentation",
		},
		"a presentation alone": {url.Values{"proof": nil, "proof_htm": nil, "proof_htu": nil, "proof_nonce": nil, "presentation": {"x"}}, "goes with presentation_aud"},
		"a nonce alone":        {url.Values{"presentation_nonce": {"x"}}, "goes with presentation, which is missing"},
		"to another": {
			url.Values{"proof": nil, "proof_htm": nil, "proof_htu": nil, "proof_nonce": nil, "presentation": {"x"}, "presentation_aud": {"im:example.org"}, "presentation_nonce": {"x"}},
			"presentation_aud is neither",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := ask(s.shown(t, d, held.access, func(form url.Values) {
				for k, v := range test.change {
					if form[k] = v; v == nil {
						form.Del(k)
					}
				}
			}))
			if wantError(t, a, http.StatusBadRequest, "invalid_request"); !strings.Contains(a.text("error_description"), test.says) {
				t.Errorf("answer = %v, want %q", a, test.says)
			}
		})
	}
	t.Run("the store fails", func(t *testing.T) {
		s.faults.set("Spend")
		wantError(t, ask(s.shown(t, d, held.access, nil)), http.StatusServiceUnavailable, "temporarily_unavailable")
		wantError(t, ask(s.presented(t, d, held.access, "im:example.com")), http.StatusServiceUnavailable, "temporarily_unavailable")
	})
}

// TestHolderAfterRestart holds that an issuer which has forgotten the spent proofs does not know, rather than say no.
func TestHolderAfterRestart(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	s.advance(t, 2*time.Minute)
	form := s.shown(t, d, held.access, nil)
	if a := s.asking(t, peer, "/introspect", form); a.text("holder") != "verified" {
		t.Fatalf("answer = %v, want verified", a)
	}
	s.restart(t, nil)
	wantError(t, s.asking(t, peer, "/introspect", form), http.StatusServiceUnavailable, "temporarily_unavailable")
}

// TestHolderForPeer holds that a user of another domain can have a presentation to them checked.
func TestHolderForPeer(t *testing.T) {
	home, far := startTwo(t, "")
	phone, bobs := newDevice(t), newDevice(t)
	code := home.code(t, "alice", url.Values{"resource": {"im:abroad.example"}})
	alice := wantTokens(t, home.token(t, app, phone, codeForm(code, nil)))
	bob := far.loginFor(t, bobs, "bob", "im:abroad.example", home.issuer)
	home.advance(t, 2*time.Minute)
	far.advance(t, 2*time.Minute)
	ask := func(form url.Values) answer {
		proof, err := bobs.Proof(dpop.ProofParams{
			Method: http.MethodPost, URL: home.issuer + "/introspect", Nonce: home.nonce(t), AccessToken: bob.access, IssuedAt: home.clock.now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return home.post(t, "/introspect", form, http.Header{"Authorization": {"DPoP " + bob.access}, "Dpop": {proof}})
	}
	form := home.presented(t, phone, alice.access, "im:abroad.example")
	if a := ask(form); a.json["active"] != true || a.text("holder") != "verified" {
		t.Errorf("answer = %v, want verified", a)
	}
	if a := ask(form); a.body != "{\"active\":false}\n" {
		t.Errorf("answer = %v the second time, want {\"active\":false}", a)
	}
	wantError(t, ask(home.presented(t, phone, alice.access, "im:example.com")), http.StatusBadRequest, "invalid_request")
}
