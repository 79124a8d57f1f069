package edge_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/edge"
	"github.com/imidentity/issuer/internal/jose"
)

// abroad serves the domains guest.example and refused.example and their issuer, id.guest.example, and returns the settings to reach them.
// The metadata of the issuer has these members besides.
func abroad(t *testing.T, key *ecdsa.PrivateKey, members ...string) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"guest.example", "id.guest.example", "refused.example"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/im-issuer":
			fmt.Fprintf(w, `{"domain":%q,"issuers":["https://id.guest.example"]}`, r.Host)
		case "/.well-known/oauth-authorization-server":
			fmt.Fprint(w, `{"issuer":"https://id.guest.example","jwks_uri":"https://id.guest.example/jwks",`+
				`"im_domains_supported":["guest.example","refused.example"]`+strings.Join(members, "")+"}")
		case "/jwks":
			fmt.Fprintf(w, `{"keys":[%s,"kid":"k","alg":"ES256"}]}`, strings.TrimSuffix(string(jwk), "}"))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	at := s.Listener.Addr().String()
	return fmt.Sprintf("{allow_networks: [127.0.0.0/8], ca_file: %s, dev_hosts: {guest.example: %q, id.guest.example: %q, refused.example: %q}}", ca, at, at, at)
}

// TestOpenDiscovery admits a domain that is not listed only if the settings say so.
func TestOpenDiscovery(t *testing.T) {
	key, device := newKey(t), newKey(t)
	outbound := abroad(t, key)
	signer, err := dpop.NewSigner(device, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]struct{ discovery, domain, outcome string }{
		"closed":            {"", "guest.example", "unauthenticated"},
		"open":              {"discovery: {open: true}", "guest.example", "allowed"},
		"open, allowed":     {"discovery: {open: true, allow: [guest.example]}", "guest.example", "allowed"},
		"open, not allowed": {"discovery: {open: true, allow: [other.example]}", "guest.example", "unauthenticated"},
		"open, refused":     {"discovery: {open: true, refuse: [refused.example]}", "refused.example", "unauthenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := config.ParseGateway(filepath.Join(t.TempDir(), "gateway.yaml"), fmt.Appendf(nil, `
development: true
outbound: %s
public_origins: [https://chat.example.com]
audience: ["im:example.com"]
proxy: nginx
trusted_proxies: [127.0.0.1/32]
peers: [{domain: example.com, issuer: "https://id.example.com"}]
routes: [{path: /, upstream: chat}]
%s
`, outbound, v.discovery), nil)
			if err != nil {
				t.Fatal(err)
			}
			i, err := edge.Open(context.Background(), cfg, edge.Options{CheckOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = i.Close() })
			got := check(t, i, key, signer, v.domain)
			if got.Outcome != v.outcome {
				t.Errorf("Check = %+v, want %s", got, v.outcome)
			}
		})
	}
}

// check decides about a request of Bob of a domain.
func check(t *testing.T, i *edge.Instance, key *ecdsa.PrivateKey, signer *dpop.Signer, domain string) edge.Checked {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	set := claims.Set{
		Issuer: "https://id.guest.example", Subject: "im:abc@" + domain + ";id-type=user", Audience: []string{"im:example.com"},
		ClientID: "app", Scope: "im:handle im:device", Handle: "im:%40bob@" + domain, Device: "im:abc/1@" + domain,
		JTI: rand.Text(), IssuedAt: now, Expires: now.Add(5 * time.Minute), JKT: signer.JKT(),
	}
	token, err := jose.Sign(key, jose.ES256, []byte(`{"typ":"at+jwt","alg":"ES256","kid":"k"}`), set.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	const url = "https://chat.example.com/rooms"
	proof, err := signer.Proof(dpop.ProofParams{Method: http.MethodGet, URL: url, AccessToken: token, Nonce: "any", IssuedAt: now})
	if err != nil {
		t.Fatal(err)
	}
	return i.Check(t.Context(), edge.Check{
		Method: http.MethodGet, URL: url, Authorization: []string{"DPoP " + token}, DPoP: []string{proof},
	})
}

// TestDiscoveredIssuerIsForeign holds that the issuer of a domain cannot make the gateway send requests to networks that only the issuers
// in the settings may be in.
func TestDiscoveredIssuerIsForeign(t *testing.T) {
	var asked atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(inside.Close)
	var own string
	home := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/token" {
			fmt.Fprint(w, `{"access_token":"token","token_type":"DPoP","expires_in":300}`)
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"token_endpoint":"%s/token"}`, own, own)
	}))
	t.Cleanup(home.Close)
	own = home.URL
	key, device := newKey(t), newKey(t)
	outbound := abroad(t, key, `,"introspection_endpoint":"`+inside.URL+`/introspect"`)
	signer, err := dpop.NewSigner(device, "")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "secret"), []byte("secret of the gateway, of 32 bytes or more"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, issuer := range []string{"", `, issuer: "https://id.guest.example"`} {
		cfg, err := config.ParseGateway(filepath.Join(folder, "gateway.yaml"), fmt.Appendf(nil, `
development: true
outbound: %s
public_origins: [https://chat.example.com]
audience: ["im:example.com"]
proxy: nginx
trusted_proxies: [127.0.0.1/32]
home: {issuer: %q, client_id: gateway, secret_file: secret}
peers: [{domain: example.com, issuer: %q}, {domain: guest.example%s}]
routes: [{path: /, upstream: chat, mode: introspect}]
`, outbound, own, own, issuer), nil)
		if err != nil {
			t.Fatal(err)
		}
		i, err := edge.Open(context.Background(), cfg, edge.Options{CheckOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = i.Close() })
		if got := check(t, i, key, signer, "guest.example"); got.Outcome != "unknown" {
			t.Errorf("Check = %+v, want unknown", got)
		}
		if n := asked.Load(); n > 0 {
			t.Errorf("the peer {domain: guest.example%s} had the gateway ask a server inside %d times", issuer, n)
		}
	}
}
