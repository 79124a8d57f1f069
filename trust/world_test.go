package trust_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/trust"
)

// A world is an Internet of domains and issuers, all on one server with one certificate. Requests to it come from the hardened clients.
type world struct {
	clock
	policy fetch.Policy
	server *httptest.Server

	mu    sync.Mutex
	hosts map[string]http.HandlerFunc // by host
	asked map[string]int              // by host
}

// hostNames are the names in the world's certificate.
var hostNames = []string{
	"a.example", "b.example", "c.example", "xn--bcher-kva.example", "id.example", "new.example", "other.example", "evil.example",
	"*.many.example",
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{hosts: make(map[string]http.HandlerFunc), asked: make(map[string]int)}
	w.now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "world"}, DNSNames: hostNames, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.asked[r.Host]++
		handler := w.hosts[r.Host]
		w.mu.Unlock()
		if handler == nil {
			http.Error(rw, "no such host", http.StatusBadGateway)
			return
		}
		handler(rw, r)
	}))
	w.server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	at := strings.TrimPrefix(w.server.URL, "https://")
	w.policy = fetch.Policy{CAFile: ca, DevHosts: make(map[string]string)}
	for _, name := range hostNames {
		w.policy.DevHosts[name] = at
	}
	for n := range 40 {
		w.policy.DevHosts[fmt.Sprintf("d%d.many.example", n)] = at
	}
	return w
}

// table returns a table in this world.
func (w *world) table(t *testing.T, cfg trust.Config) *trust.Table {
	t.Helper()
	client, err := fetch.NewClient(w.policy)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := fetch.NewForeignClient(w.policy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	t.Cleanup(foreign.CloseIdleConnections)
	cfg.Client, cfg.ForeignClient, cfg.Now = client, foreign, w.Now
	return newTable(t, cfg)
}

// host makes a host answer by handler; nil is an outage.
func (w *world) host(name string, handler http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[name] = handler
}

func (w *world) count(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[name]
}

func writeJSON(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v)
}

// domain makes a domain name issuers.
func (w *world) domain(name string, issuers ...string) {
	w.host(name, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != trust.DocumentPath {
			http.NotFound(rw, r)
			return
		}
		writeJSON(rw, map[string]any{"domain": name, "issuers": append([]string{}, issuers...)})
	})
}

// issuer makes https://HOST an issuer with a key named k that names domains.
func (w *world) issuer(host string, domains ...string) (url string) {
	url = "https://" + host
	w.host(host, func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/oauth-authorization-server":
			writeJSON(rw, map[string]any{"issuer": url, "jwks_uri": url + "/jwks", "im_domains_supported": append([]string{}, domains...)})
		case "/jwks":
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write(jwks("k"))
		default:
			http.NotFound(rw, r)
		}
	})
	return url
}

// wantSpeaks checks the answer of Speaks.
func wantSpeaks(t *testing.T, table *trust.Table, issuer, domain string, want error) {
	t.Helper()
	if err := table.Speaks(t.Context(), issuer, domain); !errors.Is(err, want) {
		t.Errorf("Speaks(%s, %s) = %v, want %v", issuer, domain, err, want)
	}
}

// wantKey checks the answer of Key for the key k.
func wantKey(t *testing.T, table *trust.Table, issuer string, want error) {
	t.Helper()
	key, _, err := table.Key(t.Context(), issuer, "k")
	if !errors.Is(err, want) || err == nil && !publicKey('k').Equal(key) {
		t.Errorf("Key(%s) = %v, %v, want %v", issuer, key, err, want)
	}
}
