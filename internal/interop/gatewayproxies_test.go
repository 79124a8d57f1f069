package interop_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestGateways runs the configurations of contrib/gateway: two providers, with an issuer each, and services behind real proxies that ask
// their gateways. A user of each gets through to the services of both. What is wrong is refused, and never reaches a service.
func TestGateways(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // of what hangs
	t.Cleanup(cancel)
	f := newFederation(t, ctx)
	alice, bob := f.visitor(t, ctx, "a.example", "alice"), f.visitor(t, ctx, "b.example", "bob")
	mallory := f.visitor(t, ctx, "b.example", "alice") // has keys and tokens of her own
	carol := f.visitor(t, ctx, "a.example", "bob")

	each := func(name string, domains []string, test func(t *testing.T, s *guarded)) {
		t.Run(name, func(t *testing.T) {
			for _, domain := range domains {
				for _, kind := range proxyKinds {
					t.Run(kind+" of "+domain, func(t *testing.T) {
						t.Parallel()
						test(t, f.sites[kind+"/"+domain])
					})
				}
			}
		})
	}
	atA := gatewayDomains[:1]
	each("pass", gatewayDomains, func(t *testing.T, s *guarded) {
		for _, v := range []*visitor{alice, bob} {
			v.passes(t, ctx, f, s)
		}
	})
	each("metadata", gatewayDomains, func(t *testing.T, s *guarded) { metadata(t, f, s) })
	each("headers of the client", atA, func(t *testing.T, s *guarded) { bob.spoofs(t, f, s) })
	each("refused", atA, func(t *testing.T, s *guarded) { refusedInputs(t, f, s, bob, mallory) })
	each("replay", atA, func(t *testing.T, s *guarded) { replays(t, f, s, bob) })
	each("long headers", atA, func(t *testing.T, s *guarded) { longHeaders(t, f, s, bob) })

	each("WebSocket", atA, func(t *testing.T, s *guarded) { webSocket(t, f, s, bob) })
	t.Run("removed device", func(t *testing.T) {
		for _, kind := range proxyKinds {
			s := f.sites[kind+"/a.example"]
			if got := f.send(t, s, mallory.message(t, f, s, "/now/rooms")); got.status != http.StatusOK {
				t.Errorf("%s: status = %d, want 200 before the device is removed\n%s", kind, got.status, got.body)
			}
		}
		f.removeDevice(t, ctx, "b.example", mallory)
		for _, kind := range proxyKinds {
			s := f.sites[kind+"/a.example"]
			f.refuses(t, s, mallory.message(t, f, s, "/now/rooms"), http.StatusUnauthorized)
		}
	})
	t.Run("removed device of the own domain", func(t *testing.T) { // the route asks nobody: the feed tells
		for _, kind := range proxyKinds {
			s := f.sites[kind+"/a.example"]
			if got := f.send(t, s, carol.message(t, f, s, "/rooms")); got.status != http.StatusOK {
				t.Errorf("%s: status = %d, want 200 before the device is removed\n%s", kind, got.status, got.body)
			}
		}
		f.removeDevice(t, ctx, "a.example", carol)
		for _, kind := range proxyKinds {
			s := f.sites[kind+"/a.example"]
			for _, gateway := range s.addresses { // each learns by itself
				for ctx.Err() == nil && askGateway(t, s, gateway, "127.0.0.1", carol.message(t, f, s, "/rooms")) == http.StatusOK {
				}
			}
			f.refuses(t, s, carol.message(t, f, s, "/rooms"), http.StatusUnauthorized)
		}
	})
	each("suspended peer", atA, func(t *testing.T, s *guarded) {
		for _, settings := range s.settings {
			f.run(t, ctx, "gateway", "suspend", "b.example", "--config", settings)
		}
		for _, gateway := range s.addresses {
			if got := askGateway(t, s, gateway, "127.0.0.1", bob.message(t, f, s, "/rooms")); got != http.StatusUnauthorized {
				t.Errorf("the gateway at %s answers %d, want 401", gateway, got)
			}
		}
		f.refuses(t, s, bob.message(t, f, s, "/rooms"), http.StatusUnauthorized)
		if got := f.send(t, s, alice.message(t, f, s, "/rooms")); got.status != http.StatusOK {
			t.Errorf("status = %d for a user of another domain, want 200", got.status)
		}
		for _, settings := range s.settings {
			f.run(t, ctx, "gateway", "resume", "b.example", "--config", settings)
		}
		if got := f.send(t, s, bob.message(t, f, s, "/rooms")); got.status != http.StatusOK {
			t.Errorf("status = %d after resume, want 200\n%s", got.status, got.body)
		}
	})
	t.Run("issuer down", func(t *testing.T) {
		f.issuers["b.example"].stop()
		for _, kind := range proxyKinds {
			s := f.sites[kind+"/a.example"]
			f.refuses(t, s, bob.message(t, f, s, "/now/rooms"), http.StatusServiceUnavailable)
			for path, v := range map[string]*visitor{"/rooms": bob, "/now/rooms": alice} { // the keys of bob's issuer are known
				if got := f.send(t, s, v.message(t, f, s, path)); got.status != http.StatusOK {
					t.Errorf("%s: %s: status = %d, want 200\n%s", kind, path, got.status, got.body)
				}
			}
		}
	})
	each("service dead", gatewayDomains[1:], func(t *testing.T, s *guarded) {
		m := bob.message(t, f, s, "/rooms")
		s.service.Close()
		want := map[string]int{"nginx": http.StatusBadGateway, "caddy": http.StatusBadGateway, "haproxy": http.StatusServiceUnavailable}
		if got := f.send(t, s, m); got.status != want[s.kind] || got.header.Get("Retry-After") != "" {
			t.Errorf("status = %d, Retry-After = %q, want %d and none", got.status, got.header.Get("Retry-After"), want[s.kind])
		}
	})
	each("gateway dead", atA, func(t *testing.T, s *guarded) {
		m := bob.message(t, f, s, "/rooms")
		for _, g := range s.gateways {
			g.stop()
		}
		f.refuses(t, s, m, http.StatusServiceUnavailable)
	})
}

// refusedInputs sends what must not reach the service. m is a request that would pass.
func refusedInputs(t *testing.T, f *federation, s *guarded, bob, mallory *visitor) {
	other := "files." + s.domain
	for _, test := range []struct {
		name   string
		change func(m *message)
		want   int
		by     map[string]int // the status by kinds of proxy that answer by themselves
	}{
		{"no token", func(m *message) { m.authorization = nil }, 401, nil},
		{"no proof", func(m *message) { m.proofs = nil }, 401, nil},
		{"bearer", func(m *message) { m.authorization = []string{"Bearer " + bob.tokens[s.domain]} }, 401, nil},
		{"another's token", func(m *message) { m.authorization = []string{"DPoP " + mallory.tokens[s.domain]} }, 401, nil},
		{"token for another domain", func(m *message) { m.authorize(t, bob, "b.example", s, "GET", "/rooms") }, 401, nil},
		{"proof for another path", func(m *message) { m.authorize(t, bob, s.domain, s, "GET", "/elsewhere") }, 401, nil},
		{"proof for another method", func(m *message) { m.authorize(t, bob, s.domain, s, "POST", "/rooms") }, 401, nil},
		{"no nonce", func(m *message) { m.proofs = []string{bob.proof(t, s.domain, "GET", "https://"+s.name+"/rooms", "")} }, 401, nil},
		{"two tokens", func(m *message) {
			m.authorization = append(m.authorization, "DPoP "+mallory.tokens[s.domain])
		}, 401, map[string]int{"nginx": 400}},
		{"the same token twice", func(m *message) { m.authorization = append(m.authorization, m.authorization[0]) }, 401, map[string]int{"nginx": 400}},
		{"two proofs", func(m *message) {
			m.proofs = append(m.proofs, mallory.proof(t, s.domain, "GET", "https://"+s.name+"/rooms", m.nonce))
		}, 401, nil},
		{"the same proof twice", func(m *message) { m.proofs = append(m.proofs, m.proofs[0]) }, 401, nil},
		{"policy of the domain", func(m *message) { m.at(t, bob, s, "/own/rooms") }, 403, nil},
		{"policy of the scope", func(m *message) { m.at(t, bob, s, "/scoped/rooms") }, 403, nil},
		{"another path in headers", func(m *message) {
			m.at(t, bob, s, "/own/rooms")
			m.authorize(t, bob, s.domain, s, "GET", "/rooms")
			m.lines = append(m.lines, "X-Original-URI: /rooms", "X-Original-URL: /rooms", "X-Forwarded-Uri: /rooms", "X-Rewrite-URL: /rooms")
		}, 401, nil},
		{"another method in headers", func(m *message) {
			m.authorize(t, bob, s.domain, s, "POST", "/rooms")
			m.lines = append(m.lines, "X-Original-Method: POST", "X-Forwarded-Method: POST", "X-HTTP-Method-Override: POST")
		}, 401, nil},
		{"another host in headers", func(m *message) {
			m.proofs = []string{bob.proof(t, s.domain, "GET", "https://"+other+"/rooms", m.nonce)}
			m.lines = append(m.lines, "X-Forwarded-Host: "+other, "X-Original-Host: "+other, "Forwarded: host="+other)
		}, 401, nil},
		{"another host", func(m *message) {
			m.host = other
			m.proofs = []string{bob.proof(t, s.domain, "GET", "https://"+other+"/rooms", m.nonce)}
		}, 421, nil},
		{"a name in capitals", func(m *message) { m.host = strings.ToUpper(s.name) + ":443" }, 200, nil},
		{"absolute form", func(m *message) { m.target = "https://" + s.name + "/rooms" }, 403, nil},
		{"absolute form for another host", func(m *message) { m.target = "https://" + other + "/rooms" }, 421, map[string]int{"haproxy": 400}},
		{"two slashes", func(m *message) { m.target = "//rooms" }, 403, nil},
		{"two slashes within", func(m *message) { m.target = "/own//../rooms" }, 403, nil},
		{"dot segments", func(m *message) { m.target = "/own/../rooms" }, 403, nil},
		{"encoded dot segments", func(m *message) { m.target = "/own/%2e%2e/rooms" }, 403, nil},
		{"encoded dot segments in capitals", func(m *message) { m.target = "/own/%2E%2E/rooms" }, 403, nil},
		{"encoded slash", func(m *message) { m.target = "/own%2F..%2Frooms" }, 403, nil},
		{"encoded backslash", func(m *message) { m.target = "/own%5C..%5Crooms" }, 403, nil},
		{"backslash", func(m *message) { m.target = `/own\..\rooms` }, 403, nil},
		{"semicolon", func(m *message) { m.target = "/rooms;x=/../own" }, 403, nil},
		{"encoded letter", func(m *message) { m.target = "/%6Fwn/rooms" }, 403, nil},
		{"encoded percent", func(m *message) { m.target = "/own/%252e%252e/rooms" }, 403, nil},
		{"zero byte", func(m *message) { m.target = "/rooms%00" }, 403, map[string]int{"nginx": 400}},
		{"upgrade to HTTP/2", func(m *message) {
			m.lines = append(m.lines, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
		}, 400, map[string]int{"nginx": 200}},
		{"two upgrades", func(m *message) {
			m.lines = append(m.lines, "Connection: Upgrade, HTTP2-Settings", "Upgrade: websocket, h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", webSocketKey)
		}, 400, map[string]int{"nginx": 200}},
		{"two lines of upgrades", func(m *message) {
			m.lines = append(m.lines, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "Upgrade: websocket", "HTTP2-Settings: AAMAAABkAAQAAP__", webSocketKey)
		}, 400, map[string]int{"nginx": 200, "caddy": 101}},
		{"connection", func(m *message) { m.lines = append(m.lines, "Connection: close, DPoP, X-IM-User") }, 400, map[string]int{"nginx": 200}},
	} {
		m := bob.message(t, f, s, "/rooms")
		test.change(m)
		want := test.want
		if own, ok := test.by[s.kind]; ok {
			want = own
		}
		t.Run(test.name, func(t *testing.T) {
			if want < 400 {
				got := f.send(t, s, m)
				if got.status != want || strings.Contains(strings.Join(got.seen.Header.Values("Upgrade"), ","), "h2c") {
					t.Errorf("status = %d, seen %v, want %d", got.status, got.seen, want)
				}
				if want == http.StatusOK && got.seen.Header.Get("X-Im-User") != bob.claims(t, s.domain)["sub"] {
					t.Errorf("seen %v, want the identity", got.seen)
				}
				return
			}
			f.refuses(t, s, m, want)
		})
	}
	if s.kind != "nginx" {
		t.Run("HTTP/2", func(t *testing.T) { refusedByHTTP2(t, f, s, bob, mallory) })
	}
	t.Run("question from another address", func(t *testing.T) {
		m := bob.message(t, f, s, "/rooms")
		for _, address := range s.addresses {
			if got := askGateway(t, s, address, "127.0.0.59", m); got != http.StatusForbidden {
				t.Errorf("status = %d, want 403", got)
			}
			if got := askGateway(t, s, address, "127.0.0.1", m); got == http.StatusForbidden {
				t.Errorf("status = %d from a listed address, want another", got)
			}
		}
	})
}

// webSocketKey is the example of RFC 6455 §1.3, and webSocketAccept the answer to it.
const (
	webSocketKey    = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	webSocketAccept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// webSocket opens a connection to the service, which sends back what it receives.
func webSocket(t *testing.T, f *federation, s *guarded, bob *visitor) {
	m := bob.message(t, f, s, "/rooms")
	m.lines = append(m.lines, "Connection: Upgrade", "Upgrade: websocket", webSocketKey)
	conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: s.name, RootCAs: f.roots})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // of what hangs
	if _, err := io.WriteString(conn, m.String()); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("ReadResponse = %v, %v, want 101", answer, err)
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := in.ReadString('\n'); err != nil || got != "hello\n" {
		t.Errorf("the service sends %q, %v, want hello", got, err)
	}
}

// refusedByHTTP2 sends over HTTP/2 what the proxy could read in another way there.
func refusedByHTTP2(t *testing.T, f *federation, s *guarded, bob, mallory *visitor) {
	for name, test := range map[string]struct {
		change func(m *message)
		want   string
	}{
		"nothing wrong": {func(*message) {}, "200"},
		"two tokens":    {func(m *message) { m.authorization = append(m.authorization, "DPoP "+mallory.tokens[s.domain]) }, "401"},
		"two proofs": {func(m *message) {
			m.proofs = append(m.proofs, mallory.proof(t, s.domain, "GET", "https://"+s.name+"/rooms", m.nonce))
		}, "401"},
		"two slashes":          {func(m *message) { m.target = "//rooms" }, "403"},
		"dot segments":         {func(m *message) { m.target = "/own/../rooms" }, "403"},
		"encoded dot segments": {func(m *message) { m.target = "/own/%2e%2e/rooms" }, "403"},
		"encoded slash":        {func(m *message) { m.target = "/own%2Frooms" }, "403"},
		"backslash":            {func(m *message) { m.target = `/own\rooms` }, "403"},
		"another path in headers": {func(m *message) {
			m.target = "/own/rooms"
			m.lines = append(m.lines, "X-Original-URI: /rooms", "X-Forwarded-Uri: /rooms")
		}, "401"},
		"another host": {func(m *message) { m.host = "files." + s.domain }, "421"},
	} {
		m := bob.message(t, f, s, "/rooms")
		test.change(m)
		before := s.service.requests.Load()
		arguments := []string{"-s", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--http2", "--path-as-is", "--request-target", m.target,
			"--cacert", filepath.Join(f.dir, s.name+".pem"), "--connect-to", s.name + ":443:" + s.address, "https://" + s.name + "/", "-H", "Host: " + m.host}
		for _, value := range m.authorization {
			arguments = append(arguments, "-H", "Authorization: "+value)
		}
		for _, value := range m.proofs {
			arguments = append(arguments, "-H", "DPoP: "+value)
		}
		for _, line := range m.lines {
			arguments = append(arguments, "-H", line)
		}
		got, err := exec.CommandContext(t.Context(), "curl", arguments...).Output()
		if err != nil || string(got) != "2 "+test.want || (s.service.requests.Load() != before) != (test.want == "200") {
			t.Errorf("%s: %s, %v, %d requests reach the service, want 2 %s", name, got, err, s.service.requests.Load()-before, test.want)
		}
	}
}

// replays sends one request many times at once. It passes once. Gateways that share a store refuse it, too.
func replays(t *testing.T, f *federation, s *guarded, bob *visitor) {
	const n = 12
	m := bob.message(t, f, s, "/rooms")
	var statuses [n]int
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { statuses[i] = f.send(t, s, m).status })
	}
	all.Wait()
	slices.Sort(statuses[:])
	if statuses[0] != http.StatusOK || statuses[1] != http.StatusUnauthorized || statuses[n-1] != http.StatusUnauthorized {
		t.Errorf("statuses = %d, want 200 once and 401 otherwise", statuses)
	}
	for _, address := range s.addresses {
		if got := askGateway(t, s, address, "127.0.0.1", m); got != http.StatusUnauthorized {
			t.Errorf("the gateway at %s answers %d, want 401", address, got)
		}
	}
}

// metadata reads the metadata that the challenge points to (RFC 9728 §5.1), without a token.
func metadata(t *testing.T, f *federation, s *guarded) {
	const path = "/.well-known/oauth-protected-resource"
	challenge := f.send(t, s, &message{method: "GET", target: "/", host: s.name}).header.Get("WWW-Authenticate")
	if want := fmt.Sprintf("resource_metadata=%q", "https://"+s.name+path); !strings.Contains(challenge, want) {
		t.Errorf("WWW-Authenticate = %s, want it to contain %s", challenge, want)
	}
	answer, err := f.client(s).Get("https://" + s.name + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got struct {
		Resource string
		Audience []string `json:"im_audience"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil || answer.StatusCode != http.StatusOK ||
		got.Resource != "https://"+s.name || !slices.Equal(got.Audience, []string{"im:" + s.domain}) {
		t.Errorf("status = %d, %v, metadata = %+v, want those of %s", answer.StatusCode, err, got, s.name)
	}
}

// longHeaders sends headers of 12 kB: they reach the gateway and, if it allows the request, the service.
func longHeaders(t *testing.T, f *federation, s *guarded, bob *visitor) {
	long := strings.Repeat("a", 12_000)
	m := bob.message(t, f, s, "/rooms")
	m.lines = append(m.lines, "Cookie: "+long)
	if got := f.send(t, s, m); got.status != http.StatusOK || got.seen.Header.Get("Cookie") != long {
		t.Errorf("status = %d, want 200 and the cookie", got.status)
	}
	m = bob.message(t, f, s, "/rooms")
	m.authorization = []string{"DPoP eyJ." + long + ".a"}
	f.refuses(t, s, m, http.StatusUnauthorized)
	m = bob.message(t, f, s, "/rooms")
	m.proofs = []string{"eyJ." + long + ".a"}
	f.refuses(t, s, m, http.StatusUnauthorized)
}
