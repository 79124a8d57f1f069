package dpop_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// newChecked returns a guarded resource and a handler that does by Check and Refuse what the middleware does.
func newChecked(t testing.TB, edit func(*dpop.ResourceConfig)) (*guarded, http.Handler) {
	t.Helper()
	var cfg dpop.ResourceConfig
	g := newGuarded(t, true, func(c *dpop.ResourceConfig) {
		if edit != nil {
			edit(c)
		}
		cfg = *c
	})
	resource, err := dpop.NewResource(cfg)
	if err != nil {
		t.Fatalf("NewResource = %v", err)
	}
	return g, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		access, err := resource.Check(r, netip.MustParseAddr("192.0.2.1"))
		if err != nil {
			resource.Refuse(w, r, err)
			return
		}
		if nonce, err := g.Nonce(r.Context()); err == nil {
			w.Header().Set("DPoP-Nonce", nonce)
			w.Header().Set("Cache-Control", "no-store")
		}
		_, _ = w.Write([]byte(access.Claims.(string)))
	})
}

// A server that calls Check and Refuse answers as the middleware does: status, headers and body.
func TestResourceCheckAnswersLikeProtect(t *testing.T) {
	for _, bearer := range []bool{false, true} {
		g, checked := newChecked(t, func(cfg *dpop.ResourceConfig) { cfg.AllowBearer = bearer })
		signer := newSigner(t, p256(t))
		token := "bound-" + signer.JKT()
		good := func() []string { return []string{g.prove(t, signer, token)} }
		spent := good()
		if w := g.ask(t, "DPoP "+token, spent[0]); w.Code != http.StatusOK {
			t.Fatalf("a valid request = %d %q, want 200", w.Code, w.Body)
		}
		for name, tt := range map[string]struct {
			authorization []string
			proofs        []string
		}{
			"valid":                     {[]string{"DPoP " + token}, nil},
			"no token":                  {nil, good()},
			"another scheme":            {[]string{"Basic YTpi"}, good()},
			"two Authorization headers": {[]string{"DPoP " + token, "DPoP " + token}, good()},
			"malformed token":           {[]string{"DPoP a b"}, good()},
			"no proof":                  {[]string{"DPoP " + token}, []string{}},
			"two proofs":                {[]string{"DPoP " + token}, append(good(), good()...)},
			"used proof":                {[]string{"DPoP " + token}, spent},
			"stale nonce": {[]string{"DPoP " + token}, []string{g.make(t, signer, func(p *dpop.ProofParams) {
				p.Method, p.URL, p.AccessToken, p.Nonce = "GET", public+"/thing", token, "stale"
			})}},
			"another key":     {[]string{"DPoP bound-other"}, []string{g.prove(t, signer, "bound-other")}},
			"unknown token":   {[]string{"DPoP forged"}, []string{g.prove(t, signer, "forged")}},
			"outage":          {[]string{"DPoP outage"}, []string{g.prove(t, signer, "outage")}},
			"bearer":          {[]string{"Bearer unbound"}, nil},
			"bound as bearer": {[]string{"Bearer " + token}, good()},
		} {
			ask := func(h http.Handler) *httptest.ResponseRecorder {
				r := httptest.NewRequest("GET", "/thing", nil)
				r.Header["Authorization"], r.Header["Dpop"] = tt.authorization, tt.proofs
				if tt.proofs == nil { // one for each of the two handlers
					r.Header["Dpop"] = good()
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				return w
			}
			want, got := ask(g), ask(checked)
			if got.Code != want.Code || got.Body.String() != want.Body.String() {
				t.Errorf("bearer %t, %s: Check = %d %q, Protect = %d %q", bearer, name, got.Code, got.Body, want.Code, want.Body)
			}
			for _, header := range []string{"WWW-Authenticate", "DPoP-Nonce", "Cache-Control", "Retry-After"} {
				got, want := got.Header()[http.CanonicalHeaderKey(header)], want.Header()[http.CanonicalHeaderKey(header)]
				if len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
					t.Errorf("bearer %t, %s: Check sends %s %q, Protect %q", bearer, name, header, got, want)
				}
			}
		}
	}
}

// Check spends the proof for the address that it is given, whatever the connection and the headers say.
func TestResourceCheckSource(t *testing.T) {
	store := &sourceStore{MemoryReplay: newMemory(t, 0, nil)}
	verifier, err := dpop.NewVerifier(dpop.Config{Replay: store, Nonces: newNonces(t)})
	if err != nil {
		t.Fatal(err)
	}
	_, checked := newChecked(t, func(cfg *dpop.ResourceConfig) { cfg.Verifier = verifier })
	nonce, err := verifier.Nonce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()
	proof, err := signer.Proof(dpop.ProofParams{Method: "GET", URL: public + "/thing", AccessToken: token, Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/thing", nil)
	r.RemoteAddr = "198.51.100.7:4711"
	r.Header = http.Header{"Authorization": {"DPoP " + token}, "Dpop": {proof}, "X-Forwarded-For": {"203.0.113.9"}}
	w := httptest.NewRecorder()
	checked.ServeHTTP(w, r)
	if w.Code != http.StatusOK || store.source != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("answer = %d %q, proof spent for %v, want 200 and 192.0.2.1", w.Code, w.Body, store.source)
	}
}

// What a server finds out by itself is refused in the same form, and what it does not know is no refusal.
func TestResourceRefuse(t *testing.T) {
	var reported error
	verifier := newServer(t, true).Verifier
	resource, err := dpop.NewResource(dpop.ResourceConfig{
		Verifier: verifier, PublicURL: public, Token: refuseAll, Report: func(_ *http.Request, err error) { reported = err },
	})
	if err != nil {
		t.Fatal(err)
	}
	nonce, err := verifier.Nonce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for cause, want := range map[error]int{
		dpop.ErrInvalidToken: 401, dpop.ErrUseNonce: 401, dpop.ErrReplayFull: 429, errors.New("connection refused"): 503,
	} {
		w := httptest.NewRecorder()
		resource.Refuse(w, httptest.NewRequest("GET", "/thing", nil), cause)
		if w.Code != want || w.Header().Get("DPoP-Nonce") != nonce || w.Header().Get("Cache-Control") != "no-store" || reported != cause {
			t.Errorf("Refuse(%v) = %d %v, reported %v, want %d with a nonce", cause, w.Code, w.Header(), reported, want)
		}
	}
}

func refuseAll(context.Context, string) (dpop.Confirmation, error) {
	return dpop.Confirmation{}, dpop.ErrInvalidToken
}
