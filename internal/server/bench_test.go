package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/devidp"
	"github.com/imidentity/issuer/internal/issuer"
)

// The benchmarks of this file run whole requests through the handler, each beside the bare cryptography that it cannot
// do without, and report the ratio to it. One ES256 proof is checked and one ES256 token is signed for each answer of
// /token. Proofs are made outside of what is timed.

// floor is what one P-256 verification and one signature cost, in this very run.
func floor(b *testing.B) (verify, sign time.Duration) {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("floor"))
	const n = 2000
	var signature []byte
	start := time.Now()
	for range n {
		if signature, err = ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
	sign = time.Since(start) / n
	start = time.Now()
	for range n {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			b.Fatal("signature does not verify")
		}
	}
	return time.Since(start) / n, sign
}

func BenchmarkFloor(b *testing.B) {
	verify, sign := floor(b)
	b.ReportMetric(float64(verify.Nanoseconds()), "ns/verify")
	b.ReportMetric(float64(sign.Nanoseconds()), "ns/sign")
	b.ReportMetric(0, "ns/op")
}

// reportRatio reports how many times the floor an operation took.
func reportRatio(b *testing.B, floor time.Duration) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(floor.Nanoseconds()), "×floor")
}

const benchSecret = "bench-secret"

// A bench is a running issuer, called at its handler, with the provider that people log in at.
type bench struct {
	http.Handler
	issuer string
}

func newBench(b testing.TB) bench {
	b.Helper()
	return newBenchWith(b, "")
}

// newBenchWith is newBench with more settings.
func newBenchWith(b testing.TB, more string) bench {
	b.Helper()
	listener, idpListener, admin := local(b), local(b), local(b)
	origin, provider := "http://"+listener.Addr().String(), "http://"+idpListener.Addr().String()
	idp, err := devidp.New(devidp.Config{Issuer: provider, Clients: []devidp.Client{{
		ID: "issuer", RedirectURIs: []string{origin + "/login/callback/dev"},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	idpServer := &http.Server{Handler: idp}
	go func() { _ = idpServer.Serve(idpListener) }()
	b.Cleanup(func() { _ = idpServer.Close() })

	cfg, err := config.Parse("bench.yaml", fmt.Appendf(nil, `
issuer: %s
data: %q
development: true
limits: {replay_proofs: 10000000, devices_per_user: 1000, per_address: 10000000/1s, per_client: 10000000/1s, per_user: 10000000/1s, per_user_client: 1000000/1s}
outbound: {allow_networks: [127.0.0.0/8]}
domains:
  - {name: example.com, providers: [{id: dev, issuer: %q, client_id: issuer, authoritative_handles: true}]}
clients:
  - id: app
    auth: none
    redirect_uris: ["http://127.0.0.1/callback"]
    grants: [authorization_code, refresh_token]
    scopes: ["im:handle", "im:device", account, "im:credential"]
    domains: [example.com]
  - id: peer
    auth: secret
    secret_sha256: %x
    grants: [client_credentials]
    scopes: [introspect, "introspect:domain"]
    domains: [example.com]
%s`, origin, b.TempDir(), provider, sha256.Sum256([]byte(benchSecret)), more), nil)
	if err != nil {
		b.Fatal(err)
	}
	instance, err := issuer.Open(b.Context(), cfg, issuer.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(b.Context()))
	ended := make(chan error, 1)
	go func() { ended <- instance.Serve(ctx, issuer.Listeners{Public: listener, Admin: admin}) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return bench{instance.Server().Public(), origin}
}

func local(b testing.TB) net.Listener {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// signer makes proofs by a key of its own.
func newSigner(b testing.TB) *dpop.Signer {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		b.Fatal(err)
	}
	return signer
}

// proofs makes n proofs for the token endpoint.
func (h bench) proofs(b testing.TB, signer *dpop.Signer, n int) []string {
	b.Helper()
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/nonce", nil))
	list := make([]string, n)
	for i := range list {
		var err error
		list[i], err = signer.Proof(dpop.ProofParams{
			Method: http.MethodPost, URL: h.issuer + "/token", Nonce: answer.Header().Get("DPoP-Nonce"),
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return list
}

// login signs alice in on a new device. Extra has further parameters of the request.
func (h bench) login(b testing.TB, signer *dpop.Signer, extra url.Values) client.Tokens {
	b.Helper()
	c := &http.Client{Transport: &dpop.Transport{Signer: signer}}
	meta, err := client.Discover(b.Context(), c, h.issuer)
	if err != nil {
		b.Fatal(err)
	}
	app := &client.Client{Server: meta, ID: "app", HTTP: c}
	const back = "http://127.0.0.1:7777/callback"
	flow := app.Begin(back, extra)
	to, err := browser.New(nil).Login(b.Context(), flow.URL, browser.To(back), map[string]string{"text": "alice", "password": "alice"})
	if err != nil {
		b.Fatal(err)
	}
	tokens, err := app.Finish(b.Context(), flow, to)
	if err != nil {
		b.Fatal(err)
	}
	return tokens
}

// post sends a form as the peer and reads the answer, which must be 200.
func (h bench) post(b testing.TB, path, proof string, form url.Values, answer any) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if form.Get("client_id") == "" {
		r.SetBasicAuth("peer", benchSecret)
	}
	if proof != "" {
		r.Header.Set("DPoP", proof)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		b.Errorf("POST %s = %d %s", path, w.Code, w.Body)
		return
	}
	if err := json.Unmarshal(w.Body.Bytes(), answer); err != nil {
		b.Error(err)
	}
}

func BenchmarkToken(b *testing.B) {
	b.Run("client_credentials", benchClientCredentials)
	b.Run("refresh", benchRefresh)
}

func benchClientCredentials(b *testing.B) {
	h := newBench(b)
	verify, sign := floor(b)
	list := h.proofs(b, newSigner(b), b.N)
	form := url.Values{"grant_type": {"client_credentials"}}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		var tokens client.Tokens
		h.post(b, "/token", list[i], form, &tokens)
	}
	reportRatio(b, verify+sign)
}

// benchRefresh refreshes in 16 sessions at once, each refresh durable in SQLite. The time is that of all callers
// together for one refresh.
func benchRefresh(b *testing.B) {
	const callers = 16
	h := newBench(b)
	verify, sign := floor(b)
	var tokens, proofs [callers]chan string
	for i := range callers {
		signer := newSigner(b)
		tokens[i] = make(chan string, 1)
		tokens[i] <- h.login(b, signer, nil).RefreshToken
		list := h.proofs(b, signer, b.N/callers+1)
		proofs[i] = make(chan string, len(list))
		for _, p := range list {
			proofs[i] <- p
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := i; n < b.N; n += callers {
				var answer client.Tokens
				h.post(b, "/token", <-proofs[i], url.Values{
					"grant_type": {"refresh_token"}, "client_id": {"app"}, "refresh_token": {<-tokens[i]},
				}, &answer)
				tokens[i] <- answer.RefreshToken
			}
		})
	}
	wg.Wait()
	reportRatio(b, verify+sign)
}

// BenchmarkIntrospect asks about a token that was seen before, and about one that was not.
func BenchmarkIntrospect(b *testing.B) {
	h := newBench(b)
	verify, _ := floor(b)
	issue := func(b *testing.B, n int) []string {
		list := h.proofs(b, newSigner(b), n)
		for i, proof := range list {
			var tokens client.Tokens
			h.post(b, "/token", proof, url.Values{"grant_type": {"client_credentials"}}, &tokens)
			list[i] = tokens.AccessToken
		}
		return list
	}
	for _, run := range []struct {
		name  string
		fresh bool
	}{{"seen", false}, {"unseen", true}} {
		b.Run(run.name, func(b *testing.B) {
			n := 1
			if run.fresh {
				n = b.N
			}
			tokens := issue(b, n)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				var answer struct{ Active bool }
				h.post(b, "/introspect", "", url.Values{"token": {tokens[i%n]}}, &answer)
				if !answer.Active {
					b.Fatal("inactive")
				}
			}
			reportRatio(b, verify)
		})
	}
}
