package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/devidp"
	"github.com/imidentity/issuer/internal/doctor"
	"github.com/imidentity/issuer/internal/issuer"
)

const host = "im-id.example.com"

// A site is an issuer behind a proxy that ends TLS, with an OpenID provider. A test breaks a part of it before it calls the doctor.
type site struct {
	folder   string
	upstream string // URL of the provider
	settings string // in addition to those of every site
	domain   string // additional settings of the domain
	provider string // additional settings of the provider
	idle     bool   // the issuer does not run

	cert    func(ca *authority) tls.Certificate // nil: a good one
	request func(*http.Request)                 // changes what the proxy forwards
	answer  func(*http.Response) error          // changes what comes back
	handler func(http.Handler) http.Handler     // wraps the proxy
	adjust  func(*config.Config)                // changes the settings that the doctor sees
	client  devidp.Client                       // at the provider
	idp     func(http.Handler) http.Handler     // wraps the provider
	down    bool                                // the provider does not answer
}

func newSite(t *testing.T) *site {
	t.Helper()
	folder, err := os.MkdirTemp("", "doctor") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return &site{
		folder: folder, settings: "trusted_proxies: [127.0.0.0/8]", client: devidp.Client{ID: "issuer"},
		request: func(*http.Request) {}, answer: func(*http.Response) error { return nil },
		handler: func(h http.Handler) http.Handler { return h }, idp: func(h http.Handler) http.Handler { return h },
		adjust: func(*config.Config) {},
	}
}

// examine sets up the site, calls the doctor and returns the findings.
func (s *site) examine(t *testing.T) findings {
	t.Helper()
	idp := listen(t)
	s.upstream = "http://" + idp.Addr().String()
	s.client.RedirectURIs = []string{"https://" + host + "/login/callback/corp"}
	provider, err := devidp.New(devidp.Config{Issuer: s.upstream, Clients: []devidp.Client{s.client}})
	if err != nil {
		t.Fatal(err)
	}
	if s.down {
		idp.Close()
	} else {
		serve(t, idp, s.idp(provider))
	}
	ca := newAuthority(t)
	if err := os.WriteFile(filepath.Join(s.folder, "ca.pem"), ca.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	front, back := listen(t), listen(t)
	settings := fmt.Sprintf(`
issuer: https://%s
development: true
outbound:
  allow_networks: [127.0.0.0/8]
  ca_file: ca.pem
  dev_hosts: {%s: "%s"}
domains:
  - name: example.com
    providers:
      - {id: corp, issuer: %q, client_id: issuer, authoritative_handles: true%s}
%s
%s
`, host, host, front.Addr(), s.upstream, s.provider, s.domain, s.settings)
	file := filepath.Join(s.folder, "issuer.yaml")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.idle {
		run(t, cfg, back)
	} else {
		back.Close()
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: back.Addr().String()})
			r.SetXForwarded()
			s.request(r.Out)
		},
		ModifyResponse: s.answer,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	cert := ca.issue(t, ca.template(host))
	if s.cert != nil {
		cert = s.cert(ca)
	}
	serve(t, tls.NewListener(front, &tls.Config{Certificates: []tls.Certificate{cert}}), s.handler(proxy))
	s.adjust(cfg)
	var found findings
	if err := doctor.Run(t.Context(), cfg, func(f doctor.Finding) { found = append(found, f) }); err != nil {
		t.Fatal(err)
	}
	return found
}

// run runs an issuer until the test ends.
func run(t *testing.T, cfg *config.Config, public net.Listener) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	instance, err := issuer.Open(ctx, cfg, issuer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := issuer.ListenAdmin(cfg.AdminSocket())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- instance.Serve(ctx, issuer.Listeners{Public: public, Admin: admin}) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}

func serve(t *testing.T, l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// rewritten changes the JSON document that a handler serves at a path.
func rewritten(path string, change func(doc map[string]any)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != path {
				next.ServeHTTP(w, r)
				return
			}
			whole := &kept{header: http.Header{}}
			next.ServeHTTP(whole, r)
			var doc map[string]any
			_ = json.Unmarshal(whole.body, &doc)
			change(doc)
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(doc)
		})
	}
}

type kept struct {
	header http.Header
	body   []byte
}

func (k *kept) Header() http.Header { return k.header }
func (k *kept) WriteHeader(int)     {}
func (k *kept) Write(p []byte) (int, error) {
	k.body = append(k.body, p...)
	return len(p), nil
}

type findings []doctor.Finding

func (fs findings) String() string {
	var b strings.Builder
	for _, f := range fs {
		fmt.Fprintf(&b, "\n%s %s: %s -> %s", f.Status, f.Check, f.Text, f.Remedy)
	}
	return b.String()
}

// want checks that a check has a finding with this status and text.
func (fs findings) want(t *testing.T, check string, status doctor.Status, words string) {
	t.Helper()
	for _, f := range fs {
		if f.Check == check && f.Status == status && strings.Contains(f.Text, words) {
			if f.Remedy == "" && status == doctor.Fail {
				t.Errorf("%s has no remedy", f.Text)
			}
			return
		}
	}
	t.Errorf("no %s of %s with %q in %s", status, check, words, fs)
}

// wantNone checks that only the named checks have findings with these statuses.
func (fs findings) wantNone(t *testing.T, but []string, statuses ...doctor.Status) {
	t.Helper()
	for _, f := range fs {
		for _, status := range statuses {
			if f.Status == status && !slices.Contains(but, f.Check) {
				t.Errorf("%s of %s: %s", f.Status, f.Check, f.Text)
			}
		}
	}
}

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	return signedBy(t, nil, &x509.Certificate{
		Subject: pkix.Name{CommonName: "Test Authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour * 24 * 365),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
}

// signedBy returns an authority whose certificate parent has signed. If parent is nil, it is self-signed.
func signedBy(t *testing.T, parent *authority, template *x509.Certificate) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key}
	if parent == nil {
		parent = &authority{template, key}
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) template(host string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: time.Now().Add(-time.Hour * 24 * 30), NotAfter: time.Now().Add(time.Hour * 24 * 60),
	}
}

func (a *authority) issue(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	return signedBy(t, a, template).chain()
}

// chain returns the certificate of a server with those of the given authorities above it.
func (a *authority) chain(above ...*authority) tls.Certificate {
	c := tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}
	for _, up := range above {
		c.Certificate = append(c.Certificate, up.cert.Raw)
	}
	return c
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}
