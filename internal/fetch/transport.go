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
	base           *http.Transport
	policy         Policy
	wellKnownPorts bool // only the default port of the scheme
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
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
	if t.wellKnownPorts && port(u) != defaultPorts[u.Scheme] {
		return refused("port", "%s is not the port of %s", u.Port(), u.Scheme)
	}
	// The dialer checks every address, but behind a proxy it sees only the proxy's.
	if ip, err := netip.ParseAddr(host); err == nil {
		return t.policy.checkAddr(ip)
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
