package interop_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

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
	var claims map[string]any
	payload(t, v.tokens[domain], &claims)
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
	case http.StatusForbidden:
		if strings.HasPrefix(m.target, "/scoped/") && !strings.Contains(got.header.Get("WWW-Authenticate"), `error="insufficient_scope"`) {
			t.Errorf("%s: WWW-Authenticate = %q, want insufficient_scope (RFC 6750 §3.1)", s.kind, got.header.Values("WWW-Authenticate"))
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
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch} {
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
		if strings.Contains(name, "_") {
			t.Errorf("the service saw %s: %q", name, seen.Header[name])
		}
		switch lower := strings.ReplaceAll(strings.ToLower(name), "_", "-"); lower {
		case "x-im-user", "x-im-handle", "x-im-device", "x-im-domain", "x-im-issuer", "x-im-scope", "x-im-identity":
		case "authorization", "dpop", "forwarded", "x-forwarded-uri", "x-forwarded-method", "x-forwarded-prefix", "x-original-method", "x-original-uri",
			"x-original-url", "x-original-host", "x-rewrite-url", "x-http-method", "x-http-method-override", "x-method-override", "x-real-ip", "x-client-ip",
			"x-cluster-client-ip", "true-client-ip", "client-ip", "proxy", "x-host":
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
		"X-Forwarded-Uri: /own", "X-Forwarded-Method: DELETE", "X-Forwarded-Prefix: /own", "X-Original-URI: /own", "X-Original-URL: /own", "X-Original-Method: DELETE",
		"X-Rewrite-URL: /own", "X-HTTP-Method: DELETE", "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", "Forwarded: for=203.0.113.9;host=files.a.example",
		"X_Forwarded_For: 203.0.113.9", "X-Real-IP: 203.0.113.9", "X-Client-IP: 203.0.113.9", "X-Cluster-Client-IP: 203.0.113.9", "True-Client-IP: 203.0.113.9",
		"Client-IP: 203.0.113.9", "Proxy: http://203.0.113.9", "X-Host: files.a.example", "X-Original-Host: files.a.example")
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
