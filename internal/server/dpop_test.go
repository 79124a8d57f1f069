package server_test

import (
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// A forgery is a proof to be made wrong: its header and claims as they should be, and how it is signed.
type forgery struct {
	header, claims object
	sign           func(header, claims object) string
}

func (s *site) forge(t *testing.T, d *device, change func(*forgery)) string {
	t.Helper()
	public, err := jose.MarshalJWK(&d.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	jwk := object{}
	decode(t, public, &jwk)
	f := &forgery{
		header: object{"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk},
		claims: object{
			"jti": newDevice(t).JKT(), "htm": "POST", "htu": s.issuer + "/token", "iat": s.clock.now().Unix(), "nonce": s.nonce(t),
		},
		sign: func(header, claims object) string { return sign(d.key, header, claims) },
	}
	change(f)
	return f.sign(f.header, f.claims)
}

// TestProofRefused holds that no proof but a good one gets tokens, and that a bad one costs nothing: code and refresh
// token are as good as before.
func TestProofRefused(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	code := s.code(t, "alice", nil)
	held := s.login(t, d, "alice")
	forms := map[string]url.Values{"code": codeForm(code, nil), "refresh": refreshForm(held.refresh)}

	for _, test := range []struct {
		name   string
		proofs func(t *testing.T) []string
		error  string
	}{
		{"no header", func(*testing.T) []string { return nil }, "invalid_dpop_proof"},
		{"empty header", func(*testing.T) []string { return []string{""} }, "invalid_dpop_proof"},
		{"two headers", func(t *testing.T) []string {
			return []string{s.proof(t, d, ""), s.proof(t, d, "")}
		}, "invalid_dpop_proof"},
		{"one proof in two headers", func(t *testing.T) []string {
			proof := s.proof(t, d, "")
			return []string{proof, proof}
		}, "invalid_dpop_proof"},
		{"two proofs in one header", func(t *testing.T) []string {
			return []string{s.proof(t, d, "") + ", " + s.proof(t, d, "")}
		}, "invalid_dpop_proof"},
		{"no JWT", func(*testing.T) []string { return []string{"not-a-proof"} }, "invalid_dpop_proof"},
		{"an access token", func(*testing.T) []string { return []string{held.access} }, "invalid_dpop_proof"},
		{"typ JWT", s.forged(d, func(f *forgery) { f.header["typ"] = "JWT" }), "invalid_dpop_proof"},
		{"no typ", s.forged(d, func(f *forgery) { delete(f.header, "typ") }), "invalid_dpop_proof"},
		{"alg none", s.forged(d, func(f *forgery) {
			f.header["alg"] = "none"
			f.sign = func(header, claims object) string { return compact(header, claims, "") }
		}), "invalid_dpop_proof"},
		{"alg HS256", s.forged(d, func(f *forgery) {
			f.header["alg"] = "HS256"
			f.sign = func(header, claims object) string { return compact(header, claims, "AAAA") }
		}), "invalid_dpop_proof"},
		{"alg of another key", s.forged(d, func(f *forgery) { f.header["alg"] = "ES384" }), "invalid_dpop_proof"},
		{"private key", s.forged(d, func(f *forgery) {
			f.header["jwk"].(object)["d"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		}), "invalid_dpop_proof"},
		{"symmetric key", s.forged(d, func(f *forgery) { f.header["jwk"] = object{"kty": "oct", "k": "AAAA"} }), "invalid_dpop_proof"},
		{"no key", s.forged(d, func(f *forgery) { delete(f.header, "jwk") }), "invalid_dpop_proof"},
		{"signed by another key", s.forged(d, func(f *forgery) {
			f.sign = func(header, claims object) string { return sign(newKey(t), header, claims) }
		}), "invalid_dpop_proof"},
		{"crit", s.forged(d, func(f *forgery) { f.header["crit"] = []string{"exp"} }), "invalid_dpop_proof"},
		{"other method", s.forged(d, func(f *forgery) { f.claims["htm"] = "GET" }), "invalid_dpop_proof"},
		{"method in lower case", s.forged(d, func(f *forgery) { f.claims["htm"] = "post" }), "invalid_dpop_proof"},
		{"other endpoint", s.forged(d, func(f *forgery) { f.claims["htu"] = s.issuer + "/introspect" }), "invalid_dpop_proof"},
		{"other host", s.forged(d, func(f *forgery) { f.claims["htu"] = "https://issuer.example.net/token" }), "invalid_dpop_proof"},
		{"https for http", s.forged(d, func(f *forgery) { f.claims["htu"] = "https" + s.issuer[len("http"):] + "/token" }), "invalid_dpop_proof"},
		{"no jti", s.forged(d, func(f *forgery) { delete(f.claims, "jti") }), "invalid_dpop_proof"},
		{"no iat", s.forged(d, func(f *forgery) { delete(f.claims, "iat") }), "invalid_dpop_proof"},
		{"iat in milliseconds", s.forged(d, func(f *forgery) { f.claims["iat"] = time.Now().UnixMilli() }), "invalid_dpop_proof"},
		{"two days ago with a good nonce", s.forged(d, func(f *forgery) { f.claims["iat"] = time.Now().Add(-48 * time.Hour).Unix() }), "invalid_dpop_proof"},
		{"in two days with a good nonce", s.forged(d, func(f *forgery) { f.claims["iat"] = time.Now().Add(48 * time.Hour).Unix() }), "invalid_dpop_proof"},
		{"no nonce", s.forged(d, func(f *forgery) { delete(f.claims, "nonce") }), "use_dpop_nonce"},
		{"forged nonce", s.forged(d, func(f *forgery) { f.claims["nonce"] = "AAAAAAAAAAAAAAAAAAAAAA" }), "use_dpop_nonce"},
		{"no nonce and two days ago", s.forged(d, func(f *forgery) {
			delete(f.claims, "nonce")
			f.claims["iat"] = time.Now().Add(-48 * time.Hour).Unix()
		}), "use_dpop_nonce"},
	} {
		for grant, form := range forms {
			t.Run(test.name+"/"+grant, func(t *testing.T) {
				form := maps.Clone(form)
				form.Set("client_id", app.id)
				a := s.post(t, "/token", form, http.Header{"Dpop": test.proofs(t)})
				wantError(t, a, http.StatusBadRequest, test.error)
				if a.header.Get("DPoP-Nonce") == "" {
					t.Error("the answer carries no DPoP-Nonce")
				}
			})
		}
	}
	wantTokens(t, s.token(t, app, d, codeForm(code, nil)))
	s.wantAlive(t, d, held)
}

// forged returns a function that makes a forgery when its test runs.
func (s *site) forged(d *device, change func(*forgery)) func(*testing.T) []string {
	return func(t *testing.T) []string { return []string{s.forge(t, d, change)} }
}

// TestProofAccepted holds what a client may do beyond the plainest proof.
func TestProofAccepted(t *testing.T) {
	s := start(t, nil)
	for name, change := range map[string]func(*forgery){
		"a clock twenty hours wrong": func(f *forgery) { f.claims["iat"] = time.Now().Add(-20 * time.Hour).Unix() },
		"query in htu":               func(f *forgery) { f.claims["htu"] = s.issuer + "/token?a=b#c" },
		"scheme in capitals":         func(f *forgery) { f.claims["htu"] = "HTTP" + s.issuer[len("http"):] + "/token" },
		"unknown claims":             func(f *forgery) { f.claims["ath"], f.claims["exp"] = "AAAA", 1 },
		"unknown header members":     func(f *forgery) { f.header["kid"] = "1" },
	} {
		t.Run(name, func(t *testing.T) {
			form := url.Values{"grant_type": {"client_credentials"}}
			header := http.Header{"Dpop": {s.forge(t, newDevice(t), change)}}
			peer.authenticate(form, header)
			if a := s.post(t, "/token", form, header); a.status != http.StatusOK {
				t.Errorf("answer = %v, want a token", a)
			}
		})
	}
}

// TestNonceGrowsOld holds that a nonce is good for a minute or two, and that the refusal of an old one brings the new
// one, with which the same request passes.
func TestNonceGrowsOld(t *testing.T) {
	s := start(t, nil)
	s.freeze(t) // so that no minute passes by itself
	d := newDevice(t)
	held := s.login(t, d, "alice")
	old := s.nonce(t)
	s.advance(t, time.Minute)
	form := refreshForm(held.refresh)
	form.Set("client_id", app.id)
	held = wantTokens(t, s.post(t, "/token", form, http.Header{"Dpop": {s.proof(t, d, old)}}))

	s.advance(t, 2*time.Minute)
	form.Set("refresh_token", held.refresh)
	a := s.post(t, "/token", form, http.Header{"Dpop": {s.proof(t, d, old)}})
	wantError(t, a, http.StatusBadRequest, "use_dpop_nonce")
	newest := a.header.Get("DPoP-Nonce")
	if newest == "" || newest == old {
		t.Fatalf("DPoP-Nonce = %q, want a new one", newest)
	}
	wantTokens(t, s.post(t, "/token", form, http.Header{"Dpop": {s.proof(t, d, newest)}}))
}

// TestProofReplayed sends one proof many times at once: one request passes, and the others change nothing.
func TestProofReplayed(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	for name, test := range map[string]struct {
		client caller
		form   url.Values
	}{
		"client_credentials": {peer, url.Values{"grant_type": {"client_credentials"}}},
		"refresh":            {app, refreshForm(held.refresh)},
	} {
		t.Run(name, func(t *testing.T) {
			form := maps.Clone(test.form)
			header := http.Header{"Dpop": {s.proof(t, d, "")}}
			test.client.authenticate(form, header)
			passed := 0
			for _, a := range parallel(20, func() answer { return s.post(t, "/token", form, header) }) {
				if a.status == http.StatusOK {
					passed++
				} else {
					wantError(t, a, http.StatusBadRequest, "invalid_dpop_proof")
				}
			}
			if passed != 1 {
				t.Errorf("%d of 20 requests with one proof passed, want 1", passed)
			}
			wantError(t, s.post(t, "/token", form, header), http.StatusBadRequest, "invalid_dpop_proof")
		})
	}
	s.wantAlive(t, d, held)
}

// TestProofIsSpentLast holds that a request which is refused for another reason does not spend its proof.
func TestProofIsSpentLast(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	code := s.code(t, "alice", nil)
	good := codeForm(code, url.Values{"client_id": {app.id}})
	header := http.Header{"Dpop": {s.proof(t, d, "")}}
	for name, change := range map[string]url.Values{
		"unknown client":     {"client_id": {"nobody"}},
		"wrong verifier":     {"code_verifier": {"another-verifier-that-is-as-long-as-it-must-be-"}},
		"other redirect URI": {"redirect_uri": {"http://127.0.0.1:1/callback"}},
		"wider scope":        {"scope": {"introspect"}},
		"other resource":     {"resource": {"https://files.example.com"}},
		"unknown grant":      {"grant_type": {"password"}},
	} {
		form := maps.Clone(good)
		maps.Copy(form, change)
		if a := s.post(t, "/token", form, header); a.status == http.StatusOK || a.text("error") == "invalid_dpop_proof" {
			t.Errorf("%s: answer = %v, want another refusal", name, a)
		}
	}
	wantTokens(t, s.post(t, "/token", good, header))
}

// TestNoncesOff holds an issuer without nonces: it never names one, and iat decides.
func TestNoncesOff(t *testing.T) {
	s := start(t, map[string]string{"nonce": "off"})
	wantError(t, s.get(t, "/nonce"), http.StatusNotFound, "not_found")
	for _, path := range []string{"/nonce", "/healthz", "/jwks", "/authorize", "/token", "/nothing"} {
		if nonces := s.get(t, path).header.Values("DPoP-Nonce"); nonces != nil {
			t.Errorf("%s: DPoP-Nonce = %q, want none", path, nonces)
		}
	}
	d := newDevice(t)
	at := func(offset time.Duration) func(f *forgery) {
		return func(f *forgery) {
			delete(f.claims, "nonce")
			f.claims["iat"] = s.clock.now().Add(offset).Unix()
		}
	}
	ask := func(proof string) answer {
		form, header := url.Values{"grant_type": {"client_credentials"}}, http.Header{"Dpop": {proof}}
		peer.authenticate(form, header)
		return s.post(t, "/token", form, header)
	}
	// Proofs of before the start may have been spent then.
	wantError(t, ask(s.forge(t, d, at(0))), http.StatusBadRequest, "invalid_dpop_proof")
	s.advance(t, 2*time.Minute)
	for offset, good := range map[time.Duration]bool{
		0: true, -50 * time.Second: true, 10 * time.Second: true, -70 * time.Second: false, 25 * time.Second: false,
	} {
		a := ask(s.forge(t, d, at(offset)))
		if !good {
			wantError(t, a, http.StatusBadRequest, "invalid_dpop_proof")
		} else if a.status != http.StatusOK {
			t.Errorf("proof of %v from now: %v, want a token", offset, a)
		}
		if a.header.Values("DPoP-Nonce") != nil {
			t.Errorf("DPoP-Nonce = %q, want none", a.header.Values("DPoP-Nonce"))
		}
	}
	proof := s.forge(t, d, at(0))
	if a := ask(proof); a.status != http.StatusOK {
		t.Errorf("answer = %v, want a token", a)
	}
	wantError(t, ask(proof), http.StatusBadRequest, "invalid_dpop_proof")
	s.login(t, newDevice(t), "alice")
}
