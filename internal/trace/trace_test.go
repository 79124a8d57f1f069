package trace_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/trace"
	"github.com/imidentity/issuer/internal/trace/tracetest"
)

// A rig is a tracer with a collector of its own.
type rig struct {
	*trace.Tracer
	collector *tracetest.Collector
	spans     *prometheus.CounterVec
	log       *lines
}

// lines is a log that may be written and read at once.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newRig(t *testing.T, change func(*trace.Config)) *rig {
	t.Helper()
	r := &rig{collector: tracetest.Start(t), spans: trace.NewSpans("test"), log: new(lines)}
	client, err := fetch.NewClient(fetch.Policy{AllowHTTP: true, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	cfg := trace.Config{
		Endpoint: r.collector.URL, HTTP: client, Sample: 1, Service: "test", Version: "1.2.3", Node: "n1", Spans: r.spans, Retry: 1,
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	if r.Tracer, err = trace.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		r.Close(gone)
	})
	return r
}

// count returns how many spans had a result.
func (r *rig) count(result string) int {
	return int(testutil.ToFloat64(r.spans.WithLabelValues(result)))
}

// request makes a span of a request that was answered.
func (r *rig) request(header http.Header) *trace.Span {
	req := httptest.NewRequest(http.MethodGet, "/x", nil)
	for name, values := range header {
		req.Header[name] = values
	}
	_, span := r.Request(req, "/x")
	span.Answered(http.StatusOK)
	return span
}

// TestNew holds that settings which cannot work are refused.
func TestNew(t *testing.T) {
	for name, cfg := range map[string]trace.Config{
		"nothing":     {},
		"no client":   {Endpoint: "http://127.0.0.1:4318/v1/traces", Spans: trace.NewSpans("test")},
		"no counter":  {Endpoint: "http://127.0.0.1:4318/v1/traces", HTTP: http.DefaultClient},
		"no endpoint": {HTTP: http.DefaultClient, Spans: trace.NewSpans("test")},
		"below 0":     {Endpoint: "x", HTTP: http.DefaultClient, Spans: trace.NewSpans("test"), Sample: -0.1},
		"above 1":     {Endpoint: "x", HTTP: http.DefaultClient, Spans: trace.NewSpans("test"), Sample: 1.1},
	} {
		if tracer, err := trace.New(cfg); err == nil {
			t.Errorf("%s: New = %v, want an error", name, tracer)
		}
	}
}

// TestSent holds that a span reaches the collector with its attributes, those of the process, and the headers of the settings.
func TestSent(t *testing.T) {
	r := newRig(t, func(c *trace.Config) { c.Header = http.Header{"Api-Key": {"k"}} })
	ctx, span := r.Request(httptest.NewRequest("BREW", "/users/alice?code=1", nil), "/users/{id}")
	if trace.From(ctx) != span || len(span.ID()) != 32 {
		t.Fatalf("From = %v with id %q, want the span of the request", trace.From(ctx), span.ID())
	}
	span.Set(trace.RequestID, "r1")
	span.Set(trace.ErrorCode, "")
	span.Answered(http.StatusServiceUnavailable)
	r.Flush(t.Context())
	spans := r.collector.Spans()
	if len(spans) != 1 {
		t.Fatalf("the collector has %v, want one span", spans)
	}
	got := spans[0]
	want := map[string]string{
		"http.request.method": "_OTHER", "http.route": "/users/{id}", "http.response.status_code": "503", "error.type": "503",
		"issuer.request_id": "r1",
	}
	if got.Name != "_OTHER /users/{id}" || got.Kind != "SERVER" || !got.Failed || got.Message != "" || fmt.Sprint(got.Attributes) != fmt.Sprint(want) {
		t.Errorf("span = %+v, want attributes %v", got, want)
	}
	if got.Trace != span.ID() || got.Parent != "" {
		t.Errorf("trace = %q below %q, want %q", got.Trace, got.Parent, span.ID())
	}
	process := map[string]string{"service.name": "test", "service.version": "1.2.3", "service.instance.id": "n1"}
	if fmt.Sprint(r.collector.Resource()) != fmt.Sprint(process) {
		t.Errorf("resource = %v, want %v", r.collector.Resource(), process)
	}
	if h := r.collector.Headers()[0]; h.Get("Api-Key") != "k" || h.Get("User-Agent") != "test" {
		t.Errorf("headers = %v, want those of the settings", h)
	}
	if r.count("sent") != 1 || r.count("failed")+r.count("queue_full") != 0 || r.log.String() != "" {
		t.Errorf("%d sent, log %q, want one, and nothing to say", r.count("sent"), r.log)
	}
}

// TestEnvironment holds that no variable of the environment changes where traces go, nor which there are.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "none", "OTEL_TRACES_SAMPLER": "always_off", "OTEL_SERVICE_NAME": "other",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1",
		"OTEL_EXPORTER_OTLP_HEADERS": "a=b", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json", "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
		"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere", "OTEL_EXPORTER_OTLP_TIMEOUT": "1", "HTTP_PROXY": "http://127.0.0.1:1",
		"OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_EXPORT_TIMEOUT": "1", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0",
		"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1", "OTEL_PROPAGATORS": "none",
	} {
		t.Setenv(name, value)
	}
	r := newRig(t, nil)
	for range 100 {
		r.request(nil)
	}
	r.Flush(t.Context())
	spans := r.collector.Spans()
	if len(spans) != 100 || spans[0].Attributes["http.route"] != "/x" || r.collector.Resource()["service.name"] != "test" {
		t.Errorf("the collector has %d spans of %v, want all 100 of test", len(spans), r.collector.Resource())
	}
	if h := r.collector.Headers()[0]; h.Get("A") != "" {
		t.Errorf("headers = %v, want none of the environment", h)
	}
}

const (
	parentTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentSpan  = "00f067aa0ba902b7"
)

// TestTraceparent holds that only senders that are trusted choose the trace of a request and whether it is sampled.
func TestTraceparent(t *testing.T) {
	const sampled, unsampled = "00-" + parentTrace + "-" + parentSpan + "-01", "00-" + parentTrace + "-" + parentSpan + "-00"
	for name, test := range map[string]struct {
		trusted bool
		sample  float64
		header  http.Header
		want    string // none, own, linked or continued
	}{
		"none":                         {true, 1, nil, "own"},
		"none, nothing is sampled":     {true, 0, nil, "none"},
		"trusted":                      {true, 1, http.Header{"Traceparent": {sampled}}, "continued"},
		"trusted, nothing is sampled":  {true, 0, http.Header{"Traceparent": {sampled}}, "continued"},
		"trusted, not sampled":         {true, 1, http.Header{"Traceparent": {unsampled}}, "none"},
		"trusted, twice":               {true, 1, http.Header{"Traceparent": {sampled, sampled}}, "own"},
		"trusted, malformed":           {true, 1, http.Header{"Traceparent": {sampled[:40]}}, "own"},
		"trusted, zero":                {true, 1, http.Header{"Traceparent": {"00-" + strings.Repeat("0", 32) + "-" + parentSpan + "-01"}}, "own"},
		"trusted, upper case":          {true, 1, http.Header{"Traceparent": {strings.ToUpper(sampled)}}, "own"},
		"trusted, long":                {true, 1, http.Header{"Traceparent": {sampled + "-" + strings.Repeat("a", 1<<16)}}, "own"},
		"stranger":                     {false, 1, http.Header{"Traceparent": {sampled}}, "linked"},
		"stranger, nothing is sampled": {false, 0, http.Header{"Traceparent": {sampled}}, "none"},
		"stranger, not sampled":        {false, 1, http.Header{"Traceparent": {unsampled}}, "linked"},
		"stranger, twice":              {false, 1, http.Header{"Traceparent": {sampled, sampled}}, "own"},
		"stranger, malformed":          {false, 1, http.Header{"Traceparent": {"00-" + parentTrace + "-alice-01"}}, "own"},
		"stranger, other headers":      {false, 1, http.Header{"B3": {parentTrace + "-" + parentSpan + "-1"}, "Uber-Trace-Id": {parentTrace}}, "own"},
		"trusted, with state and baggage": {true, 1, http.Header{
			"Traceparent": {sampled}, "Tracestate": {"vendor=alice@example.com"}, "Baggage": {"user=alice@example.com"},
		}, "continued"},
		"stranger, with state and baggage": {false, 1, http.Header{
			"Traceparent": {sampled}, "Tracestate": {"vendor=alice@example.com"}, "Baggage": {"user=alice@example.com"},
		}, "linked"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *trace.Config) {
				c.Sample = test.sample
				if test.trusted {
					c.Parent = func(*http.Request) bool { return true }
				}
			})
			span := r.request(test.header)
			r.Flush(t.Context())
			got := "none"
			for _, s := range r.collector.Spans() {
				switch {
				case s.Trace == parentTrace && s.Parent == parentSpan && len(s.Links) == 0:
					got = "continued"
				case s.Trace != parentTrace && s.Parent == "" && slices.Equal(s.Links, []string{parentTrace}):
					got = "linked"
				case s.Trace != parentTrace && s.Parent == "" && len(s.Links) == 0:
					got = "own"
				default:
					got = fmt.Sprintf("%+v", s)
				}
			}
			if got != test.want {
				t.Errorf("the request is in a trace that is %s, want %s", got, test.want)
			}
			if (span == nil) != (test.want == "none") {
				t.Errorf("span = %v, want one only if it is sampled", span)
			}
			if strings.Contains(r.collector.Raw(), "alice") {
				t.Error("the collector has a text of the sender")
			}
		})
	}
}

// TestSample holds that a share of the requests is traced.
func TestSample(t *testing.T) {
	r := newRig(t, func(c *trace.Config) { c.Sample = 0.5 })
	traced := 0
	for range 2000 {
		if r.request(nil) != nil {
			traced++
		}
	}
	if traced < 800 || traced > 1200 { // nine standard deviations away
		t.Errorf("%d of 2000 requests are traced, want half", traced)
	}
}

// reply answers a batch.
func reply(status int, contentType string, body []byte, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}
}

// partial is an answer that rejects n spans.
func partial(n int64) []byte {
	message := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(n))
	message = protowire.AppendString(protowire.AppendTag(message, 2, protowire.BytesType), "alice")
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), message)
}

// TestAnswers holds what each answer of the collector means for a batch of five spans.
func TestAnswers(t *testing.T) {
	const binary = "application/x-protobuf"
	closed := func(http.ResponseWriter) { panic(http.ErrAbortHandler) }
	for name, test := range map[string]struct {
		answers []func(http.ResponseWriter) // then 200
		dropped int
		asked   int
		logged  string
	}{
		"busy":                {[]func(http.ResponseWriter){reply(503, "text/plain", []byte("busy")), reply(429, "", nil, "Retry-After", "0")}, 0, 3, ""},
		"gone and back":       {[]func(http.ResponseWriter){closed, reply(502, "", nil), reply(504, "", nil, "Retry-After", "soon")}, 0, 4, ""},
		"rejects some":        {[]func(http.ResponseWriter){reply(200, binary, partial(2))}, 2, 1, "rejected 2 spans"},
		"rejects more":        {[]func(http.ResponseWriter){reply(200, binary, partial(99))}, 5, 1, "rejected 99 spans"},
		"rejects less than 0": {[]func(http.ResponseWriter){reply(200, binary, partial(-1))}, 0, 1, ""},
		"warns":               {[]func(http.ResponseWriter){reply(200, binary, partial(0))}, 0, 1, ""},
		"nonsense":            {[]func(http.ResponseWriter){reply(200, binary, []byte("\xff\xff\xff nonsense"))}, 0, 1, ""},
		"a page":              {[]func(http.ResponseWriter){reply(200, "text/html", []byte("<html>"))}, 0, 1, ""},
		"a large page":        {[]func(http.ResponseWriter){reply(200, binary, bytes.Repeat([]byte("x"), 1<<20))}, 0, 1, ""},
		"accepted":            {[]func(http.ResponseWriter){reply(202, "", nil)}, 0, 1, ""},
		"not like this":       {[]func(http.ResponseWriter){reply(400, "text/plain", []byte("alice"))}, 5, 1, "answered 400"},
		"who are you":         {[]func(http.ResponseWriter){reply(401, "", nil)}, 5, 1, "answered 401"},
		"elsewhere":           {[]func(http.ResponseWriter){reply(307, "", nil, "Location", "http://127.0.0.1:1/")}, 5, 1, "redirect"},
		"broken":              {[]func(http.ResponseWriter){reply(500, "text/plain", []byte("alice"))}, 5, 1, "answered 500"},
		"compressed unasked":  {[]func(http.ResponseWriter){reply(200, binary, []byte("x"), "Content-Encoding", "br")}, 5, 1, "encoding"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil)
			var mu sync.Mutex
			asked := 0
			r.collector.Answer(func(w http.ResponseWriter, _ *http.Request) bool {
				mu.Lock()
				n := asked
				asked++
				mu.Unlock()
				if n < len(test.answers) {
					test.answers[n](w)
				}
				return n < len(test.answers)
			})
			for range 5 {
				r.request(nil)
			}
			r.Flush(t.Context())
			if r.count("failed") != test.dropped || r.count("sent") != 5-test.dropped || r.count("queue_full") != 0 {
				t.Errorf("%d dropped and %d sent, want %d dropped of 5", r.count("failed"), r.count("sent"), test.dropped)
			}
			mu.Lock()
			defer mu.Unlock()
			if asked != test.asked {
				t.Errorf("asked %d times, want %d", asked, test.asked)
			}
			log := r.log.String()
			if strings.Count(log, "\n") != min(1, len(test.logged)) || !strings.Contains(log, test.logged) || strings.Contains(log, "alice") {
				t.Errorf("log = %q, want a line with %q", log, test.logged)
			}
		})
	}
}

// TestOutage holds that an outage is logged once when it begins and once when it is over, however long it is.
func TestOutage(t *testing.T) {
	r := newRig(t, nil)
	batch := func() {
		r.request(nil)
		r.Flush(t.Context())
	}
	r.collector.Answer(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(500); return true })
	for range 3 {
		batch()
	}
	r.collector.Answer(nil)
	for range 2 {
		batch()
	}
	log := r.log.String()
	if strings.Count(log, "\n") != 2 || strings.Count(log, "does not take spans") != 1 || !strings.Contains(log, `takes spans again" dropped=3`) {
		t.Errorf("log = %q, want one line for the outage and one for its end", log)
	}
	if r.count("failed") != 3 || r.count("sent") != 2 {
		t.Errorf("%d dropped and %d sent, want 3 and 2", r.count("failed"), r.count("sent"))
	}
}

// TestSlowCollector holds that spans do not wait for a collector that does not answer: a bounded number of them does, and the others are
// dropped and counted. Closing the tracer does not wait either.
func TestSlowCollector(t *testing.T) {
	r := newRig(t, nil)
	asked, release := make(chan struct{}, 100), make(chan struct{})
	r.collector.Answer(func(w http.ResponseWriter, req *http.Request) bool {
		asked <- struct{}{}
		select {
		case <-release:
		case <-req.Context().Done():
		}
		return true
	})
	const most, all = 4096, 10_000
	var threads sync.WaitGroup
	for range 10 {
		threads.Go(func() {
			for range all / 10 {
				r.request(nil)
			}
		})
	}
	threads.Wait() // it would not end if spans waited
	<-asked
	if dropped := r.count("queue_full"); dropped != all-most {
		t.Errorf("%d spans are dropped, want all but %d of %d", dropped, most, all)
	}
	if log := r.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "more than the collector takes") {
		t.Errorf("log = %q, want one line", log)
	}
	r.collector.Answer(nil)
	close(release)
	for !strings.Contains(r.log.String(), "takes spans again") { // once for all batches
		r.Flush(t.Context())
	}
	if log := r.log.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, fmt.Sprintf("dropped=%d", all-most)) {
		t.Errorf("log = %q, want two lines", log)
	}
	r.collector.Answer(func(_ http.ResponseWriter, req *http.Request) bool {
		_, _ = io.Copy(io.Discard, req.Body) // only then the server looks whether the sender is gone
		<-req.Context().Done()
		return true
	})
	before := r.count("sent")
	r.request(nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	r.Close(gone) // it would not end if it waited for the collector
	r.request(nil)
	if n := r.count("sent"); n != before || before == 0 {
		t.Errorf("%d spans are sent, want those from before, %d", n, before)
	}
}

// TestCloseSends holds that closing sends what waits.
func TestCloseSends(t *testing.T) {
	r := newRig(t, nil)
	for range 1000 {
		r.request(nil)
	}
	r.Close(t.Context())
	if n := len(r.collector.Spans()); n != 1000 || r.count("sent") != 1000 {
		t.Errorf("the collector has %d spans, and %d are counted, want 1000", n, r.count("sent"))
	}
}

// TestOff holds that a tracer and a span that are not there cost no allocation and change nothing.
func TestOff(t *testing.T) {
	var tracer *trace.Tracer
	req := httptest.NewRequest(http.MethodGet, "/x", nil)
	log := slog.New(slog.DiscardHandler)
	if n := testing.AllocsPerRun(100, func() {
		ctx, span := tracer.Request(req, "/x")
		if ctx != req.Context() || span != nil || trace.From(ctx) != nil || span.ID() != "" {
			t.Fatal("there is a span")
		}
		span.Set(trace.RequestID, "r1")
		span.Answered(http.StatusOK)
	}); n != 0 {
		t.Errorf("a request makes %v allocations, want none", n)
	}
	if tracer.Fetch() != nil || tracer.Store(nil, "") != nil || tracer.Replay(nil, "") != nil || tracer.Log(log) != log {
		t.Error("something is wrapped")
	}
	tracer.Flush(t.Context())
	tracer.Close(t.Context())
}

// TestLog holds that a line of a traced request has the id of its trace, and that other lines are left as they are.
func TestLog(t *testing.T) {
	r := newRig(t, nil)
	var text bytes.Buffer
	log := r.Log(slog.New(slog.NewTextHandler(&text, nil))).With("a", 1)
	ctx, span := r.Request(httptest.NewRequest(http.MethodGet, "/x", nil), "/x")
	log.InfoContext(ctx, "traced")
	log.Info("other")
	log.WithGroup("g").InfoContext(ctx, "grouped", "b", 2)
	lines := strings.Split(text.String(), "\n")
	if !strings.HasSuffix(lines[0], "msg=traced a=1 trace_id="+span.ID()) || !strings.HasSuffix(lines[1], "msg=other a=1") ||
		!strings.HasSuffix(lines[2], "g.b=2 g.trace_id="+span.ID()) {
		t.Errorf("log = %q, want the id %s in lines of the request", lines, span.ID())
	}
}

// TestParallel races requests, and wants each operation below its own request.
func TestParallel(t *testing.T) {
	r := newRig(t, nil)
	observe := r.Fetch()
	var threads sync.WaitGroup
	for i := range 32 {
		threads.Go(func() {
			req := httptest.NewRequest(http.MethodGet, "/x", nil)
			ctx, span := r.Request(req, fmt.Sprintf("/r%d", i))
			var below sync.WaitGroup
			for range 4 {
				below.Go(func() {
					observe(ctx, fetch.Exchange{Purpose: fetch.Purpose(fmt.Sprintf("p%d", i)), Method: "GET"})(200, nil)
				})
			}
			below.Wait()
			span.Answered(200)
		})
	}
	threads.Wait()
	r.Flush(t.Context())
	spans := r.collector.Spans()
	requests, fetches := make(map[string]string), 0
	for _, s := range spans {
		if n, ok := strings.CutPrefix(s.Name, "GET /r"); ok {
			requests[s.ID] = n
		}
	}
	for _, s := range spans {
		if n, ok := strings.CutPrefix(s.Name, "fetch p"); ok {
			fetches++
			if requests[s.Parent] != n {
				t.Errorf("%s is below the request %q", s.Name, requests[s.Parent])
			}
		}
	}
	if len(requests) != 32 || fetches != 128 {
		t.Errorf("%d requests and %d fetches, want 32 and 128", len(requests), fetches)
	}
}

// TestFetch holds how outgoing requests are described.
func TestFetch(t *testing.T) {
	r := newRig(t, nil)
	observe := r.Fetch()
	for _, test := range []struct {
		exchange fetch.Exchange
		status   int
		err      error
		name     string
		want     map[string]string
		failed   bool
	}{
		{fetch.Exchange{Purpose: fetch.ProviderToken, Method: "POST", Host: "login.example.org"}, 200, nil, "fetch provider_token",
			map[string]string{"http.request.method": "POST", "issuer.purpose": "provider_token", "server.address": "login.example.org",
				"http.response.status_code": "200"}, false},
		{fetch.Exchange{Method: "GET"}, 404, nil, "fetch GET",
			map[string]string{"http.request.method": "GET", "http.response.status_code": "404", "error.type": "404"}, true},
		{fetch.Exchange{Method: "GET"}, 0, errors.New("dial alice"), "fetch GET",
			map[string]string{"http.request.method": "GET", "error.type": "unreachable"}, true},
		{fetch.Exchange{Method: "GET"}, 200, fmt.Errorf("read: %w", context.DeadlineExceeded), "fetch GET",
			map[string]string{"http.request.method": "GET", "http.response.status_code": "200", "error.type": "timeout"}, true},
		{fetch.Exchange{Method: "GET"}, 0, fmt.Errorf("read: %w", context.Canceled), "fetch GET",
			map[string]string{"http.request.method": "GET", "error.type": "canceled"}, false},
		{fetch.Exchange{Method: "GET"}, 0, &fetch.RefusedError{Part: "address", Detail: "10.0.0.1"}, "fetch GET",
			map[string]string{"http.request.method": "GET", "error.type": "refused_address"}, true},
	} {
		observe(t.Context(), test.exchange)(test.status, test.err)
		r.Flush(t.Context())
		spans := r.collector.Spans()
		got := spans[len(spans)-1]
		if got.Name != test.name || got.Kind != "CLIENT" || got.Failed != test.failed || fmt.Sprint(got.Attributes) != fmt.Sprint(test.want) ||
			got.Message != "" || got.Parent != "" {
			t.Errorf("span = %+v, want %s, failed %t, %v", got, test.name, test.failed, test.want)
		}
	}
}

// TestDocument holds docs/tracing.md to the attributes of spans and the purposes of requests that there are.
func TestDocument(t *testing.T) {
	document, err := os.ReadFile("../../docs/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	for file, least := range map[string]int{"attributes.go": 15, "../fetch/observe.go": 12} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`(?m)^\t\w+ +(?:Attribute|Purpose) += "([^"]+)"`).FindAllStringSubmatch(string(source), -1)
		if len(names) < least {
			t.Errorf("%s has %d names, want at least %d", file, len(names), least)
		}
		for _, m := range names {
			if !strings.Contains(string(document), "`"+m[1]+"`") {
				t.Errorf("docs/tracing.md lacks %s", m[1])
			}
		}
	}
}

// FuzzTraceparent holds that for any header of a stranger a request has a trace of its own, and that for any header of a trusted sender
// a trace is continued only if the header names it.
func FuzzTraceparent(f *testing.F) {
	f.Add("00-" + parentTrace + "-" + parentSpan + "-01")
	f.Add("01-" + parentTrace + "-" + parentSpan + "-01-more")
	f.Add("00-" + strings.Repeat("0", 32) + "-" + parentSpan + "-01")
	f.Add("ff-" + parentTrace + "-" + parentSpan + "-01")
	client := &http.Client{}
	open := func(parent func(*http.Request) bool) *trace.Tracer {
		tracer, err := trace.New(trace.Config{Endpoint: "http://127.0.0.1:1/", HTTP: client, Sample: 1, Parent: parent, Spans: trace.NewSpans("test")})
		if err != nil {
			f.Fatal(err)
		}
		return tracer
	}
	strict, trusting := open(nil), open(func(*http.Request) bool { return true })
	f.Fuzz(func(t *testing.T, header string) {
		req := httptest.NewRequest(http.MethodGet, "/x", nil)
		req.Header["Traceparent"] = []string{header}
		_, span := strict.Request(req, "/x")
		if span == nil || strings.Contains(header, span.ID()) {
			t.Errorf("a stranger chose the trace %q by %q", span.ID(), header)
		}
		_, span = trusting.Request(req, "/x")
		if span == nil { // not sampled
			if parts := strings.Split(header, "-"); len(parts) < 4 || len(parts[1]) != 32 {
				t.Errorf("%q, which names no trace, has the request not traced", header)
			}
			return
		}
		if strings.Contains(header, span.ID()) {
			id, err := hex.DecodeString(span.ID())
			if err != nil || bytes.Equal(id, make([]byte, 16)) || len(header) < 55 {
				t.Errorf("%q continues the trace %q", header, span.ID())
			}
		}
	})
}
