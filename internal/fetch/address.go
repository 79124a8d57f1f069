package fetch

import (
	"context"
	"net/netip"
	"syscall"
)

// special are the networks that are not the public Internet, after the IANA special-purpose address registries
// (RFC 6890), with multicast and the reserved class E.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"168.63.129.16/32", // the host of a virtual machine at Azure answers there, although the address looks public
	"2001::/23",        // IETF protocol assignments, Teredo among them
	"2001:db8::/32",    // documentation
	"2002::/16",        // 6to4: carries an IPv4 address that a relay would connect to
	"3fff::/20",        // documentation
)

// global6 is all of IPv6 that is assigned as global unicast. Loopback, link-local, unique-local, multicast,
// NAT64 (64:ff9b::/96, 64:ff9b:1::/48) and IPv4-compatible addresses lie outside.
var global6 = netip.MustParsePrefix("2000::/3")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func within(ip netip.Addr, nets []netip.Prefix) bool {
	for _, n := range nets {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// checkAddr refuses addresses that are neither public nor in AllowNetworks. An IPv4-mapped IPv6 address is
// judged as the IPv4 address to which the system would connect.
func (p *Policy) checkAddr(ip netip.Addr) error {
	ip = ip.Unmap()
	switch {
	case within(ip, p.AllowNetworks):
		return nil
	case ip.Zone() != "", ip.Is6() && !global6.Contains(ip), within(ip, special):
		return refused("address", "%s is not a public address", ip)
	}
	return nil
}

// control is called with the address that a socket is about to connect to.
func (p *Policy) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return refused("address", "%q is not an IP address", address)
	}
	return p.checkAddr(to.Addr())
}
