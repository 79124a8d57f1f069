package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/imidentity/issuer/claims"
)

// url checks that a value is an absolute URL of one of the schemes, with a host, without user information and fragment. It
// returns nil if it is not.
func (k *checker) url(path, value string, schemes ...string) *url.URL {
	u, err := url.Parse(value)
	switch {
	case !isASCII(value):
		k.notASCII(path, value)
	case err != nil || u.Hostname() == "" || strings.ContainsAny(value, " \t"):
		k.report(path, "%q is not a URL of the form %s://HOST", value, schemes[0])
	case !slices.Contains(schemes, u.Scheme):
		k.report(path, "%q is not %s", value, strings.Join(schemes, " or "))
	case u.User != nil:
		k.report(path, "%q has user information: leave it out", value)
	case strings.Contains(value, "#"):
		k.report(path, "%q has a fragment: leave it out", value)
	default:
		return u
	}
	return nil
}

// secureURL is url for the URL of an issuer: it has no query (RFC 8414 §2) and, except in development, is https with a host that
// is not reserved.
func (k *checker) secureURL(path, value string) *url.URL {
	u := k.url(path, value, "https", "http")
	switch {
	case u == nil:
		return nil
	case u.Scheme == "http" && !k.Development:
		k.report(path, "%q is not https: plain http needs development: true", value)
	case !k.Development && reservedHost(u.Hostname()):
		k.report(path, "%s is reserved for examples and tests: it needs development: true", u.Hostname())
	case strings.Contains(value, "?"):
		k.report(path, "%q has a query: leave it out (RFC 8414 §2)", value)
	default:
		return u
	}
	return nil
}

// issuerPath matches paths that have only one spelling.
var issuerPath = regexp.MustCompile(`^(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

// issuer checks that the URL of this issuer is in normal form, because others compare it byte by byte.
func (k *checker) issuer(path, value string) {
	u := k.secureURL(path, value)
	if u == nil {
		return
	}
	host := strings.ToLower(u.Host)
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" || port == "" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	under := strings.TrimSuffix(u.EscapedPath(), "/")
	switch normal := u.Scheme + "://" + host + under; {
	case under != "" && !issuerPath.MatchString(under):
		k.report(path, "%q has a path with more than letters, digits and -._~ between its slashes, or a dot after one: "+
			"choose a plain one, as in %s://%s/id", value, u.Scheme, host)
	case value != normal:
		k.report(path, "%q is not in normal form (no closing slash, lower case, no default port): write %s", value, normal)
	}
}

// redirect checks that a redirect URI is of a kind that RFC 6749 §3.1.2 and RFC 8252 §7 allow.
func (k *checker) redirect(path, value string) {
	u, err := url.Parse(value)
	switch {
	case !isASCII(value):
		// RFC 3986 §2: a URI is ASCII. Browsers and libraries send this form, and the comparison is exact.
		k.notASCII(path, value)
	case err != nil || u.Scheme == "" || strings.ContainsAny(value, " \t*"):
		k.report(path, "%q is not an absolute URI, written out", value)
	case strings.Contains(value, "#"):
		k.report(path, "%q has a fragment: leave it out (RFC 6749 §3.1.2)", value)
	case u.User != nil:
		k.report(path, "%q has user information: leave it out", value)
	case u.Scheme == "https":
		if u.Hostname() == "" {
			k.report(path, "%q has no host", value)
		}
	case u.Scheme == "http":
		k.loopback(path, value, u)
	case !strings.Contains(u.Scheme, "."):
		// RFC 8252 §7.1 and §8.4: the scheme is a domain name, reversed, that the client's developer controls.
		k.report(path, "%q is neither https, nor http on loopback, nor of a private-use scheme with a dot, "+
			"as in com.example.app:/cb (RFC 8252 §7.1)", value)
	}
}

// notASCII reports a URL with characters that are not ASCII, together with the form that programs send.
func (k *checker) notASCII(path, value string) {
	written := asciiURI(value)
	if written == "" {
		k.report(path, "%q is not ASCII: write the host in punycode (xn--…) and the rest percent-encoded", value)
		return
	}
	k.report(path, "%q is not ASCII: write %s", value, written)
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII })
}

// asciiURI returns the URI for a value with other characters than ASCII: the host in A-labels (RFC 5890), the rest
// percent-encoded (RFC 3987 §3.1). It returns "" if there is none.
func asciiURI(value string) string {
	var b strings.Builder
	scheme, rest, found := strings.Cut(value, "://")
	if found {
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		host, port, hasPort := strings.Cut(rest[:end], ":")
		if !isASCII(host) {
			ascii, err := idna.Lookup.ToASCII(host)
			if err != nil {
				return ""
			}
			host = ascii
		}
		b.WriteString(scheme + "://" + host)
		if hasPort {
			b.WriteString(":" + port)
		}
		rest = rest[end:]
	} else {
		rest = value
	}
	for i := range len(rest) {
		if rest[i] > unicode.MaxASCII {
			fmt.Fprintf(&b, "%%%02X", rest[i])
		} else {
			b.WriteByte(rest[i])
		}
	}
	if !isASCII(b.String()) || !utf8.ValidString(value) {
		return ""
	}
	return b.String()
}

func (k *checker) loopback(path, value string, u *url.URL) {
	addr, err := netip.ParseAddr(u.Hostname())
	switch {
	case u.Hostname() == "localhost":
		k.report(path, "%q may lead to another machine: write 127.0.0.1 or [::1] instead of localhost (RFC 8252 §8.3)", value)
	case err != nil || !addr.IsLoopback():
		k.report(path, "%q is plain http to another machine: use https", value)
	case u.Port() != "" || strings.HasSuffix(u.Host, ":"):
		// RFC 8252 §7.3: the client chooses the port at the time of the request.
		k.report(path, "%q names a port, and any port is accepted on loopback: leave it out", value)
	}
}

// resource checks that a value can be an audience of tokens (RFC 8707 §2).
func (k *checker) resource(path, value string) {
	if name, ok := claims.DomainOf(value); ok && value == claims.DomainURI(name) {
		k.domain(path, name)
		return
	}
	if u := k.url(path, value, "https", "http"); u != nil && u.Scheme == "http" && !k.Development {
		k.report(path, "%q is not https: plain http needs development: true", value)
	}
}

var label = word{regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`), 63}

// domain checks that identities can be issued in a domain: at least two labels, lower-case A-labels.
func (k *checker) domain(path, name string) {
	if fault := k.domainFault(name); fault != "" {
		k.report(path, "%q %s", name, fault)
	}
}

// domainFault describes the error in a domain, or returns "". It suggests A-labels only if they would be accepted.
func (k *checker) domainFault(name string) string {
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(name, "."))
	if err == nil && ascii != "" && ascii != name {
		if fault := k.labelsFault(ascii); fault != "" {
			return fault
		}
		return "is not in lower-case A-labels: write " + ascii
	}
	if err != nil {
		return notADomain
	}
	return k.labelsFault(name)
}

const notADomain = "is not a domain name, as in example.org"

// labelsFault describes the error in a domain that is in lower-case A-labels, or returns "".
func (k *checker) labelsFault(name string) string {
	labels := strings.Split(name, ".")
	last := labels[len(labels)-1]
	switch {
	case len(name) > 253, slices.ContainsFunc(labels, func(l string) bool { return !label.MatchString(l) }),
		strings.Trim(last, "0123456789") == "":
		return notADomain
	case under(name, "invalid", "localhost", "local", "internal", "onion", "arpa", "alt") && name != "localhost":
		return "is in a reserved domain that identities cannot be in"
	case !k.Development && (len(labels) == 1 || reservedHost(name)):
		return "is reserved for examples and tests: it needs development: true"
	}
	return ""
}

// reservedHost reports whether host is reserved (RFC 6761, RFC 2606): it leads nowhere, or to the same machine.
func reservedHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback() || addr.IsUnspecified()
	}
	return under(host, "test", "example", "invalid", "localhost", "example.com", "example.net", "example.org")
}

// under reports whether name is one of parents or below one.
func under(name string, parents ...string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(parents, func(p string) bool {
		return name == p || strings.HasSuffix(name, "."+p)
	})
}
