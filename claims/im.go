package claims

import "strings"

// splitIM splits what follows "im:". The text is opaque (RFC 3860 §3): a general URI parser would take the raw '#' of
// the draft's channels for a fragment.
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
		// A system= prefix wins over a mailbox whose local part holds '=', and an unknown one is no mailbox either.
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

// splitUser cuts what stands before the domain into user and device part.
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
		return failRaw(q.device, CodeExtraSegment, j)
	}
	return nil
}

// unmarked returns the system of a URI without prefix: a mailbox, unless something tells another type.
func (q *parts) unmarked() System {
	switch s := q.local.text; {
	case !q.local.present, q.device.present, q.typ == TypeUser, strings.HasPrefix(s, "@"), strings.HasPrefix(s, "%40"):
		return SystemGeneric
	}
	return SystemEmail
}

// splitParam reads the one parameter there is, "id-type=" and a type.
func splitParam(p part) (Type, error) {
	name, value, _ := strings.Cut(lowerASCII(p.text), "=")
	if name != "id-type" || strings.IndexByte(value, ';') >= 0 {
		return "", failRaw(p, CodeUnknownParam, 0)
	}
	switch typ := Type(value); typ {
	case TypeDomain, TypeHandle, TypeUser, TypeDevice, TypeChannel, TypeTeam, TypeGroup, TypePseudonym:
		return typ, nil
	}
	return "", failRaw(p, CodeUnknownType, len("id-type="))
}
