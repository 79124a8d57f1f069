package fetch_test

import (
	"bytes"
	"compress/gzip"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

func newClient(t *testing.T, p fetch.Policy) *http.Client {
	t.Helper()
	c, err := fetch.NewClient(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func newForeignClient(t *testing.T, p fetch.Policy) *http.Client {
	t.Helper()
	c, err := fetch.NewForeignClient(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// get reads the whole answer.
func get(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func wantRefused(t *testing.T, what string, err error, part string) {
	t.Helper()
	var refused *fetch.RefusedError
	if !errors.As(err, &refused) || refused.Part != part {
		t.Errorf("%s = %v, want %s refused", what, err, part)
	}
}

func TestURLRefused(t *testing.T) {
	var hits atomic.Int32
	s := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	c := newClient(t, fetch.Policy{AllowNetworks: loopback})
	dev := newClient(t, fetch.Policy{AllowNetworks: loopback, AllowHTTP: true})
	foreign := newForeignClient(t, fetch.Policy{AllowNetworks: loopback, AllowHTTP: true})
	at := strings.TrimPrefix(s.URL, "http://")
	for _, test := range []struct {
		client *http.Client
		url    string
		part   string
	}{
		{c, s.URL, "scheme"},
		{c, "ftp://" + at, "scheme"},
		{c, "file:///etc/passwd", "scheme"},
		{dev, "http://", "host"},
		{dev, "http://user@" + at, "host"},
		{dev, "http://user:password@" + at, "host"},
		{foreign, s.URL, "port"},
		{foreign, "https://idp.example.com:80/", "port"},
		{foreign, "https://idp.example.com:22/", "port"},
		{foreign, "http://idp.example.com:443/", "port"},
		{foreign, "http://127.0.0.1/", "address"},
	} {
		_, err := get(test.client, test.url)
		wantRefused(t, test.url, err, test.part)
	}
	if hits.Load() != 0 {
		t.Errorf("the server was asked %d times, want never", hits.Load())
	}
	if _, err := get(dev, s.URL); err != nil {
		t.Errorf("Get = %v, want no error: http is allowed here", err)
	}
	if _, err := get(newForeignClient(t, fetch.Policy{
		AllowHTTP: true, AllowAnyPort: true, DevHosts: map[string]string{"peer.example": at},
	}), "http://Peer.example:1234/"); err != nil {
		t.Errorf("Get = %v, want no error: the host is mapped", err)
	}
}

// TestAddressRefused asks for addresses that are not public, in all their forms.
func TestAddressRefused(t *testing.T) {
	c := newClient(t, fetch.Policy{AllowHTTP: true})
	for _, host := range []string{
		"0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
		"255.255.255.255",
		"[::]", "[::1]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[::ffff:0:127.0.0.1]",
		"[64:ff9b::7f00:1]", "[64:ff9b::808:808]", "[64:ff9b:1::1]", "[100::1]", "[2001::1]", "[2001:db8::1]", "[2002:7f00:1::]",
		"[3fff::1]", "[5f00::1]", "[fc00::1]", "[fd12:3456::1]", "[fe80::1]", "[fe80::1%25lo]", "[fec0::1]", "[ff02::1]",
	} {
		_, err := get(c, "http://"+host+"/")
		wantRefused(t, host, err, "address")
	}
}

// TestAddressSpelledOut has forms that some resolvers take for 127.0.0.1, and a name that is it.
func TestAddressSpelledOut(t *testing.T) {
	var hits atomic.Int32
	s := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.URL, "http://"))
	c := newClient(t, fetch.Policy{AllowHTTP: true})
	for _, host := range []string{"127.1", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1"} {
		if _, err := get(c, "http://"+net.JoinHostPort(host, port)); err == nil {
			t.Errorf("%s: Get = nil, want an error", host)
		}
	}
	_, err := get(c, "http://"+net.JoinHostPort("localhost", port))
	wantRefused(t, "localhost", err, "address")
	if hits.Load() != 0 {
		t.Errorf("the server was asked %d times, want never", hits.Load())
	}
}

func TestRedirect(t *testing.T) {
	var elsewhere atomic.Int32
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				elsewhere.Add(1)
				return
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		})
		_, err := get(newClient(t, fetch.Policy{AllowHTTP: true, AllowNetworks: loopback}), s.URL)
		wantRefused(t, "Get", err, "redirect")
	}
	if elsewhere.Load() != 0 {
		t.Errorf("redirects were followed %d times, want never", elsewhere.Load())
	}
}

func TestBody(t *testing.T) {
	const max = 1000
	text := strings.Repeat("a", max+1)
	chunked := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, body)
		}
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 100*max))
	_ = z.Close()
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		part    string // "" is the whole body
	}{
		{"as much as allowed", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text[:max]) }, ""},
		{"as much as allowed, chunked", chunked(text[:max]), ""},
		{"too long", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }, "size"},
		{"too long, chunked", chunked(text), "size"},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, text); err != nil {
					return
				}
			}
		}, "size"},
		{"compressed unasked", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "" {
				t.Errorf("Accept-Encoding = %q, want none", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}, "encoding"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, test.handler)
			body, err := get(newClient(t, fetch.Policy{AllowHTTP: true, AllowNetworks: loopback, MaxBody: max}), s.URL)
			if test.part != "" {
				wantRefused(t, "Get", err, test.part)
			} else if err != nil || body != text[:max] {
				t.Errorf("Get = %d bytes, %v, want %d", len(body), err, max)
			}
			if len(body) > max {
				t.Errorf("Get = %d bytes, want at most %d", len(body), max)
			}
		})
	}
}

func TestTooSlow(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"header": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"body": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, "a"); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, handler)
			_, err := get(newClient(t, fetch.Policy{AllowHTTP: true, AllowNetworks: loopback, Timeout: 300 * time.Millisecond}), s.URL)
			var late net.Error
			if !errors.As(err, &late) || !late.Timeout() {
				t.Errorf("Get = %v, want a time-out", err)
			}
			var refused *fetch.RefusedError
			if errors.As(err, &refused) {
				t.Errorf("Get = %v, want an outage, not a refusal", err)
			}
		})
	}
}

func TestCAFile(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := get(newClient(t, fetch.Policy{AllowNetworks: loopback, CAFile: ca}), s.URL); err != nil {
		t.Errorf("Get: %v", err)
	}
	if _, err := get(newClient(t, fetch.Policy{AllowNetworks: loopback}), s.URL); err == nil {
		t.Error("Get = nil, want an error: the certificate is not trusted")
	}
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, filepath.Join(dir, "missing.pem")} {
		if _, err := fetch.NewClient(fetch.Policy{CAFile: file}); err == nil {
			t.Errorf("NewClient with %s = nil, want an error", filepath.Base(file))
		}
	}
}

func TestProxy(t *testing.T) {
	var seen []string
	proxy := serve(t, func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, r.RequestURI) })
	at, _ := url.Parse(proxy.URL)
	p := fetch.Policy{AllowHTTP: true, Proxy: at}
	c := newClient(t, p)
	if _, err := get(c, "http://idp.corp.invalid/keys"); err != nil {
		t.Errorf("Get: %v", err)
	}
	_, err := get(c, "http://10.0.0.1/")
	wantRefused(t, "Get", err, "address")
	if _, err := get(newForeignClient(t, p), "http://peer.invalid/"); err == nil {
		t.Error("Get = nil, want an error: foreign URLs use no proxy")
	}
	if len(seen) != 1 || seen[0] != "http://idp.corp.invalid/keys" {
		t.Errorf("the proxy was asked for %q", seen)
	}
}

func TestNewClientRefuses(t *testing.T) {
	for name, p := range map[string]fetch.Policy{
		"negative timeout": {Timeout: -1},
		"negative size":    {MaxBody: -1},
		"socks proxy":      {Proxy: &url.URL{Scheme: "socks5", Host: "127.0.0.1:1080"}},
		"proxy no URL":     {Proxy: &url.URL{Path: "proxy:3128"}},
	} {
		if _, err := fetch.NewClient(p); err == nil {
			t.Errorf("%s: NewClient = nil, want an error", name)
		}
	}
}

func TestCheckType(t *testing.T) {
	for _, test := range []struct {
		header string
		ok     bool
	}{
		{"application/json", true}, {"Application/JSON; charset=utf-8", true}, {"application/jwk-set+json", true},
		{"text/html", false}, {"", false}, {"application/json; x", false}, {"application/jsonp", false},
	} {
		resp := &http.Response{Header: http.Header{"Content-Type": {test.header}}}
		err := fetch.CheckType(resp, "application/json", "application/jwk-set+json")
		if test.ok != (err == nil) {
			t.Errorf("CheckType(%q) = %v", test.header, err)
		}
		if !test.ok {
			wantRefused(t, "CheckType", err, "type")
		}
	}
}
