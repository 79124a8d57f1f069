// Package tracetest is a collector of traces for tests: it takes OTLP over HTTP and keeps what it was sent.
package tracetest

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A Collector keeps the spans that it was sent. Its URL is that of a server of its own.
type Collector struct {
	URL string

	mu       sync.Mutex
	raw      []byte
	spans    []Span
	headers  []http.Header
	resource map[string]string
	answer   func(w http.ResponseWriter, r *http.Request) bool
}

// A Span is a span as it was sent.
type Span struct {
	Trace, ID, Parent string // in hexadecimal; Parent is empty for the first of a trace
	Name              string
	Attributes        map[string]string
	Failed            bool
	Message           string // of its status
	Kind              string // such as SERVER
	Links             []string
	Begin, End        uint64
}

// Start starts a collector that runs until the test ends.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{resource: make(map[string]string)}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL + "/v1/traces"
	return c
}

// Answer has the collector answer with a function. If that returns false, the request is taken as usual.
func (c *Collector) Answer(with func(w http.ResponseWriter, r *http.Request) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = with
}

// ServeHTTP takes a batch. A request that is not one of OTLP is answered 400, which a test sees as spans that do not come.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	answer := c.answer
	c.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	batch, raw, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, raw...)
	c.headers = append(c.headers, r.Header)
	for _, rs := range batch.ResourceSpans {
		for name, value := range attributes(rs.Resource.GetAttributes()) {
			c.resource[name] = value
		}
		for _, ss := range rs.ScopeSpans {
			for _, s := range ss.Spans {
				c.spans = append(c.spans, convert(s))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func read(r *http.Request) (batch *tracepb.TracesData, raw []byte, err error) {
	packed, kind := r.Header.Get("Content-Encoding"), r.Header.Get("Content-Type")
	if r.Method != http.MethodPost || kind != "application/x-protobuf" || packed != "gzip" {
		return nil, nil, fmt.Errorf("not OTLP: %s %v", r.Method, r.Header)
	}
	zip, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, nil, err
	}
	if raw, err = io.ReadAll(zip); err != nil {
		return nil, nil, err
	}
	batch = new(tracepb.TracesData)
	return batch, raw, proto.Unmarshal(raw, batch)
}

func convert(s *tracepb.Span) Span {
	span := Span{
		Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId), Name: s.Name,
		Attributes: attributes(s.Attributes), Failed: s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR,
		Message: s.Status.GetMessage(), Kind: strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"),
		Begin: s.StartTimeUnixNano, End: s.EndTimeUnixNano,
	}
	for _, l := range s.Links {
		span.Links = append(span.Links, hex.EncodeToString(l.TraceId))
	}
	for _, e := range s.Events {
		span.Message += "event " + e.Name // nothing makes any
	}
	return span
}

func attributes(list []*commonpb.KeyValue) map[string]string {
	values := make(map[string]string)
	for _, a := range list {
		switch v := a.Value.GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			values[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			values[a.Key] = fmt.Sprint(v.IntValue)
		default:
			values[a.Key] = fmt.Sprintf("%T", v)
		}
	}
	return values
}

// Spans returns the spans that were sent.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Resource returns the attributes of the process that sends.
func (c *Collector) Resource() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resource
}

// Headers returns those of each request.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

// Raw returns all that was sent, as protobuf and with the headers.
func (c *Collector) Raw() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b bytes.Buffer
	b.Write(c.raw)
	for _, h := range c.headers {
		_ = h.Write(&b) // a buffer takes everything
	}
	return b.String()
}

// Tree writes the spans of a trace as a tree, by time, each on a line of its own and indented below its parent.
func Tree(spans []Span, trace string) string {
	var b strings.Builder
	var write func(parent string, depth int)
	write = func(parent string, depth int) {
		var below []Span
		for _, s := range spans {
			if s.Trace == trace && s.Parent == parent {
				below = append(below, s)
			}
		}
		slices.SortStableFunc(below, func(a, b Span) int { return int(int64(a.Begin) - int64(b.Begin)) })
		for _, s := range below {
			fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", depth), s.Name)
			write(s.ID, depth+1)
		}
	}
	write("", 0)
	return b.String()
}
