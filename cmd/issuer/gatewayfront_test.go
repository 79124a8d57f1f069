package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// TestGatewayEnvoy asks as Envoy does: with the method and the target of the client, after the path of the service.
func TestGatewayEnvoy(t *testing.T) {
	t.Parallel()
	issuer := serveDev(t, nil, "--listen", "127.0.0.1:0").addr["issuer"]
	g := startGateway(t, gatewaySettings(issuer, "proxy: envoy\ntrusted_proxies: [127.0.0.1/32]\nroutes:\n  - {path: /, upstream: chat}"))
	alice := loggedIn(t, issuer, "alice")
	ask := func(method, target string, proof string) *http.Response {
		t.Helper()
		q, err := http.NewRequest(method, "http://"+g.addr["listen"], nil)
		if err != nil {
			t.Fatal(err)
		}
		q.URL.Opaque = "/verify" + target // as it is, and not cleaned
		q.Host = "chat.example.com"
		q.Header.Set("X-Forwarded-Proto", "https")
		q.Header.Set("Authorization", "DPoP "+alice.token)
		q.Header.Set("DPoP", proof)
		resp, _ := roundTrip(t, q)
		return resp
	}
	resp := ask("DELETE", "/rooms/7?x=y", alice.proof(t, "DELETE", chat+"/rooms/7"))
	refused(t, resp, http.StatusUnauthorized, "use_nonce")
	alice.nonce = resp.Header.Get("DPoP-Nonce")
	allowed(t, ask("DELETE", "/rooms/7?x=y", alice.proof(t, "DELETE", chat+"/rooms/7")), "")
	for _, target := range []string{"//rooms", "/a/../rooms", "/a/%2e%2e/rooms", "/rooms%2F7", "/rooms;a"} {
		refused(t, ask("GET", target, alice.proof(t, "GET", chat+"/rooms")), http.StatusForbidden, "bad_target")
	}
}

// TestGatewayUnlistedProxy asks from an address that is not one of the proxies: no header counts.
func TestGatewayUnlistedProxy(t *testing.T) {
	t.Parallel()
	g := startGateway(t, gatewaySettings("http://127.0.0.1:1", "metrics_listen: 127.0.0.1:0", strings.Replace(behindNginx, "127.0.0.1/32", "192.0.2.0/24", 1)))
	for _, from := range []string{"", "192.0.2.1", "192.0.2.1, 192.0.2.2"} {
		resp, _ := g.asks(t, clientRequest{method: "GET", origin: chat, target: "/", change: func(h http.Header) {
			if from != "" {
				h.Set("X-Forwarded-For", from)
				h.Set("Forwarded", "for="+strings.Split(from, ",")[0])
			}
		}})
		refused(t, resp, http.StatusForbidden, "proxy_not_listed")
	}
	// Beside the admin socket there are health and metrics alone.
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/peers": 404, "/peers/example.com/suspend": 404, "/check": 404} {
		method := http.MethodGet
		if strings.HasPrefix(path, "/peers/") || path == "/check" {
			method = http.MethodPost
		}
		q, err := http.NewRequest(method, "http://"+g.addr["health"]+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		if resp, body := roundTrip(t, q); resp.StatusCode != want {
			t.Errorf("%s %s = %d %s, want %d", method, path, resp.StatusCode, body, want)
		}
	}
}

// TestGatewayWithKey has a gateway that authenticates with a key ask its issuer and follow the feed, and read status lists.
func TestGatewayWithKey(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	v := newVictim(t, fmt.Sprintf("  - {id: gateway, auth: private_key_jwt, jwks: '{\"keys\":[%s]}', grants: [client_credentials], scopes: [introspect, feed], domains: [example.com], resources: [%q]}",
		jwk, "http://placeholder.example.com"))
	text := strings.ReplaceAll(v.settings(t), "http://placeholder.example.com", v.issuer)
	text = strings.Replace(text, "  - name: example.com\n", "  - name: example.com\n    status_list: true\n", 1)
	if err := os.WriteFile(v.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	v.start(t)
	file := writeSecret(t, "client.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	routes := "proxy: nginx\ntrusted_proxies: [127.0.0.1/32]\nroutes:\n  - {path: /, upstream: chat}\n  - {path: /asked, upstream: chat, mode: introspect}\n  - {path: /listed, upstream: chat, mode: status}"
	g := startGateway(t, gatewaySettings(v.issuer, fmt.Sprintf("home: {issuer: %q, client_id: gateway, key_file: %q, feed: true}", v.issuer, file), routes))
	deaf := startGateway(t, gatewaySettings(v.issuer, routes[:strings.Index(routes, "  - {path: /asked")]+"  - {path: /listed, upstream: chat, mode: status}"))
	var devices []*holder
	for i := range 2 {
		d := loggedIn(t, v.issuer, person(i))
		resp, body := d.sends(t, g, "GET", chat, "/asked")
		allowed(t, resp, body)
		devices = append(devices, d)
	}
	set, err := readToken(devices[0].token)
	if err != nil {
		t.Fatal(err)
	}
	g.follows(t)
	v.run(t, 0, "Removed device", "devices", "remove", set.Device, "--config", v.config())
	devices[0].eventually(t, g, "/", http.StatusUnauthorized, "revoked")
	resp, body := devices[1].sends(t, g, "GET", chat, "/listed")
	allowed(t, resp, body)
	// A gateway without the feed learns of it by the list.
	devices[0].nonce, devices[1].nonce = "", ""
	resp, _ = devices[0].sends(t, deaf, "GET", chat, "/listed")
	refused(t, resp, http.StatusUnauthorized, "revoked")
	resp, body = devices[1].sends(t, deaf, "GET", chat, "/listed")
	allowed(t, resp, body)
}

// TestGatewayUnit holds that the unit of the gateway runs it with the least rights, and that the gateway tells when it serves.
func TestGatewayUnit(t *testing.T) {
	t.Parallel()
	const unit = root + "/packaging/issuer-gateway.service"
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Type=notify", "ExecReload=/bin/kill -HUP $MAINPID", "ExecStart=/usr/local/bin/issuer gateway --config /etc/issuer-gateway/gateway.yaml",
		"StateDirectory=issuer-gateway",
	} {
		if !slices.Contains(strings.Split(string(text), "\n"), line) {
			t.Errorf("the unit has no line %s", line)
		}
	}
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Overall exposure level") {
		t.Errorf("systemd-analyze (make setup installs it) = %v, want 2.0 at most\n%s", err, out)
	}

	dir, err := os.MkdirTemp("", "notify") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	g := &runningGateway{test: t, folder: t.TempDir(), env: []string{"NOTIFY_SOCKET=" + filepath.Join(dir, "socket")}}
	g.log = filepath.Join(g.folder, "log")
	if err := os.WriteFile(filepath.Join(g.folder, "gateway.yaml"), []byte(gatewaySettings("http://127.0.0.1:1", behindNginx)), 0o600); err != nil {
		t.Fatal(err)
	}
	g.launch(t)
	for _, want := range []string{"READY=1", "STOPPING=1"} {
		_ = manager.SetReadDeadline(time.Now().Add(time.Minute)) // of what never comes
		state := make([]byte, 256)
		n, err := manager.Read(state)
		if err != nil || string(state[:n]) != want {
			t.Fatalf("the gateway told %q, %v, want %s", state[:n], err, want)
		}
		if want == "READY=1" {
			g.stop(t)
		}
	}
}
