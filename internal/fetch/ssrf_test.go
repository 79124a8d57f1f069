package fetch_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
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

	"golang.org/x/net/dns/dnsmessage"

	"github.com/imidentity/issuer/internal/fetch"
)

// zone starts a name server that knows the given names, each with addresses or, ending with a dot, names that it is an alias of.
func zone(t *testing.T, records map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			if out, err := answerDNS(m, records); err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// answerDNS follows the aliases of a name as far as a name server would, and answers with what is at their end.
func answerDNS(m dnsmessage.Message, records map[string][]string) ([]byte, error) {
	q := m.Questions[0]
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true},
		Questions: m.Questions,
	}
	name := strings.ToLower(q.Name.String())
	for range 8 {
		next := ""
		values, known := records[name]
		if !known {
			reply.RCode = dnsmessage.RCodeNameError
		}
		for _, value := range values {
			header := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(name), Class: q.Class}
			ip, err := netip.ParseAddr(value)
			switch {
			case err != nil:
				next = value
				reply.Answers = append(reply.Answers, dnsmessage.Resource{
					Header: header, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(value)},
				})
			case ip.Is4() && q.Type == dnsmessage.TypeA:
				reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: ip.As4()}})
			case ip.Is6() && q.Type == dnsmessage.TypeAAAA:
				reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}})
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	return reply.Pack()
}

// TestTricks asks for URLs with which others have led servers to addresses inside. A server waits there, and is never asked. The client is
// as lax as it can be, so that the trick itself is refused and not the scheme or the port. An empty part is an outage, or a URL that
// cannot be read.
func TestTricks(t *testing.T) {
	var hits atomic.Int32
	inside := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(inside.URL, "http://"))
	names := zone(t, map[string][]string{
		"inside.example.com.":        {"127.0.0.1"},
		"inside6.example.com.":       {"::1"},
		"mapped.example.com.":        {"::ffff:127.0.0.1"},
		"nat64.example.com.":         {"64:ff9b::7f00:1"},
		"both.example.com.":          {"127.0.0.1", "::1"},
		"alias.example.com.":         {"inside.example.com."},
		"chain.example.com.":         {"alias.example.com."},
		"metadata.example.com.":      {"169.254.169.254"},
		"azure.example.com.":         {"168.63.129.16"},
		"zero.example.com.":          {"0.0.0.0"},
		"any6.example.com.":          {"::"},
		"circle.example.com.":        {"circle.example.com."},
		"empty.example.com.":         {},
		"localhost.":                 {"127.0.0.1"},
		"localtest.me.":              {"127.0.0.1"},
		"127.0.0.1.nip.io.":          {"127.0.0.1"},
		"metadata.google.internal.":  {"169.254.169.254"},
		"db.internal.":               {"127.0.0.1"},
		"0x7f.1.":                    {"127.0.0.1"},
		"2130706433.":                {"127.0.0.1"},
		"inside.":                    {"127.0.0.1"},
		"xn--bcher-kva.example.com.": {"127.0.0.1"},
	})
	policy := fetch.Policy{AllowHTTP: true, AllowAnyPort: true, Resolver: names}
	for _, test := range []struct {
		name, host, part string
	}{
		{"decimal", "2130706433", "host"},
		{"decimal with a dot", "2130706433.", "host"},
		{"octal", "0177.0.0.1", "host"},
		{"octal, whole", "017700000001", "host"},
		{"hexadecimal", "0x7f000001", "host"},
		{"hexadecimal parts", "0x7f.0x0.0x0.0x1", "host"},
		{"hexadecimal and short", "0x7f.1", "host"},
		{"short", "127.1", "host"},
		{"too long", "127.0.0.0.1", "host"},
		{"leading zeros", "127.000.000.001", "host"},
		{"overflow", "4294967297", "host"},
		{"trailing dot", "127.0.0.1.", "host"},
		{"loopback", "127.0.0.1", "address"},
		{"all of loopback", "127.8.8.8", "address"},
		{"zero", "0.0.0.0", "address"},
		{"zero, short", "0", "host"},
		{"IPv6 any", "[::]", "address"},
		{"IPv6 loopback", "[::1]", "address"},
		{"IPv6 loopback, long", "[0000:0000:0000:0000:0000:0000:0000:0001]", "address"},
		{"IPv4-mapped", "[::ffff:127.0.0.1]", "address"},
		{"IPv4-mapped, hexadecimal", "[::ffff:7f00:1]", "address"},
		{"IPv4-translated", "[::ffff:0:7f00:1]", "address"},
		{"IPv4-compatible", "[::127.0.0.1]", "address"},
		{"NAT64", "[64:ff9b::7f00:1]", "address"},
		{"NAT64, local", "[64:ff9b:1::7f00:1]", "address"},
		{"6to4", "[2002:7f00:1::1]", "address"},
		{"Teredo", "[2001:0:7f00:1::]", "address"},
		{"link-local", "[fe80::1]", "address"},
		{"link-local with a zone", "[fe80::1%25lo]", "address"},
		{"loopback with a zone", "[::1%25lo]", "address"},
		{"zone without an escape", "[::1%lo]", ""},
		{"IPvFuture", "[v1.127.0.0.1]", ""},
		{"half a bracket", "[::1", ""},
		{"metadata of clouds", "169.254.169.254", "address"},
		{"metadata of clouds, IPv6", "[fd00:ec2::254]", "address"},
		{"metadata of clouds, shared address", "100.100.100.200", "address"},
		{"metadata of clouds, protocol assignment", "192.0.0.192", "address"},
		{"metadata of clouds, public address", "168.63.129.16", "address"},
		{"metadata of clouds, by name", "metadata.google.internal", "host"},
		{"metadata of clouds, short name", "metadata", "host"},
		{"localhost", "localhost", "host"},
		{"LOCALHOST", "LOCALHOST", "host"},
		{"below localhost", "x.localhost", "host"},
		{"localhost with a dot", "localhost.", "host"},
		{"localhost.localdomain", "localhost.localdomain", "host"},
		{"inside name", "db.internal", "host"},
		{"multicast DNS", "printer.local", "host"},
		{"home network", "router.home.arpa", "host"},
		{"single label", "inside", "host"},
		{"public name of an inside address", "inside.example.com", "address"},
		{"upper case", "INSIDE.EXAMPLE.COM", "address"},
		{"public name, IPv6", "inside6.example.com", "address"},
		{"public name, mapped", "mapped.example.com", "address"},
		{"public name, NAT64", "nat64.example.com", "address"},
		{"public name, both", "both.example.com", "address"},
		{"public name of metadata", "metadata.example.com", "address"},
		{"public name of Azure's host", "azure.example.com", "address"},
		{"public name of zero", "zero.example.com", "address"},
		{"public name of any", "any6.example.com", "address"},
		{"wildcard DNS", "127.0.0.1.nip.io", "address"},
		{"a domain of others for localhost", "localtest.me", "address"},
		{"alias", "alias.example.com", "address"},
		{"chain of aliases", "chain.example.com", "address"},
		{"circle of aliases", "circle.example.com", ""},
		{"name without addresses", "empty.example.com", ""},
		{"no such name", "nobody.example.com", ""},
		{"full-width digits", "１２７.０.０.１", "host"},
		{"circled digits", "①②⑦.⓪.⓪.①", "host"},
		{"ideographic dot", "127。0。0。1", "host"},
		{"IDN", "bücher.example.com", "host"},
		{"IDN in A-labels", "xn--bcher-kva.example.com", "address"},
		{"soft hyphen", "loc\u00adalhost", "host"},
		{"percent-encoded", "%31%32%37.0.0.1", ""},
		{"percent-encoded name", "%6cocalhost", ""},
		{"percent-encoded, not ASCII", "%ef%bc%91.example.com", "host"},
		{"userinfo", "inside@example.com", "host"},
		{"userinfo with a port", "127.0.0.1:80@inside.example.com", "host"},
		{"userinfo, empty", "@inside.example.com", "host"},
		{"userinfo and a backslash", `example.com\@127.0.0.1`, ""},
		{"backslash", `127.0.0.1\example.com`, ""},
		{"blank", "127.0.0.1 example.com", ""},
		{"tab", "127.0.0.1\texample.com", ""},
		{"line end", "127.0.0.1\r\nHost: x", ""},
		{"NUL", "127.0.0.1\x00.example.com", ""},
		{"empty", "", "host"},
		{"empty label", "inside..example.com", ""},
		{"a colon too many", "127.0.0.1:80", ""},
		{"underscore", "_inside.example.com", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, scheme := range []string{"http", "https"} {
				c := newForeignClient(t, policy)
				_, err := get(c, scheme+"://"+test.host+":"+port+"/")
				refused := (*fetch.RefusedError)(nil)
				switch {
				case err == nil:
					t.Errorf("Get = nil, want an error")
				case test.part == "" && errors.As(err, &refused) && refused.Part == "address":
					t.Errorf("Get = %v, want no address", err)
				case test.part != "":
					wantRefused(t, "Get", err, test.part)
				}
			}
		})
	}
	if hits.Load() != 0 {
		t.Errorf("the server inside was asked %d times, want never", hits.Load())
	}

	// What the operator wrote down may be inside, but is no odd form of an address, either: a proxy might read it in another way.
	configured := newClient(t, fetch.Policy{AllowHTTP: true, AllowNetworks: loopback, Resolver: names})
	if _, err := get(configured, "http://inside.example.com:"+port); err != nil || hits.Load() != 1 {
		t.Errorf("Get of a configured URL = %v after %d requests, want success", err, hits.Load())
	}
	for _, host := range []string{"2130706433", "0x7f.1", "127.1", "１２７.０.０.１", "localhost.", "user@inside.example.com"} {
		_, err := get(configured, "http://"+host+":"+port)
		wantRefused(t, host, err, "host")
	}
}

// TestSchemesAndPorts holds a strict client of foreign URLs to https and its port.
func TestSchemesAndPorts(t *testing.T) {
	c := newForeignClient(t, fetch.Policy{})
	for target, part := range map[string]string{
		"http://a.example/":                 "scheme",
		"HTTP://a.example/":                 "scheme",
		"file:///etc/passwd":                "scheme",
		"FILE:/etc/passwd":                  "scheme",
		"ftp://a.example/":                  "scheme",
		"gopher://a.example:70/_x":          "scheme",
		"unix:///run/docker.sock":           "scheme",
		"data:application/json,{}":          "scheme",
		"//a.example/":                      "scheme",
		"a.example/":                        "scheme",
		"https:/a.example/":                 "host",
		"https:a.example":                   "host",
		"https://a.example:80/":             "port",
		"https://a.example:8443/":           "port",
		"https://a.example:22/":             "port",
		"https://a.example:0443/":           "port",
		"https://a.example:0/":              "port",
		"https://a.example:65979/":          "port", // 443 modulo 65536
		"https://a.example:99999999999999/": "port",
	} {
		_, err := get(c, target)
		wantRefused(t, target, err, part)
	}
	for _, target := range []string{"https://a.example:-443/", "https://a.example:443:443/", "https://a.example:https/", "https://a.example:４４３/"} {
		if _, err := get(c, target); err == nil {
			t.Errorf("Get(%s) = nil, want an error", target)
		}
	}
}

// TestNoProxyOfTheEnvironment holds that the environment does not lead requests to another host.
func TestNoProxyOfTheEnvironment(t *testing.T) {
	var hits atomic.Int32
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, proxy.URL)
	}
	names := zone(t, map[string][]string{"outside.example.com.": {"127.0.0.1"}})
	for _, scheme := range []string{"http", "https"} {
		_, err := get(newForeignClient(t, fetch.Policy{AllowHTTP: true, Resolver: names}), scheme+"://outside.example.com/")
		wantRefused(t, "Get", err, "address")
	}
	if hits.Load() != 0 {
		t.Errorf("the proxy was asked %d times, want never", hits.Load())
	}
}

// secure starts a TLS server for the names, by HTTP/1.1 or by HTTP/2, and returns the policy of a client that reaches it.
func secure(t *testing.T, h2 bool, change func(*tls.Config), names []string, h http.HandlerFunc) fetch.Policy {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = h2
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}}
	if change != nil {
		change(s.TLS)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	return fetch.Policy{CAFile: ca, DevHosts: map[string]string{"a.example": s.Listener.Addr().String()}}
}

// TestForeignServers holds what a server of another party may do to a client, by HTTP/1.1 and by HTTP/2.
func TestForeignServers(t *testing.T) {
	var hits atomic.Int32
	inside := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 10<<20))
	_ = z.Close()
	to := func(status int, location string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(status)
		}
	}
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		part    string // "": a time-out or a broken answer
	}{
		"redirect inside":               {to(302, inside.URL), "redirect"},
		"redirect to metadata":          {to(307, "http://169.254.169.254/latest"), "redirect"},
		"redirect to a file":            {to(301, "file:///etc/passwd"), "redirect"},
		"redirect with a method change": {to(303, inside.URL), "redirect"},
		"redirect for ever":             {to(308, "https://a.example/"), "redirect"},
		"redirect without a place":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(302) }, "redirect"},
		"refresh":                       {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Refresh", "0; url="+inside.URL) }, "type"},
		"slow headers":                  {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ""},
		"headers without end": {func(w http.ResponseWriter, _ *http.Request) {
			for n := range 20 {
				w.Header().Set(fmt.Sprintf("X-%d", n), strings.Repeat("a", 8<<10))
			}
		}, ""},
		"early hints without end": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<"+strings.Repeat("a", 1000)+">")
			for r.Context().Err() == nil {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}, ""},
		"slow body": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, " "); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond)
			}
		}, ""},
		"huge body": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for text := strings.Repeat(" ", 64<<10); r.Context().Err() == nil; {
				if _, err := io.WriteString(w, text); err != nil {
					return
				}
			}
		}, "size"},
		"huge by its length": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "9999999999")
		}, "size"},
		"compressed bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}, "encoding"},
		"wrong type": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") }, "type"},
		"no type":    {func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil }, "type"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{}")
			panic(http.ErrAbortHandler)
		}, ""},
	} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", name, h2), func(t *testing.T) {
				t.Parallel()
				p := secure(t, h2, nil, []string{"a.example"}, func(w http.ResponseWriter, r *http.Request) {
					if want := map[bool]int{false: 1, true: 2}[h2]; r.ProtoMajor != want {
						t.Errorf("HTTP/%d, want %d", r.ProtoMajor, want)
					}
					test.handler(w, r)
				})
				if p.Timeout = 10 * time.Second; test.part == "" {
					p.Timeout = 2 * time.Second
				}
				c := newForeignClient(t, p)
				resp, err := c.Get("https://a.example/")
				if err == nil {
					defer resp.Body.Close()
					if err = fetch.CheckType(resp, "application/json"); err == nil {
						_, err = io.ReadAll(resp.Body)
					}
				}
				refused := (*fetch.RefusedError)(nil)
				if test.part != "" {
					wantRefused(t, "Get", err, test.part)
				} else if err == nil || errors.As(err, &refused) {
					t.Errorf("Get = %v, want an outage", err)
				}
			})
		}
	}
	t.Cleanup(func() {
		if hits.Load() != 0 {
			t.Errorf("the server inside was asked %d times, want never", hits.Load())
		}
	})
}

// TestForeignTLS holds the certificate of a foreign server to its name, its time and its authority.
func TestForeignTLS(t *testing.T) {
	ok := func(http.ResponseWriter, *http.Request) {}
	if _, err := get(newForeignClient(t, secure(t, true, nil, []string{"a.example"}, ok)), "https://a.example/"); err != nil {
		t.Fatalf("Get = %v", err)
	}
	other := secure(t, false, nil, []string{"a.example"}, ok)
	for name, p := range map[string]fetch.Policy{
		"another name":      secure(t, false, nil, []string{"b.example", "example"}, ok),
		"a name above":      secure(t, false, nil, []string{"*.a.example"}, ok),
		"another authority": {DevHosts: other.DevHosts},
		"an old protocol":   secure(t, false, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, []string{"a.example"}, ok),
	} {
		if _, err := get(newForeignClient(t, p), "https://a.example/"); err == nil {
			t.Errorf("%s: Get = nil, want an error", name)
		}
	}
	// A server without TLS.
	plain := serve(t, ok)
	at, _ := url.Parse(plain.URL)
	if _, err := get(newForeignClient(t, fetch.Policy{DevHosts: map[string]string{"a.example": at.Host}}), "https://a.example/"); err == nil {
		t.Error("Get from a server without TLS = nil, want an error")
	}
}
