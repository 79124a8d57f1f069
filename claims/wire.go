package claims

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

var (
	wireHandle = profile{max: 256, fold: true, ascii: newCharset(lower + digits + "_.-"), check: checkWireHandle}
	wireUser   = profile{max: 36, fold: true, ascii: newCharset(digits + "abcdef-"), check: checkUUID}
	wireDevice = profile{max: maxText, fold: true, ascii: newCharset(digits + "abcdef"), check: checkWireDevice}
)

func checkWireHandle(s string) (string, int, Code) {
	if len(s) < 2 {
		return s, 0, CodeDisallowedChar
	}
	return s, 0, ""
}

// checkUUID requires 8-4-4-4-12 digits (RFC 9562 §4).
func checkUUID(s string) (string, int, Code) {
	for i := 0; i < 36; i++ {
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		if i >= len(s) || (s[i] == '-') != hyphen {
			return s, min(i, len(s)), CodeDisallowedChar
		}
	}
	return s, 0, ""
}

// checkWireDevice requires a number of 64 bits, and drops leading zeros, as Wire's own software does.
func checkWireDevice(s string) (string, int, Code) {
	if len(s) > 16 {
		return s, 16, CodeDisallowedChar
	}
	number := strings.TrimLeft(s, "0")
	if number == "" {
		number = "0"
	}
	return number, 0, ""
}

// splitWire splits @h@domain, uuid@domain, and uuid:hex@domain or uuid/hex@domain.
func splitWire(text part) (parts, error) {
	q := parts{system: SystemWire}
	at := strings.LastIndexByte(text.text, '@')
	if at == 0 || at < 0 && lacksDomain(SystemWire, text.text) {
		return parts{}, text.slice(PartDomain, len(text.text), len(text.text)).fail(CodeMissingDomain, 0)
	}
	if at > 0 {
		if err := q.splitUser(text.slice(PartLocal, 0, at)); err != nil {
			return parts{}, err
		}
	}
	q.domain = text.slice(PartDomain, at+1, len(text.text))
	return q, nil
}

// splitWireApp splits the rest of a wireapp: URI, which has the UUID as 22 characters of base64url.
func splitWireApp(text part) (parts, error) {
	if !strings.HasPrefix(text.text, "//") {
		return parts{}, failRaw(text, CodeMissingDomain, 0)
	}
	if err := checkTail(text); err != nil {
		return parts{}, err
	}
	text = text.slice(PartURI, 2, len(text.text))
	at := strings.LastIndexByte(text.text, '@')
	if at < 0 {
		return parts{}, failRaw(text, CodeMissingLocal, 0)
	}
	q := parts{
		system: SystemWire,
		local:  text.slice(PartLocal, 0, at),
		domain: text.slice(PartDomain, at+1, len(text.text)),
	}
	if q.domain.text == "" {
		return parts{}, q.domain.fail(CodeMissingDomain, 0)
	}
	lead, err := decode(q.local)
	if err != nil || lead == "" || lead[0] == '@' {
		return q, err
	}
	mark := strings.IndexByte(lead, '!')
	if mark < 0 {
		return parts{}, q.local.fail(CodeMissingDevice, len(lead))
	}
	if mark == 0 {
		return parts{}, q.local.fail(CodeEmptyPart, 0)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(lead[:mark])
	if err != nil || len(raw) != 16 {
		return parts{}, q.local.fail(CodeDisallowedChar, 0)
	}
	digits := hex.EncodeToString(raw)
	from := encodedOffset(q.local.text, mark+1)
	q.device = q.local.slice(PartDevice, from, len(q.local.text))
	q.local.percent = false
	q.local.text = strings.Join([]string{digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]}, "-")
	return q, nil
}

func appendWire(b []byte, id ID, sigil string) []byte {
	if id.typ == TypeDomain {
		return append(b, id.domain...)
	}
	b = append(append(b, sigil...), id.local...)
	if id.device != "" {
		b = append(append(b, ':'), id.device...)
	}
	return append(append(b, '@'), id.domain...)
}
