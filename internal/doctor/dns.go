package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
)

// dns looks up the issuer's host.
func (e *examination) dns(ctx context.Context) {
	host := e.issuer.Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		e.ok("dns", "%s is an address, not a name", host)
		return
	}
	if to, ok := e.cfg.Outbound.DevHosts[strings.ToLower(host)]; ok {
		e.ok("dns", "outbound.dev_hosts leads %s to %s", host, to)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var no *net.DNSError
	switch {
	case errors.As(err, &no) && no.IsNotFound && e.cfg.Outbound.Proxy != "":
		e.found(Unknown, "dns", "look it up from a network of your users", "%s has no address here; outbound.proxy may know one", host)
	case errors.As(err, &no) && no.IsNotFound:
		e.nowhere = true
		e.found(Fail, "dns", "create an A or AAAA record for it, or correct issuer", "%s has no address", host)
	case err != nil:
		e.found(Unknown, "dns", "look at the resolver of this machine", "%s cannot be looked up: %v", host, err)
	default:
		var list []string
		for _, ip := range found {
			list = append(list, ip.Unmap().String())
		}
		e.ok("dns", "%s is at %s", host, strings.Join(list, ", "))
	}
}
