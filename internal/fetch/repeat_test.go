package fetch_test

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
)

// A stale server answers the first request of each connection, and does what it is told with every later one.
type stale struct {
	*httptest.Server
	later    func(w http.ResponseWriter, r *http.Request, conn net.Conn)
	answered atomic.Int32
	seen     atomic.Int32 // later requests
}

type connKey struct{}

type counted struct {
	net.Conn
	requests atomic.Int32
}

func startStale(t *testing.T, http2 bool, later func(w http.ResponseWriter, r *http.Request, conn net.Conn)) *stale {
	t.Helper()
	s := &stale{later: later}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		conn := r.Context().Value(connKey{}).(*counted)
		if conn.requests.Add(1) > 1 {
			s.seen.Add(1)
			s.later(w, r, conn.Conn)
			return
		}
		s.answered.Add(1)
		_, _ = w.Write(append([]byte("got "), body...))
	}))
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, &counted{Conn: c})
	}
	s.EnableHTTP2 = http2
	if http2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// hangUp closes the connection when a request comes, before any byte of an answer: to the client it is as if the server had
// closed an idle connection in the same moment.
func hangUp(_ http.ResponseWriter, _ *http.Request, conn net.Conn) { _ = conn.Close() }

func sleep(_ http.ResponseWriter, r *http.Request, _ net.Conn) { <-r.Context().Done() }

func halfway(w http.ResponseWriter, _ *http.Request, conn net.Conn) {
	w.Header().Set("Content-Length", "100")
	_, _ = w.Write([]byte("got"))
	w.(http.Flusher).Flush()
	_ = conn.Close()
}

// TestReviewE5StaleConnection checks that a request which met a connection that was closed under it is sent once more, where
// RFC 9110 §9.2.2 lets; and that nothing else is.
func TestReviewE5StaleConnection(t *testing.T) {
	mark := fetch.Repeatable
	for _, test := range []struct {
		name   string
		http2  bool
		method string
		mark   func(*http.Request)
		later  func(w http.ResponseWriter, r *http.Request, conn net.Conn)
		want   string // "" is an error
		seen   int32  // how often the server saw the second request on an old connection
	}{
		{"GET", false, "GET", nil, hangUp, "got ", 1},
		{"GET by HTTP/2", true, "GET", nil, hangUp, "got ", 1},
		{"GET into silence", false, "GET", nil, sleep, "got ", 1},
		{"POST", false, "POST", nil, hangUp, "", 1},
		{"POST by HTTP/2", true, "POST", nil, hangUp, "", 1},
		{"POST that is marked", false, "POST", mark, hangUp, "got form", 1},
		{"POST that is marked, by HTTP/2", true, "POST", mark, hangUp, "got form", 1},
		{"POST that is marked, into silence", false, "POST", mark, sleep, "", 1},
		{"POST that is marked, half answered", false, "POST", mark, halfway, "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := startStale(t, test.http2, test.later)
			c := newClient(t, fetch.Policy{
				AllowNetworks: loopback, AllowHTTP: true, Timeout: 2 * time.Second, CAFile: certificate(t, s.Server),
			})
			send := func() (string, error) {
				var body io.Reader
				if test.method == "POST" {
					body = strings.NewReader("form")
				}
				req, err := http.NewRequestWithContext(t.Context(), test.method, s.URL, body)
				if err != nil {
					t.Fatal(err)
				}
				if test.mark != nil {
					test.mark(req)
				}
				resp, err := c.Do(req)
				if err != nil {
					return "", err
				}
				defer resp.Body.Close()
				if resp.ProtoMajor != 1 && !test.http2 || resp.ProtoMajor != 2 && test.http2 {
					t.Errorf("protocol %s", resp.Proto)
				}
				got, err := io.ReadAll(resp.Body)
				return string(got), err
			}
			if _, err := send(); err != nil {
				t.Fatal(err)
			}
			got, err := send()
			if (err == nil) != (test.want != "") || err == nil && got != test.want {
				t.Errorf("second request = %q, %v, want %q", got, err, test.want)
			}
			if n := s.seen.Load(); n != test.seen {
				t.Errorf("the server saw it %d times on the old connection, want %d", n, test.seen)
			}
			if want := int32(1); test.want != "" {
				if n := s.answered.Load(); n != want+1 {
					t.Errorf("%d requests were answered, want %d", n, want+1)
				}
			} else if n := s.answered.Load(); n != want {
				t.Errorf("%d requests were answered, want %d", n, want)
			}
		})
	}
}

// TestReviewE5NewConnection checks that a server which hangs up on new connections is asked once: it does not like the request.
func TestReviewE5NewConnection(t *testing.T) {
	var asked atomic.Int32
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	})
	c := newClient(t, fetch.Policy{AllowNetworks: loopback, AllowHTTP: true})
	if _, err := get(c, s.URL); err == nil || asked.Load() != 1 {
		t.Errorf("Get = %v after %d requests, want an error after 1", err, asked.Load())
	}
}

// TestReviewE5ManyStaleConnections has a server restart under a whole pool of connections.
func TestReviewE5ManyStaleConnections(t *testing.T) {
	const n = 8
	var together sync.WaitGroup
	together.Add(n)
	var first atomic.Bool
	first.Store(true)
	s := startStale(t, false, hangUp)
	inner := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first.Load() { // so that there are as many connections
			together.Done()
			together.Wait()
		}
		inner.ServeHTTP(w, r)
	})
	c := newClient(t, fetch.Policy{AllowNetworks: loopback, AllowHTTP: true})
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if _, err := get(c, s.URL); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	first.Store(false)
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL, strings.NewReader("form"))
	if err != nil {
		t.Fatal(err)
	}
	fetch.Repeatable(req)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("Do = %v, want the answer over a new connection", err)
	}
	resp.Body.Close()
	if s.answered.Load() != n+1 {
		t.Errorf("%d requests were answered, want %d", s.answered.Load(), n+1)
	}
}

// certificate writes the certificate of a server to a file; "" for one without.
func certificate(t *testing.T, s *httptest.Server) string {
	t.Helper()
	if s.Certificate() == nil {
		return ""
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
