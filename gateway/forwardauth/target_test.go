package forwardauth_test

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
)

var (
	trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28"), netip.MustParsePrefix("::1/128")}
	origins = []string{"https://chat.a.example", "https://files.a.example:8443", "http://dev.a.example"}
)

func newReader(t testing.TB, kind forwardauth.Kind) *forwardauth.Reader {
	t.Helper()
	r, err := forwardauth.NewReader(forwardauth.Config{Proxy: kind, Trusted: trusted, Origins: origins})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// question returns the question of a proxy of a kind about a request.
func question(kind forwardauth.Kind, method, proto, host, target string) *http.Request {
	q := &http.Request{Method: http.MethodGet, Host: "127.0.0.1:9090", RequestURI: "/verify", RemoteAddr: "192.0.2.7:4711", Header: http.Header{}}
	switch kind {
	case forwardauth.Nginx:
		q.Header.Set("X-Original-Method", method)
		q.Header.Set("X-Original-URI", target)
	case forwardauth.Envoy:
		q.Method, q.Host, q.RequestURI = method, host, "/verify"+target
		q.Header.Set("X-Forwarded-Proto", proto)
		return q
	case forwardauth.Direct:
		q.Method, q.Host, q.RequestURI = method, host, target
		if proto == "https" {
			q.TLS = &tls.ConnectionState{}
		}
		return q
	default:
		q.Header.Set("X-Forwarded-Method", method)
		q.Header.Set("X-Forwarded-Uri", target)
	}
	q.Header.Set("X-Forwarded-Proto", proto)
	q.Header.Set("X-Forwarded-Host", host)
	return q
}

var everyKind = append(slices.Clone(forwardauth.Kinds), forwardauth.Direct)

func TestRead(t *testing.T) {
	for _, kind := range everyKind {
		r := newReader(t, kind)
		for _, v := range []struct{ proto, host, target, want string }{
			{"https", "chat.a.example", "/", "https://chat.a.example/"},
			{"https", "CHAT.a.example:443", "/rooms/7?after=%2F..%2F;x", "https://chat.a.example/rooms/7"},
			{"https", "files.a.example:8443", "/a/b/", "https://files.a.example:8443/a/b/"},
			{"http", "dev.a.example", "/r%C3%A9sum%C3%A9/100%25/a=b,c", "http://dev.a.example/r%C3%A9sum%C3%A9/100%25/a=b,c"},
			{"https", "chat.a.example", "/...", "https://chat.a.example/..."},
		} {
			got, err := r.Read(question(kind, "PATCH", v.proto, v.host, v.target))
			if err != nil || got.URL() != v.want || got.Method != "PATCH" || got.Source.String() != "192.0.2.7" {
				t.Errorf("%s: Read(%s://%s%s) = %+v, %v, want %s", kind, v.proto, v.host, v.target, got, err, v.want)
			}
		}
	}
}

// A WebSocket is opened by a request whose URL has the scheme https or http.
func TestReadWebSocket(t *testing.T) {
	for proto, want := range map[string]string{"wss": "https://chat.a.example/ws", "ws": ""} {
		got, err := newReader(t, forwardauth.Traefik).Read(question(forwardauth.Traefik, "GET", proto, "chat.a.example", "/ws"))
		if (err == nil) != (want != "") || err == nil && got.URL() != want {
			t.Errorf("%s: Read = %v, %v, want %q", proto, got, err, want)
		}
	}
}

func TestReadRefusesTargets(t *testing.T) {
	for _, target := range []string{
		"//", "//a", "/a//b", "/a//", "/.", "/..", "/a/./b", "/a/../b", "/a/..", "/a/.",
		"/%2e%2e/a", "/%2E%2E/a", "/.%2E/a", "/a/%2e", "/%41", "/%7E", "/a%2Db",
		"/a%2Fb", "/a%2fb", "/a%5Cb", "/a%5cb", `/a\b`, "/a;b", "/a;/..", "/a%3Bb", "/a%3Fb", "/a%23b",
		"https://chat.a.example/a", "http://other.example/a", "chat.a.example:443", "*", "", "a", "?a",
		"/a%00", "/a%0A", "/a%0d%0a", "/a%7F", "/a\x00", "/a\r\nX-Evil: 1", "/a b", "/a\tb", "/\xff", "/é",
		"/a%", "/a%4", "/a%zz", "/a%c3%a9", "/a%C3", "/a%C0%AE", "/a%FF", "/a%ED%A0%80",
		"/a%252e%252e", "/a%252F", "/a%2541", "/a#b", "/a?b#c", "/a?b c", "/a?\x7f", "/a?é",
		`/a"b`, "/a<b>", "/a[1]", "/a^b", "/a`b", "/a{b}", "/a|b", "/" + strings.Repeat("a", 8<<10),
	} {
		for _, kind := range everyKind {
			got, err := newReader(t, kind).Read(question(kind, "GET", "https", "chat.a.example", target))
			if want := reason(t, err); want != gateway.ReasonTarget && !(target == "" && want == forwardauth.ReasonHeaders) {
				t.Errorf("%s: Read(%q) = %v, %v, want a refusal of the target", kind, target, got, err)
			}
		}
	}
}

// reason returns the reason of an error of Read.
func reason(t *testing.T, err error) gateway.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *forwardauth.TargetError
	if !errors.As(err, &e) {
		t.Fatalf("%v is not a TargetError", err)
	}
	return e.Reason
}

func TestReadRefusesMethods(t *testing.T) {
	for _, method := range []string{"CONNECT", "GET /", "GÉT", "G\nET", "GET,POST", strings.Repeat("A", 33)} {
		for _, kind := range everyKind {
			if _, err := newReader(t, kind).Read(question(kind, method, "https", "chat.a.example", "/")); reason(t, err) != gateway.ReasonTarget {
				t.Errorf("%s: Read(%q) = %v, want a refusal", kind, method, err)
			}
		}
	}
}

// The host of a request only chooses among the public origins.
func TestReadRefusesOrigins(t *testing.T) {
	for _, v := range [][2]string{
		{"https", "evil.example"}, {"https", "chat.a.example:8443"}, {"https", "files.a.example"}, {"https", "chat.a.example."},
		{"https", "chat.a.example, chat.a.example"}, {"https", "user@chat.a.example"}, {"https", "chat.a.example/"}, {"https", "chat.a.example?"},
		{"https", "chat.a.example#"}, {"https", "chat.a.example\\"}, {"https", " chat.a.example"}, {"https", "chat.a.example:"}, {"https", "[::1]"},
		{"http", "chat.a.example:443"}, {"https", "dev.a.example"}, {"ftp", "chat.a.example"}, {"https,http", "chat.a.example"},
		{"https", strings.Repeat("a", 301)},
	} {
		for _, kind := range everyKind {
			if kind == forwardauth.Direct && v[0] != "https" || v[1] == "chat.a.example:" {
				continue // it has no other schemes; an empty port is the default one
			}
			if got, err := newReader(t, kind).Read(question(kind, "GET", v[0], v[1], "/")); reason(t, err) != gateway.ReasonOrigin {
				t.Errorf("%s: Read(%s://%s) = %v, %v, want a refusal of the origin", kind, v[0], v[1], got, err)
			}
		}
	}
	// A port of its own that is not listed: TLS ends somewhere in front of a direct gateway.
	q := question(forwardauth.Direct, "GET", "http", "chat.a.example", "/a")
	if got, err := newReader(t, forwardauth.Direct).Read(q); err != nil || got.URL() != "https://chat.a.example/a" {
		t.Errorf("Read = %v, %v, want the https origin", got, err)
	}
}

// What a client writes into headers of its own is not believed.
func TestReadRefusesSenders(t *testing.T) {
	for _, kind := range forwardauth.Kinds {
		r := newReader(t, kind)
		for _, remote := range []string{"192.0.2.16:1", "198.51.100.1:1", "[::2]:1", "", "@", "192.0.2.7"} {
			q := question(kind, "GET", "https", "chat.a.example", "/")
			q.RemoteAddr = remote
			q.Header.Set("X-Forwarded-For", "192.0.2.7")
			if got, err := r.Read(q); reason(t, err) != forwardauth.ReasonProxy {
				t.Errorf("%s: Read from %q = %v, %v, want a refusal of the proxy", kind, remote, got, err)
			}
		}
		for _, remote := range []string{"[::1]:1", "[::ffff:192.0.2.7]:1"} {
			q := question(kind, "GET", "https", "chat.a.example", "/")
			q.RemoteAddr = remote
			if _, err := r.Read(q); err != nil {
				t.Errorf("%s: Read from %q = %v", kind, remote, err)
			}
		}
	}
}

func TestReadHeaders(t *testing.T) {
	for _, kind := range forwardauth.Kinds {
		r := newReader(t, kind)
		for name := range question(kind, "GET", "https", "chat.a.example", "/").Header {
			for what, change := range map[string]func(h http.Header){
				"missing": func(h http.Header) { h.Del(name) },
				"empty":   func(h http.Header) { h.Set(name, "") },
				"twice":   func(h http.Header) { h[name] = append(h[name], h[name][0]) },
			} {
				q := question(kind, "GET", "https", "chat.a.example", "/")
				change(q.Header)
				if got, err := r.Read(q); reason(t, err) != forwardauth.ReasonHeaders {
					t.Errorf("%s: Read with %s %s = %v, %v, want a refusal of the headers", kind, name, what, got, err)
				}
			}
		}
	}
}

func TestReadSource(t *testing.T) {
	for header, want := range map[string]string{
		"": "192.0.2.7", "203.0.113.9": "203.0.113.9", "198.51.100.1, 203.0.113.9": "203.0.113.9", "203.0.113.9, 192.0.2.1": "203.0.113.9",
		"unknown": "", "203.0.113.9, evil": "",
	} {
		q := question(forwardauth.Nginx, "GET", "https", "chat.a.example", "/")
		if header != "" {
			q.Header.Set("X-Forwarded-For", header)
		}
		got, err := newReader(t, forwardauth.Nginx).Read(q)
		if want == "" && reason(t, err) != forwardauth.ReasonHeaders || want != "" && (err != nil || got.Source.String() != want) {
			t.Errorf("Read with X-Forwarded-For %q = %v, %v, want %s", header, got.Source, err, want)
		}
	}
}

// The query of the question is not that of the client, except with Envoy.
func TestReadIgnoresOwnQuery(t *testing.T) {
	q := question(forwardauth.Nginx, "GET", "https", "chat.a.example", "/a")
	q.RequestURI, q.URL = "/verify?uri=/b;\\", &url.URL{Path: "/verify", RawQuery: "uri=/b;\\"}
	if got, err := newReader(t, forwardauth.Nginx).Read(q); err != nil || got.Path != "/a" {
		t.Errorf("Read = %v, %v, want /a", got, err)
	}
}

func TestNewReader(t *testing.T) {
	for name, cfg := range map[string]forwardauth.Config{
		"no kind":     {Trusted: trusted, Origins: origins},
		"other kind":  {Proxy: "apache", Trusted: trusted, Origins: origins},
		"no networks": {Proxy: forwardauth.Nginx, Origins: origins},
		"no origins":  {Proxy: forwardauth.Nginx, Trusted: trusted},
		"a slash":     {Proxy: forwardauth.Nginx, Trusted: trusted, Origins: []string{"https://a.example/"}},
		"a port":      {Proxy: forwardauth.Nginx, Trusted: trusted, Origins: []string{"https://a.example:443"}},
		"a path":      {Proxy: forwardauth.Nginx, Trusted: trusted, Origins: []string{"https://a.example/b"}},
	} {
		if _, err := forwardauth.NewReader(cfg); err == nil {
			t.Errorf("NewReader with %s = nil, want an error", name)
		}
	}
}

// Whatever is accepted has one spelling: the URL is in the normal form of `htu`, and no program that decodes, cleans or splits the path
// gets to another one.
func FuzzRead(f *testing.F) {
	for _, target := range []string{
		"/", "/a/b?c", "//a", "/%2e%2e/", "/a%2Fb", "/a;b", "/a%5Cb", "https://chat.a.example/", "/a%2525", "/a%25x", "/%C3%A9", "/%C0%AE", "/./a/..",
	} {
		f.Add("GET", "https", "chat.a.example", target)
	}
	f.Add("get", "wss", "FILES.a.example:8443", "/x")
	f.Fuzz(func(t *testing.T, method, proto, host, target string) {
		for _, kind := range everyKind {
			got, err := newReader(t, kind).Read(question(kind, method, proto, host, target))
			if err != nil {
				_ = reason(t, err)
				continue
			}
			if got.Method != method || !slices.Contains(origins, got.Origin) {
				t.Fatalf("%s: Read = %+v, want the method and one of the origins", kind, got)
			}
			given, _, _ := strings.Cut(target, "?")
			if got.Path != given {
				t.Fatalf("%s: Read(%q) has the path %q, want it as it was sent", kind, target, got.Path)
			}
			if normal, err := dpop.NormalizeHTU(got.URL()); err != nil || normal != got.URL() {
				t.Fatalf("%s: %q has the normal form %q, %v, want itself", kind, got.URL(), normal, err)
			}
			u, err := url.Parse(got.URL())
			if err != nil || u.EscapedPath() != got.Path {
				t.Fatalf("%s: net/url reads %q as %v, %v", kind, got.URL(), u, err)
			}
			if clean := path.Clean(u.Path); clean != u.Path && clean+"/" != u.Path {
				t.Fatalf("%s: %q is cleaned to %q", kind, u.Path, clean)
			}
			if strings.ContainsAny(u.Path, "\\;?#") || strings.Count(u.Path, "/") != strings.Count(got.Path, "/") || !utf8.ValidString(u.Path) {
				t.Fatalf("%s: %q is decoded to %q", kind, got.Path, u.Path)
			}
			if twice, err := url.PathUnescape(u.Path); err == nil && twice != u.Path {
				t.Fatalf("%s: %q is decoded twice to %q", kind, got.Path, twice)
			}
		}
	})
}
