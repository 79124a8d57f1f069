package places_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/places"
)

// hosts are those that a world serves.
var hosts = []string{"alice.example", "social.example", "git.example", "gitlab.example", "api.github.com", host}

// A world is a server for all hosts, with the client that finds it: the strictest one but for where the names lead.
type world struct {
	*httptest.Server
	policy fetch.Policy
}

func newWorld(t *testing.T, handler http.HandlerFunc) *world {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: hosts, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	key := newKey("Server")
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	w := &world{s, fetch.Policy{DevHosts: map[string]string{}, CAFile: ca, MaxBody: places.MaxAnswer}}
	for _, host := range hosts {
		w.policy.DevHosts[host] = s.Listener.Addr().String()
	}
	return w
}

func (w *world) reader(t *testing.T, cfg places.ReaderConfig) *places.Reader {
	t.Helper()
	client, err := fetch.NewForeignClient(w.policy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	cfg.Client = client
	if cfg.Resolver == nil {
		cfg.Resolver = records{}
	}
	r, err := places.NewReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// look looks at one place.
func (w *world) look(t *testing.T, uri string) places.Look {
	t.Helper()
	return w.reader(t, places.ReaderConfig{}).Look(t.Context(), []places.Place{must(places.ParsePlace(uri))})[0]
}

// answer serves a body of a type.
func answer(typ, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", typ)
		_, _ = w.Write([]byte(body))
	}
}

// TestRequests checks which URL is asked for a place, and with which Accept.
func TestRequests(t *testing.T) {
	var asked []string
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" https://"+r.Host+r.RequestURI+" "+r.Header.Get("Accept"))
		w.WriteHeader(http.StatusNotFound)
	})
	for uri, want := range map[string]string{
		wellKnown: "GET https://alice.example/.well-known/im-places application/json",
		actor:     "GET https://social.example/@alice application/activity+json",
		forgejo:   "GET https://git.example/api/v1/repos/alice/forgejo_proof application/json",
		gitlab:    "GET https://gitlab.example/api/v4/projects/alice%2Fgitlab_proof application/json",
		gist:      "GET https://api.github.com/gists/0123456789abcdef application/vnd.github+json",
	} {
		asked = nil
		// A place that is not there says nothing.
		if l := w.look(t, uri); l.Err != nil || len(l.Shows) > 0 || !slices.Equal(asked, []string{want}) {
			t.Errorf("Look(%s) = %+v, asked %q, want %q", uri, l, asked, want)
		}
	}
}

// TestWrongAnswers checks what counts as "cannot be known", and what as an answer that does not count.
func TestWrongAnswers(t *testing.T) {
	good := person(`"summary":"` + own + `"`)
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/activity+json")
			w.Header().Set("Location", "https://social.example/users/alice")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(good))
		}
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		code    places.Code
	}{
		"good":                  {answer("application/activity+json", good), ""},
		"linked data":           {answer(`application/ld+json; profile="https://www.w3.org/ns/activitystreams"`, good), ""},
		"as large as allowed":   {answer("application/activity+json", good+strings.Repeat(" ", places.MaxAnswer-len(good))), ""},
		"too large":             {answer("application/activity+json", good+strings.Repeat(" ", places.MaxAnswer-len(good)+1)), places.CodeRefused},
		"HTML":                  {answer("text/html", good), places.CodeRefused},
		"JSON":                  {answer("application/json", good), places.CodeRefused},
		"no type":               {answer("", good), places.CodeRefused},
		"redirect":              {status(http.StatusFound), places.CodeRefused},
		"permanent redirect":    {status(http.StatusPermanentRedirect), places.CodeRefused},
		"multiple choices":      {status(http.StatusMultipleChoices), places.CodeRefused},
		"login":                 {status(http.StatusUnauthorized), places.CodeUnreachable},
		"forbidden":             {status(http.StatusForbidden), places.CodeUnreachable},
		"too many requests":     {status(http.StatusTooManyRequests), places.CodeUnreachable},
		"outage":                {status(http.StatusServiceUnavailable), places.CodeUnreachable},
		"partial":               {status(http.StatusPartialContent), places.CodeUnreachable},
		"not found":             {status(http.StatusNotFound), ""},
		"gone":                  {status(http.StatusGone), ""},
		"connection that fails": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, places.CodeUnreachable},
		"a gigabyte": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/activity+json")
			w.Header().Set("Content-Length", "1073741824")
			_, _ = w.Write([]byte(good))
		}, places.CodeRefused},
		"an endless body": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/activity+json")
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1000)); err != nil {
					return
				}
			}
		}, places.CodeRefused},
	} {
		t.Run(name, func(t *testing.T) {
			l := newWorld(t, c.handler).look(t, actor)
			if !errors.Is(l.Err, c.code) && (c.code != "" || l.Err != nil) || l.Err != nil && len(l.Shows) > 0 {
				t.Errorf("Look = %q, %v, want %q", l.Shows, l.Err, c.code)
			}
		})
	}
}

// TestSlow has places that never end their answers. Looking at all of them ends with its time.
func TestSlow(t *testing.T) {
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		_, _ = w.Write([]byte("{"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	list := []places.Place{must(places.ParsePlace(record))}
	for i := range places.MaxPlaces {
		list = append(list, must(places.ParsePlace(fmt.Sprintf("https://social.example/@alice%d", i))))
	}
	r := w.reader(t, places.ReaderConfig{Timeout: 100 * time.Millisecond, Resolver: deaf{}})
	looks := r.Look(t.Context(), list)
	if len(looks) != places.MaxPlaces {
		t.Errorf("%d looks, want at most %d", len(looks), places.MaxPlaces)
	}
	for _, l := range looks {
		if !errors.Is(l.Err, places.CodeUnreachable) {
			t.Errorf("Look(%s) = %+v", l.Place.URI, l)
		}
	}
	if _, err := r.Profile(t.Context(), address(master)); !errors.Is(err, places.CodeUnreachable) {
		t.Errorf("Profile = %v", err)
	}
}

// A deaf resolver does not notice that its time is over.
type deaf struct{}

func (deaf) LookupTXT(context.Context, string) ([]string, error) { select {} }

// TestAtOnce checks that four places are looked at in parallel, and no more.
func TestAtOnce(t *testing.T) {
	var now, most atomic.Int32
	var four sync.WaitGroup
	four.Add(4)
	var arrived atomic.Int32
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if arrived.Add(1) <= 4 {
			four.Done()
			four.Wait() // the first four meet here
		}
		now.Add(-1)
		w.WriteHeader(http.StatusNotFound)
	})
	var list []places.Place
	for i := range places.MaxPlaces {
		list = append(list, must(places.ParsePlace(fmt.Sprintf("https://social.example/@alice%d", i))))
	}
	for _, l := range w.reader(t, places.ReaderConfig{}).Look(t.Context(), list) {
		if l.Err != nil {
			t.Errorf("Look(%s) = %v", l.Place.URI, l.Err)
		}
	}
	if most.Load() != 4 {
		t.Errorf("%d at once, want 4", most.Load())
	}
}

// TestAddresses checks that the reader connects to no private address. Its own client does not know the test server.
func TestAddresses(t *testing.T) {
	var asked atomic.Int32
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	w.policy.DevHosts = nil
	w.policy.Resolver = lookups(t, nil)
	l := w.look(t, actor)
	if !errors.Is(l.Err, places.CodeRefused) || asked.Load() != 0 {
		t.Errorf("Look = %+v, asked %d times", l, asked.Load())
	}
	if _, err := w.reader(t, places.ReaderConfig{}).Profile(t.Context(), address(master)); !errors.Is(err, places.CodeRefused) {
		t.Errorf("Profile = %v", err)
	}
}

// TestRecords looks records up at a DNS server.
func TestRecords(t *testing.T) {
	resolver := lookups(t, map[string][]string{
		"alice.example.": {"v=spf1 -all", own}, "empty.example.": {}, "fail.example.": nil,
		"long.example.": {strings.Repeat("a", 200) + " " + own + strings.Repeat(" ", 100)}, // two strings of one record
	})
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {})
	r := w.reader(t, places.ReaderConfig{Resolver: resolver})
	for uri, want := range map[string]struct {
		shows []string
		code  places.Code
	}{
		"dns:alice.example?type=TXT": {shows: one}, "dns:alice.example": {shows: one}, "dns:long.example": {shows: one}, "dns:empty.example": {},
		"dns:nobody.example": {}, "dns:fail.example": {code: places.CodeUnreachable},
	} {
		l := r.Look(t.Context(), []places.Place{must(places.ParsePlace(uri))})[0]
		if !slices.Equal(l.Shows, want.shows) || !errors.Is(l.Err, want.code) && (l.Err != nil || want.code != "") {
			t.Errorf("Look(%s) = %q, %v, want %q, %q", uri, l.Shows, l.Err, want.shows, want.code)
		}
	}
	for _, many := range [][]string{slices.Repeat([]string{own}, 101), {own, strings.Repeat("a", places.MaxAnswer)}} {
		r := w.reader(t, places.ReaderConfig{Resolver: records{"alice.example.": many}})
		if l := r.Look(t.Context(), []places.Place{must(places.ParsePlace(record))})[0]; !errors.Is(l.Err, places.CodeRefused) {
			t.Errorf("Look = %q, %v, want %s", l.Shows, l.Err, places.CodeRefused)
		}
	}
}

// TestProfileDocument gets profiles.
func TestProfileDocument(t *testing.T) {
	text := profile(master, placeA)
	handler := http.NotFound
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request) { handler(w, r) })
	r := w.reader(t, places.ReaderConfig{})
	if _, err := r.Profile(t.Context(), address(master)); !errors.Is(err, places.CodeMissing) {
		t.Errorf("Profile = %v, want %v", err, places.CodeMissing)
	}
	handler = func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/aspe/id/"+fingerprint(master) || r.Header.Get("Accept") != "application/asp+jwt" {
			t.Errorf("asked for %s with %s", r.URL.Path, r.Header.Get("Accept"))
		}
		answer("application/asp+jwt; charset=UTF-8", text+"\n")(w, r)
	}
	if got, err := r.Profile(t.Context(), address(master)); err != nil || got != text {
		t.Errorf("Profile = %q, %v", got, err)
	}
	handler = answer("text/html", text)
	if _, err := r.Profile(t.Context(), address(master)); !errors.Is(err, places.CodeRefused) {
		t.Errorf("Profile = %v, want %v", err, places.CodeRefused)
	}
}

func TestNewReaderRefuses(t *testing.T) {
	if _, err := places.NewReader(places.ReaderConfig{Timeout: -1}); err == nil {
		t.Error("NewReader = nil, want an error")
	}
	r, err := places.NewReader(places.ReaderConfig{}) // the client and the resolver of the package
	if err != nil {
		t.Fatal(err)
	}
	if looks := r.Look(t.Context(), []places.Place{{URI: actor}}); !errors.Is(looks[0].Err, places.CodePlace) {
		t.Errorf("Look = %+v", looks)
	}
}

// lookups returns a resolver that asks a DNS server with TXT records; a nil list is a failure. Every address is 127.0.0.1.
func lookups(t *testing.T, txt map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go serveDNS(conn, txt)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}
