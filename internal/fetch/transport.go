package fetch

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// transport checks requests and responses against the policy. Its base transport checks the addresses that it dials.
type transport struct {
	base    *http.Transport
	policy  Policy
	foreign bool // for URLs of other parties
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.policy.Observe != nil {
		return t.observed(req)
	}
	return t.exchange(req)
}

// exchange checks a request, sends it, and checks its answer.
func (t *transport) exchange(req *http.Request) (*http.Response, error) {
	if err := t.checkURL(req.URL); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // RoundTrip closes the body on every path.
		}
		return nil, err
	}
	resp, err := t.send(req)
	if err != nil {
		return nil, err
	}
	if err := t.checkAnswer(resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: t.policy.MaxBody, max: t.policy.MaxBody}
	return resp, nil
}

// CloseIdleConnections closes the idle connections. [http.Client.CloseIdleConnections] calls it.
func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

func (t *transport) checkURL(u *url.URL) error {
	if u.Scheme != "https" && !(u.Scheme == "http" && t.policy.AllowHTTP) {
		return refused("scheme", "%q is not https", u.Scheme)
	}
	host := u.Hostname()
	if host == "" || u.User != nil {
		return refused("host", "a URL must have a host and no user name")
	}
	if err := t.checkHost(host); err != nil {
		return err
	}
	if t.foreign && !t.policy.AllowAnyPort && port(u) != defaultPorts[u.Scheme] {
		return refused("port", "%s is not the port of %s", u.Port(), u.Scheme)
	}
	// The dialer checks every address, but behind a proxy it sees only the proxy's.
	if ip, err := netip.ParseAddr(host); err == nil {
		return t.policy.checkAddr(ip)
	}
	return nil
}

// unreachable are the names that lead to no host of another party: special-use domains (RFC 6761, RFC 6762, RFC 7686, RFC 8375,
// RFC 9476), and those that clouds and home networks use inside.
var unreachable = []string{
	"localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp", "private", "invalid", "onion", "alt", "arpa",
}

// checkHost refuses hosts that a resolver, a proxy or net/http could take for another one. Hosts that other parties name must also look
// like a host of the Internet. The address is checked in any case.
func (t *transport) checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if _, mapped := t.policy.DevHosts[strings.ToLower(host)]; mapped {
		return nil
	}
	for _, r := range host {
		// net/http maps other characters, such as digits of full width.
		if r != '-' && r != '.' && r != '_' && !('0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return refused("host", "%.64q is not a name in ASCII (A-labels)", host)
		}
	}
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	switch {
	case last == "":
		return refused("host", "%.64q ends with a dot", host)
	case strings.Trim(last, "0123456789") == "", strings.HasPrefix(last, "0x"):
		// The resolver of the system may read 0x7f.1, 0177.0.0.1 or 2130706433 as an IPv4 address.
		return refused("host", "%.64q looks like an IP address in an odd form", host)
	case t.foreign && (!strings.Contains(host, ".") || slices.Contains(unreachable, last)):
		return refused("host", "%.64q is not a name of the public Internet", host)
	}
	return nil
}

func (t *transport) checkAnswer(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return refused("redirect", "answered %d", resp.StatusCode)
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return refused("encoding", "the response is encoded as %q, which was not requested", enc)
	}
	if resp.ContentLength > t.policy.MaxBody {
		return tooLarge(t.policy.MaxBody)
	}
	return nil
}

func tooLarge(max int64) error { return refused("size", "the body exceeds %d bytes", max) }

// limitedBody fails after max bytes, so that a truncated body is never taken for a complete one.
type limitedBody struct {
	io.ReadCloser
	left, max int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, tooLarge(b.max)
	}
	// Reading one byte more than allowed shows whether the body ends at the limit.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, tooLarge(b.max)
	}
	return n, err
}

// CheckType returns an error unless the Content-Type of an answer, without its parameters, is one of types.
func CheckType(resp *http.Response, types ...string) error {
	got, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(types, got) {
		return refused("type", "%s, not %s", fmt.Sprintf("%.64q", got), strings.Join(types, " or "))
	}
	return nil
}
