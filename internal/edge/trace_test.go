package edge_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/edge"
	"github.com/imidentity/issuer/internal/trace/tracetest"
)

// tracedSite is newSite with traces for a collector, and more settings.
func tracedSite(t *testing.T, c *tracetest.Collector, tracing, more string) *site {
	t.Helper()
	s := newSite(t)
	cfg, err := config.ParseGateway(s.folder+"/gateway.yaml", fmt.Appendf(nil, `development: true
public_origins: [%s]
trusted_proxies: [127.0.0.1/32]
audience: ["im:a.example"]
peers: [{domain: b.example, issuer: %s, jwks_file: b.json}]
tracing: {endpoint: %q%s}
%s
`, chat, issuerB, c.URL, tracing, more), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Instance, err = edge.Open(t.Context(), cfg, edge.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Instance.Close() })
	s.Server = httptest.NewServer(s.Instance)
	t.Cleanup(s.Server.Close)
	return s
}

// wait waits until the collector has the spans of n requests, and returns all.
func (s *site) wait(t *testing.T, c *tracetest.Collector, n int) []tracetest.Span {
	t.Helper()
	for range 1000 { // a span ends after its answer was sent
		s.FlushTraces(t.Context())
		found := 0
		for _, span := range c.Spans() {
			if span.Kind == "SERVER" {
				found++
			}
		}
		if found >= n {
			return c.Spans()
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("the collector does not get the spans of %d requests: %v", n, c.Spans())
	return nil
}

// TestTrace holds that a question of a proxy has a span with the route and the decision, and nothing about the user.
func TestTrace(t *testing.T) {
	for name, test := range map[string]struct {
		tracing, trace string
	}{
		"by default":         {"", ""},
		"of a trusted proxy": {", sample: 0, trust_proxies: true", "4bf92f3577b34da6a3ce929d0e0e4736"},
	} {
		t.Run(name, func(t *testing.T) {
			collector := tracetest.Start(t)
			s := tracedSite(t, collector, test.tracing, "proxy: nginx\nroutes: [{path: /, upstream: chat}]")
			s.header = http.Header{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}
			s.want(t, "200") // after a question without a nonce
			s.token = "bob"
			s.want(t, "401malformed_token")
			reasons := make(map[string]int)
			for _, span := range s.wait(t, collector, 3) {
				if span.Kind != "SERVER" {
					if span.Name != "decide" || len(span.Attributes) != 0 {
						t.Errorf("span = %+v, want a decision alone", span)
					}
					continue
				}
				reasons[span.Attributes["http.response.status_code"]+" "+span.Attributes["gateway.outcome"]]++
				if span.Name != "GET /" || span.Failed || test.trace != "" && span.Trace != test.trace || test.trace == "" && span.Links[0] == span.Trace {
					t.Errorf("span = %+v, want GET / in the trace %q", span, test.trace)
				}
			}
			if reasons["200 allowed"] != 1 || reasons["401 unauthenticated"] != 2 {
				t.Errorf("outcomes = %v, want one that is allowed and two that are not", reasons)
			}
			for _, told := range []string{"bob", "im:", "chat.a.example", s.token, "u2"} {
				if strings.Contains(fmt.Sprint(collector.Spans()), told) {
					t.Errorf("the collector has %q: %v", told, collector.Spans())
				}
			}
			if collector.Resource()["service.name"] != "gateway" {
				t.Errorf("resource = %v, want the service gateway", collector.Resource())
			}
		})
	}
}

// TestTraceUpstream holds that a reverse proxy with traces passes answers on as they come, upgrades included, and has their status.
func TestTraceUpstream(t *testing.T) {
	more := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/upgrade" {
			conn, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			line, _ := buf.ReadString('\n')
			_, _ = io.WriteString(conn, line)
			return
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "first ")
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "second")
	}))
	t.Cleanup(upstream.Close)
	release := sync.OnceFunc(func() { close(more) })
	t.Cleanup(release)
	collector := tracetest.Start(t)
	s := tracedSite(t, collector, "", "upstream: "+upstream.URL+"\nroutes: [{path: /, upstream: chat}]")
	send := func(path string) *http.Response {
		for {
			proof, err := s.device.Proof(dpop.ProofParams{
				Method: "GET", URL: chat + path, AccessToken: s.token, Nonce: s.nonce.Load().(string),
			})
			if err != nil {
				t.Fatal(err)
			}
			q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			q.Host = "chat.a.example"
			for name, value := range map[string]string{
				"X-Forwarded-Proto": "https", "X-Forwarded-Host": "chat.a.example", "Authorization": "DPoP " + s.token, "DPoP": proof,
				"Connection": "Upgrade", "Upgrade": "websocket",
			} {
				q.Header.Set(name, value)
			}
			resp, err := http.DefaultClient.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { resp.Body.Close() })
			if nonce := resp.Header.Get("DPoP-Nonce"); resp.StatusCode != http.StatusUnauthorized || nonce == "" {
				return resp
			}
			s.nonce.Store(resp.Header.Get("DPoP-Nonce"))
		}
	}
	resp := send("/stream")
	begin := make([]byte, 6)
	if _, err := io.ReadFull(resp.Body, begin); err != nil || string(begin) != "first " || resp.StatusCode != http.StatusTeapot {
		t.Fatalf("answer = %d %q, %v, want its first part", resp.StatusCode, begin, err)
	}
	release()
	if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "second" {
		t.Errorf("rest = %q, %v, want second", rest, err)
	}
	upgraded := send("/upgrade")
	conn, ok := upgraded.Body.(io.ReadWriteCloser)
	if upgraded.StatusCode != http.StatusSwitchingProtocols || !ok {
		t.Fatalf("answer = %d, want an upgraded connection", upgraded.StatusCode)
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if echo, err := io.ReadAll(conn); err != nil || string(echo) != "hello\n" {
		t.Errorf("echo = %q, %v, want hello", echo, err)
	}
	conn.Close() // the request ends with its connection
	statuses := make(map[string]int)
	for _, span := range s.wait(t, collector, 3) {
		statuses[span.Attributes["http.response.status_code"]]++
	}
	if statuses["418"] != 1 || statuses["101"] != 1 {
		t.Errorf("statuses = %v, want those of the upstream", statuses)
	}
}
