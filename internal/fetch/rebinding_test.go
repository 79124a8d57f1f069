package fetch_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/imidentity/issuer/internal/fetch"
)

// resolver starts a name server that gives answers, one set of addresses after the other, then always the last.
func resolver(t *testing.T, answers ...[]string) *net.Resolver {
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
			q := m.Questions[0]
			reply := dnsmessage.Message{
				Header:    dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true},
				Questions: m.Questions,
			}
			if q.Type == dnsmessage.TypeA {
				for _, a := range answers[0] {
					reply.Answers = append(reply.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class},
						Body:   &dnsmessage.AResource{A: netip.MustParseAddr(a).As4()},
					})
				}
				if len(answers) > 1 {
					answers = answers[1:]
				}
			}
			out, err := reply.Pack()
			if err != nil {
				panic(err)
			}
			_, _ = conn.WriteTo(out, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// twoServers listen on one port of two addresses, and count what reaches them.
func twoServers(t *testing.T) (port string, allowed, internal *atomic.Int32) {
	t.Helper()
	for range 20 {
		first, err := net.Listen("tcp", "127.0.0.2:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(first.Addr().String())
		second, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			_ = first.Close() // another process uses that port
			continue
		}
		counts := [2]atomic.Int32{}
		for i, l := range []net.Listener{first, second} {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { counts[i].Add(1) }))
			_ = s.Listener.Close()
			s.Listener = l
			s.Start()
			t.Cleanup(s.Close)
		}
		return port, &counts[0], &counts[1]
	}
	t.Fatal("no port is free on both addresses")
	return "", nil, nil
}

// TestRebinding has a name that resolves to an allowed address first and to an internal one then.
func TestRebinding(t *testing.T) {
	port, allowed, internal := twoServers(t)
	c := newClient(t, fetch.Policy{
		AllowHTTP:     true,
		AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")},
		Resolver:      resolver(t, []string{"127.0.0.2"}, []string{"127.0.0.1"}),
	})
	url := "http://rebind.example:" + port + "/"
	if _, err := get(c, url); err != nil {
		t.Errorf("Get: %v", err)
	}
	c.CloseIdleConnections()
	_, err := get(c, url)
	wantRefused(t, "Get", err, "address")
	if allowed.Load() != 1 || internal.Load() != 0 {
		t.Errorf("asked %d and %d times, want 1 and 0", allowed.Load(), internal.Load())
	}
}

// TestMixedAnswer has a name with an internal address beside an allowed one.
func TestMixedAnswer(t *testing.T) {
	port, allowed, internal := twoServers(t)
	c := newClient(t, fetch.Policy{
		AllowHTTP:     true,
		AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")},
		Resolver:      resolver(t, []string{"127.0.0.1", "127.0.0.2"}),
	})
	if _, err := get(c, "http://mixed.example:"+port+"/"); err != nil {
		t.Errorf("Get: %v", err)
	}
	if allowed.Load() != 1 || internal.Load() != 0 {
		t.Errorf("asked %d and %d times, want 1 and 0", allowed.Load(), internal.Load())
	}
}

// TestNoSuchName is an outage, not a refusal.
func TestNoSuchName(t *testing.T) {
	_, err := get(newClient(t, fetch.Policy{Resolver: resolver(t, nil)}), "https://nobody.example/")
	if err == nil || strings.Contains(err.Error(), "refused") {
		t.Errorf("Get = %v, want an outage", err)
	}
}
