package forwardauth

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// maxTarget is how many bytes a request target may have.
const maxTarget = 8 << 10

// normalPath returns the path of a request target in origin form (RFC 9112 §3.2.1), without the query. It accepts only paths with one
// spelling, so that the gateway, the proxy and the service behind it see the same path, whichever of them decodes and cleans it.
//
// A path consists of the characters that a segment may contain (RFC 3986 §3.3), except the semicolon, and of percent-encodings in
// capital digits of characters that need one. It has no empty segment except the last, and no dot segment. Encoded slashes,
// backslashes, semicolons, question marks, number signs and control characters are refused, as are encoded percent signs before two
// hexadecimal digits, and bytes that are not UTF-8. The text of an error is fit for the client.
func normalPath(target string) (string, error) {
	if len(target) > maxTarget {
		return "", errors.New("the request target is too long")
	}
	if target == "" || target[0] != '/' {
		return "", errors.New("the request target is not a path: absolute URLs, authorities and * are not accepted")
	}
	path, query, _ := strings.Cut(target, "?")
	for i := range len(query) {
		if query[i] <= ' ' || query[i] >= 0x7f || query[i] == '#' {
			return "", errors.New("the query has a character that must be percent-encoded")
		}
	}
	if err := checkBytes(path); err != nil {
		return "", err
	}
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		switch {
		case segment == "" && i < len(segments)-1:
			return "", errors.New("the path has two slashes in a row")
		case segment == "." || segment == "..":
			return "", errors.New("the path has a dot segment")
		}
	}
	return path, nil
}

// checkBytes checks the characters and percent-encodings of a path.
func checkBytes(path string) error {
	decoded := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c != '%' {
			if c != '/' && !plain(c) {
				return errors.New("the path has a character that is not accepted in paths")
			}
			decoded = append(decoded, c)
			continue
		}
		octet, ok := encoded(path[i:])
		switch {
		case !ok:
			return errors.New("the path has a percent sign without two hexadecimal digits in capitals")
		case octet < ' ' || octet == 0x7f || strings.IndexByte(`/\;?#`, octet) >= 0:
			return errors.New("the path has an encoded delimiter or control character")
		case unreserved(octet):
			return errors.New("the path encodes a character that needs no encoding")
		case octet == '%' && hexDigit(path, i+3) && hexDigit(path, i+4):
			return errors.New("the path is encoded twice")
		}
		decoded = append(decoded, octet)
		i += 2
	}
	if !utf8.Valid(decoded) {
		return errors.New("the path is not UTF-8")
	}
	return nil
}

// encoded returns the octet of the percent-encoding that s begins with. Its digits must be capitals (RFC 3986 §6.2.2.1).
func encoded(s string) (octet byte, ok bool) {
	if len(s) < 3 {
		return 0, false
	}
	for _, c := range []byte(s[1:3]) {
		switch {
		case '0' <= c && c <= '9':
			octet = octet<<4 | (c - '0')
		case 'A' <= c && c <= 'F':
			octet = octet<<4 | (c - 'A' + 10)
		default:
			return 0, false
		}
	}
	return octet, true
}

// hexDigit reports whether s has a hexadecimal digit at i, in either case.
func hexDigit(s string, i int) bool {
	return i < len(s) && strings.IndexByte("0123456789abcdefABCDEF", s[i]) >= 0
}

// plain reports whether a segment may contain c without encoding (RFC 3986 §3.3). The semicolon may begin the parameters of a segment,
// which some services remove before they look at the path, so it is not accepted.
func plain(c byte) bool { return unreserved(c) || strings.IndexByte("!$&'()*+,=:@", c) >= 0 }

// unreserved reports whether c is one of RFC 3986 §2.3.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

// isMethod reports whether a method is one that a client may use: a short token (RFC 9110 §9.1), and not CONNECT, whose target is no
// path.
func isMethod(method string) bool {
	if method == "" || len(method) > 32 || method == "CONNECT" {
		return false
	}
	for i := range len(method) {
		c := method[i]
		if !unreserved(c) && strings.IndexByte("!#$%&'*+^`|", c) < 0 {
			return false
		}
	}
	return true
}
