package claims

import (
	"net/netip"
	"strconv"
	"strings"
)

var (
	// sipUser is the user part of RFC 3261 §25.1, percent-decoded. It is case-sensitive. A slash, which the grammar allows, is
	// refused: encoded in an im: URI it would differ in one byte from the separator of a device.
	sipUser = profile{max: 64, ascii: newCharset(lower+upper+digits+marks+" ", "/"), unicode: opaque}
	// sipInstance is the value of the gr parameter (RFC 5627 §4).
	sipInstance = profile{max: 128, ascii: newCharset(lower + upper + digits + marks + " "), unicode: opaque, check: foldURN}

	// The characters that are not encoded in the user part and in the value of a parameter (RFC 3261 §25.1).
	sipUserLiteral  = newCharset(lower + upper + digits + "-_.!~*'()" + "&=+$,;?/")
	sipParamLiteral = newCharset(lower + upper + digits + "-_.!~*'()" + "[]/:&+$")
)

// foldURN lowers a UUID URN, which is case-insensitive (RFC 8141 §3.1, RFC 9562 §4). Other instances are opaque.
func foldURN(s string) (string, int, Code) {
	if folded := lowerASCII(s); strings.HasPrefix(folded, "urn:uuid:") && firstNonASCII(s) < 0 {
		return folded, 0, ""
	}
	return s, 0, ""
}

// splitSIP splits a sip: URI.
func splitSIP(text part) (parts, error) {
	colon := strings.IndexByte(text.text, ':')
	if colon < 0 || lowerASCII(text.text[:colon]) != "sip" { // sips: concerns the route, not the identity
		return parts{}, text.slice(PartScheme, 0, max(colon, 0)).fail(CodeSchemeNotAllowed, 0)
	}
	rest := text.slice(PartURI, colon+1, len(text.text))
	rest.percent = true
	return splitSIPURI(rest)
}

// splitSIPURI splits the rest of a sip: URI. It drops all parameters except gr, which makes an address of record a device.
func splitSIPURI(text part) (parts, error) {
	at := strings.LastIndexByte(text.text, '@')
	if at < 0 {
		return parts{}, failRaw(text, CodeMissingLocal, 0)
	}
	q := parts{system: SystemSIP, local: text.slice(PartLocal, 0, at)}
	for i := 0; i < at; i++ {
		switch c := text.text[i]; {
		case c == ':':
			return parts{}, failRaw(q.local, CodePasswordNotAllowed, i)
		case c != '%' && !sipUserLiteral.has(c):
			return parts{}, failRaw(q.local, CodeDisallowedChar, i)
		}
	}
	tail := text.slice(PartURI, at+1, len(text.text))
	if err := checkTail(tail); err != nil {
		return parts{}, err
	}
	from := 0 // the start of the text between semicolons: first the host, then parameters
	for i := 0; i <= len(tail.text); i++ {
		if i < len(tail.text) && tail.text[i] != ';' {
			continue
		}
		if from == 0 {
			q.domain = tail.slice(PartDomain, 0, i)
		} else if name, _, _ := strings.Cut(tail.text[from:i], "="); lowerASCII(name) == "gr" {
			if q.device.present {
				return parts{}, failRaw(tail, CodeUnknownParam, from)
			}
			q.device = tail.slice(PartDevice, min(from+len("gr="), i), i)
		}
		from = i + 1
	}
	return q, nil
}

// readSIP reads a contact, whose host is an IP address, an address of record or a GRUU.
func readSIP(p *Parser, fam *family, q parts) (ID, error) {
	if !q.local.present || q.device.present {
		return readShapes(p, fam, q)
	}
	address, addressErr := contactAddress(q.domain)
	if address == "" && addressErr == nil {
		return readShapes(p, fam, q)
	}
	local, _, err := q.decode()
	if err != nil {
		return ID{}, err
	}
	if err := q.checkType(TypeDevice); err != nil {
		return ID{}, err
	}
	if addressErr != nil {
		return ID{}, addressErr
	}
	user, err := sipUser.read(q.local, local)
	if err != nil {
		return ID{}, err
	}
	return ID{system: SystemSIP, typ: TypeDevice, local: user, device: address}, nil
}

// contactAddress returns the canonical IP address of host, with its port if it has one, or "" if host is a name. IPv6
// addresses are compared by value (RFC 5954 §4.2), without zone.
func contactAddress(host part) (string, error) {
	s, err := decode(host)
	if err != nil {
		return "", nil // readDomain reports the fault
	}
	bare, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		bare, port = s[:i], s[i:]
	}
	bracketed := strings.HasPrefix(bare, "[") && strings.HasSuffix(bare, "]")
	if bracketed {
		bare = bare[1 : len(bare)-1]
	}
	ip, err := netip.ParseAddr(bare)
	switch {
	case err == nil && ip.Zone() == "" && ip.Is6() == bracketed:
	case strings.HasPrefix(s, "["):
		return "", failRaw(host, CodeBadDomain, 0)
	default:
		return "", nil
	}
	if port == "" && ip.Is6() {
		return "[" + ip.String() + "]", nil
	} else if port == "" {
		return ip.String(), nil
	}
	n, err := strconv.ParseUint(port[1:], 10, 16)
	if err != nil || n == 0 {
		return "", failRaw(host, CodeBadDomain, 0)
	}
	return netip.AddrPortFrom(ip, uint16(n)).String(), nil
}

// appendSIP appends a sip: URI. A domain alone has none.
func appendSIP(b []byte, id ID, _ string) []byte {
	if id.typ == TypeDomain {
		return b
	}
	b = appendEncoded(append(b, "sip:"...), id.local, &sipUserLiteral)
	b = append(b, '@')
	if id.domain == "" {
		return append(b, id.device...)
	}
	b = append(b, id.domain...)
	if id.device != "" {
		b = appendEncoded(append(b, ";gr="...), id.device, &sipParamLiteral)
	}
	return b
}
