package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/browser"
)

// gatewayClient is the entry of the gateway among the clients of its issuer.
func gatewayClient(further string) string {
	sum := sha256.Sum256([]byte("s3cret"))
	return fmt.Sprintf("  - {id: gateway, auth: secret, secret_sha256: %s, grants: [client_credentials], scopes: [introspect, feed], domains: [example.com]%s}\n",
		hex.EncodeToString(sum[:]), further)
}

// write writes a file of the gateway, for itself alone, before it starts.
func writeSecret(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// eventually repeats a request until the answer is as expected: a revocation is on its way, or a setting is read.
func (h *holder) eventually(t *testing.T, g *runningGateway, target string, status int, reason string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		resp, body := h.sends(t, g, "GET", chat, target)
		if resp.StatusCode == status && resp.Header.Get("X-IM-Reason") == reason {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the answer for %s is %d %s %s, want %d %s", target, resp.StatusCode, resp.Header.Get("X-IM-Reason"), body, status, reason)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestGatewayRevokedDevice removes a device while the gateway follows the feed and asks the issuer, and lets the issuer fail.
func TestGatewayRevokedDevice(t *testing.T) {
	t.Parallel()
	v := newVictim(t, strings.TrimSuffix(gatewayClient(""), "\n"))
	v.start(t)
	secret := writeSecret(t, "secret", "s3cret\n")
	settings := gatewaySettings(v.issuer, fmt.Sprintf("home: {issuer: %q, client_id: gateway, secret_file: %q, feed: true}", v.issuer, secret),
		`proxy: nginx
trusted_proxies: [127.0.0.1/32]
routes:
  - {path: /offline, upstream: chat}
  - {path: /asked, upstream: chat, mode: introspect}
  - {path: /grace, upstream: chat, mode: introspect, outage: grace, max_outage: 1h}
  - {path: /cache, upstream: chat, mode: introspect, outage: cache, max_outage: 1h}`)
	g := startGateway(t, settings)
	devices := make([]*holder, 3)
	uris := make([]string, len(devices))
	for i := range devices {
		devices[i] = loggedIn(t, v.issuer, person(i))
		set, err := readToken(devices[i].token)
		if err != nil {
			t.Fatal(err)
		}
		uris[i] = set.Device
		for _, path := range []string{"/offline", "/asked", "/grace", "/cache"} {
			resp, body := devices[i].sends(t, g, "GET", chat, path)
			allowed(t, resp, body)
		}
	}
	stranger := loggedIn(t, v.issuer, person(3)) // of whom the gateway has not heard

	// The feed is up: the removal ends the token in every mode.
	g.follows(t)
	v.run(t, 0, "Removed device", "devices", "remove", uris[0], "--config", v.config())
	devices[0].eventually(t, g, "/asked", http.StatusUnauthorized, "revoked")
	devices[0].eventually(t, g, "/offline", http.StatusUnauthorized, "revoked")

	// The issuer is down, and the feed with it.
	v.kill(t)
	for path, want := range map[string]string{"/offline": "", "/asked": "issuer_unavailable", "/grace": "allowed_grace", "/cache": "allowed_cached"} {
		resp, body := devices[1].sends(t, g, "GET", chat, path)
		if resp.StatusCode != http.StatusOK && want != "issuer_unavailable" || resp.Header.Get("X-IM-Reason") != want {
			t.Errorf("in an outage %s is answered %d %s %s, want %q", path, resp.StatusCode, resp.Header.Get("X-IM-Reason"), body, want)
		}
	}
	resp, _ := devices[1].sends(t, g, "POST", chat, "/grace")
	refused(t, resp, http.StatusServiceUnavailable, "issuer_unavailable")
	resp, _ = stranger.sends(t, g, "GET", chat, "/grace")
	refused(t, resp, http.StatusServiceUnavailable, "issuer_unavailable")
	resp, _ = devices[0].sends(t, g, "GET", chat, "/grace")
	refused(t, resp, http.StatusUnauthorized, "revoked")

	// Other routes change nothing about what the gateway knows of tokens.
	again := "\n  - {path: /again, upstream: chat, mode: introspect, outage: cache, max_outage: 1h}"
	replace(t, filepath.Join(g.folder, "gateway.yaml"), []byte(strings.TrimSuffix(settings, "\n")+again+"\n"))
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	devices[1].eventually(t, g, "/again", http.StatusOK, "allowed_cached")

	// Another secret of the gateway's client starts another feed, which knows the same revocations.
	replace(t, filepath.Join(g.folder, "gateway.yaml"), []byte(strings.Replace(settings, secret, writeSecret(t, "next", "s3cret\n"), 1)))
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	devices[1].eventually(t, g, "/again", http.StatusForbidden, "no_route")
	resp, _ = devices[0].sends(t, g, "GET", chat, "/offline")
	refused(t, resp, http.StatusUnauthorized, "revoked")

	// The issuer is back, and a device is removed before the feed has said so.
	v.start(t)
	devices[1].eventually(t, g, "/asked", http.StatusOK, "")
	v.run(t, 0, "Removed device", "devices", "remove", uris[2], "--config", v.config())
	resp, _ = devices[2].sends(t, g, "GET", chat, "/asked")
	if got := resp.Header.Get("X-IM-Reason"); resp.StatusCode != http.StatusUnauthorized || got != "inactive" && got != "revoked" {
		t.Errorf("the removed device is answered %d %s", resp.StatusCode, got)
	}
}

// TestGatewayAsksPeer has a gateway of example.com ask the issuer of example.net about a token, with a token from its own issuer.
func TestGatewayAsksPeer(t *testing.T) {
	t.Parallel()
	other := newVictim(t)
	home := newVictim(t, strings.TrimSuffix(gatewayClient(", peer_resources: true"), "\n"),
		fmt.Sprintf("peers:\n  - {domain: example.net, issuer: %q}", other.issuer))
	text := strings.ReplaceAll(other.settings(t), "example.com", "example.net")
	text = strings.Replace(text, "    domains: [example.net]\n", "    domains: [example.net]\n    resources: [\"im:example.com\"]\n", 1)
	text += fmt.Sprintf("peers:\n  - {domain: example.com, issuer: %q}\n", home.issuer)
	if err := os.WriteFile(other.config(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	home.start(t)
	other.start(t)
	g := startGateway(t, gatewaySettings(home.issuer, fmt.Sprintf("  - {domain: example.net, issuer: %q}", other.issuer),
		fmt.Sprintf("home: {issuer: %q, client_id: gateway, secret_file: %q}", home.issuer, writeSecret(t, "secret", "s3cret")),
		"proxy: nginx\ntrusted_proxies: [127.0.0.1/32]\nroutes:\n  - {path: /, upstream: chat, mode: introspect}"))
	bob, carol := loggedInFor(t, other.issuer, person(0), "im:example.com"), loggedInFor(t, other.issuer, person(1), "im:example.com")
	resp, body := bob.sends(t, g, "GET", chat, "/")
	allowed(t, resp, body)
	if got := resp.Header.Get("X-IM-Domain"); got != "example.net" {
		t.Errorf("X-IM-Domain = %s", got)
	}
	set, err := readToken(bob.token)
	if err != nil {
		t.Fatal(err)
	}
	if uri, err := claims.Parse(set.Device); err != nil || uri.Domain() != "example.net" {
		t.Fatalf("the device is %s, %v", set.Device, err)
	}
	other.run(t, 0, "Removed device", "devices", "remove", set.Device, "--config", other.config())
	resp, _ = bob.sends(t, g, "GET", chat, "/")
	refused(t, resp, http.StatusUnauthorized, "inactive")
	other.kill(t)
	resp, _ = carol.sends(t, g, "GET", chat, "/")
	refused(t, resp, http.StatusServiceUnavailable, "issuer_unavailable")
}

// loggedInFor returns the app of a person who has logged in, with a token for a resource.
func loggedInFor(t *testing.T, issuer, person, resource string) *holder {
	t.Helper()
	app, err := newApp(issuer)
	if err != nil {
		t.Fatal(err)
	}
	flow := app.Begin(redirectURI, url.Values{"dpop_jkt": {app.signer.JKT()}, "resource": {resource}})
	back, err := browser.New(nil).Login(t.Context(), flow.URL, browser.To(redirectURI), map[string]string{"text": person, "password": person})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := app.Finish(context.Background(), flow, back)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{token: tokens.AccessToken, signer: app.signer}
}

// settings returns the settings file of the issuer.
func (v *victim) settings(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(v.config())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestGatewaysShareProofs sends one proof to two gateways at once, time and again: one of them lets it through, once.
func TestGatewaysShareProofs(t *testing.T) {
	t.Parallel()
	issuer := serveDev(t, nil, "--listen", "127.0.0.1:0").addr["issuer"]
	dir, err := os.MkdirTemp("", "redis") // t.TempDir is too long for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	server := exec.Command("redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir, "--maxmemory-policy", "noeviction")
	if err := server.Start(); err != nil {
		t.Fatalf("%v: make setup installs redis-server", err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait() // it was killed
		_ = os.RemoveAll(dir)
	})
	for range 1000 {
		if c, err := net.Dial("unix", socket); err == nil {
			_ = c.Close()
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	settings := gatewaySettings(issuer, behindNginx, "replay: redis",
		fmt.Sprintf("redis_url_file: %q", writeSecret(t, "url", "unix://"+socket+"?read_timeout=30s&write_timeout=30s&pool_timeout=30s&dial_timeout=30s\n")),
		fmt.Sprintf("secret_file: %q", writeSecret(t, "shared", strings.Repeat("6f2d1c0b", 8)+"\n")))
	gateways := []*runningGateway{startGateway(t, settings), startGateway(t, settings)}
	alice := loggedIn(t, issuer, "alice")
	resp, body := alice.sends(t, gateways[0], "GET", chat, "/")
	allowed(t, resp, body)
	r := alice.request(t, "GET", chat, "/") // the nonce of one is accepted by the other
	resp, body = gateways[1].asks(t, r)
	allowed(t, resp, body)
	resp, _ = gateways[0].asks(t, r)
	refused(t, resp, http.StatusUnauthorized, "replayed")

	const rounds, callers = 10, 8
	for range rounds {
		r := alice.request(t, "GET", chat, "/")
		statuses := make(chan string, callers)
		var all sync.WaitGroup
		for n := range callers {
			all.Go(func() {
				resp, _ := gateways[n%2].asks(t, r)
				statuses <- fmt.Sprint(resp.StatusCode, resp.Header.Get("X-IM-Reason"))
			})
		}
		all.Wait()
		close(statuses)
		got := make(map[string]int)
		for s := range statuses {
			got[s]++
		}
		if got["200"] != 1 || got["401replayed"] != callers-1 {
			t.Fatalf("one proof had the answers %v, want one 200", got)
		}
	}
	// Without the store nothing is let through, and nothing is called a refusal.
	_ = server.Process.Signal(syscall.SIGKILL)
	_, _ = server.Process.Wait()
	resp, _ = gateways[0].asks(t, alice.request(t, "GET", chat, "/"))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("without the store the answer is %d %v", resp.StatusCode, resp.Header)
	}
}

// logs waits until the log has a text.
func (g *runningGateway) logs(t *testing.T, want string) {
	t.Helper()
	for range 3000 {
		if text, err := os.ReadFile(g.log); err != nil || strings.Contains(string(text), want) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the log has no %q", want)
}

// TestGatewayReload changes the settings of a running gateway.
func TestGatewayReload(t *testing.T) {
	t.Parallel()
	issuer := serveDev(t, nil, "--listen", "127.0.0.1:0").addr["issuer"]
	settings := gatewaySettings(issuer, behindNginx)
	g := startGateway(t, settings)
	alice := loggedIn(t, issuer, "alice")
	resp, body := alice.sends(t, g, "GET", chat, "/")
	allowed(t, resp, body)
	reload := func(text string) {
		t.Helper()
		replace(t, filepath.Join(g.folder, "gateway.yaml"), []byte(text))
		if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	reload(strings.Replace(settings, "upstream: chat}", "upstream: chat, scopes: [admin]}", 1))
	alice.eventually(t, g, "/", http.StatusForbidden, "insufficient_scope")
	reload(strings.Replace(settings, "listen: 127.0.0.1:0", "listen: 127.0.0.1:1", 1))
	alice.eventually(t, g, "/", http.StatusOK, "")
	reload(strings.Replace(settings, "issuer: ", "suspended: true, issuer: ", 1))
	alice.eventually(t, g, "/", http.StatusUnauthorized, "suspended_issuer")
	if code, out := g.runs(t, "resume", "example.com"); code != 1 || !strings.Contains(out, "in the settings") {
		t.Errorf("resume = %d %s", code, out)
	}
	reload(settings + "nothing: true\n")
	g.logs(t, "settings not read again")
	reload(settings)
	alice.eventually(t, g, "/", http.StatusOK, "")
	g.stop(t)
	log, err := os.ReadFile(g.log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"setting needs a restart", "key=listen", "nothing: unknown key", "settings not read again"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
}

// TestGatewayUpstream runs a gateway as a reverse proxy.
func TestGatewayUpstream(t *testing.T) {
	t.Parallel()
	issuer := serveDev(t, nil, "--listen", "127.0.0.1:0").addr["issuer"]
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, r.Header.Get("X-IM-Handle"), r.Header.Get("Authorization"))
	}))
	defer service.Close()
	g := startGateway(t, gatewaySettings(issuer, "routes:\n  - {path: /, upstream: chat}"), "--upstream", service.URL)
	alice := loggedIn(t, issuer, "alice")
	send := func(change func(r *http.Request)) (*http.Response, string) {
		r, err := http.NewRequest("GET", "http://"+g.addr["listen"]+"/rooms/7?x=y", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "chat.example.com"
		r.Header.Set("Authorization", "DPoP "+alice.token)
		r.Header.Set("DPoP", alice.proof(t, "GET", chat+"/rooms/7"))
		r.Header.Set("X-IM-Handle", "im:mallory@example.com")
		if change != nil {
			change(r)
		}
		return roundTrip(t, r)
	}
	resp, _ := send(nil)
	refused(t, resp, http.StatusUnauthorized, "use_nonce")
	alice.nonce = resp.Header.Get("DPoP-Nonce")
	if resp, body := send(nil); resp.StatusCode != http.StatusOK || body != "GET /rooms/7?x=y im:%40alice@example.com " {
		t.Errorf("the answer is %d %s", resp.StatusCode, body)
	}
	resp, _ = send(func(r *http.Request) { r.Host = "files.example.com" })
	refused(t, resp, http.StatusUnauthorized, "bad_proof")
	resp, _ = send(func(r *http.Request) { r.Host = "evil.example.com" })
	refused(t, resp, http.StatusForbidden, "wrong_origin")
	resp, _ = send(func(r *http.Request) {
		r.Header.Set("X-Forwarded-Host", "chat.example.com")
		r.Host = "files.example.com"
	})
	refused(t, resp, http.StatusUnauthorized, "bad_proof")
	if jwks, body := g.get(t, "/jwks"); jwks.StatusCode != http.StatusOK || !strings.Contains(body, `"keys":[`) {
		t.Errorf("/jwks = %d %s", jwks.StatusCode, body)
	}

	code, out := g.runs(t, "--config", "gateway.yaml", "--upstream", "http://127.0.0.1:1/path", "--listen", "127.0.0.1:0")
	if code != 2 || !strings.Contains(out, "--upstream: upstream: ") {
		t.Errorf("a wrong --upstream = %d %s", code, out)
	}
}

// TestGatewayTLS has clients come to the gateway by TLS, with HTTP/2, and renews its certificate.
func TestGatewayTLS(t *testing.T) {
	t.Parallel()
	issuer := serveDev(t, nil, "--listen", "127.0.0.1:0").addr["issuer"]
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-IM-Handle"))
	}))
	defer service.Close()
	a, folder := newAuthority(t), t.TempDir()
	a.renew(t, folder)
	settings := strings.Replace(gatewaySettings(issuer), chat, "https://id.acme.im, http://id.acme.im", 1)
	g := startGateway(t, settings+fmt.Sprintf("routes:\n  - {path: /, upstream: chat}\nupstream: %s\ntls: {cert_file: %q, key_file: %q}\n",
		service.URL, filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")))
	c := a.client(&victim{listen: g.addr["listen"]}, &tls.Config{})
	alice := loggedIn(t, issuer, "alice")
	send := func(origin string) (*http.Response, string) {
		r, err := http.NewRequest("GET", "https://id.acme.im/rooms", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "DPoP "+alice.token)
		r.Header.Set("DPoP", alice.proof(t, "GET", origin+"/rooms"))
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(body)
	}
	resp, _ := send("https://id.acme.im")
	refused(t, resp, http.StatusUnauthorized, "use_nonce")
	alice.nonce = resp.Header.Get("DPoP-Nonce")
	if resp, body := send("https://id.acme.im"); body != "httpsim:%40alice@example.com" || resp.ProtoMajor != 2 {
		t.Errorf("the answer is %s %d %s", resp.Proto, resp.StatusCode, body)
	}
	resp, _ = send("http://id.acme.im") // the same host, by the other scheme
	refused(t, resp, http.StatusUnauthorized, "bad_proof")
	serial := a.renew(t, folder)
	for range 600 {
		fresh := a.client(&victim{listen: g.addr["listen"]}, &tls.Config{})
		resp, err := fresh.Get("https://id.acme.im/jwks")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		fresh.CloseIdleConnections()
		if resp.TLS.PeerCertificates[0].SerialNumber.Int64() == serial {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("the new certificate is not shown")
}
