package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
)

// The two providers of the test, each with an issuer, services and gateways.
var gatewayDomains = []string{"a.example", "b.example"}

// The proxies that stand before the services. Each has a gateway of its own, for a gateway is set to one kind.
var proxyKinds = []string{"nginx", "caddy", "haproxy"}

// gatewaySettings are those of one gateway. The routes have the modes that the test needs.
const gatewaySettings = `
listen: ${listen}
data: ${data}
public_origins: ["https://chat.${domain}"]
proxy: ${kind}
trusted_proxies: [127.0.0.1/32]
audience: ["im:${domain}"]
replay: ${replay}
${shared}
development: true
log: {format: json, level: debug}
outbound: {allow_networks: [127.0.0.0/8]}
home: {issuer: "${home}", client_id: gateway, secret_file: "${secret}", feed: true}
identity: {key_file: "${key}"}
peers:
  - {domain: a.example, issuer: "${a.example}"}
  - {domain: b.example, issuer: "${b.example}"}
routes:
  - {path: /, upstream: chat}
  - {path: /own, upstream: chat, domains: ["${domain}"]}
  - {path: /now, upstream: chat, mode: introspect}
  - {path: /scoped, upstream: chat, scopes: [introspect]}
`

// federatedSettings are what an issuer of the test has beside the development settings, as docs/federation.md says.
const federatedSettings = `
peers: [{domain: ${other}, issuer: "${issuer}"}]
clients:
  - {id: im-app, domains: ["${domain}"], peer_resources: true}
  - {id: peer, domains: ["${domain}"]}
  - {id: bot, domains: ["${domain}"]}
  - id: gateway
    auth: secret
    secret_sha256: ${hash}
    grants: [client_credentials]
    scopes: [introspect, feed]
    domains: [${domain}]
    peer_resources: true
`

// A federation is two issuers that know each other, and the guarded services of both.
type federation struct {
	dir, binary string
	ports       *ports
	issuers     map[string]*issuerProcess // by domain
	sites       map[string]*guarded       // by kind of proxy and domain, as in nginx/a.example
	roots       *x509.CertPool
}

type issuerProcess struct {
	*process
	url, data string
}

// A guarded service is one behind a proxy that asks a gateway. Two gateways share the work where the proxy is nginx in a.example.
type guarded struct {
	kind, domain, name string
	address            string // of the proxy
	gateways           []*process
	addresses          []string // of the gateways
	settings           []string // their files
	proxy              *process
	service            *echoService
}

// newFederation starts everything. It ends with the test.
func newFederation(t *testing.T, ctx context.Context) *federation {
	t.Helper()
	dir, err := os.MkdirTemp("", "gateway") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	f := &federation{dir: dir, ports: newPorts(), issuers: make(map[string]*issuerProcess), sites: make(map[string]*guarded)}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f.binary = program(t, "./cmd/issuer")
	for _, domain := range gatewayDomains {
		f.issuers[domain] = &issuerProcess{url: "http://" + f.ports.take(t), data: filepath.Join(dir, domain)}
	}
	for i, domain := range gatewayDomains {
		f.startIssuer(t, ctx, domain, gatewayDomains[1-i])
	}
	f.certificates(t)
	redis := startRedis(t, ctx, dir, f.ports.take(t))
	write(t, dir, map[string]string{"redis-url": "redis://" + redis, "shared-secret": hex.EncodeToString(random(t, 32)) + "\n"})

	for _, domain := range gatewayDomains {
		for _, kind := range proxyKinds {
			f.sites[kind+"/"+domain] = f.startGuarded(t, ctx, kind, domain)
		}
	}
	for _, s := range f.sites {
		waitForServer(t, ctx, s.address, s.proxy)
	}
	return f
}

// startIssuer starts the development issuer of domain, whose users may get tokens for the other.
func (f *federation) startIssuer(t *testing.T, ctx context.Context, domain, other string) {
	t.Helper()
	i := f.issuers[domain]
	fill := map[string]string{"domain": domain, "other": other, "issuer": f.issuers[other].url, "hash": fmt.Sprintf("%x", sha256.Sum256([]byte(peerSecret)))}
	write(t, f.dir, map[string]string{domain + ".yaml": os.Expand(federatedSettings, func(name string) string { return fill[name] })})
	cmd := exec.CommandContext(ctx, f.binary, "serve", "--dev", "--config", filepath.Join(f.dir, domain+".yaml"), "--data", i.data,
		"--listen", strings.TrimPrefix(i.url, "http://"), "--dev-idp-listen", f.ports.take(t), "--log-format", "json")
	cmd.Env = append(os.Environ(), "ISSUER_DOMAINS__0__NAME="+domain)
	i.process = startProcess(t, cmd, `"issuer":"http`)
}

// startGuarded starts a service, its gateway and its proxy.
func (f *federation) startGuarded(t *testing.T, ctx context.Context, kind, domain string) *guarded {
	t.Helper()
	s := &guarded{kind: kind, domain: domain, name: "chat." + domain, address: f.ports.take(t)}
	id := kind + "-" + domain
	fill := map[string]string{
		"domain": domain, "kind": kind, "replay": "memory", "home": f.issuers[domain].url,
		"secret": filepath.Join(f.dir, id+".secret"), "key": filepath.Join(f.dir, id+".key"),
	}
	for _, d := range gatewayDomains {
		fill[d] = f.issuers[d].url
	}
	addresses := []string{f.ports.take(t)}
	if kind == "nginx" && domain == "a.example" {
		addresses = append(addresses, f.ports.take(t))
		fill["replay"], fill["shared"] = "redis", "redis_url_file: "+f.dir+"/redis-url\nsecret_file: "+f.dir+"/shared-secret\n"
	}
	write(t, f.dir, map[string]string{id + ".secret": peerSecret, id + ".key": identityKey(t)})
	for i, listen := range addresses {
		fill["listen"], fill["data"] = listen, filepath.Join(f.dir, fmt.Sprintf("%s-%d", id, i))
		settings := fmt.Sprintf("%s-%d.yaml", id, i)
		write(t, f.dir, map[string]string{settings: os.Expand(gatewaySettings, func(name string) string { return fill[name] })})
		cmd := exec.CommandContext(ctx, f.binary, "gateway", "--config", filepath.Join(f.dir, settings))
		s.settings = append(s.settings, filepath.Join(f.dir, settings))
		s.gateways = append(s.gateways, startProcess(t, cmd, `"listen":`))
	}
	s.addresses = addresses
	s.service = newEchoService(t, forwardauth.Expected{
		Issuer: "https://" + s.name, Upstream: "chat", Keys: forwardauth.FetchKeys("http://"+addresses[0]+"/jwks", nil),
	})
	s.proxy = f.startProxy(t, ctx, s)
	return s
}

// run runs a command of the issuer that must succeed.
func (f *federation) run(t *testing.T, ctx context.Context, arguments ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, f.binary, arguments...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// removeDevice removes the device of a visitor at the issuer of domain.
func (f *federation) removeDevice(t *testing.T, ctx context.Context, domain string, v *visitor) {
	t.Helper()
	f.run(t, ctx, "devices", "remove", v.id(t), "--data", f.issuers[domain].data, "--reason", "lost")
}

// certificates makes an authority, and a certificate for the service of each domain.
func (f *federation) certificates(t *testing.T) {
	t.Helper()
	f.roots = x509.NewCertPool()
	for _, domain := range gatewayDomains {
		chain, key := selfSigned(t, "chat."+domain)
		if !f.roots.AppendCertsFromPEM([]byte(chain)) {
			t.Fatal("the certificate is not readable")
		}
		write(t, f.dir, map[string]string{"chat." + domain + ".pem": chain, "chat." + domain + ".key": key, "chat." + domain + ".both.pem": chain + key})
	}
}

// An echoService is a service behind a proxy. It answers with the headers that it gets, and checks the identity.
type echoService struct {
	*httptest.Server
	requests atomic.Int64
}

// An echo is what a service saw of a request.
type echo struct {
	Method, URI, Host string
	Header            http.Header
	Identity          *gateway.Identity
	Refused           string // why the identity is not one
	Body              string
}

func newEchoService(t *testing.T, expected forwardauth.Expected) *echoService {
	t.Helper()
	s := new(echoService)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if r.Header.Get("Upgrade") == "websocket" && r.Header.Get("X-Im-User") != "" {
			talk(t, w)
			return
		}
		seen := echo{Method: r.Method, URI: r.RequestURI, Host: r.Host, Header: r.Header}
		id, err := forwardauth.OpenRequest(r, expected)
		if seen.Identity = id; err != nil {
			seen.Refused = err.Error()
		}
		seen.write(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// client returns an HTTP client for the site, which finds its name at the address of the proxy.
func (f *federation) client(s *guarded) *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: f.roots},
		DialContext:       dialTo(s.address),
	}}
}

func identityKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
