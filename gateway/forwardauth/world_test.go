package forwardauth_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/trust"
)

const chat = "https://chat.a.example"

// A world has an issuer for b.example, whose keys are known, and a handler that trusts it.
type world struct {
	issuer  *ecdsa.PrivateKey
	device  *dpop.Signer
	signer  *forwardauth.Signer
	handler *forwardauth.Handler
	cfg     forwardauth.HandlerConfig // of the handler
	nonce   string
}

const issuerB = "https://id.b.example"

// newWorld returns a world whose handler answers a kind of proxy, by these routes.
func newWorld(t testing.TB, kind forwardauth.Kind, routes ...forwardauth.Route) *world {
	t.Helper()
	w := &world{issuer: ecKey(t)}
	var err error
	if w.device, err = dpop.NewSigner(ecKey(t), ""); err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(w.issuer.Public())
	if err != nil {
		t.Fatal(err)
	}
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{
			Domain: "b.example", Issuer: issuerB, JWKS: fmt.Appendf(nil, `{"keys":[%s,"kid":"k1"}]}`, strings.TrimSuffix(string(jwk), "}")),
		}},
		Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	nonces, err := dpop.NewNonces([][32]byte{{1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	replay, err := dpop.NewMemoryReplay(dpop.MemoryConfig{})
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := dpop.NewVerifier(dpop.Config{Nonces: nonces, Replay: replay})
	if err != nil {
		t.Fatal(err)
	}
	if w.nonce, err = proofs.Nonce(t.Context()); err != nil {
		t.Fatal(err)
	}
	verifier, err := gateway.New(gateway.Config{Trust: table, Audience: []string{"im:a.example"}, Proofs: proofs, Development: true})
	if err != nil {
		t.Fatal(err)
	}
	if w.signer, err = forwardauth.NewSigner(forwardauth.SignerConfig{Issuer: gatewayURL, Key: ecKey(t)}); err != nil {
		t.Fatal(err)
	}
	if routes == nil {
		routes = []forwardauth.Route{{Path: "/", Upstream: "chat", Policy: policy(t, gateway.PolicyConfig{})}}
	}
	w.cfg = forwardauth.HandlerConfig{Reader: newReader(t, kind), Verifier: verifier, Proofs: proofs, Signer: w.signer, Routes: routes}
	if w.handler, err = forwardauth.NewHandler(w.cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

func policy(t testing.TB, cfg gateway.PolicyConfig) *gateway.Policy {
	t.Helper()
	p, err := gateway.NewPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// token returns an access token of Bob, with claims changed; a nil value removes one.
func (w *world) token(t testing.TB, change map[string]any) string {
	t.Helper()
	now := time.Now()
	set := claims.Set{
		Issuer: issuerB, Subject: "im:u2@b.example;id-type=user", Handle: "im:%40bob@b.example", Device: "im:u2/d1@b.example",
		Audience: []string{"im:a.example"}, ClientID: "app", Scope: "im:handle im:device", JTI: rand.Text(), IssuedAt: now,
		Expires: now.Add(10 * time.Minute), SID: "s1", JKT: w.device.JKT(),
	}
	text, err := json.Marshal(set)
	members := make(map[string]any)
	if err == nil {
		err = json.Unmarshal(text, &members)
	}
	for name, value := range change {
		if members[name] = value; value == nil {
			delete(members, name)
		}
	}
	if err == nil {
		text, err = json.Marshal(members)
	}
	if err != nil {
		t.Fatal(err)
	}
	token, err := jose.Sign(w.issuer, jose.ES256, []byte(`{"typ":"at+jwt","alg":"ES256","kid":"k1"}`), text)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// sign adds the token and a new proof for a URL to a request.
func (w *world) sign(t testing.TB, r *http.Request, token, method, url string) {
	t.Helper()
	proof, err := w.device.Proof(dpop.ProofParams{Method: method, URL: url, AccessToken: token, Nonce: w.nonce})
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", proof)
}
