package dpop_test

import (
	"errors"
	"net/http"
	"net/netip"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

func TestSender(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:f::/48")}
	xff := func(values ...string) http.Header { return http.Header{"X-Forwarded-For": values} }
	forwarded := func(values ...string) http.Header { return http.Header{"Forwarded": values} }
	for _, tt := range []struct {
		peer   string
		header http.Header
		want   string
		err    error
	}{
		{"192.0.2.9:4", nil, "192.0.2.9", nil},
		{"192.0.2.9:4", xff("203.0.113.7"), "192.0.2.9", nil}, // from nobody that is trusted
		{"[fe80::1%eth0]:4", nil, "fe80::1", nil},
		{"@", nil, "invalid IP", nil},
		{"10.0.0.1:4", nil, "10.0.0.1", dpop.ErrNotForwarded},

		{"10.0.0.1:4", xff("203.0.113.7"), "203.0.113.7", nil},
		{"10.0.0.1:4", xff("203.0.113.7:40001"), "203.0.113.7", nil},
		{"10.0.0.1:4", xff("2001:db8::1"), "2001:db8::1", nil},
		{"10.0.0.1:4", xff("[2001:db8::1]"), "2001:db8::1", nil},
		{"10.0.0.1:4", xff("[2001:db8::1]:443"), "2001:db8::1", nil},
		{"10.0.0.1:4", xff("[2001:db8::1]:_hidden.1"), "2001:db8::1", nil},
		{"10.0.0.1:4", xff("203.0.113.7:_hidden"), "203.0.113.7", nil},
		{"[::ffff:10.0.0.1]:4", xff("[::ffff:198.51.100.1]:7"), "198.51.100.1", nil},
		{"10.0.0.1:4", xff("198.51.100.1, 203.0.113.7:1, 10.0.0.2:2", " [2001:db8:f::1]:3 "), "203.0.113.7", nil},
		{"10.0.0.1:4", xff("10.0.0.3:1, 10.0.0.2:2"), "10.0.0.3", nil}, // a proxy asks for itself
		{"10.0.0.1:4", forwarded("for=198.51.100.1, for=\"[2001:db8::1]:4711\";proto=https"), "2001:db8::1", nil},
		{"10.0.0.1:4", forwarded("for=\"203.0.113.7:_x\"", "for=10.0.0.2"), "203.0.113.7", nil},
		{"10.0.0.1:4", http.Header{"X-Forwarded-For": {"203.0.113.7:1"}, "Forwarded": {"for=198.51.100.1"}}, "203.0.113.7", nil},

		// Whatever stands before a node that cannot be read was written by somebody unknown, and counts for nothing.
		{"10.0.0.1:4", xff("198.51.100.1, unknown"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", xff("198.51.100.1, unknown, 10.0.0.2:1"), "10.0.0.2", dpop.ErrForwarded},
		{"10.0.0.1:4", xff("198.51.100.1, unknown:4711"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", xff("198.51.100.1,"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", xff("203.0.113.7:"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", xff("203.0.113.7:123456"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", xff("203.0.113.7:http"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", xff("[203.0.113.7]:1"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", xff("[2001:db8::1:443"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", xff("client.example"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", forwarded("for=_hidden"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", forwarded("for=198.51.100.1, for=\"_hidden:_port\""), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", forwarded("proto=https"), "10.0.0.1", dpop.ErrForwarded},
		{"10.0.0.1:4", forwarded("for=198.51.100.1;for=203.0.113.7"), "10.0.0.1", dpop.ErrForwarded},
	} {
		addr, err := dpop.Sender(&http.Request{RemoteAddr: tt.peer, Header: tt.header}, trusted)
		if addr.String() != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("Sender from %s with %q = %v, %v, want %s, %v", tt.peer, tt.header, addr, err, tt.want, tt.err)
		}
	}
}
