package server_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/trace/tracetest"
)

// traced returns what is filled into the settings to send traces to a collector, with more settings for them.
func traced(c *tracetest.Collector, more string) map[string]string {
	return map[string]string{"more": fmt.Sprintf("tracing: {endpoint: %q%s}", c.URL, more)}
}

// requests returns the spans of requests at a route.
func requests(spans []tracetest.Span, name string) (list []tracetest.Span) {
	for _, s := range spans {
		if s.Name == name && s.Kind == "SERVER" {
			list = append(list, s)
		}
	}
	return list
}

// waitRequest waits for the span of a request that was answered, by the id of its answer, and returns the spans of its trace and the tree.
func (s *site) waitRequest(t *testing.T, c *tracetest.Collector, a answer) (own tracetest.Span, trace []tracetest.Span, tree string) {
	t.Helper()
	for range 1000 { // a span ends after its answer was sent
		s.instance.FlushTraces(t.Context())
		spans := c.Spans()
		i := slices.IndexFunc(spans, func(s tracetest.Span) bool { return s.Attributes["issuer.request_id"] == a.header.Get("X-Request-Id") })
		if i < 0 {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		for _, s := range spans {
			if s.Trace == spans[i].Trace {
				trace = append(trace, s)
			}
		}
		return spans[i], trace, tracetest.Tree(trace, spans[i].Trace)
	}
	t.Fatal("the collector does not get the span of a request")
	return own, trace, tree
}

// TestTraceTree plays a whole login, a refresh, an introspection and a revocation, and wants the tree of spans of each request: what it
// asked of the database and of the OpenID provider.
func TestTraceTree(t *testing.T) {
	collector := tracetest.Start(t)
	fill := traced(collector, "")
	fill["replay"] = "storage"
	s := start(t, fill)
	d := newDevice(t)
	v := s.visit(t, "alice", nil)
	back := s.open(t, v.browser, v.callback) // a page asked for consent, which was given
	to, err := back.to()
	if err != nil {
		t.Fatal(err)
	}
	redeemed := s.token(t, app, d, codeForm(to.Query().Get("code"), nil))
	held := wantTokens(t, redeemed)
	refreshed := s.token(t, app, d, refreshForm(held.refresh))
	next := wantTokens(t, refreshed)
	asked := s.introspect(t, peer, next.access)
	revoked := s.revoke(t, app, next.refresh)
	wantStatus(t, revoked, http.StatusOK)
	refused := s.token(t, app, d, refreshForm("no such token"))
	wantError(t, refused, http.StatusBadRequest, "invalid_grant")

	const update = "storage Update\n    storage Run\n"
	for name, test := range map[string]struct {
		answer answer
		span   string
		want   []string // of the tree
		attrs  map[string]string
	}{
		"the end of the login": {back, "POST /login/consent", []string{update, "storage TakeLogin", "storage InsertCode"}, nil},
		"redemption": {redeemed, "POST /token", []string{update, "replay Spend\n", "storage InsertGrant"},
			map[string]string{"issuer.grant_type": "authorization_code", "issuer.client_kind": "public", "http.response.status_code": "200"}},
		"refresh": {refreshed, "POST /token", []string{update, "replay Spend\n", "storage RotateGrant"},
			map[string]string{"issuer.grant_type": "refresh_token", "issuer.client_kind": "public"}},
		"introspection": {asked, "POST /introspect", nil, map[string]string{"issuer.client_kind": "secret", "http.route": "/introspect"}},
		"revocation":    {revoked, "POST /revoke", []string{update}, map[string]string{"issuer.error": ""}},
		"refusal": {refused, "POST /token", nil,
			map[string]string{"issuer.error": "invalid_grant", "http.response.status_code": "400", "error.type": ""}},
	} {
		own, trace, tree := s.waitRequest(t, collector, test.answer)
		if own.Name != test.span || own.Parent != "" || own.Failed || len(own.Links) != 0 {
			t.Errorf("%s: span = %+v, want %s, the first of its trace and not failed", name, own, test.span)
		}
		for _, want := range test.want {
			if !strings.Contains(tree, want) {
				t.Errorf("%s: the tree lacks %q:\n%s", name, want, tree)
			}
		}
		for attr, want := range test.attrs {
			if own.Attributes[attr] != want {
				t.Errorf("%s: %s = %q, want %q", name, attr, own.Attributes[attr], want)
			}
		}
		lines := 0
		for _, s := range trace {
			if lines++; s.Begin < own.Begin || s.End > own.End && !strings.HasPrefix(s.Name, "fetch ") {
				t.Errorf("%s: %s is not within its request", name, s.Name)
			}
		}
		if strings.Count(tree, "\n") != lines {
			t.Errorf("%s: not all of %v is below the request:\n%s", name, trace, tree)
		}
		if !s.witness.said("id="+test.answer.header.Get("X-Request-Id")) || !s.witness.said("trace_id="+own.Trace) {
			t.Errorf("%s: the log lacks the trace", name)
		}
	}

	// The way through the provider: the callback asked it for tokens, and is the only request that did.
	callbacks := requests(collector.Spans(), "GET /login/callback/:provider")
	if len(callbacks) != 1 || callbacks[0].Attributes["issuer.provider"] != "dev" {
		t.Fatalf("callbacks = %+v, want one of the provider dev", callbacks)
	}
	tree := tracetest.Tree(collector.Spans(), callbacks[0].Trace)
	for _, want := range []string{"\n  fetch provider_token\n", "\n  fetch provider_keys\n"} {
		if !strings.Contains(tree, want) {
			t.Errorf("the tree of the callback lacks %q:\n%s", want, tree)
		}
	}
	for _, span := range collector.Spans() {
		if strings.HasPrefix(span.Name, "fetch ") && (span.Kind != "CLIENT" || span.Attributes["server.address"] != "127.0.0.1") {
			t.Errorf("span = %+v, want that of a client of a host in the settings", span)
		}
		if slices.Contains([]string{"/healthz", "/readyz", "/metrics"}, span.Attributes["http.route"]) {
			t.Errorf("monitoring is traced: %+v", span)
		}
	}
}

// attributes are all names of attributes that spans may have.
var attributes = []string{
	"http.request.method", "http.route", "http.response.status_code", "error.type", "server.address", "db.system.name", "db.operation.name",
	"issuer.request_id", "issuer.error", "issuer.grant_type", "issuer.client_kind", "issuer.provider", "issuer.purpose", "issuer.storage_runs",
}

// TestTraceSecrets plays every flow with traces, and searches all that the collector got for what was secret on the way, and for the
// people in it.
func TestTraceSecrets(t *testing.T) {
	own := map[string]func(t *testing.T, s *site) []step{ // these keep what belongs to one site
		"introspection with a proof of the holder": heldByProof(), "refresh token used long after": replacedLongAgo(),
	}
	for _, f := range flows {
		if begin := own[f.name]; begin != nil {
			f.begin = begin
		}
		t.Run(f.name+"/1", func(t *testing.T) { // the flows call people by the last part of the name
			collector := tracetest.Start(t)
			fill := maps.Clone(f.fill)
			if fill == nil {
				fill = make(map[string]string)
			}
			fill["more"] = traced(collector, "")["more"] + "\n" + fill["more"]
			s := start(t, fill)
			for _, step := range f.begin(t, s) {
				if step.ready != nil {
					step.ready()
				}
				step.good(step.ask())
			}
			wantNothingTold(t, s, collector)
		})
	}
}

// people are texts that are about the people and devices of tests. The long ones are searched in all bytes that were sent, the others in
// the texts of spans.
var (
	people = regexp.MustCompile(`(?i)alice|living room|dev-1002|198\.51\.100|mozilla`)
	brief  = regexp.MustCompile(`(?i)bob|person|renamed|former|im:|im%3a|mimi:|eyJ|Bearer |DPoP |code=|state=|@|%40`)
)

// wantNothingTold holds that the collector has traces of known routes, with known attributes, and nothing else.
func wantNothingTold(t *testing.T, s *site, c *tracetest.Collector) {
	t.Helper()
	s.waitRequest(t, c, s.get(t, "/nonce")) // those before were sent, too
	text := c.Raw()
	if found := people.FindString(text); found != "" {
		i := strings.Index(text, found)
		t.Errorf("the collector has %q: %q", found, text[max(0, i-100):min(len(text), i+100)])
	}
	s.witness.mu.Lock()
	for secret := range s.witness.find(text) {
		t.Errorf("the collector has a %s", s.witness.secrets[secret])
	}
	s.witness.mu.Unlock()
	routes := map[string]bool{"none": true}
	for _, r := range s.instance.Server().Routes() {
		routes[strings.NewReplacer("{", ":", "}", "").Replace(r.Path)] = true
	}
	for _, span := range c.Spans() {
		if span.Message != "" {
			t.Errorf("%s has a message: %q", span.Name, span.Message)
		}
		if op := span.Attributes["db.operation.name"]; op != "" && !strings.HasSuffix(span.Name, " "+op) || op == "" && brief.MatchString(span.Name) {
			t.Errorf("a span has the name %q", span.Name)
		}
		for name, value := range span.Attributes {
			known := slices.Contains(attributes, name)
			if !known || name != "db.operation.name" && name != "issuer.request_id" && brief.MatchString(value) {
				t.Errorf("%s has the attribute %s=%q", span.Name, name, value)
			}
		}
		if route := span.Attributes["http.route"]; span.Kind == "SERVER" && !routes[route] && !strings.HasPrefix(route, "/admin/") {
			t.Errorf("%q is no route", route)
		}
	}
}

// TestTraceHostile sends requests that are full of texts of their sender, all of which are refused, and wants none of the texts in traces.
func TestTraceHostile(t *testing.T) {
	collector := tracetest.Start(t)
	fill := traced(collector, "")
	fill["more"] += "\ntrusted_proxies: [127.0.0.0/8]"
	s := start(t, fill)
	const text = "alice-was-here"
	header := http.Header{
		"X-Forwarded-For": {"198.51.100.77"}, "User-Agent": {"Mozilla " + text}, "Dpop": {text}, "Authorization": {"DPoP " + text}, "Origin": {"https://" + text},
		"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, "Tracestate": {"x=" + text}, "Baggage": {"user=" + text},
		"X-Request-Id": {text}, "Cookie": {text + "=" + text},
	}
	forms := []url.Values{
		{"grant_type": {text}, "client_id": {text}}, {"grant_type": {"refresh_token"}, "refresh_token": {text}, "client_id": {app.id}},
		{"token": {text}}, {text: {text}}, {"client_id": {text}, "redirect_uri": {"https://" + text + "/?code=1"}},
	}
	for _, path := range []string{"/token", "/introspect", "/revoke", "/par", "/me/devices", "/" + text, "/status/" + text, "/login/callback/" + text,
		"/login/backchannel/" + text, "/.well-known/" + text, "/authorize?client_id=" + text, "/account/" + text} {
		for _, form := range forms {
			s.post(t, path, form, header)
		}
		for _, method := range []string{http.MethodGet, http.MethodOptions, strings.ToUpper(text)} {
			req := s.request(t, method, path, "")
			maps.Copy(req.Header, header)
			s.send(t, s.http, req)
		}
	}
	wantNothingTold(t, s, collector)
	for _, told := range []string{text, strings.ToUpper(text), "198.51.100.77", "Mozilla"} {
		if strings.Contains(collector.Raw(), told) {
			t.Errorf("the collector has %q", told)
		}
	}
}

// TestTraceCollectorDown holds that requests are answered as ever while the collector is down, is slow, or answers nonsense, that the
// spans are counted as dropped, and that it is logged once.
func TestTraceCollectorDown(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"breaks off": func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		"fails":      func(w http.ResponseWriter, _ *http.Request) bool { http.Error(w, "no", 500); return true },
		"refuses": func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return true
		},
		"never ends": func(_ http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body) // only then the server looks whether the sender is gone
			<-r.Context().Done()
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			collector := tracetest.Start(t)
			collector.Answer(answer)
			s := start(t, traced(collector, ""))
			d := newDevice(t)
			held := s.login(t, d, "alice")
			for range 3 {
				held = s.refreshed(t, d, held.refresh)
				s.wantActive(t, held.access)
			}
			s.stop(t) // it would not end if it waited for the collector
			s.stop = func(*testing.T) {}
			if s.witness.said("dropped=") || len(collector.Spans()) != 0 {
				t.Error("spans were sent")
			}
		})
	}
	t.Run("is not there", func(t *testing.T) {
		gone := httptest.NewServer(nil)
		gone.Close()
		s := start(t, map[string]string{"more": fmt.Sprintf("tracing: {endpoint: %q}", gone.URL+"/v1/traces")})
		s.login(t, newDevice(t), "alice")
	})
	t.Run("comes back", func(t *testing.T) {
		collector := tracetest.Start(t)
		var asked atomic.Int64
		collector.Answer(func(w http.ResponseWriter, _ *http.Request) bool {
			asked.Add(1)
			http.Error(w, "alice", 500)
			return true
		})
		s := start(t, traced(collector, ""))
		for range 2 { // batches
			s.get(t, "/nonce")
			for n := asked.Load(); asked.Load() == n; time.Sleep(time.Millisecond) { // a span ends after its answer was sent
				s.instance.FlushTraces(t.Context())
			}
		}
		collector.Answer(nil)
		for range 2 { // the second batch is sent after the end of the first was logged
			s.waitRequest(t, collector, s.get(t, "/nonce"))
		}
		if !s.witness.said("takes spans again") || s.witness.said("alice") {
			t.Error("the log does not say that the collector is back, or has its text")
		}
		if n := strings.Count(s.witness.text(), "does not take spans"); n != 1 {
			t.Errorf("the outage is logged %d times, want once", n)
		}
		metrics := s.get(t, s.admin+"/metrics").body
		for _, want := range []string{`issuer_trace_spans_total{result="failed"} `, `issuer_trace_spans_total{result="sent"} `} {
			if !strings.Contains(metrics, want) || strings.Contains(metrics, want+"0\n") {
				t.Errorf("metrics do not count %s", want)
			}
		}
	})
}

// text returns the log.
func (w *witness) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// TestTraceSampling holds that nothing is traced with sample: 0, and that a proxy is believed about traces only if the settings say so.
func TestTraceSampling(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	for name, test := range map[string]struct {
		more, proxies, want string
	}{
		"all":                              {", sample: 1", "", "linked"},
		"none":                             {", sample: 0", "", "none"},
		"all, behind a proxy":              {", sample: 1", "127.0.0.0/8", "linked"},
		"none, behind a proxy":             {", sample: 0", "127.0.0.0/8", "none"},
		"none, by a stranger":              {", sample: 0, trust_proxies: true", "10.0.0.0/8", "none"},
		"all, by a stranger":               {", sample: 1, trust_proxies: true", "10.0.0.0/8", "linked"},
		"none, by a proxy that is trusted": {", sample: 0, trust_proxies: true", "127.0.0.0/8", "continued"},
		"all, by a proxy that is trusted":  {", sample: 1, trust_proxies: true", "127.0.0.0/8", "continued"},
	} {
		t.Run(name, func(t *testing.T) {
			collector := tracetest.Start(t)
			fill := traced(collector, test.more)
			if test.proxies != "" {
				fill["more"] += "\ntrusted_proxies: [" + test.proxies + "]"
			}
			s := start(t, fill)
			req := s.request(t, http.MethodGet, "/jwks", "")
			req.Header.Set("Traceparent", "00-"+trace+"-00f067aa0ba902b7-01")
			req.Header.Set("X-Forwarded-For", "198.51.100.7")
			a := s.send(t, s.http, req)
			if test.want != "none" {
				s.waitRequest(t, collector, a)
			}
			s.stop(t) // which sends what waits
			s.stop = func(*testing.T) {}
			got := "none"
			for _, span := range collector.Spans() {
				switch {
				case span.Attributes["issuer.request_id"] != a.header.Get("X-Request-Id"):
				case span.Trace == trace:
					got = "continued"
				case slices.Equal(span.Links, []string{trace}):
					got = "linked"
				default:
					got = "own"
				}
			}
			if got != test.want {
				t.Errorf("the trace of the request is %s, want %s", got, test.want)
			}
			if said := s.witness.said("trace_id="); said != (test.want != "none") {
				t.Errorf("the log has a trace_id: %t", said)
			}
		})
	}
}

// TestTraceParallel races logins, refreshes and introspections of 32 devices, and wants each span in the trace of its own request.
func TestTraceParallel(t *testing.T) {
	collector := tracetest.Start(t)
	s := start(t, map[string]string{"more": traced(collector, "")["more"], "devices": "100"})
	codes := make([]string, 32)
	for i := range codes {
		codes[i] = s.code(t, "alice", nil)
	}
	answers := make(chan answer, 3*len(codes))
	var threads sync.WaitGroup
	for _, code := range codes {
		d := newDevice(t)
		threads.Go(func() {
			redeemed := s.token(t, app, d, codeForm(code, nil))
			refreshed := s.token(t, app, d, refreshForm(redeemed.text("refresh_token")))
			answers <- redeemed
			answers <- refreshed
			answers <- s.introspect(t, peer, refreshed.text("access_token"))
		})
	}
	threads.Wait()
	close(answers)
	seen := make(map[string]bool)
	for a := range answers {
		wantStatus(t, a, http.StatusOK)
		own, trace, tree := s.waitRequest(t, collector, a)
		if seen[own.Trace] {
			t.Errorf("two requests are in the trace %s", own.Trace)
		}
		seen[own.Trace] = true
		if n := len(requests(trace, own.Name)); n != 1 || strings.Count(tree, "\n") != len(trace) {
			t.Errorf("%d requests in a trace, or spans beside it:\n%s", n, tree)
		}
		written := strings.Count(tree, "storage InsertGrant\n") + strings.Count(tree, "storage RotateGrant\n")
		if want := 1; own.Name == "POST /token" && written != want {
			t.Errorf("%d sessions written by one request, want %d:\n%s", written, want, tree)
		}
	}
}

// TestTraceStoreFails holds that an outage of the database is an error in the trace: of the operation, and of the request.
func TestTraceStoreFails(t *testing.T) {
	collector := tracetest.Start(t)
	s := start(t, traced(collector, ""))
	d := newDevice(t)
	held := s.login(t, d, "alice")
	s.faults.set("RotateGrant")
	a := s.token(t, app, d, refreshForm(held.refresh))
	s.faults.set("")
	wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
	own, trace, tree := s.waitRequest(t, collector, a)
	if !own.Failed || own.Attributes["error.type"] != "503" || own.Attributes["issuer.error"] != "temporarily_unavailable" {
		t.Errorf("span = %+v, want one that failed by 503", own)
	}
	for _, span := range trace {
		wants := slices.Contains([]string{"storage RotateGrant", "storage Run", "storage Update", "POST /token"}, span.Name)
		if span.Failed != wants {
			t.Errorf("%s failed: %t, want %t:\n%s", span.Name, span.Failed, wants, tree)
		}
	}
}

// BenchmarkTrace compares the answer to a request for a service's token without traces, with traces of no request, and with traces of all.
func BenchmarkTrace(b *testing.B) {
	for _, settings := range []string{"", "sample: 0", "sample: 0.1", "sample: 1"} {
		b.Run(strings.ReplaceAll("traces "+settings, " ", ""), func(b *testing.B) {
			collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			b.Cleanup(collector.Close)
			more := ""
			if settings != "" {
				more = fmt.Sprintf("tracing: {endpoint: %q, %s}\n", collector.URL+"/v1/traces", settings)
			}
			h := newBenchWith(b, more)
			proofs := h.proofs(b, newSigner(b), b.N)
			form := url.Values{"grant_type": {"client_credentials"}}.Encode()
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				r.Header.Set("DPoP", proofs[i])
				r.SetBasicAuth("peer", benchSecret)
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
