package clients

import (
	"net/netip"
	"net/url"
	"strings"
)

// MatchRedirect returns the redirect URI that a request may use: the one that it names, if it is registered, or the
// only registered one if it names none. URIs are compared byte for byte (RFC 9700 §2.1), but for the port of a
// registered http URI on a loopback address, which a native app chooses as it starts (RFC 8252 §7.3).
func (c *Client) MatchRedirect(requested string) (string, bool) {
	if requested == "" {
		if len(c.RedirectURIs) == 1 {
			return c.RedirectURIs[0], true
		}
		return "", false
	}
	for _, registered := range c.RedirectURIs {
		if requested == registered || sameLoopback(registered, requested) {
			return requested, true
		}
	}
	return "", false
}

// RedirectFault tells the developer of a client why the client may not use a redirect URI; it is empty if the client may. It
// repeats nothing of the request.
func (c *Client) RedirectFault(requested string) string {
	if _, ok := c.MatchRedirect(requested); ok {
		return ""
	}
	if requested == "" {
		return "The redirect_uri is missing, and the client has none or several: name a registered one."
	}
	hosts := []string{"localhost", "127.0.0.1", "[::1]"}
	for _, has := range hosts {
		rest, ok := strings.CutPrefix(requested, "http://"+has)
		for _, wants := range hosts {
			if _, match := c.MatchRedirect("http://" + wants + rest); ok && match {
				return "The redirect_uri has " + has + ", and " + wants + " is registered: they are not the same (RFC 8252 section 7.3)."
			}
		}
	}
	return "The redirect_uri is not registered for the client: URIs are compared byte for byte, but for the port of a loopback address."
}

// sameLoopback reports whether requested is registered but for its port, on a loopback IP address by http.
func sameLoopback(registered, requested string) bool {
	r, err := url.Parse(registered)
	if err != nil || r.Scheme != "http" || r.User != nil {
		return false
	}
	if ip, err := netip.ParseAddr(r.Hostname()); err != nil || !ip.IsLoopback() {
		return false
	}
	q, err := url.Parse(requested)
	if err != nil || q.User != nil || q.Hostname() != r.Hostname() {
		return false
	}
	// But for the port, every byte is as registered: what url.Parse forgives (an empty fragment, a scheme in capitals)
	// would come back in the answer.
	_, rest, _ := strings.Cut(registered, r.Host)
	return q.Port() != "" && requested == "http://"+q.Host+rest && registered == "http://"+r.Host+rest
}
