package interop_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// TestGateways runs the configurations of contrib/gateway: two providers, with an issuer each, and services behind real proxies that ask
// their gateways. A user of each gets through to the services of both. What is wrong is refused, and never reaches a service.
func TestGateways(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // of what hangs
	t.Cleanup(cancel)
	f := newFederation(t, ctx)
	alice, bob := f.visitor(t, ctx, "a.example", "alice"), f.visitor(t, ctx, "b.example", "bob")
	mallory := f.visitor(t, ctx, "b.example", "alice") // has keys and tokens of her own

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

	t.Run("removed device", func(t *testing.T) {
		remove := exec.CommandContext(ctx, f.binary, "devices", "remove", mallory.id(t), "--data", f.issuers["b.example"].data, "--reason", "lost")
		for _, kind := range proxyKinds {
			if got := f.send(t, f.sites[kind+"/a.example"], mallory.message(t, f, f.sites[kind+"/a.example"], "/now/rooms")); got.status != http.StatusOK {
				t.Errorf("%s: status = %d, want 200 before the device is removed\n%s", kind, got.status, got.body)
			}
		}
		if out, err := remove.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", remove, err, out)
		}
		for _, kind := range proxyKinds {
			s := f.sites[kind+"/a.example"]
			f.refuses(t, s, mallory.message(t, f, s, "/now/rooms"), http.StatusUnauthorized)
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
		{"connection", func(m *message) { m.lines = append(m.lines, "Connection: close, DPoP, X-IM-User") }, 400, map[string]int{"nginx": 200}},
	} {
		m := bob.message(t, f, s, "/rooms")
		test.change(m)
		want := test.want
		if own, ok := test.by[s.kind]; ok {
			want = own
		}
		t.Run(test.name, func(t *testing.T) {
			if want == http.StatusOK {
				if got := f.send(t, s, m); got.status != want || got.seen.Header.Get("X-Im-User") != bob.claims(t, s.domain)["sub"] {
					t.Errorf("status = %d, seen %v, want %d and the identity", got.status, got.seen, want)
				}
				return
			}
			f.refuses(t, s, m, want)
		})
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

// A visitor is a user's device with a token for each domain.
type visitor struct {
	signer *dpop.Signer
	tokens map[string]string // by domain
}

// visitor signs in a user of domain with one device, which gets a token for each domain.
func (f *federation) visitor(t *testing.T, ctx context.Context, domain, user string) *visitor {
	t.Helper()
	both := url.Values{}
	for _, d := range gatewayDomains {
		both.Add("resource", "im:"+d)
	}
	d := newDeviceFor(t, ctx, f.issuers[domain].url, user, both)
	v := &visitor{d.signer, make(map[string]string)}
	for _, domain := range gatewayDomains {
		tokens, err := d.app.Token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {d.refresh}, "resource": {"im:" + domain}})
		if err != nil {
			t.Fatal(err)
		}
		v.tokens[domain], d.refresh = tokens.AccessToken, tokens.RefreshToken
	}
	return v
}

// claims returns the claims of the token for domain.
func (v *visitor) claims(t *testing.T, domain string) map[string]any {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(v.tokens[domain], ".")[1])
	var claims map[string]any
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// id returns the id of the device, as in im:USER/DEVICE@DOMAIN.
func (v *visitor) id(t *testing.T) string {
	t.Helper()
	_, rest, _ := strings.Cut(fmt.Sprint(v.claims(t, "a.example")["device"]), "/")
	id, _, _ := strings.Cut(rest, "@")
	return id
}

func (v *visitor) proof(t *testing.T, domain, method, at, nonce string) string {
	t.Helper()
	proof, err := v.signer.Proof(dpop.ProofParams{Method: method, URL: at, Nonce: nonce, AccessToken: v.tokens[domain]})
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// A message is a request of HTTP/1.1, as it is sent.
type message struct {
	method, target, host  string
	authorization, proofs []string // lines
	lines                 []string // further ones
	nonce                 string   // in the proofs
}

// message returns a request that the gateway of s lets through, if the route accepts the visitor.
func (v *visitor) message(t *testing.T, f *federation, s *guarded, path string) *message {
	t.Helper()
	empty := f.send(t, s, &message{method: "GET", target: "/", host: s.name})
	m := &message{method: "GET", host: s.name, nonce: empty.header.Get("DPoP-Nonce")}
	m.at(t, v, s, path)
	return m
}

// at makes m a request for path, with a fitting proof.
func (m *message) at(t *testing.T, v *visitor, s *guarded, path string) {
	t.Helper()
	m.target = path
	m.authorize(t, v, s.domain, s, m.method, path)
}

// authorize gives m the visitor's token for domain, and a proof for that method and path.
func (m *message) authorize(t *testing.T, v *visitor, domain string, s *guarded, method, path string) {
	t.Helper()
	m.authorization = []string{"DPoP " + v.tokens[domain]}
	m.proofs = []string{v.proof(t, domain, method, "https://"+s.name+path, m.nonce)}
}

func (m *message) String() string {
	lines := []string{m.method + " " + m.target + " HTTP/1.1", "Host: " + m.host}
	for _, value := range m.authorization {
		lines = append(lines, "Authorization: "+value)
	}
	for _, value := range m.proofs {
		lines = append(lines, "DPoP: "+value)
	}
	return strings.Join(append(lines, m.lines...), "\r\n") + "\r\n\r\n"
}

// An outcome is the answer to a message.
type outcome struct {
	status int
	header http.Header
	body   string
	seen   echo // if the service has answered
}

// send sends a message to the proxy of s, byte by byte as it is.
func (f *federation) send(t *testing.T, s *guarded, m *message) outcome {
	t.Helper()
	conn, err := tls.Dial("tcp", s.address, &tls.Config{ServerName: s.name, RootCAs: f.roots})
	if err != nil {
		t.Error(err)
		return outcome{}
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // of what hangs
	if _, err := io.WriteString(conn, m.String()); err != nil {
		t.Error(err)
		return outcome{}
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: m.method})
	if err != nil {
		t.Errorf("%s: %v", m.target, err)
		return outcome{}
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	got := outcome{status: answer.StatusCode, header: answer.Header, body: string(body)}
	if got.status == http.StatusOK {
		if err := json.Unmarshal(body, &got.seen); err != nil {
			t.Errorf("the answer is not that of the service: %v\n%s", err, body)
		}
	}
	return got
}

// refuses sends a message that must be refused with that status, and not reach the service.
func (f *federation) refuses(t *testing.T, s *guarded, m *message, status int) {
	t.Helper()
	before := s.service.requests.Load()
	got := f.send(t, s, m)
	if got.status != status || s.service.requests.Load() != before {
		t.Errorf("%s %s: status = %d, %d requests reach the service, want %d and none\n%v\n%s",
			s.kind, m.target, got.status, s.service.requests.Load()-before, status, got.header, got.body)
	}
	switch status {
	case http.StatusUnauthorized:
		challenges := got.header.Values("WWW-Authenticate")
		if len(challenges) != 1 || !strings.HasPrefix(challenges[0], "DPoP ") || got.header.Get("DPoP-Nonce") == "" {
			t.Errorf("%s: WWW-Authenticate = %q, DPoP-Nonce = %q, want one challenge and a nonce", s.kind, challenges, got.header.Get("DPoP-Nonce"))
		}
	case http.StatusServiceUnavailable:
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s: 503 without Retry-After: %v", s.kind, got.header)
		}
	}
}

// passes sends requests by a usual client: they need a nonce first, and then reach the service, with the identity.
func (v *visitor) passes(t *testing.T, ctx context.Context, f *federation, s *guarded) {
	t.Helper()
	client := f.client(s)
	client.Transport = &dpop.Transport{Signer: v.signer, Base: client.Transport}
	claims := v.claims(t, s.domain)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		r, err := http.NewRequestWithContext(ctx, method, "https://"+s.name+"/rooms/7?q=%2F..;", strings.NewReader("hello")) // a query may contain anything
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "DPoP "+v.tokens[s.domain])
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var seen echo
		err = json.NewDecoder(answer.Body).Decode(&seen)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || seen.Method != method || seen.URI != "/rooms/7?q=%2F..;" || seen.Body != "hello" {
			t.Errorf("%s: status = %d, %v, the service saw %s %s with %q", method, answer.StatusCode, err, seen.Method, seen.URI, seen.Body)
			continue
		}
		if answer.Header.Get("DPoP-Nonce") == "" {
			t.Errorf("%s: no DPoP-Nonce in %v", method, answer.Header)
		}
		if h2 := s.kind != "nginx"; h2 != (answer.ProtoMajor == 2) {
			t.Errorf("HTTP/%d, want 2 through %s", answer.ProtoMajor, s.kind)
		}
		v.isSeen(t, s, seen, claims)
	}
}

// isSeen checks that the service has seen the visitor's identity, and nobody else's.
func (v *visitor) isSeen(t *testing.T, s *guarded, seen echo, claims map[string]any) {
	t.Helper()
	text := func(claim string) string { return fmt.Sprint(claims[claim]) }
	_, domain, _ := strings.Cut(strings.TrimSuffix(text("sub"), ";id-type=user"), "@")
	for header, want := range map[string]string{
		"X-Im-User": text("sub"), "X-Im-Handle": text("handle"), "X-Im-Device": text("device"), "X-Im-Domain": domain,
		"X-Im-Issuer": text("iss"), "X-Im-Scope": text("scope"), "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": s.name, "X-Forwarded-Proto": "https",
	} {
		if got := seen.Header.Values(header); !slices.Equal(got, []string{want}) {
			t.Errorf("the service saw %s: %q, want %q", header, got, want)
		}
	}
	if seen.Identity == nil || seen.Identity.User != text("sub") || seen.Identity.Device != text("device") || seen.Identity.Issuer != text("iss") {
		t.Errorf("the identity is %+v (%s), want that of %s", seen.Identity, seen.Refused, text("device"))
	}
	for name := range seen.Header {
		switch lower := strings.ReplaceAll(strings.ToLower(name), "_", "-"); lower {
		case "x-im-user", "x-im-handle", "x-im-device", "x-im-domain", "x-im-issuer", "x-im-scope", "x-im-identity":
			if strings.Contains(name, "_") {
				t.Errorf("the service saw %s: %q", name, seen.Header[name])
			}
		case "forwarded", "x-original-uri", "x-original-url", "x-rewrite-url", "x-http-method", "x-http-method-override", "x-method-override":
			t.Errorf("the service saw %s: %q", name, seen.Header[name])
		}
	}
}

// spoofs sends the headers of the gateway and of proxies with a request that passes: the service sees none of them.
func (v *visitor) spoofs(t *testing.T, f *federation, s *guarded) {
	t.Helper()
	m := v.message(t, f, s, "/rooms")
	for _, name := range []string{"User", "Handle", "Device", "Domain", "Issuer", "Scope", "Identity"} {
		for _, prefix := range []string{"X-IM-", "x-im-", "X_IM_", "X-IM_", "X_IM-"} {
			m.lines = append(m.lines, prefix+name+": spoofed")
		}
	}
	m.lines = append(m.lines, "X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 203.0.113.10", "X-Forwarded-Host: files.a.example", "X-Forwarded-Proto: http",
		"X-Forwarded-Uri: /own", "X-Forwarded-Method: DELETE", "X-Original-URI: /own", "X-Original-URL: /own", "X-Original-Method: DELETE",
		"X-Rewrite-URL: /own", "X-HTTP-Method: DELETE", "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", "Forwarded: for=203.0.113.9;host=files.a.example")
	got := f.send(t, s, m)
	if got.status != http.StatusOK {
		t.Fatalf("status = %d, want 200\n%s", got.status, got.body)
	}
	v.isSeen(t, s, got.seen, v.claims(t, s.domain))
}

// askGateway asks a gateway about a message, as a proxy does that connects from the address from. It returns the status.
func askGateway(t *testing.T, s *guarded, gateway, from string, m *message) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "http://"+gateway+"/verify", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Authorization"], r.Header["Dpop"] = m.authorization, m.proofs
	for _, prefix := range []string{"X-Original-", "X-Forwarded-"} {
		r.Header.Set(prefix+"Method", m.method)
		r.Header.Set(prefix+"Uri", m.target)
	}
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("X-Forwarded-Host", s.name)
	answer, err := clientFrom(from).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// TestGatewayDocument compares the configurations in docs/gateway.md with the files that TestGateways runs.
func TestGatewayDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]string)
	for _, m := range fences.FindAllStringSubmatch(string(text), -1) {
		shown[m[1]] += m[2]
	}
	for language, file := range map[string]string{
		"nginx": "nginx/im-gateway.conf", "caddy": "caddy/Caddyfile", "haproxy": "haproxy/haproxy.cfg", "lua": "haproxy/im-gateway.lua",
	} {
		if want, err := os.ReadFile("../../contrib/gateway/" + file); err != nil || shown[language] != string(want) {
			t.Errorf("docs/gateway.md shows another %s (%v)", file, err)
		}
	}
}
