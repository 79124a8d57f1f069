package dpop_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/dpop/dpoptest"
	"github.com/imidentity/issuer/internal/jose"
)

const public = "https://rs.example/v1"

// A guarded is a resource behind the middleware: the handler tells the thumbprint that it was let in with.
type guarded struct {
	*server
	http.Handler
	served  atomic.Int32
	reports atomic.Pointer[error]
}

// newGuarded knows the tokens that are thumbprints ("bound-" and the thumbprint), "unbound", and "outage".
func newGuarded(t testing.TB, nonces bool, edit func(*dpop.ResourceConfig)) *guarded {
	t.Helper()
	g := &guarded{server: newServer(t, nonces)}
	cfg := dpop.ResourceConfig{
		Verifier: g.Verifier, PublicURL: public, Realm: "things", Metadata: &dpop.ResourceMetadata{
			AuthorizationServers: []string{"https://as.example"}, Name: "Things",
		},
		Token: func(_ context.Context, token string) (dpop.Confirmation, error) {
			jkt, bound := strings.CutPrefix(token, "bound-")
			switch {
			case bound, token == "unbound":
				return dpop.Confirmation{JKT: strings.TrimSuffix(jkt, "unbound"), Claims: token}, nil
			case token == "outage":
				return dpop.Confirmation{}, errors.New("connection refused")
			}
			return dpop.Confirmation{}, fmt.Errorf("introspection: %w", dpop.ErrInvalidToken)
		},
		Report: func(_ *http.Request, err error) { g.reports.Store(&err) },
	}
	if edit != nil {
		edit(&cfg)
	}
	resource, err := dpop.NewResource(cfg)
	if err != nil {
		t.Fatalf("NewResource = %v", err)
	}
	mux := http.NewServeMux()
	mux.Handle(resource.Metadata())
	mux.Handle("/", resource.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.served.Add(1)
		access, ok := dpop.FromContext(r.Context())
		if !ok {
			t.Error("FromContext = false in a handler")
			return
		}
		if access.Proof != nil && access.Proof.JKT != access.JKT {
			t.Errorf("FromContext = %+v, whose keys differ", access)
		}
		fmt.Fprintf(w, "%v", access.Claims)
	})))
	g.Handler = mux
	return g
}

// ask serves a request for GET /thing with these credentials.
func (g *guarded) ask(t testing.TB, authorization, proof string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", "http://10.0.0.1/thing", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	if proof != "" {
		r.Header.Set("DPoP", proof)
	}
	return g.serve(r)
}

func (g *guarded) serve(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	return w
}

// prove makes a good proof for GET /thing.
func (g *guarded) prove(t testing.TB, signer *dpop.Signer, token string) string {
	t.Helper()
	return g.make(t, signer, func(p *dpop.ProofParams) {
		p.Method, p.URL, p.AccessToken = "GET", public+"/thing", token
	})
}

// The list of what a resource must accept and refuse, against the middleware and over a real connection.
func TestResourceAcceptance(t *testing.T) {
	for _, nonces := range []bool{true, false} {
		t.Run(fmt.Sprintf("nonces %v", nonces), func(t *testing.T) {
			g := newGuarded(t, nonces, nil)
			site := httptest.NewServer(g)
			defer site.Close()
			key := p256(t)
			token := "bound-" + newSigner(t, key).JKT()
			dpoptest.Run(t, dpoptest.Endpoint{
				Method: "GET", URL: public + "/thing",
				Request: func(t *testing.T) *http.Request {
					r, err := http.NewRequestWithContext(t.Context(), "GET", site.URL+"/thing", nil)
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Authorization", "DPoP "+token)
					return r
				},
				Key: key, AccessToken: token, Nonces: nonces, Refused: http.StatusUnauthorized,
				OtherKey: "invalid_token", Now: g.clock.now,
			})
		})
	}
}

// The table of docs/dpop.md, as far as it is about a resource.
func TestResourceAnswers(t *testing.T) {
	g := newGuarded(t, true, nil)
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()
	const metadata = `realm="things", resource_metadata="https://rs.example/.well-known/oauth-protected-resource/v1"`
	const algs = `algs="ES256 EdDSA Ed25519 ES384"`
	challenge := func(code, description string) string {
		if code == "" {
			return "DPoP " + algs + ", " + metadata
		}
		return fmt.Sprintf("DPoP error=%q, error_description=%q, %s, %s", code, description, algs, metadata)
	}
	const (
		notValid = "The access token is not valid: "
		noToken  = "The request has no access token: send the header Authorization, with a scheme that WWW-Authenticate names. " +
			"With DPoP, also send a proof in the header DPoP."
	)
	for _, tt := range []struct {
		name, authorization, proof string
		status                     int
		code, description          string
	}{
		{"no token", "", g.prove(t, signer, token), 401, "", noToken},
		{"another scheme", "Basic YTpi", g.prove(t, signer, token), 401, "", noToken},
		{"no credentials", "DPoP", "", 401, "invalid_token", notValid + "malformed"},
		{"two tokens in one", "DPoP a, DPoP b", "", 401, "invalid_token", notValid + "malformed"},
		{"bearer", "Bearer " + token, "", 401, "invalid_token",
			notValid + "tokens are bound to a key here: use the scheme DPoP and a proof"},
		{"no proof", "DPoP " + token, "", 401, "invalid_dpop_proof",
			"The DPoP proof is not valid: header: there is no DPoP header"},
		{"another method", "DPoP " + token, g.make(t, signer, nil), 401, "invalid_dpop_proof",
			"The DPoP proof is not valid: htm: the proof is for 'POST', the request is GET"},
		{"no nonce", "DPoP " + token, g.make(t, signer, func(p *dpop.ProofParams) {
			p.Method, p.URL, p.AccessToken, p.Nonce = "GET", public+"/thing", token, ""
		}), 401, "use_dpop_nonce", "The proof needs the nonce of the DPoP-Nonce header of this answer."},
		{"unbound token", "DPoP unbound", g.prove(t, signer, "unbound"), 401, "invalid_token",
			notValid + "bound to no key"},
		{"token of another key", "DPoP bound-x", g.prove(t, signer, "bound-x"), 401, "invalid_token",
			notValid + "bound to another key than that of the proof"},
		{"bad token", "DPoP forged", g.prove(t, signer, "forged"), 401, "invalid_token",
			notValid + "expired, revoked, or not for this resource"},
		{"outage", "DPoP outage", g.prove(t, signer, "outage"), 503, "temporarily_unavailable",
			"The resource cannot check the request now. Try again with a new proof."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := g.ask(t, tt.authorization, tt.proof)
			want := challenge(tt.code, tt.description)
			if tt.status == 503 {
				want = ""
			}
			if got := w.Header().Get("WWW-Authenticate"); w.Code != tt.status || got != want {
				t.Errorf("answer = %d %s\nwant     %d %s", w.Code, got, tt.status, want)
			}
			if (w.Header().Get("Retry-After") != "") != (tt.status == 503) {
				t.Errorf("Retry-After = %q with status %d", w.Header().Get("Retry-After"), tt.status)
			}
			if w.Header().Get("DPoP-Nonce") != g.nonce(t) || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("headers = %v, want the nonce and no-store", w.Header())
			}
			wantBody := map[string]string{"error": tt.code, "error_description": tt.description}
			if tt.code == "" {
				delete(wantBody, "error") // RFC 6750 §3.1
			}
			var body map[string]string
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || !maps.Equal(body, wantBody) {
				t.Errorf("body = %q, %v, want %v", w.Body, err, wantBody)
			}
			if report := g.reports.Swap(nil); report == nil {
				t.Error("nothing was reported")
			}
		})
	}
	if g.served.Load() != 0 {
		t.Errorf("%d refused requests reached the handler", g.served.Load())
	}
	w := g.ask(t, "DPoP "+token, g.prove(t, signer, token))
	if w.Code != 200 || w.Body.String() != token || w.Header().Get("DPoP-Nonce") != g.nonce(t) {
		t.Errorf("good request = %d %q %v", w.Code, w.Body, w.Header())
	}
}

func TestResourceTwoAuthorizationHeaders(t *testing.T) {
	g := newGuarded(t, true, nil)
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()
	for _, second := range []string{"DPoP " + token, "Bearer unbound"} {
		r := httptest.NewRequest("GET", "/thing", nil)
		r.Header["Authorization"] = []string{"DPoP " + token, second}
		r.Header.Set("DPoP", g.prove(t, signer, token))
		if w := g.serve(r); w.Code != 400 || !strings.Contains(w.Body.String(), `"invalid_request"`) {
			t.Errorf("two Authorization headers = %d %q, want 400 invalid_request", w.Code, w.Body)
		}
	}
}

// Where bearer tokens are allowed, one that is bound to a key is none (RFC 9449 section 7.2).
func TestResourceAllowBearer(t *testing.T) {
	g := newGuarded(t, true, func(cfg *dpop.ResourceConfig) { cfg.AllowBearer = true })
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()
	proof := g.prove(t, signer, "unbound")
	for _, tt := range []struct {
		name, authorization, proof string
		status                     int
		failed                     string // the scheme whose challenge tells the error
	}{
		{"bearer", "Bearer unbound", "", 200, ""},
		{"bearer in capitals", "BEARER unbound", "", 200, ""},
		{"bearer beside a proof", "Bearer unbound", proof, 200, ""},
		{"DPoP", "DPoP " + token, g.prove(t, signer, token), 200, ""},
		{"bound as bearer", "Bearer " + token, "", 401, "Bearer"},
		{"bound as bearer with its proof", "Bearer " + token, g.prove(t, signer, token), 401, "Bearer"},
		{"bad bearer", "Bearer forged", "", 401, "Bearer"},
		{"malformed bearer", "Bearer", "", 401, "Bearer"},
		{"bearer, outage", "Bearer outage", "", 503, ""},
		{"unbound as DPoP", "DPoP unbound", proof, 401, "DPoP"},
		{"nothing", "", "", 401, ""},
	} {
		w := g.ask(t, tt.authorization, tt.proof)
		if w.Code != tt.status {
			t.Errorf("%s = %d %q, want %d", tt.name, w.Code, w.Body, tt.status)
		}
		challenges := w.Header().Values("WWW-Authenticate")
		if tt.status != 401 {
			continue
		}
		if len(challenges) != 2 {
			t.Errorf("%s: WWW-Authenticate = %q, want two", tt.name, challenges)
		}
		for _, challenge := range challenges {
			scheme, _, _ := strings.Cut(challenge, " ")
			if failed := strings.Contains(challenge, `error="invalid_token"`); failed != (scheme == tt.failed) {
				t.Errorf("%s: WWW-Authenticate = %q, want the error of %s", tt.name, challenges, tt.failed)
			}
		}
	}
}

// A store that does not answer, or is full, is no verdict: the same proof is good afterwards.
func TestResourceStoreFails(t *testing.T) {
	g := newGuarded(t, true, nil)
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()
	proof := g.prove(t, signer, token)
	for err, want := range map[error]int{errors.New("connection refused"): 503, dpop.ErrReplayFull: 429} {
		g.store.err = err
		w := g.ask(t, "DPoP "+token, proof)
		if w.Code != want || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("answer while the store says %v = %d %v, want %d with Retry-After", err, w.Code, w.Header(), want)
		}
	}
	g.store.err = nil
	if w := g.ask(t, "DPoP "+token, proof); w.Code != 200 {
		t.Errorf("answer when the store is back = %d %q, want 200", w.Code, w.Body)
	}
}

// One proof, a thousand requests at once: one is served.
func TestResourceRace(t *testing.T) {
	g := newGuarded(t, true, nil)
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()
	proof := g.prove(t, signer, token)
	var ok, refused atomic.Int32
	var group sync.WaitGroup
	for range 1000 {
		group.Go(func() {
			switch w := g.ask(t, "DPoP "+token, proof); w.Code {
			case 200:
				ok.Add(1)
			case 401:
				refused.Add(1)
			}
		})
	}
	group.Wait()
	if ok.Load() != 1 || refused.Load() != 999 || g.served.Load() != 1 {
		t.Errorf("%d of 1000 were served and %d refused, want 1 and 999", ok.Load(), refused.Load())
	}
}

// What is wrong with the token or the request does not spend the proof.
func TestResourceSpendsLast(t *testing.T) {
	outage := true
	g := newGuarded(t, true, func(cfg *dpop.ResourceConfig) {
		token := cfg.Token
		cfg.Token = func(ctx context.Context, text string) (dpop.Confirmation, error) {
			if outage {
				return dpop.Confirmation{}, errors.New("connection refused")
			}
			return token(ctx, text)
		}
	})
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()
	proof := g.prove(t, signer, token)
	if w := g.ask(t, "DPoP "+token, proof); w.Code != 503 {
		t.Errorf("answer = %d, want 503", w.Code)
	}
	outage = false
	for _, want := range []int{200, 401} {
		if w := g.ask(t, "DPoP "+token, proof); w.Code != want {
			t.Errorf("answer = %d %q, want %d", w.Code, w.Body, want)
		}
	}
}

// A store that is emptied while a request is looked at makes the nonce dead that the answer was to carry. The refusal
// carries one with which the next try passes, and so one request through a Transport does.
func TestResourceEmptiedStore(t *testing.T) {
	var lose atomic.Bool
	var g *guarded
	g = newGuarded(t, true, func(cfg *dpop.ResourceConfig) {
		known := cfg.Token
		cfg.Token = func(ctx context.Context, token string) (dpop.Confirmation, error) {
			if lose.CompareAndSwap(true, false) {
				g.store.current.Store(newMemory(t, 0, g.clock.now))
			}
			return known(ctx, token)
		}
	})
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()

	lose.Store(true)
	w := g.ask(t, "DPoP "+token, g.prove(t, signer, token))
	if challenge := w.Header().Get("WWW-Authenticate"); w.Code != 401 || !strings.Contains(challenge, "use_dpop_nonce") {
		t.Fatalf("answer = %d %q, want 401 use_dpop_nonce", w.Code, challenge)
	}
	proof, err := signer.Proof(dpop.ProofParams{Method: "GET", URL: public + "/thing", AccessToken: token,
		Nonce: w.Header().Get("DPoP-Nonce"), IssuedAt: g.clock.now()})
	if err != nil {
		t.Fatal(err)
	}
	if w := g.ask(t, "DPoP "+token, proof); w.Code != 200 {
		t.Errorf("a proof with the nonce of the refusal = %d %q, want 200", w.Code, w.Body)
	}

	client := g.client(t, signer)
	for _, lost := range []bool{false, true} {
		lose.Store(lost)
		if status, text := do(t, client, "GET", public+"/thing", token, nil); status != 200 {
			t.Errorf("through a Transport, with the store emptied: %v: %d %s, want 200", lost, status, text)
		}
	}
}

// client returns a client whose requests to the public URL go to g, over a real connection.
func (g *guarded) client(t *testing.T, signer *dpop.Signer) *http.Client {
	t.Helper()
	site := httptest.NewTLSServer(http.StripPrefix("/v1", g))
	t.Cleanup(site.Close)
	base := site.Client().Transport.(*http.Transport).Clone()
	base.TLSClientConfig.ServerName = "example.com" // as in the certificate
	base.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, site.Listener.Addr().String())
	}
	return &http.Client{Transport: &dpop.Transport{Signer: signer, Base: base, Now: g.clock.now}}
}

// The path that the handler sees stands behind the public URL, escaped as the client wrote it.
func TestResourcePath(t *testing.T) {
	g := newGuarded(t, true, nil)
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()
	for _, tt := range []struct {
		target, htu string
		status      int
	}{
		{"/a%2Fb?x=1", public + "/a%2Fb", 200},
		{"/a%2Fb", public + "/a/b", 401},
		{"/%7euser/", public + "/~user/", 200},
		{"/items[1]/%2f", public + "/items%5B1%5D/%2F", 200}, // brackets are taken as they come, and compared encoded
		{"/items%5b1]", public + "/items%5B1%5D", 200},
		{"/items[1]", public + "/items1", 401},
		{"/thing", "https://rs.example/thing", 401},
		{"http://evil.example/thing", public + "/thing", 200}, // neither Host nor the absolute form counts
		{"http://evil.example/thing", "http://evil.example/thing", 401},
	} {
		r := httptest.NewRequest("GET", tt.target, nil)
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", g.make(t, signer, func(p *dpop.ProofParams) {
			p.Method, p.URL, p.AccessToken = "GET", tt.htu, token
		}))
		if w := g.serve(r); w.Code != tt.status {
			t.Errorf("request for %s with htu %s = %d %q, want %d", tt.target, tt.htu, w.Code, w.Body, tt.status)
		}
	}

	resource, err := dpop.NewResource(dpop.ResourceConfig{Verifier: g.Verifier, PublicURL: public,
		Token: func(context.Context, string) (dpop.Confirmation, error) { return dpop.Confirmation{}, nil }})
	if err != nil {
		t.Fatalf("NewResource = %v", err)
	}
	r := httptest.NewRequest("OPTIONS", "*", nil)
	r.Header.Set("Authorization", "DPoP "+token)
	w := httptest.NewRecorder()
	resource.Protect(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != 400 {
		t.Errorf("OPTIONS * = %d, want 400", w.Code)
	}
}

// What a Transport asks for, a Resource finds a proof for, whatever octets the path has.
func TestResourceAnyPath(t *testing.T) {
	g := newGuarded(t, true, nil)
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()
	client := g.client(t, signer)
	for _, path := range []string{
		"/items[1]", "/items%5B1%5D", "/[[]]/%5b%2F", "/a|b^c`{d}<e>", `/"`, "/a%20b c", "/é", "/%25[", "/a;b=c,d@e:f!$&'()*+~",
	} {
		before := g.served.Load()
		status, text := do(t, client, "GET", public+path+"?q=[1]", token, nil)
		if status != 200 || g.served.Load() != before+1 {
			t.Errorf("GET %s = %d %s, want 200", path, status, text)
		}
	}
	// What a proof says itself is not mended: no URI has brackets there.
	key := p256(t)
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	token = "bound-" + newSigner(t, key).JKT()
	for htu, status := range map[string]int{public + "/items[1]": 401, public + "/items%5B1%5D": 200} {
		r := httptest.NewRequest("GET", "/items[1]", nil)
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", sign(t, key, map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": json.RawMessage(jwk)},
			map[string]any{"jti": rand.Text(), "htm": "GET", "htu": htu, "iat": g.clock.now().Unix(),
				"nonce": g.nonce(t), "ath": dpop.ATH(token)}))
		if w := g.serve(r); w.Code != status {
			t.Errorf("htu %s = %d %s, want %d", htu, w.Code, w.Body, status)
		}
	}
}

// A forwarded host of a trusted proxy chooses among the public origins, and nothing else does.
func TestResourceForwarded(t *testing.T) {
	g := newGuarded(t, true, func(cfg *dpop.ResourceConfig) {
		cfg.PublicOrigins = []string{"https://rs.example.net:8443", "http://rs.example"}
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	})
	signer := newSigner(t, p256(t))
	token := "bound-" + signer.JKT()
	const first, second, third = "https://rs.example", "https://rs.example.net:8443", "http://rs.example"
	for _, tt := range []struct {
		peer   string
		header http.Header
		origin string // "": 403
	}{
		{"10.1.2.3:4", http.Header{}, first},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"rs.example.net:8443"}}, second},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"RS.example.net:8443"}, "X-Forwarded-Proto": {"HTTPS"}}, second},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"rs.example:443"}}, first},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Proto": {"http"}}, third},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"evil.example, rs.example"}}, first},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"evil.example", "rs.example"}}, first},
		{"[fd00::1]:4", http.Header{"Forwarded": {`for=192.0.2.1;host="rs.example.net:8443";proto=https`}}, second},
		{"10.1.2.3:4", http.Header{"Forwarded": {`host=evil.example, For="[2001:db8::1]:4" ; HOST="r\s.example"`}}, first},
		{"10.1.2.3:4", http.Header{"Forwarded": {`host=evil.example`, `host=rs.example`}}, first},
		{"10.1.2.3:4", http.Header{"Forwarded": {"proto=http"}, "X-Forwarded-Host": {"rs.example"}}, third},

		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"evil.example"}}, ""},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"rs.example, evil.example"}}, ""},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"rs.example/v1"}}, ""},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"rs.example.net"}}, ""},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"alice@rs.example"}}, ""},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Proto": {"ftp"}}, ""},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"rs.example.net:8443"}, "X-Forwarded-Proto": {"http"}}, ""},
		{"10.1.2.3:4", http.Header{"X-Forwarded-Host": {"rs.example"}, "Forwarded": {"host=evil.example"}}, ""},
		{"10.1.2.3:4", http.Header{"Forwarded": {"host=rs.example;host=rs.example"}}, ""},
		{"10.1.2.3:4", http.Header{"Forwarded": {`host="rs.example`}}, ""},
		{"10.1.2.3:4", http.Header{"Forwarded": {`host="rs.example\`}}, ""},
		{"10.1.2.3:4", http.Header{"Forwarded": {`host="rs.example"x`}}, ""},
		{"10.1.2.3:4", http.Header{"Forwarded": {"rs.example"}}, ""},

		{"192.0.2.9:4", http.Header{"X-Forwarded-Host": {"rs.example.net:8443"}}, first},
		{"192.0.2.9:4", http.Header{"X-Forwarded-Host": {"evil.example"}, "Forwarded": {"nonsense"}}, first},
		{"", http.Header{"X-Forwarded-Host": {"evil.example"}}, first},
	} {
		htu := tt.origin + "/v1/thing"
		if tt.origin == "" {
			htu = public + "/thing"
		}
		r := httptest.NewRequest("GET", "/thing", nil)
		r.RemoteAddr, r.Header = tt.peer, tt.header
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", g.make(t, signer, func(p *dpop.ProofParams) {
			p.Method, p.URL, p.AccessToken = "GET", htu, token
		}))
		want := 200
		if tt.origin == "" {
			want = 403
		}
		if w := g.serve(r); w.Code != want {
			t.Errorf("from %s with %v = %d %q, want %d", tt.peer, tt.header, w.Code, w.Body, want)
		}

		r = httptest.NewRequest("GET", "/.well-known/oauth-protected-resource/v1", nil)
		r.RemoteAddr, r.Header = tt.peer, tt.header
		w := g.serve(r)
		if w.Code != want || want == 200 && !strings.Contains(w.Body.String(), `"resource":"`+tt.origin+`/v1"`) {
			t.Errorf("metadata from %s with %v = %d %q, want %d", tt.peer, tt.header, w.Code, w.Body, want)
		}
	}
}

// The replay store is told the client, not the proxy.
func TestResourceSource(t *testing.T) {
	store := &sourceStore{MemoryReplay: newMemory(t, 0, nil)}
	verifier, err := dpop.NewVerifier(dpop.Config{Replay: store, Nonces: newNonces(t)})
	if err != nil {
		t.Fatal(err)
	}
	resource, err := dpop.NewResource(dpop.ResourceConfig{
		Verifier: verifier, PublicURL: public,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Token: func(_ context.Context, token string) (dpop.Confirmation, error) {
			return dpop.Confirmation{JKT: token}, nil
		},
	})
	if err != nil {
		t.Fatalf("NewResource = %v", err)
	}
	handler := resource.Protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	signer := newSigner(t, p256(t))
	for _, tt := range []struct {
		peer   string
		header http.Header
		want   string
	}{
		{"192.0.2.9:4", http.Header{"X-Forwarded-For": {"198.51.100.1"}}, "192.0.2.9"},
		{"10.0.0.1:4", http.Header{}, "10.0.0.1"},
		{"10.0.0.1:4", http.Header{"X-Forwarded-For": {"198.51.100.1"}}, "198.51.100.1"},
		{"10.0.0.1:4", http.Header{"X-Forwarded-For": {"203.0.113.7, 198.51.100.1", "10.0.0.2"}}, "198.51.100.1"},
		{"10.0.0.1:4", http.Header{"X-Forwarded-For": {"198.51.100.1, unknown"}}, "10.0.0.1"},
		{"10.0.0.1:4", http.Header{"Forwarded": {`for=198.51.100.1, for="[2001:db8::1]:4711"`}}, "2001:db8::1"},
		{"10.0.0.1:4", http.Header{"Forwarded": {`for=_hidden`}}, "10.0.0.1"},
		{"[::ffff:10.0.0.1]:4", http.Header{"X-Forwarded-For": {"::ffff:198.51.100.1"}}, "198.51.100.1"},
		{"@", http.Header{}, "invalid IP"},
	} {
		nonce, err := verifier.Nonce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		proof, err := signer.Proof(dpop.ProofParams{
			Method: "GET", URL: public + "/", AccessToken: signer.JKT(), Nonce: nonce,
		})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Header = tt.peer, tt.header
		r.Header.Set("Authorization", "DPoP "+signer.JKT())
		r.Header.Set("DPoP", proof)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if got := store.source.String(); w.Code != 200 || got != tt.want {
			t.Errorf("from %s with %v = %d %q and source %s, want %s", tt.peer, tt.header, w.Code, w.Body, got, tt.want)
		}
	}
}

// A sourceStore remembers where the last proof came from.
type sourceStore struct {
	*dpop.MemoryReplay
	source netip.Addr
}

func (s *sourceStore) Spend(
	ctx context.Context, e dpop.Epoch, key [32]byte, until time.Time, source netip.Addr,
) error {
	s.source = source
	return s.MemoryReplay.Spend(ctx, e, key, until, source)
}

func newNonces(t testing.TB) *dpop.Nonces {
	t.Helper()
	nonces, err := dpop.NewNonces([][32]byte{{1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return nonces
}

func TestResourceMetadata(t *testing.T) {
	for _, bearer := range []bool{false, true} {
		g := newGuarded(t, true, func(cfg *dpop.ResourceConfig) { cfg.AllowBearer = bearer })
		w := g.serve(httptest.NewRequest("GET", "/.well-known/oauth-protected-resource/v1", nil))
		want := `{"resource":"https://rs.example/v1","authorization_servers":["https://as.example"],` +
			`"resource_name":"Things","bearer_methods_supported":[],` +
			`"dpop_signing_alg_values_supported":["ES256","EdDSA","Ed25519","ES384"],` +
			`"dpop_bound_access_tokens_required":true}`
		if bearer {
			want = strings.Replace(want, "[]", `["header"]`, 1)
			want = strings.Replace(want, "true", "false", 1)
		}
		if got := strings.TrimSpace(w.Body.String()); w.Code != 200 || got != want {
			t.Errorf("metadata = %d %s\nwant %s", w.Code, got, want)
		}
		h := w.Header()
		if h.Get("Content-Type") != "application/json" || h.Get("DPoP-Nonce") != "" ||
			h.Get("Cache-Control") != "max-age=300" {
			t.Errorf("metadata comes with %v", h)
		}
	}

	resource, err := dpop.NewResource(dpop.ResourceConfig{
		Verifier: newServer(t, true).Verifier, PublicURL: "https://rs.example",
		Token: func(context.Context, string) (dpop.Confirmation, error) { return dpop.Confirmation{}, nil },
	})
	if err != nil {
		t.Fatalf("NewResource = %v", err)
	}
	if pattern, _ := resource.Metadata(); pattern != "GET /.well-known/oauth-protected-resource" {
		t.Errorf("Metadata = %q", pattern)
	}
}

func TestNewResource(t *testing.T) {
	verifier := newServer(t, true).Verifier
	token := func(context.Context, string) (dpop.Confirmation, error) { return dpop.Confirmation{}, nil }
	for name, cfg := range map[string]dpop.ResourceConfig{
		"no verifier":        {Token: token, PublicURL: public},
		"no token":           {Verifier: verifier, PublicURL: public},
		"no URL":             {Verifier: verifier, Token: token},
		"slash at the end":   {Verifier: verifier, Token: token, PublicURL: public + "/"},
		"slash for a path":   {Verifier: verifier, Token: token, PublicURL: "https://rs.example/"},
		"query":              {Verifier: verifier, Token: token, PublicURL: public + "?a"},
		"default port":       {Verifier: verifier, Token: token, PublicURL: "https://rs.example:443"},
		"capitals":           {Verifier: verifier, Token: token, PublicURL: "https://RS.example"},
		"origin with a path": {Verifier: verifier, Token: token, PublicURL: public, PublicOrigins: []string{public}},
		"no origin":          {Verifier: verifier, Token: token, PublicURL: public, PublicOrigins: []string{""}},
		"realm with a quote": {Verifier: verifier, Token: token, PublicURL: public, Realm: `a"b`},
	} {
		if resource, err := dpop.NewResource(cfg); err == nil {
			t.Errorf("NewResource with %s = %v, want an error", name, resource)
		}
	}
	if _, ok := dpop.FromContext(t.Context()); ok {
		t.Error("FromContext = true outside a resource")
	}
}

// FuzzForwarded: whatever a proxy writes, a request is for one of the public origins, or refused.
func FuzzForwarded(f *testing.F) {
	g := newGuarded(f, true, func(cfg *dpop.ResourceConfig) {
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
		cfg.PublicOrigins = []string{"https://rs.example.net"}
	})
	f.Add(`for=192.0.2.1;host="rs.example.net";proto=https`, "rs.example", "https", "192.0.2.1")
	f.Add(`host=a,host="\"`, "", "", ",")
	f.Fuzz(func(t *testing.T, header, host, proto, node string) {
		r := httptest.NewRequest("GET", "/.well-known/oauth-protected-resource/v1", nil)
		r.Header.Set("Forwarded", header)
		r.Header.Set("X-Forwarded-Host", host)
		r.Header.Set("X-Forwarded-Proto", proto)
		r.Header.Set("X-Forwarded-For", node)
		w := g.serve(r)
		body, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		if w.Code == 403 {
			return
		}
		var document struct{ Resource string }
		if err := json.Unmarshal(body, &document); err != nil || w.Code != 200 {
			t.Fatalf("metadata = %d %q, %v", w.Code, body, err)
		}
		if document.Resource != public && document.Resource != "https://rs.example.net/v1" {
			t.Errorf("resource = %q", document.Resource)
		}
	})
}
