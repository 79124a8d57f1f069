package dpop

import (
	"bytes"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// NormalizeHTU returns an http or https URL in the form in which two `htu` are compared (RFC 9449 §4.3, check 9): after
// syntax-based and scheme-based normalization (RFC 3986 §6.2.2, §6.2.3), without query and fragment. It writes scheme and
// host in lower case, removes a default or empty port and dot segments, and replaces an empty path by "/". It decodes the
// percent-encoding of an unreserved character (%7E, but not %2F or %3F) and writes others with capital digits. It writes
// IPv6 addresses as in RFC 5952.
//
// It refuses other schemes, URLs without a host, user information (RFC 9110 §4.2.4), percent signs without two hexadecimal
// digits, and characters that a URI cannot contain (RFC 3986 §3.3): spaces, control characters, backslashes, any of
// "<>[]^`{|} outside an IPv6 address, and bytes beyond ASCII (a client writes an IDN as A-labels, xn--).
func NormalizeHTU(url string) (string, error) {
	var buf [256]byte
	out := buf[:0]

	scheme, rest, ok := strings.Cut(url, "://")
	defaultPort := uint64(443)
	switch {
	case ok && strings.EqualFold(scheme, "https"):
		out = append(out, "https://"...)
	case ok && strings.EqualFold(scheme, "http"):
		out = append(out, "http://"...)
		defaultPort = 80
	default:
		return "", errors.New("not an http or https URL")
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	authority, path := rest, "/"
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	out, err := appendAuthority(out, authority, defaultPort)
	if err != nil {
		return "", err
	}
	out, err = appendPath(out, path)
	if err != nil {
		return "", err
	}
	if string(out) == url {
		return url, nil // the usual case, without an allocation
	}
	return string(out), nil
}

func appendAuthority(dst []byte, authority string, defaultPort uint64) ([]byte, error) {
	host, port := authority, ""
	if end := strings.IndexByte(authority, ']'); end >= 0 && authority[0] == '[' {
		addr, err := netip.ParseAddr(authority[1:end])
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return nil, errors.New("the host is not an IPv6 address")
		}
		dst = append(dst, '[')
		dst = addr.AppendTo(dst)
		dst = append(dst, ']')
		host, port = "", authority[end+1:]
		if port != "" && port[0] != ':' {
			return nil, errors.New("the IPv6 address is not followed by a port")
		}
		port = strings.TrimPrefix(port, ":")
	} else {
		host, port, _ = strings.Cut(authority, ":")
		from := len(dst)
		var err error
		if dst, err = appendDecoded(dst, host); err != nil {
			return nil, err
		}
		for i, c := range dst[from:] {
			switch {
			case 'A' <= c && c <= 'Z':
				dst[from+i] += 'a' - 'A'
			case !unreserved(c):
				return nil, errors.New("the host is not a name in ASCII or an address")
			}
		}
		if len(dst) == from {
			return nil, errors.New("no host")
		}
	}
	if port == "" {
		return dst, nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, errors.New("the port is not a number up to 65535")
	}
	if number != defaultPort {
		dst = append(dst, ':')
		dst = strconv.AppendUint(dst, number, 10)
	}
	return dst, nil
}

// appendPath appends path, which begins with a slash, decoded and without dot segments (RFC 3986 §5.2.4).
func appendPath(dst []byte, path string) ([]byte, error) {
	base := len(dst)
	for path != "" {
		segment := path[1:]
		if i := strings.IndexByte(segment, '/'); i >= 0 {
			segment = segment[:i]
		}
		path = path[1+len(segment):]

		before := len(dst)
		dst = append(dst, '/')
		var err error
		if dst, err = appendDecoded(dst, segment); err != nil {
			return nil, err
		}
		switch string(dst[before+1:]) {
		case ".":
			dst = dst[:before]
		case "..":
			dst = dst[:base+max(0, bytes.LastIndexByte(dst[base:before], '/'))]
		default:
			continue
		}
		if path == "" {
			dst = append(dst, '/')
		}
	}
	return dst, nil
}

// appendDecoded appends s with its percent-encodings normalized (RFC 3986 §6.2.2.1, §6.2.2.2).
func appendDecoded(dst []byte, s string) ([]byte, error) {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%':
			if i+2 >= len(s) || !hexDigit(s[i+1]) || !hexDigit(s[i+2]) {
				return nil, errors.New("a percent sign is not followed by two hexadecimal digits")
			}
			if octet := unhex(s[i+1])<<4 | unhex(s[i+2]); unreserved(octet) {
				dst = append(dst, octet)
			} else {
				dst = append(dst, '%', digits[octet>>4], digits[octet&15])
			}
			i += 2
		case pchar(c):
			dst = append(dst, c)
		default:
			return nil, errors.New("a character that must be percent-encoded in a URL")
		}
	}
	return dst, nil
}

// escapedPath returns the path of the URL of a request. It percent-encodes the characters that a path cannot contain (RFC
// 3986 §3.3). Package net/url accepts brackets and does not encode them, so without this no proof could be made for
// "/items[1]".
func escapedPath(u *url.URL) string {
	path := u.EscapedPath()
	i := 0
	for i < len(path) && (path[i] == '/' || path[i] == '%' || pchar(path[i])) {
		i++
	}
	if i == len(path) {
		return path
	}
	out := []byte(path[:i])
	for _, c := range []byte(path[i:]) {
		if c == '/' || c == '%' || pchar(c) {
			out = append(out, c)
		} else {
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(out)
}

// digits are the hexadecimal digits of percent-encodings (RFC 3986 §2.1).
const digits = "0123456789ABCDEF"

// pchar reports whether a segment of a path may contain c without encoding (RFC 3986 §3.3).
func pchar(c byte) bool { return unreserved(c) || strings.IndexByte("!$&'()*+,;=:@", c) >= 0 }

// unreserved reports whether c is one of RFC 3986 §2.3.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&7 + 9 // A is 0x41, a is 0x61
}
