package dpop

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// origin returns the public origin that a request is for: the first, unless a trusted proxy names another. A proxy can only
// choose among the configured origins. If it could name any origin, a client that gets a header past the proxy could
// choose which proofs are valid.
func (s *Resource) origin(r *http.Request) (string, error) {
	candidates := s.origins
	if len(s.cfg.TrustedProxies) > 0 && s.trusted(parseNode(r.RemoteAddr)) {
		told, err := forwarded(r.Header)
		if err != nil {
			return "", err
		}
		// Both kinds of headers must match: a proxy that writes one may forward the other as the client sent it.
		candidates = slices.Clone(candidates)
		for _, t := range [...]origin{told, {last(r.Header, "X-Forwarded-Proto"), last(r.Header, "X-Forwarded-Host")}} {
			candidates = slices.DeleteFunc(candidates, func(o string) bool { return !t.is(o) })
		}
	}
	if len(candidates) == 0 {
		return "", errOrigin
	}
	return candidates[0], nil
}

// An origin holds the scheme and the host that a proxy reports for a request. A part that it does not report is empty.
type origin struct{ proto, host string }

// is reports whether the reported parts are those of a public origin.
func (o origin) is(public string) bool {
	scheme, _, _ := strings.Cut(public, "://")
	if o.proto != "" && !strings.EqualFold(o.proto, scheme) {
		return false
	}
	if o.host == "" {
		return true
	}
	if strings.ContainsAny(o.host, "/?#") {
		return false
	}
	normal, err := NormalizeHTU(scheme + "://" + o.host)
	return err == nil && normal == public+"/"
}

// trusted reports whether addr is that of a trusted proxy.
func (s *Resource) trusted(addr netip.Addr) bool { return within(addr, s.cfg.TrustedProxies) }

// last returns the last element of a header with a list, which the nearest proxy wrote.
func last(h http.Header, name string) string {
	values := h.Values(name)
	if len(values) == 0 {
		return ""
	}
	value := values[len(values)-1]
	return strings.TrimSpace(value[strings.LastIndexByte(value, ',')+1:])
}

// forwarded returns the scheme and host in the last element of the Forwarded header.
func forwarded(h http.Header) (origin, error) {
	elements, err := forwardedElements(h)
	if err != nil || len(elements) == 0 {
		return origin{}, err
	}
	e := elements[len(elements)-1]
	return origin{e["proto"], e["host"]}, nil
}

// forwardedElements returns the elements of the Forwarded header (RFC 7239 §4), each with its parameters by name in lower
// case. The error means that the header is malformed.
func forwardedElements(h http.Header) ([]map[string]string, error) {
	text := strings.Join(h.Values("Forwarded"), ",")
	if text == "" {
		return nil, nil
	}
	elements := []map[string]string{{}}
	for {
		text = strings.TrimLeft(text, " \t")
		name, rest, ok := strings.Cut(text, "=")
		if !ok || strings.ContainsAny(name, " \t,;\"") || name == "" {
			return nil, errOrigin
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, rest, ok = cutQuoted(rest)
			if !ok {
				return nil, errOrigin
			}
		} else {
			end := strings.IndexAny(rest+";", " \t,;")
			value, rest = rest[:end], rest[end:]
		}
		e := elements[len(elements)-1]
		name = strings.ToLower(name)
		if _, twice := e[name]; twice {
			return nil, errOrigin
		}
		e[name] = value
		rest = strings.TrimLeft(rest, " \t")
		if rest == "" {
			return elements, nil
		}
		switch rest[0] {
		case ';':
		case ',':
			elements = append(elements, map[string]string{})
		default:
			return nil, errOrigin
		}
		text = rest[1:]
	}
}

// cutQuoted cuts a quoted-string (RFC 9110 §5.6.4) off the front of s.
func cutQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
