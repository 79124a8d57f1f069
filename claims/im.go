package claims

import "strings"

// splitIM splits the rest of an im: URI. The text is opaque (RFC 3860 §3): a general URI parser would treat the raw '#' of the
// draft's channels as a fragment.
func splitIM(text part) (parts, error) {
	body := text.text
	switch {
	case body == "":
		return parts{}, text.fail(CodeMissingDomain, 0)
	case strings.HasPrefix(body, "//"):
		return parts{}, text.fail(CodeAuthorityNotAllowed, 0)
	}
	if i := strings.IndexByte(body, '?'); i >= 0 {
		return parts{}, failRaw(text, CodeQueryNotAllowed, i)
	}
	var q parts
	if i := strings.IndexAny(body, "=@/;"); i >= 0 && body[i] == '=' {
		// A prefix system= takes precedence over a mailbox whose local part contains '=', even if the system is unknown.
		q.system = System(lowerASCII(body[:i]))
		if fam := families[q.system]; fam == nil || !fam.prefix {
			return parts{}, text.slice(PartSystem, 0, i).fail(CodeUnknownSystem, 0)
		}
		text = text.slice(PartURI, i+1, len(body))
	}
	if q.system == SystemIRC {
		return splitIRCBody(text)
	}
	body = text.text
	at := strings.LastIndexByte(body, '@')
	end := len(body)
	if i := strings.IndexByte(body[at+1:], ';'); i >= 0 {
		end = at + 1 + i
		typ, err := splitParam(text.slice(PartType, end+1, len(body)))
		if err != nil {
			return parts{}, err
		}
		q.typ = typ
	}
	q.domain = text.slice(PartDomain, at+1, end)
	if at < 0 && lacksDomain(q.system, q.domain.text) {
		return parts{}, text.slice(PartDomain, end, end).fail(CodeMissingDomain, 0)
	}
	if i := strings.IndexByte(q.domain.text, '#'); i >= 0 {
		return parts{}, failRaw(q.domain, CodeFragmentNotAllowed, i)
	}
	if at >= 0 {
		if err := q.splitUser(text.slice(PartLocal, 0, at)); err != nil {
			return parts{}, err
		}
	}
	if q.system == "" {
		q.system = q.unmarked()
	}
	return q, nil
}

// splitUser splits the text before the domain into user and device part.
func (q *parts) splitUser(lead part) error {
	separators := "/"
	if q.system == SystemWire {
		separators = "/:" // draft-mahy-mimi-identity writes a colon in -00 and a slash in -05
	}
	q.local = lead
	i := strings.IndexAny(lead.text, separators)
	if i < 0 {
		return nil
	}
	q.local = lead.slice(PartLocal, 0, i)
	q.device = lead.slice(PartDevice, i+1, len(lead.text))
	if j := strings.IndexByte(q.device.text, '/'); j >= 0 {
		if j+1 == len(q.device.text) {
			return failRaw(q.device, CodeEmptyPart, j+1)
		}
		return failRaw(q.device, CodeExtraSegment, j)
	}
	return nil
}

// lacksDomain reports whether s, which has no '@' before a domain, is a name without a domain rather than a domain: it has a device
// part or a sigil, or is an id of Wire.
func lacksDomain(system System, s string) bool {
	const uuid = 36
	switch {
	case strings.IndexByte(s, '/') >= 0, s != "" && strings.IndexByte("@#$", s[0]) >= 0:
		return true
	case len(s) >= 3 && s[0] == '%':
		return s[1:3] == "40" || s[1:3] == "23" || s[1:3] == "24"
	case system != SystemWire || len(s) < uuid || len(s) > uuid && s[uuid] != ':':
		return false
	}
	_, _, code := checkUUID(s[:uuid])
	return code == ""
}

// unmarked returns the system of a URI without prefix: email, unless a parameter or a sigil gives another type.
func (q *parts) unmarked() System {
	switch s := q.local.text; {
	case !q.local.present, q.device.present, q.typ == TypeUser, strings.HasPrefix(s, "@"), strings.HasPrefix(s, "%40"):
		return SystemGeneric
	}
	return SystemEmail
}

// splitParam reads the only known parameter, id-type.
func splitParam(p part) (Type, error) {
	first, _, more := strings.Cut(lowerASCII(p.text), ";")
	name, value, _ := strings.Cut(first, "=")
	switch {
	case first == "":
		return "", failRaw(p, CodeEmptyPart, 0)
	case name != "id-type":
		return "", failRaw(p, CodeUnknownParam, 0)
	case value == "":
		return "", failRaw(p, CodeEmptyPart, len(first))
	}
	typ := Type(value)
	switch typ {
	case TypeDomain, TypeHandle, TypeUser, TypeDevice, TypeChannel, TypeTeam, TypeGroup, TypePseudonym:
	default:
		return "", failRaw(p, CodeUnknownType, len("id-type="))
	}
	if more {
		return "", failRaw(p, CodeUnknownParam, len(first)+1)
	}
	return typ, nil
}
