package faults_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/devidp/devidptest"
)

const (
	clients  = 32
	people   = clients / 2 // each has two clients, which may remove each other's device
	patience = time.Minute // for one answer
)

const settings = `
issuer: %[1]s
listen: %[2]s
data: data
kek_file: ../kek
development: true
storage: postgres
storage_url_file: ../storage-url
replay: %[4]s
audit: {node: %[3]s}
outbound: {allow_networks: [127.0.0.0/8]}
lifetimes: {access: 60m}
limits: {devices_per_user: 1000, revocations_per_user: 100000, per_address: off, per_client: off, per_user_client: off, per_user: off}
domains:
  - name: example.com
    providers:
      - {id: dev, issuer: %[5]q, client_id: issuer, authoritative_handles: true}
clients:
  - id: app
    auth: none
    redirect_uris: ["http://127.0.0.1/callback"]
    grants: [authorization_code, refresh_token]
    scopes: ["im:handle", "im:device", account]
    domains: [example.com]
  - id: rooms
    auth: secret
    secret_sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    scopes: [introspect, "introspect:domain"]
    domains: [example.com]
`

// A cluster is three nodes, and what is around them.
type cluster struct {
	ledger   *ledger
	folder   string
	issuer   string // the URL of the balancer, which is that of the issuer
	database *database
	redis    *redisServer // nil if proofs are spent in PostgreSQL
	haproxy  *exec.Cmd
	nodes    []*node
	balanced *http.Client // sends requests through the balancer
}

func startCluster(t *testing.T, l *ledger, redis bool) *cluster {
	t.Helper()
	folder, err := os.MkdirTemp("", "faults")
	if err != nil {
		t.Fatal(err)
	}
	front := freeAddress(t)
	c := &cluster{ledger: l, folder: folder, issuer: "http://" + front}
	t.Cleanup(func() {
		if t.Failed() || *keep {
			t.Logf("the logs of the nodes are in %s", folder)
		} else if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	c.balanced = &http.Client{Timeout: patience, CheckRedirect: noRedirect, Transport: &http.Transport{DisableKeepAlives: true}}
	c.database = startDatabase(t, !redis)
	files := map[string]string{"kek": strings.Repeat("5a", 32), "storage-url": c.database.url()}
	replay := "storage"
	if redis {
		c.redis = startRedis(t)
		replay, files["redis-url"] = "redis\nredis_url_file: ../redis-url", "unix://"+c.redis.socket()
	}
	for name, text := range files {
		c.write(t, name, text+"\n")
	}
	provider := devidptest.Start(t, c.issuer+"/login/callback/dev", people)
	for _, name := range []string{"one", "two", "three"} {
		n := &node{name: name, listen: freeAddress(t), folder: filepath.Join(folder, name), ledger: l}
		if err := os.MkdirAll(filepath.Join(n.folder, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		c.write(t, name+"/issuer.yaml", fmt.Sprintf(settings, c.issuer, n.listen, name, replay, provider))
		c.nodes = append(c.nodes, n)
	}
	if out, err := exec.Command(program, "migrate", "up", "--config", c.nodes[0].config()).CombinedOutput(); err != nil {
		t.Fatalf("migrate up: %v\n%s", err, out)
	}
	for _, n := range c.nodes {
		n.start(t)
		t.Cleanup(n.stop)
	}
	c.balance(t, front)
	c.calm(t)
	return c
}

func (c *cluster) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The answers of HAProxy itself have the header X-Balancer, and those of a node have X-Node with its name.
const balancerSettings = `
global
    maxconn 4000
defaults
    mode http
    timeout connect 2s
    timeout client 90s
    timeout server 90s
    timeout http-request 30s
    timeout queue 5s
    retries 3
    option redispatch 1
    errorfile 500 %[1]s/500.http
    errorfile 502 %[1]s/502.http
    errorfile 503 %[1]s/503.http
    errorfile 504 %[1]s/504.http
frontend public
    bind %[2]s
    default_backend nodes
backend nodes
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    http-response set-header X-Node %%s
    default-server check inter 250ms fall 1 rise 1
`

// balance starts HAProxy before the nodes.
func (c *cluster) balance(t *testing.T, at string) {
	t.Helper()
	text := fmt.Sprintf(balancerSettings, c.folder, at)
	for _, n := range c.nodes {
		text += fmt.Sprintf("    server %s %s\n", n.name, n.listen)
	}
	c.write(t, "haproxy.cfg", text)
	for _, status := range []int{500, 502, 503, 504} {
		c.write(t, fmt.Sprintf("%d.http", status), fmt.Sprintf("HTTP/1.0 %d %s\r\nX-Balancer: none\r\nCache-Control: no-store\r\n"+
			"Retry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status, http.StatusText(status)))
	}
	log, err := os.Create(filepath.Join(c.folder, "haproxy.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.haproxy = exec.Command("/usr/sbin/haproxy", "-db", "-f", filepath.Join(c.folder, "haproxy.cfg"))
	c.haproxy.Stdout, c.haproxy.Stderr = log, log
	if err := c.haproxy.Start(); err != nil {
		t.Fatalf("%v: `make setup` installs HAProxy", err)
	}
	t.Cleanup(func() {
		_ = c.haproxy.Process.Kill()
		_ = c.haproxy.Wait()
	})
}

// calm waits until each node and the balancer are ready.
func (c *cluster) calm(t *testing.T) {
	t.Helper()
	type place struct {
		name string
		http *http.Client
	}
	places := []place{{"the balancer", c.balanced}}
	for _, n := range c.nodes {
		places = append(places, place{"node " + n.name, n.http})
	}
	for _, p := range places {
		end := time.Now().Add(2 * time.Minute)
		for last := ""; ; time.Sleep(20 * time.Millisecond) {
			resp, err := p.http.Get(c.issuer + "/readyz")
			if err == nil {
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					break
				}
				last = resp.Status
			} else {
				last = err.Error()
			}
			if time.Now().After(end) {
				t.Fatalf("%s does not become ready: %s", p.name, last)
			}
		}
	}
}

// stop ends the nodes, whose logs must not tell of a panic.
func (c *cluster) stop(t *testing.T) {
	t.Helper()
	for _, n := range c.nodes {
		n.stop()
		log, err := os.ReadFile(n.logFile())
		if err != nil {
			t.Error(err)
			continue
		}
		for _, bad := range []string{"DATA RACE", "panic"} {
			if strings.Contains(string(log), bad) {
				t.Errorf("the log of node %s has %q", n.name, bad)
			}
		}
	}
}

var taken []string // the addresses that freeAddress returned

// freeAddress returns a free address. It is outside the range from which the system assigns ports.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 25000+rand.IntN(7000))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			if !slices.Contains(taken, address) {
				taken = append(taken, address)
				return address
			}
		}
	}
	t.Fatal("found no free port")
	return ""
}
