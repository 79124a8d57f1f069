package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/trust"
)

// TestDomainDocument reads the documents of the issuer's domains as others do.
func TestDomainDocument(t *testing.T) {
	s := start(t, map[string]string{"others": `other_issuers: ["https://new.example.com"]`})
	const path = "/.well-known/im-issuer"
	for asked, want := range map[string]trust.Document{
		"example.com":     {Domain: "example.com", Issuers: []string{s.issuer, "https://new.example.com"}},
		"EXAMPLE.com.":    {Domain: "example.com", Issuers: []string{s.issuer, "https://new.example.com"}},
		"generic.example": {Domain: "generic.example", Issuers: []string{s.issuer}},
	} {
		a := s.get(t, path+"?domain="+asked)
		doc, err := trust.ParseDocument([]byte(a.body), true)
		if err != nil || doc.Domain != want.Domain || !slices.Equal(doc.Issuers, want.Issuers) || a.header.Get("Content-Type") != "application/json" ||
			a.header.Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("document of %s = %v: %+v, %v, want %+v", asked, a, doc, err, want)
		}
		wantShared(t, a)
		req := s.request(t, http.MethodGet, path+"?domain="+asked, "")
		req.Header.Set("If-None-Match", a.header.Get("ETag"))
		if a := s.send(t, s.http, req); a.status != http.StatusNotModified || a.body != "" {
			t.Errorf("answer with the entity tag = %v, want 304", a)
		}
	}
	for query, want := range map[string]int{
		"":                                       http.StatusNotFound, // 127.0.0.1 is no domain
		"?domain=":                               http.StatusNotFound,
		"?domain=other.example":                  http.StatusNotFound,
		"?domain=a%20b":                          http.StatusNotFound,
		"?domain=%ff":                            http.StatusNotFound,
		"?domain=" + strings.Repeat("a", 5000):   http.StatusNotFound,
		"?domain=example.com&domain=example.com": http.StatusBadRequest,
		"?domain=%zz":                            http.StatusBadRequest,
	} {
		if a := s.get(t, path+query); a.status != want || a.text("error") == "" || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("answer to %.40s = %v, want %d", query, a, want)
		}
	}
}

// TestDomainDocumentOfHost needs no parameter where the issuer's host is a domain, whatever the request calls the host.
func TestDomainDocumentOfHost(t *testing.T) {
	s := start(t, map[string]string{"origin": "https://example.com", "prefix": "/id"})
	for _, to := range []string{"https://example.com/.well-known/im-issuer/id", "https://example.com/id/.well-known/im-issuer"} {
		req := s.request(t, http.MethodGet, to, "")
		req.Host = "example.org"
		a := s.send(t, s.http, req)
		if doc, err := trust.ParseDocument([]byte(a.body), true); err != nil || doc.Domain != "example.com" {
			t.Errorf("answer at %s = %v, want the document of example.com", to, a)
		}
	}
}

// A front is the web server of abroad.example and of its issuer's host, by TLS.
type front struct {
	*httptest.Server
	settings string       // of outbound, to reach it
	named    atomic.Value // the issuer that the domain names instead of what the issuer says; a string
	down     atomic.Bool
}

func newFront(t *testing.T, far *site) *front {
	t.Helper()
	f := new(front)
	f.named.Store("")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"abroad.example", "*.abroad.example"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Transport: far.transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = "https", "id.abroad.example"
		if r.In.Host == "abroad.example" {
			r.Out.URL.RawQuery = "domain=abroad.example"
		}
	}}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch named := f.named.Load().(string); {
		case f.down.Load():
			w.WriteHeader(http.StatusBadGateway)
		case r.Host == "abroad.example" && named != "":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"domain":"abroad.example","issuers":[%q]}`, named)
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	f.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
	f.StartTLS()
	t.Cleanup(f.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	at := f.Listener.Addr().String()
	f.settings = fmt.Sprintf("ca_file: %s\n  dev_hosts: {abroad.example: %q, id.abroad.example: %q}", ca, at, at)
	return f
}

// TestWithdrawnDomainOfService has an issuer with two domains, of which one withdraws. Its clients are not told any longer about tokens that
// are for that one.
func TestWithdrawnDomainOfService(t *testing.T) {
	t.Parallel()
	far := startBeside(t, map[string]string{"file": "abroad", "resources": "[]", "origin": "https://id.abroad.example"})
	web := newFront(t, far)
	home := startBeside(t, map[string]string{
		"resources": `["https://rooms.example.com", "im:abroad.example"]`, "outbound": web.settings,
		"peers": "peers:\n  - {domain: abroad.example}\n  - {domain: neighbour.example, issuer: \"https://id.abroad.example\"}\n",
	})
	far.reload(t, map[string]string{"resources": fmt.Sprintf("[%q]", home.issuer)})
	code := home.code(t, "alice", url.Values{"resource": {"im:abroad.example"}})
	alice := wantTokens(t, home.token(t, app, newDevice(t), codeForm(code, nil)))
	machine, bobs := newDevice(t), newDevice(t)
	service := far.service(t, peer, machine, url.Values{"resource": {home.issuer}})
	bob := far.loginFor(t, bobs, "bob", "im:abroad.example", home.issuer)
	ask := func(d *device, token string) answer {
		return home.held(t, d, token, http.MethodPost, "/introspect", url.Values{"token": {alice.access}})
	}
	if a := ask(bobs, bob.access); a.json["active"] != true {
		t.Fatalf("answer to a user = %v, want active", a)
	}
	if a := ask(machine, service); a.json["active"] != true {
		t.Fatalf("answer to a service = %v, want active", a)
	}
	web.named.Store("https://other.example")
	home.advance(t, trust.DefaultFresh)
	if a := ask(machine, service); a.body != "{\"active\":false}\n" {
		t.Errorf("answer to a service = %v, want {\"active\":false}: its issuer speaks for another domain only", a)
	}
	wantRefused(t, ask(bobs, bob.access), http.StatusUnauthorized, "invalid_token")
}

// TestDiscoveredPeer lists a domain alone. Its users and clients are let in as if its issuer were listed, and a restart forgets nothing.
func TestDiscoveredPeer(t *testing.T) {
	t.Parallel()
	far := startBeside(t, map[string]string{"file": "abroad", "resources": "[]", "origin": "https://id.abroad.example"})
	web := newFront(t, far)
	home := startBeside(t, map[string]string{
		"resources": `["https://rooms.example.com", "im:abroad.example"]`, "outbound": web.settings,
		"peers": "peers:\n  - {domain: abroad.example, introspection: {claims: [sub, device, act], reasons: true}}\n",
	})
	far.reload(t, map[string]string{"resources": fmt.Sprintf("[%q]", home.issuer)})
	code := home.code(t, "alice", url.Values{"resource": {"im:abroad.example"}})
	alice := wantTokens(t, home.token(t, app, newDevice(t), codeForm(code, nil)))
	machine, bobs := newDevice(t), newDevice(t)
	service := far.service(t, peer, machine, url.Values{"resource": {home.issuer}})
	bob := far.loginFor(t, bobs, "bob", "im:abroad.example", home.issuer)
	ask := func(d *device, token string) answer {
		return home.held(t, d, token, http.MethodPost, "/introspect", url.Values{"token": {alice.access}})
	}
	asked := func() map[string]answer {
		return map[string]answer{"service": ask(machine, service), "user": ask(bobs, bob.access)}
	}
	for who, a := range asked() {
		if a.json["active"] != true || a.text("sub") != alice.set.Subject || a.json["handle"] != nil {
			t.Errorf("answer to a %s = %v, want what the policy of the domain tells", who, a)
		}
	}

	web.down.Store(true)
	home.restart(t, nil)
	for who, a := range asked() {
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("answer to a %s = %v, want 503: an outage is no refusal", who, a)
		}
	}
	web.down.Store(false)
	web.named.Store("https://other.example")
	home.restart(t, nil)
	for who, a := range asked() {
		if a.status != http.StatusUnauthorized || a.text("error") != "invalid_token" {
			t.Errorf("answer to a %s = %v, want 401: the domain names another issuer", who, a)
		}
	}
	web.named.Store("")
	home.restart(t, nil)
	for who, a := range asked() {
		if a.json["active"] != true {
			t.Errorf("answer to a %s = %v, want active", who, a)
		}
	}
}
