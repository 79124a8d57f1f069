package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/imidentity/issuer/internal/fetch"
)

// observed is what an observer was told of one request.
type observed struct {
	fetch.Exchange
	overs  int
	status int
	fault  string // "" if there was no error
}

// observer returns a policy for loopback that tells of requests, and how to read what it told.
func observer() (fetch.Policy, func() []observed) {
	var mu sync.Mutex
	var told []*observed
	policy := fetch.Policy{
		AllowHTTP: true, AllowAnyPort: true, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Observe: func(_ context.Context, x fetch.Exchange) func(int, error) {
			mu.Lock()
			defer mu.Unlock()
			o := &observed{Exchange: x}
			told = append(told, o)
			return func(status int, err error) {
				mu.Lock()
				defer mu.Unlock()
				if o.overs, o.status = o.overs+1, status; err != nil {
					o.fault = fetch.Fault(err)
				}
			}
		},
	}
	return policy, func() (list []observed) {
		mu.Lock()
		defer mu.Unlock()
		for _, o := range told {
			list = append(list, *o)
		}
		return list
	}
}

// TestObserve holds that an observer is told of each request once when it begins and once when it is over.
func TestObserve(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			http.NotFound(w, r)
		case "/elsewhere":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/large":
			_, _ = w.Write(make([]byte, fetch.DefaultMaxBody+1))
		case "/broken":
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "x")
		case "/gone":
			panic(http.ErrAbortHandler)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			_ = http.NewResponseController(w).Flush()
			<-release
		default:
			_, _ = io.WriteString(w, "hello")
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	read := func(resp *http.Response) { _, _ = io.ReadAll(resp.Body) }
	for name, test := range map[string]struct {
		path string
		use  func(*http.Response) // then the body is closed
		want observed             // without what it has in common
	}{
		"read":       {"/", read, observed{status: 200}},
		"closed":     {"/", func(*http.Response) {}, observed{status: 200}},
		"read twice": {"/", func(r *http.Response) { read(r); read(r) }, observed{status: 200}},
		"no answer":  {"/gone", nil, observed{fault: "unreachable"}},
		"not found":  {"/missing", read, observed{status: 404}},
		"redirected": {"/elsewhere", nil, observed{fault: "refused_redirect"}},
		"too large":  {"/large", read, observed{status: 200, fault: "refused_size"}},
		"broken off": {"/broken", read, observed{status: 200, fault: "unreachable"}},
		"a stream":   {"/events", nil, observed{status: 200}},
	} {
		t.Run(name, func(t *testing.T) {
			policy, told := observer()
			client, err := fetch.NewClient(policy)
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(fetch.For(t.Context(), fetch.IssuerKeys), http.MethodGet, server.URL+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err == nil {
				if test.use != nil {
					test.use(resp)
				}
				if test.path != "/events" {
					resp.Body.Close()
				}
			}
			test.want.Exchange, test.want.overs = fetch.Exchange{Purpose: fetch.IssuerKeys, Method: http.MethodGet, Host: "127.0.0.1"}, 1
			if got := told(); len(got) != 1 || got[0] != test.want {
				t.Errorf("told %+v, want %+v", got, test.want)
			}
			if err == nil {
				resp.Body.Close()
			}
		})
	}
}

// TestObserveForeign holds that an observer is not told the names of hosts that other parties chose.
func TestObserveForeign(t *testing.T) {
	policy, told := observer()
	client, err := fetch.NewForeignClient(policy)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://alice.localhost/alice", strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Do(req); err == nil {
		t.Fatal("the host is reached")
	}
	want := observed{Exchange: fetch.Exchange{Method: http.MethodPost}, overs: 1, fault: "refused_host"}
	if got := told(); len(got) != 1 || got[0] != want {
		t.Errorf("told %+v, want %+v", got, want)
	}
}

// TestFault holds that each error has one of a few words.
func TestFault(t *testing.T) {
	for want, err := range map[string]error{
		"canceled":        &url.Error{Op: "Get", URL: "https://alice.example", Err: context.Canceled},
		"timeout":         fmt.Errorf("read: %w", os.ErrDeadlineExceeded),
		"unreachable":     errors.New("alice"),
		"refused_address": fmt.Errorf("dial: %w", &fetch.RefusedError{Part: "address", Detail: "alice"}),
	} {
		if got := fetch.Fault(err); got != want {
			t.Errorf("Fault(%v) = %q, want %q", err, got, want)
		}
	}
	if got := fetch.Fault(context.DeadlineExceeded); got != "timeout" {
		t.Errorf("Fault = %q, want timeout", got)
	}
}
