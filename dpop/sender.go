package dpop

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Errors of [Sender] for a request through a trusted proxy that does not report the address of the client.
var (
	// ErrNotForwarded means that the proxy sent neither X-Forwarded-For nor Forwarded.
	ErrNotForwarded = errors.New("dpop: the proxy sent neither X-Forwarded-For nor Forwarded")
	// ErrForwarded means that its header has no address where one is needed: the header is malformed, or the proxy sent
	// "unknown" or an obfuscated identifier instead (RFC 7239 §6.2, §6.3).
	ErrForwarded = errors.New("dpop: the address in the X-Forwarded-For or Forwarded header of the proxy cannot be read")
)

// Network returns the part of an address that one customer holds, to count requests by: an IPv4 address as it is, and the first
// 64 bits of an IPv6 address.
func Network(addr netip.Addr) netip.Addr {
	if !addr.Is6() {
		return addr
	}
	network, _ := addr.Prefix(64) // no error: it is an IPv6 address
	return network.Addr()
}

// Sender returns the address that a request came from: that of the connection or, behind trusted proxies, the last address
// in X-Forwarded-For that is not one of a trusted proxy. It reads Forwarded (RFC 7239) if there is no X-Forwarded-For. An
// address may have a port, and an IPv6 address may be in brackets. The zero Addr means that the connection has no address.
//
// If there is an error, the address is that of the last known proxy, which all its clients then share.
func Sender(r *http.Request, trusted []netip.Prefix) (netip.Addr, error) {
	addr := parseNode(r.RemoteAddr)
	if !within(addr, trusted) {
		return addr, nil
	}
	nodes, err := forwardedNodes(r.Header)
	if err != nil {
		return addr, err
	}
	for _, node := range slices.Backward(nodes) {
		next := parseNode(node)
		if !next.IsValid() { // the elements before it may have been written by anybody
			return addr, ErrForwarded
		}
		if addr = next; !within(addr, trusted) {
			break
		}
	}
	return addr, nil
}

// forwardedNodes returns the senders that proxies report. The last one is reported by the nearest proxy.
func forwardedNodes(h http.Header) ([]string, error) {
	if values := h.Values("X-Forwarded-For"); len(values) > 0 {
		return strings.Split(strings.Join(values, ","), ","), nil
	}
	elements, err := forwardedElements(h)
	switch {
	case err != nil:
		return nil, ErrForwarded
	case len(elements) == 0:
		return nil, ErrNotForwarded
	}
	var list []string
	for _, e := range elements {
		list = append(list, e["for"])
	}
	return list, nil
}

func within(addr netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// parseNode returns the address of a node (RFC 7239 §6), and the zero Addr if it has no valid address.
func parseNode(node string) netip.Addr {
	host := strings.TrimSpace(node)
	port := ""
	if rest, bracketed := strings.CutPrefix(host, "["); bracketed {
		var closed bool
		if host, port, closed = strings.Cut(rest, "]"); !closed || !strings.Contains(host, ":") {
			return netip.Addr{}
		}
	} else if i := strings.IndexByte(host, ':'); i >= 0 && i == strings.LastIndexByte(host, ':') {
		host, port = host[:i], host[i:]
	}
	if port != "" && !isPort(port) {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// isPort reports whether s is a colon and a node-port: up to five digits, or an obfuscated one.
func isPort(s string) bool {
	name, ok := strings.CutPrefix(s, ":")
	obfuscated, hidden := strings.CutPrefix(name, "_")
	if !ok || obfuscated == "" || !hidden && len(name) > 5 {
		return false
	}
	for i := range len(obfuscated) {
		c := obfuscated[i]
		if digit := '0' <= c && c <= '9'; !digit && !(hidden && unreserved(c)) {
			return false
		}
	}
	return true
}
