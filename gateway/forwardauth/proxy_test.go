package forwardauth_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/gateway/forwardauth"
)

// A service remembers the last request that reached it.
type service struct {
	*httptest.Server
	reached chan *http.Request
	answer  http.HandlerFunc
}

func newService(t *testing.T, answer http.HandlerFunc) *service {
	s := &service{reached: make(chan *http.Request, 16), answer: answer}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.reached <- r.Clone(r.Context())
		if s.answer != nil {
			s.answer(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// newProxy returns a reverse proxy for a service, and its world.
func newProxy(t *testing.T, upstream string, change func(cfg *forwardauth.ProxyConfig)) (*world, *httptest.Server) {
	t.Helper()
	w := newWorld(t, forwardauth.Direct)
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	cfg := forwardauth.ProxyConfig{Handler: w.handler, Upstream: u, MaxBody: 1 << 10}
	if change != nil {
		change(&cfg)
	}
	p, err := forwardauth.NewProxy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	t.Cleanup(p.Close)
	return w, server
}

// request returns a request of Bob to the proxy, for the origin of the chat.
func (w *world) request(t *testing.T, at *httptest.Server, method, target string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, at.URL+target, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "chat.a.example"
	path, _, _ := strings.Cut(target, "?")
	w.sign(t, r, w.token(t, nil), method, chat+path)
	return r
}

func do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
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

// The service gets the request with the identity of the gateway, and with nothing that a client could say about itself.
func TestProxyForwards(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-IM-User", "of the service")
		w.Header().Set("DPoP-Nonce", "of the service")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprintf(w, "got %s", body)
	})
	w, at := newProxy(t, s.URL, nil)
	r := w.request(t, at, "POST", "/rooms/a=b,c/%C3%A9?x=%2F..%2F", strings.NewReader("hello"))
	spoofed := []string{
		"X_IM_User", "X-Im-Admin", "X_Forwarded_For", "X-Http-Method-Override", "X-Original-Url", "X-Rewrite-Url", "Forwarded",
		"Proxy-Authorization", "Proxy", "X-Real-Ip", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri",
	}
	for _, name := range slices.Concat(spoofed, identityHeaders, []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For"}) {
		r.Header[name] = []string{"mallory"}
	}
	r.Header.Set("Connection", "X-IM-User, X-IM-Identity")
	r.Header.Set("X-Own", "kept")
	resp, body := do(t, r)
	if resp.StatusCode != http.StatusTeapot || body != "got hello" {
		t.Fatalf("the answer is %d %s", resp.StatusCode, body)
	}
	got := <-s.reached
	for name, values := range got.Header {
		if strings.Contains(strings.Join(values, ","), "mallory") || slices.Contains(spoofed, name) {
			t.Errorf("the service got %s: %s", name, values)
		}
	}
	if got.Header.Get("Authorization") != "" || got.Header.Get("DPoP") != "" {
		t.Error("the service got the credentials")
	}
	for name, want := range map[string]string{
		"X-IM-User": "im:u2@b.example;id-type=user", "X-Own": "kept", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "chat.a.example",
		"X-Forwarded-Proto": "https",
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("the service got %s: %q, want %q", name, value, want)
		}
	}
	if got.Host != "chat.a.example" || got.RequestURI != "/rooms/a=b,c/%C3%A9?x=%2F..%2F" {
		t.Errorf("the service got %s %s", got.Host, got.RequestURI)
	}
	id, err := forwardauth.OpenRequest(got, forwardauth.Expected{Issuer: gatewayURL, Upstream: "chat", Keys: keysOf(t, w)})
	if err != nil || id.Device != "im:u2/d1@b.example" {
		t.Errorf("OpenRequest = %+v, %v", id, err)
	}
	if nonce := resp.Header["Dpop-Nonce"]; len(nonce) != 1 || nonce[0] == "of the service" || resp.Header.Get("X-IM-User") != "" ||
		resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the client got %v", resp.Header)
	}
}

func keysOf(t *testing.T, w *world) *forwardauth.Keys {
	t.Helper()
	keys, err := forwardauth.NewKeys(w.signer.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestProxyPassesCredentials(t *testing.T) {
	s := newService(t, nil)
	w, at := newProxy(t, s.URL, func(cfg *forwardauth.ProxyConfig) { cfg.PassCredentials = true })
	r := w.request(t, at, "GET", "/", nil)
	do(t, r)
	if got := <-s.reached; got.Header.Get("Authorization") != r.Header.Get("Authorization") || got.Header.Get("DPoP") != r.Header.Get("DPoP") {
		t.Errorf("the service got %v", got.Header)
	}
}

// Nothing that is refused reaches the service.
func TestProxyRefuses(t *testing.T) {
	s := newService(t, nil)
	w, at := newProxy(t, s.URL, nil)
	for name, v := range map[string]struct {
		change func(r *http.Request)
		status int
	}{
		"no token":       {func(r *http.Request) { r.Header.Del("Authorization") }, 401},
		"two tokens":     {func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, 401},
		"two proofs":     {func(r *http.Request) { r.Header.Add("DPoP", r.Header.Get("DPoP")) }, 401},
		"another method": {func(r *http.Request) { r.Method = "DELETE" }, 401},
		"another host":   {func(r *http.Request) { r.Host = "evil.example" }, 403},
		"two slashes":    {func(r *http.Request) { r.URL.Opaque = "//" + r.URL.Host + "//rooms" }, 403},
		"dots":           {func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a/../rooms", "/a/%2e%2e/rooms" }, 403},
		"a slash":        {func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/rooms/7", "/rooms%2F7" }, 403},
		"a backslash":    {func(r *http.Request) { r.URL.Path, r.URL.RawPath = `/rooms\7`, "/rooms%5C7" }, 403},
		"a semicolon":    {func(r *http.Request) { r.URL.Path = "/rooms;x" }, 403},
	} {
		r := w.request(t, at, "GET", "/rooms", nil)
		v.change(r)
		if resp, body := do(t, r); resp.StatusCode != v.status || resp.Header.Get("DPoP-Nonce") == "" {
			t.Errorf("%s: the answer is %d %s, want %d", name, resp.StatusCode, body, v.status)
		}
	}
	// Absolute form, which no client library sends to a server.
	conn, err := net.Dial("tcp", at.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET http://chat.a.example/rooms HTTP/1.1\r\nHost: chat.a.example\r\nConnection: close\r\n\r\n")
	if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 403 ") {
		t.Errorf("absolute form: %s, %v", text, err)
	}
	select {
	case r := <-s.reached:
		t.Errorf("the service got %s %s", r.Method, r.RequestURI)
	default:
	}
}

func TestProxyLimitsBodies(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	w, at := newProxy(t, s.URL, nil)
	large := bytes.Repeat([]byte("a"), 1<<10+1)
	for name, body := range map[string]io.Reader{"announced": bytes.NewReader(large), "chunked": struct{ io.Reader }{bytes.NewReader(large)}} {
		if resp, text := do(t, w.request(t, at, "POST", "/", body)); resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: the answer is %d %s, want 413", name, resp.StatusCode, text)
		}
	}
	if resp, text := do(t, w.request(t, at, "POST", "/", bytes.NewReader(large[1:]))); resp.StatusCode != http.StatusOK {
		t.Errorf("the answer is %d %s, want 200", resp.StatusCode, text)
	}
}

// A client without a token cannot hold a connection by a body that it announces and never sends.
func TestProxyRefusesUnsentBody(t *testing.T) {
	_, at := newProxy(t, "http://127.0.0.1:1", func(cfg *forwardauth.ProxyConfig) { cfg.AnswerTime = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", at.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil { // else the test waits for ever
		t.Fatal(err)
	}
	fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: chat.a.example\r\nContent-Length: 100\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal("the refusal waits for the body: ", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the answer is %d, want 401", resp.StatusCode)
	}
}

// The service gets the query as the client sent it.
func TestProxyKeepsQuery(t *testing.T) {
	s := newService(t, nil)
	w, at := newProxy(t, s.URL, nil)
	for _, query := range []string{"a=1;b=2", "a=%zz&b", "b=2&a=1&&"} {
		if resp, body := do(t, w.request(t, at, "GET", "/rooms?"+query, nil)); resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: the answer is %d %s", query, resp.StatusCode, body)
		}
		if got := (<-s.reached).RequestURI; got != "/rooms?"+query {
			t.Errorf("the service gets %s, want /rooms?%s", got, query)
		}
	}
}

// What goes wrong with the service is not blamed on the client.
func TestProxyFailures(t *testing.T) {
	release := make(chan struct{})
	silent := newService(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	broken := newService(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	gone := newService(t, nil)
	gone.Close()
	for name, v := range map[string]struct {
		upstream string
		status   int
		retry    string
	}{"silent": {silent.URL, 504, ""}, "broken": {broken.URL, 502, ""}, "gone": {gone.URL, 503, "1"}} {
		w, at := newProxy(t, v.upstream, func(cfg *forwardauth.ProxyConfig) { cfg.AnswerTime = 50 * time.Millisecond })
		resp, body := do(t, w.request(t, at, "POST", "/", strings.NewReader("a")))
		if resp.StatusCode != v.status || resp.Header.Get("Retry-After") != v.retry || resp.Header.Get("DPoP-Nonce") == "" {
			t.Errorf("%s: the answer is %d %v %s, want %d", name, resp.StatusCode, resp.Header, body, v.status)
		}
	}
}

// A nonce is not in an answer that may be stored.
func TestProxyNonceAndCaches(t *testing.T) {
	for control, want := range map[string]bool{
		"": true, "no-store": true, "private, no-cache": true, "max-age=60": false, "public": false, "private": false,
	} {
		s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
			if control != "" {
				w.Header().Set("Cache-Control", control)
			}
		})
		w, at := newProxy(t, s.URL, nil)
		resp, _ := do(t, w.request(t, at, "GET", "/", nil))
		if got := resp.Header.Get("DPoP-Nonce") != ""; got != want {
			t.Errorf("Cache-Control %q: the answer has a nonce: %v, want %v", control, got, want)
		}
		if control != "" && resp.Header.Get("Cache-Control") != control {
			t.Errorf("Cache-Control %q became %q", control, resp.Header.Get("Cache-Control"))
		}
	}
}

// A connection that is upgraded carries what both sides send.
func TestProxyUpgrade(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		line, _ := rw.ReadString('\n')
		fmt.Fprintf(conn, "echo %s", line)
	})
	w, at := newProxy(t, s.URL, nil)
	r := w.request(t, at, "GET", "/socket", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "WebSocket")
	conn, err := net.Dial("tcp", at.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := r.Write(conn); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	resp, err := http.ReadResponse(reader, r)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the answer is %v, %v", resp, err)
	}
	fmt.Fprintln(conn, "hello")
	if line, err := reader.ReadString('\n'); err != nil || line != "echo hello\n" {
		t.Errorf("read %q, %v", line, err)
	}
	// Without a token there is no upgrade.
	r = w.request(t, at, "GET", "/socket", nil)
	r.Header.Del("Authorization")
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	if resp, _ := do(t, r); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the answer is %d, want 401", resp.StatusCode)
	}
}

// A connection is not upgraded to a protocol that carries further requests, which nobody would check.
func TestProxyRefusesOtherUpgrades(t *testing.T) {
	s := newService(t, nil)
	w, at := newProxy(t, s.URL, nil)
	for _, upgrade := range [][]string{{"h2c"}, {"websocket, h2c"}, {"websocket", "h2c"}, {"TLS/1.3"}, {"h2c", "websocket"}} {
		r := w.request(t, at, "GET", "/", nil)
		r.Header.Set("Connection", "Upgrade, HTTP2-Settings")
		r.Header["Upgrade"] = upgrade
		r.Header.Set("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA")
		resp, body := do(t, r)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%q: the answer is %d %s, want 200", upgrade, resp.StatusCode, body)
		}
		if got := <-s.reached; len(got.Header["Upgrade"]) > 0 || len(got.Header["Http2-Settings"]) > 0 {
			t.Errorf("%q: the service got %v", upgrade, got.Header)
		}
	}
}

func TestNewProxy(t *testing.T) {
	direct, nginx := newWorld(t, forwardauth.Direct), newWorld(t, forwardauth.Nginx)
	up := &url.URL{Scheme: "http", Host: "127.0.0.1:8000"}
	for name, cfg := range map[string]forwardauth.ProxyConfig{
		"no handler":     {Upstream: up},
		"another reader": {Handler: nginx.handler, Upstream: up},
		"no upstream":    {Handler: direct.handler},
		"a path":         {Handler: direct.handler, Upstream: &url.URL{Scheme: "http", Host: "a", Path: "/b"}},
		"a scheme":       {Handler: direct.handler, Upstream: &url.URL{Scheme: "ftp", Host: "a"}},
		"a negative one": {Handler: direct.handler, Upstream: up, MaxBody: -1},
	} {
		if _, err := forwardauth.NewProxy(cfg); err == nil {
			t.Errorf("NewProxy with %s = nil, want an error", name)
		}
	}
}
