package claims

import "strings"

// splitGeneric splits @h, @h@domain, u@domain, u/d@domain and domain. Only a handle may lack its domain.
func splitGeneric(text part) (parts, error) {
	q := splitLast(text)
	if !q.domain.present && !strings.HasPrefix(text.text, "@") {
		if lacksDomain(SystemGeneric, text.text) {
			return parts{}, text.slice(PartDomain, len(text.text), len(text.text)).fail(CodeMissingDomain, 0)
		}
		return parts{domain: text.slice(PartDomain, 0, len(text.text))}, nil
	}
	return q, nil
}

// splitWXYZ splits the forms of the draft's table, each with or without a domain. Ids have no full stop, so a name of one part with
// a full stop is a domain.
func splitWXYZ(text part) (parts, error) {
	q := splitLast(text)
	if !q.domain.present && !strings.ContainsAny(text.text[:min(1, len(text.text))], "@#$") &&
		!q.device.present && strings.ContainsAny(text.text, ".\u3002\uFF0E\uFF61") {
		return parts{domain: text.slice(PartDomain, 0, len(text.text))}, nil
	}
	return q, nil
}

// splitLast splits at the last '@' that is not a sigil, then at the first '/' before it.
func splitLast(text part) parts {
	var q parts
	lead := text.slice(PartLocal, 0, len(text.text))
	if at := strings.LastIndexByte(text.text, '@'); at > 0 {
		q.domain = text.slice(PartDomain, at+1, len(text.text))
		lead = text.slice(PartLocal, 0, at)
	}
	q.local = lead
	if i := strings.IndexByte(lead.text, '/'); i >= 0 {
		q.local = lead.slice(PartLocal, 0, i)
		q.device = lead.slice(PartDevice, i+1, len(lead.text))
	}
	return q
}

// appendGeneric appends a name of the generic, email and WXYZ systems.
func appendGeneric(b []byte, id ID, sigil string) []byte {
	domain := id.domain
	if id.system != SystemWXYZ {
		domain = displayDomain(domain)
	}
	if id.typ == TypeDomain {
		return append(b, domain...)
	}
	b = append(append(b, sigil...), id.local...)
	if id.device != "" {
		b = append(append(b, '/'), id.device...)
	}
	if id.Unscoped() && (id.system == SystemWXYZ || id.system == SystemGeneric && id.typ == TypeHandle) {
		return b
	}
	return append(append(b, '@'), domain...)
}

// splitEmail splits a mailbox at the last '@' (RFC 5321 §4.1.2, without quoted strings, which may contain one).
func splitEmail(text part) (parts, error) {
	at := strings.LastIndexByte(text.text, '@')
	if at < 0 {
		return parts{}, failRaw(text, CodeMissingDomain, len(text.text))
	}
	return parts{
		system: SystemEmail,
		local:  text.slice(PartLocal, 0, at),
		domain: text.slice(PartDomain, at+1, len(text.text)),
	}, nil
}

// splitMailto splits the rest of a mailto: URI (RFC 6068): one address without header fields.
func splitMailto(text part) (parts, error) {
	if err := checkTail(text); err != nil {
		return parts{}, err
	}
	return splitEmail(text)
}

// checkTail refuses the query and the fragment of a URI.
func checkTail(text part) error {
	switch i := strings.IndexAny(text.text, "?#"); {
	case i < 0:
		return nil
	case text.text[i] == '?':
		return failRaw(text, CodeQueryNotAllowed, i)
	default:
		return failRaw(text, CodeFragmentNotAllowed, i)
	}
}
