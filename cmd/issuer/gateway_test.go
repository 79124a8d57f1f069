package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway/forwardauth"
)

// A runningGateway is a process of issuer gateway in a folder of its own.
type runningGateway struct {
	test        *testing.T // the processes end with it
	folder, log string
	addr        map[string]string
	cmd         *exec.Cmd
	ended       chan error
	env         []string // further variables
}

// chat is the public origin of the service behind the gateways of these tests.
const chat = "https://chat.example.com"

// gatewaySettings are the settings of a gateway behind nginx that trusts an issuer for example.com, with further lines.
func gatewaySettings(issuer string, more ...string) string {
	return fmt.Sprintf(`development: true
listen: 127.0.0.1:0
outbound: {allow_networks: [127.0.0.0/8]}
public_origins: [%s, https://files.example.com]
audience: ["im:example.com"]
peers:
  - {domain: example.com, issuer: %q}
`, chat, issuer) + strings.Join(more, "\n") + "\n"
}

const behindNginx = "proxy: nginx\ntrusted_proxies: [127.0.0.1/32]\nroutes:\n  - {path: /, upstream: chat}\n  - {path: /scoped, upstream: chat, scopes: [admin]}\n  - {path: /only, methods: [GET], origins: [https://chat.example.com], upstream: only}"

// startGateway starts a gateway with these settings, and ends it with the test.
func startGateway(t *testing.T, settings string, flags ...string) *runningGateway {
	t.Helper()
	g := &runningGateway{test: t, folder: t.TempDir()}
	g.log = filepath.Join(g.folder, "log")
	if err := os.WriteFile(filepath.Join(g.folder, "gateway.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	g.launch(t, flags...)
	return g
}

// launch starts the gateway. It is not called start, as scripts/racing goes by names: tests of gateways race, others of processes do not.
func (g *runningGateway) launch(t *testing.T, flags ...string) {
	t.Helper()
	_ = os.Remove(filepath.Join(g.folder, "addr"))
	log, err := os.OpenFile(g.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	g.test.Cleanup(func() { _ = log.Close() })
	g.cmd = exec.Command("issuer", append([]string{"gateway", "--config", "gateway.yaml", "--addr-file", "addr"}, flags...)...)
	g.cmd.Dir, g.cmd.Stderr, g.cmd.Env = g.folder, log, append(os.Environ(), g.env...)
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	g.ended = ended
	cmd := g.cmd
	go func() { ended <- cmd.Wait(); close(ended) }()
	g.test.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); <-ended })
	if g.addr, err = readAddressesOf(filepath.Join(g.folder, "addr"), ended); err != nil {
		text, _ := os.ReadFile(g.log)
		t.Fatalf("%v\n%s", err, text)
	}
}

// stop stops the gateway, which must end by itself.
func (g *runningGateway) stop(t *testing.T) {
	t.Helper()
	_ = g.cmd.Process.Signal(os.Interrupt)
	if err := <-g.ended; err != nil {
		t.Errorf("the gateway ended with %v", err)
	}
}

// A clientRequest is the request of a client, as nginx asks about it.
type clientRequest struct {
	method, origin, target string
	authorization, proof   []string
	change                 func(h http.Header) // of the question
}

// asks has the gateway decide about a request.
func (g *runningGateway) asks(t *testing.T, r clientRequest) (*http.Response, string) {
	t.Helper()
	q, err := http.NewRequest(http.MethodGet, "http://"+g.addr["listen"]+"/verify", nil)
	if err != nil {
		t.Fatal(err)
	}
	scheme, host, _ := strings.Cut(r.origin, "://")
	q.Header["Authorization"], q.Header["Dpop"] = r.authorization, r.proof
	for name, value := range map[string]string{
		"X-Original-Method": r.method, "X-Original-URI": r.target, "X-Forwarded-Proto": scheme, "X-Forwarded-Host": host,
	} {
		q.Header.Set(name, value)
	}
	if r.change != nil {
		r.change(q.Header)
	}
	return roundTrip(t, q)
}

func roundTrip(t *testing.T, q *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(q)
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

// A holder is a client with a token, which takes the nonces of a gateway.
type holder struct {
	token  string
	signer *dpop.Signer
	nonce  string
}

// loggedIn returns the app of a person who has logged in.
func loggedIn(t *testing.T, issuer, person string) *holder {
	t.Helper()
	app, err := newApp(issuer)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := app.login(person)
	if err != nil {
		t.Fatal(err)
	}
	return &holder{token: tokens.AccessToken, signer: app.signer}
}

func (h *holder) proof(t *testing.T, method, url string) string {
	t.Helper()
	proof, err := h.signer.Proof(dpop.ProofParams{Method: method, URL: url, AccessToken: h.token, Nonce: h.nonce})
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// request returns a request with the token and a new proof.
func (h *holder) request(t *testing.T, method, origin, target string) clientRequest {
	t.Helper()
	return clientRequest{
		method: method, origin: origin, target: target, authorization: []string{"DPoP " + h.token}, proof: []string{h.proof(t, method, origin+target)},
	}
}

// sends has a gateway decide about a request with a new proof, which has a fresh nonce.
func (h *holder) sends(t *testing.T, g *runningGateway, method, origin, target string) (*http.Response, string) {
	t.Helper()
	resp, body := g.asks(t, h.request(t, method, origin, target))
	if resp.Header.Get("X-IM-Reason") == "use_nonce" {
		h.nonce = resp.Header.Get("DPoP-Nonce")
		resp, body = g.asks(t, h.request(t, method, origin, target))
	}
	return resp, body
}

var identityNames = []string{"X-Im-User", "X-Im-Handle", "X-Im-Device", "X-Im-Domain", "X-Im-Issuer", "X-Im-Scope", "X-Im-Identity"}

// refused checks that a response is a refusal with a status and a reason, that it names nobody, and that its headers are those of the
// document.
func refused(t *testing.T, resp *http.Response, status int, reason string) {
	t.Helper()
	if got := resp.Header.Get("X-IM-Reason"); resp.StatusCode != status || got != reason {
		t.Errorf("the answer is %d %s, want %d %s", resp.StatusCode, got, status, reason)
	}
	for _, name := range identityNames {
		if values := resp.Header[name]; len(values) > 0 {
			t.Errorf("%d %s has %s: %s", resp.StatusCode, reason, name, values)
		}
	}
	challenges := resp.Header["Www-Authenticate"]
	if status == http.StatusUnauthorized && (len(challenges) != 1 || !strings.HasPrefix(challenges[0], "DPoP ") ||
		!strings.Contains(challenges[0], `algs="ES256 `) || strings.Count(challenges[0], "algs=") != 1) {
		t.Errorf("WWW-Authenticate = %q, want one challenge of the scheme DPoP with algs", challenges)
	}
	if resp.Header.Get("DPoP-Nonce") == "" || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Request-Id") == "" {
		t.Errorf("the headers of %d %s are %v", status, reason, resp.Header)
	}
	if status == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s has no Retry-After", status, reason)
	}
}

// allowed checks that a response lets a request through.
func allowed(t *testing.T, resp *http.Response, body string) {
	t.Helper()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the answer is %d %s %s, want 200", resp.StatusCode, resp.Header.Get("X-IM-Reason"), body)
	}
	for _, name := range identityNames {
		if values := resp.Header[name]; len(values) != 1 {
			t.Errorf("the answer has %d headers %s, want one", len(values), name)
		}
	}
}

// TestGateway runs a gateway behind a proxy like nginx, and an issuer.
func TestGateway(t *testing.T) {
	t.Parallel()
	issuer := serveDev(t, nil, "--listen", "127.0.0.1:0").addr["issuer"]
	g := startGateway(t, gatewaySettings(issuer, behindNginx))
	alice := loggedIn(t, issuer, "alice")

	t.Run("let through", func(t *testing.T) {
		resp, body := g.asks(t, alice.request(t, "POST", chat, "/rooms/7?x=y"))
		refused(t, resp, http.StatusUnauthorized, "use_nonce")
		if !strings.Contains(body, `"error":"use_dpop_nonce"`) {
			t.Errorf("the body is %s", body)
		}
		resp, body = alice.sends(t, g, "POST", chat, "/rooms/7?x=y")
		allowed(t, resp, body)
		if got := resp.Header.Get("X-IM-Handle"); got != "im:%40alice@example.com" {
			t.Errorf("X-IM-Handle = %s", got)
		}
		jwks, keys := g.get(t, "/jwks")
		if jwks.StatusCode != http.StatusOK {
			t.Fatalf("/jwks = %d", jwks.StatusCode)
		}
		known, err := forwardauth.NewKeys([]byte(keys))
		if err != nil {
			t.Fatal(err)
		}
		id, err := forwardauth.OpenIdentity(t.Context(), resp.Header.Get("X-IM-Identity"), forwardauth.Expected{
			Issuer: chat, Upstream: "chat", Keys: known, Method: "POST", Path: "/rooms/7",
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"User": id.User, "Handle": id.Handle, "Device": id.Device, "Domain": id.Domain, "Issuer": id.Issuer, "Scope": strings.Join(id.Scope, " "),
		} {
			if header := resp.Header.Get("X-IM-" + name); header == "" || header != value {
				t.Errorf("X-IM-%s = %q, and the identity says %q", name, header, value)
			}
		}
	})

	t.Run("wrong requests", func(t *testing.T) {
		good := func() clientRequest { return alice.request(t, "GET", chat, "/rooms") }
		for name, v := range map[string]struct {
			change func(r *clientRequest)
			status int
			reason string
		}{
			"no token":          {func(r *clientRequest) { r.authorization = nil }, 401, "no_token"},
			"no proof":          {func(r *clientRequest) { r.proof = nil }, 401, "no_proof"},
			"two tokens":        {func(r *clientRequest) { r.authorization = append(r.authorization, r.authorization[0]) }, 401, "two_tokens"},
			"two proofs":        {func(r *clientRequest) { r.proof = append(r.proof, r.proof[0]) }, 401, "two_proofs"},
			"Bearer":            {func(r *clientRequest) { r.authorization = []string{"Bearer " + alice.token} }, 401, "wrong_scheme"},
			"another method":    {func(r *clientRequest) { r.method = "DELETE" }, 401, "bad_proof"},
			"another path":      {func(r *clientRequest) { r.target = "/rooms/7" }, 401, "bad_proof"},
			"another origin":    {func(r *clientRequest) { r.origin = "https://files.example.com" }, 401, "bad_proof"},
			"a missing scope":   {func(r *clientRequest) { *r = alice.request(t, "GET", chat, "/scoped/a") }, 403, "insufficient_scope"},
			"no route":          {func(r *clientRequest) { *r = alice.request(t, "POST", chat, "/only") }, 403, "no_route"},
			"a foreign host":    {func(r *clientRequest) { *r = alice.request(t, "GET", "https://evil.example.com", "/rooms") }, 403, "wrong_origin"},
			"dot segments":      {func(r *clientRequest) { *r = alice.request(t, "GET", chat, "/public/%2e%2e/rooms") }, 403, "bad_target"},
			"an encoded slash":  {func(r *clientRequest) { *r = alice.request(t, "GET", chat, "/rooms%2F7") }, 403, "bad_target"},
			"a semicolon":       {func(r *clientRequest) { *r = alice.request(t, "GET", chat, "/rooms;a=b") }, 403, "bad_target"},
			"two slashes":       {func(r *clientRequest) { *r = alice.request(t, "GET", chat, "//rooms") }, 403, "bad_target"},
			"an absolute URL":   {func(r *clientRequest) { r.target = chat + "/rooms" }, 403, "bad_target"},
			"two URIs":          {func(r *clientRequest) { r.change = func(h http.Header) { h.Add("X-Original-URI", "/public") } }, 403, "proxy_headers"},
			"no method":         {func(r *clientRequest) { r.change = func(h http.Header) { h.Del("X-Original-Method") } }, 403, "proxy_headers"},
			"no headers at all": {func(r *clientRequest) { r.change = func(h http.Header) { clear(h) } }, 403, "proxy_headers"},
		} {
			r := good()
			v.change(&r)
			resp, body := g.asks(t, r)
			t.Run(name, func(t *testing.T) { refused(t, resp, v.status, v.reason) })
			if strings.Contains(body, alice.token) {
				t.Errorf("%s: the body has the token", name)
			}
		}
	})

	t.Run("a proof is used once", func(t *testing.T) {
		r := alice.request(t, "GET", chat, "/once")
		resp, body := g.asks(t, r)
		allowed(t, resp, body)
		resp, _ = g.asks(t, r)
		refused(t, resp, http.StatusUnauthorized, "replayed")
	})

	t.Run("spoofed identity", func(t *testing.T) {
		r := alice.request(t, "GET", chat, "/rooms")
		r.change = func(h http.Header) {
			for _, name := range identityNames {
				h.Set(name, "im:mallory@example.com")
			}
		}
		resp, body := g.asks(t, r)
		allowed(t, resp, body)
		for _, name := range identityNames {
			if strings.Contains(resp.Header.Get(name), "mallory") {
				t.Errorf("%s = %s", name, resp.Header.Get(name))
			}
		}
	})

	t.Run("check", func(t *testing.T) { checkCommand(t, g, alice) })
	t.Run("suspend", func(t *testing.T) { suspendCommand(t, g, alice) })
	t.Run("admin", func(t *testing.T) { adminInterface(t, g, alice) })
}

// get sends a request to the gateway that needs no token.
func (g *runningGateway) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	q, err := http.NewRequest(http.MethodGet, "http://"+g.addr["listen"]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, q)
}

// runs runs a command of issuer gateway beside the gateway, and returns its exit code and its output.
func (g *runningGateway) runs(t *testing.T, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command("issuer", append([]string{"gateway"}, args...)...)
	cmd.Dir = g.folder
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func checkCommand(t *testing.T, g *runningGateway, alice *holder) {
	url := chat + "/rooms/7"
	proof := alice.proof(t, "GET", url)
	for _, v := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"allowed", []string{"--token", alice.token, "--proof", proof, "--url", url}, 0, []string{"allowed: allowed\n", "handle: im:%40alice@example.com\n", "ok  route"}},
		{"again", []string{"--token", alice.token, "--proof", proof, "--url", url}, 0, []string{"allowed: allowed\n"}},
		{"another method", []string{"--token", alice.token, "--proof", proof, "--url", url, "--method", "PUT"}, 1, []string{"unauthenticated: bad_proof\n", "no  proof"}},
		{"a path trick", []string{"--token", alice.token, "--proof", proof, "--url", chat + "/a/../rooms"}, 1, []string{"forbidden: bad_target\n", "no  request"}},
		{"no token", []string{"--url", url}, 1, []string{"unauthenticated: no_token\n"}},
		{"JSON", []string{"--json", "--token", alice.token, "--proof", proof, "--url", url}, 0, []string{`"outcome": "allowed"`, `"check": "signature"`}},
		{"no URL", []string{"--token", alice.token}, 2, []string{"needs --url"}},
	} {
		code, out := g.runs(t, append([]string{"check", "--config", "gateway.yaml"}, v.args...)...)
		if code != v.code {
			t.Errorf("%s: exit code %d, want %d\n%s", v.name, code, v.code, out)
		}
		for _, want := range v.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: the output lacks %q:\n%s", v.name, want, out)
			}
		}
		if strings.Contains(out, alice.token) || strings.Contains(out, proof) {
			t.Errorf("%s: the output has the token or the proof", v.name)
		}
	}
	// A check has not spent the proof.
	resp, body := g.asks(t, clientRequest{method: "GET", origin: chat, target: "/rooms/7", authorization: []string{"DPoP " + alice.token}, proof: []string{proof}})
	allowed(t, resp, body)
}

// suspendCommand suspends a peer, also across a restart, and resumes it.
func suspendCommand(t *testing.T, g *runningGateway, alice *holder) {
	resp, body := alice.sends(t, g, "GET", chat, "/")
	allowed(t, resp, body)
	if code, out := g.runs(t, "suspend", "Example.com"); code != 0 || !strings.Contains(out, "Suspended") {
		t.Fatalf("suspend = %d %s", code, out)
	}
	resp, _ = alice.sends(t, g, "GET", chat, "/")
	refused(t, resp, http.StatusUnauthorized, "suspended_issuer")
	if code, out := g.runs(t, "peers"); code != 0 || !strings.Contains(out, "suspended") {
		t.Errorf("peers = %d %s", code, out)
	}
	g.stop(t)
	if code, out := g.runs(t, "suspend", "example.com"); code != 3 || !strings.Contains(out, "no gateway answers") {
		t.Errorf("suspend without a gateway = %d %s", code, out)
	}
	g.launch(t)
	resp, _ = alice.sends(t, g, "GET", chat, "/")
	refused(t, resp, http.StatusUnauthorized, "suspended_issuer")
	if code, out := g.runs(t, "resume", "example.com"); code != 0 || !strings.Contains(out, "Resumed") {
		t.Fatalf("resume = %d %s", code, out)
	}
	resp, body = alice.sends(t, g, "GET", chat, "/")
	allowed(t, resp, body)
	for domain, want := range map[string]int{"other.example": 1, "not a domain": 2} {
		if code, out := g.runs(t, "suspend", domain); code != want {
			t.Errorf("suspend %s = %d %s, want %d", domain, code, out, want)
		}
	}
}

// admin sends a request to the admin socket.
func (g *runningGateway) admin(t *testing.T, path string) (int, string) {
	t.Helper()
	socket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", g.addr["admin"])
	}}
	defer socket.CloseIdleConnections()
	resp, err := (&http.Client{Transport: socket}).Get("http://gateway" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

var following = regexp.MustCompile(`(?m)^gateway_feed_following\{.*\} 1$`)

// follows waits until the gateway follows the feed of its issuer.
func (g *runningGateway) follows(t *testing.T) {
	t.Helper()
	for range 3000 {
		if _, metrics := g.admin(t, "/metrics"); following.MatchString(metrics) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the gateway does not follow the feed")
}

func adminInterface(t *testing.T, g *runningGateway, alice *holder) {
	get := func(path string) (int, string) { return g.admin(t, path) }
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := get(path); status != http.StatusOK {
			t.Errorf("%s = %d %s", path, status, body)
		}
	}
	_, metrics := get("/metrics")
	for _, want := range []string{
		`gateway_decisions_total{outcome="allowed",peer="http`, `gateway_decisions_total{outcome="unauthenticated",peer="none",reason="no_proof"} `,
		`gateway_tokens_total{cache="hit"}`, `gateway_issuer_keys_age_seconds{issuer="http`, `gateway_peer_suspended{domain="example.com"`,
		"gateway_replay_proofs ", "gateway_decision_seconds_bucket",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if info, err := os.Stat(g.addr["admin"]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the admin socket is %v, %v, want mode 0600", info.Mode(), err)
	}
	g.stop(t)
	log, err := os.ReadFile(g.log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "reason=allowed") || !strings.Contains(string(log), "msg=decision") {
		t.Errorf("the log has no decisions:\n%s", log)
	}
	signature := alice.token[strings.LastIndexByte(alice.token, '.')+1:]
	for _, secret := range []string{signature, alice.nonce, "alice", "/rooms/7"} {
		if strings.Contains(string(log), secret) {
			t.Errorf("the log has %q", secret)
		}
	}
}

// TestGatewayMetadata reads the metadata of the public origins (RFC 9728), to which challenges point.
func TestGatewayMetadata(t *testing.T) {
	t.Parallel()
	g := startGateway(t, gatewaySettings("http://127.0.0.1:1", behindNginx))
	resp, _ := g.asks(t, clientRequest{method: "GET", origin: chat, target: "/"})
	const at = "/.well-known/oauth-protected-resource"
	if got := resp.Header.Get("WWW-Authenticate"); !strings.Contains(got, `resource_metadata="`+chat+at+`"`) {
		t.Errorf("WWW-Authenticate = %s", got)
	}
	q, err := http.NewRequest(http.MethodGet, "http://"+g.addr["listen"]+at, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Host = "chat.example.com"
	_, body := roundTrip(t, q)
	var metadata struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
		Audience []string `json:"im_audience"`
		Bound    bool     `json:"dpop_bound_access_tokens_required"`
		Bearer   []string `json:"bearer_methods_supported"`
	}
	if err := json.Unmarshal([]byte(body), &metadata); err != nil || metadata.Resource != chat || !metadata.Bound || len(metadata.Bearer) > 0 ||
		!slices.Equal(metadata.Servers, []string{"http://127.0.0.1:1"}) || !slices.Equal(metadata.Audience, []string{"im:example.com"}) {
		t.Errorf("the metadata is %s, %v", body, err)
	}
	if resp, _ := g.get(t, at); resp.StatusCode != http.StatusForbidden {
		t.Errorf("metadata of another host = %d, want 403", resp.StatusCode)
	}
	if resp, _ := g.get(t, "/other"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("/other = %d, want 404", resp.StatusCode)
	}
}

// TestGatewayWithoutIssuer starts a gateway while the issuer is down. That is no "no", and it lets through once the issuer answers.
func TestGatewayWithoutIssuer(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.start(t)
	app, err := newApp(v.issuer)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := app.login(person(0))
	if err != nil {
		t.Fatal(err)
	}
	alice := &holder{token: tokens.AccessToken, signer: app.signer}
	v.stop(t)
	g := startGateway(t, gatewaySettings(v.issuer, behindNginx))
	for range 2 {
		resp, _ := alice.sends(t, g, "GET", chat, "/")
		refused(t, resp, http.StatusServiceUnavailable, "keys_unavailable")
	}
	if resp, _ := g.asks(t, clientRequest{method: "GET", origin: chat, target: "/"}); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token the answer is %d, want 401: for that no issuer is needed", resp.StatusCode)
	}
	v.start(t)
	deadline := time.Now().Add(2 * time.Minute)
	for {
		resp, body := alice.sends(t, g, "GET", chat, "/")
		if resp.StatusCode == http.StatusOK {
			break
		}
		refused(t, resp, http.StatusServiceUnavailable, "keys_unavailable")
		if time.Now().After(deadline) {
			t.Fatalf("the gateway does not recover: %d %s", resp.StatusCode, body)
		}
		time.Sleep(200 * time.Millisecond) // an issuer that did not answer is left alone for ten seconds
	}
}
