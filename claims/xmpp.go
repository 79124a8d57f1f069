package claims

import "strings"

var (
	// jidLocal is a localpart: UsernameCaseMapped without the characters that RFC 7622 §3.3.1 excludes.
	jidLocal = profile{
		max: 1023, fold: true, ascii: newCharset(lower+digits+marks, `"&'/:<>@`),
		unicode: username(caseMapped), bidi: true,
	}
	// jidResource is a resourcepart (RFC 7622 §3.4). Spaces at its ends are allowed (erratum 4560).
	jidResource = profile{max: 1023, ascii: newCharset(lower + upper + digits + marks + " "), unicode: opaque}
)

// splitJID splits a JID by RFC 7622 §3.1: the resource begins at the first '/', and the localpart ends at the first '@' before that.
func splitJID(text part) (parts, error) {
	var q parts
	bare := text
	if i := strings.IndexByte(text.text, '/'); i >= 0 {
		bare = text.slice(PartURI, 0, i)
		q.device = text.slice(PartDevice, i+1, len(text.text))
	}
	at := strings.IndexByte(bare.text, '@')
	if at >= 0 {
		q.local = bare.slice(PartLocal, 0, at)
	}
	q.domain = bare.slice(PartDomain, at+1, len(bare.text))
	return q, nil
}

// splitXMPPURI splits the rest of an xmpp: URI (RFC 5122). It refuses an authority, which would be an account to log in with.
func splitXMPPURI(text part) (parts, error) {
	if strings.HasPrefix(text.text, "//") {
		return parts{}, failRaw(text, CodeAuthorityNotAllowed, 0)
	}
	if err := checkTail(text); err != nil {
		return parts{}, err
	}
	q, err := splitJID(text)
	q.system = SystemXMPP
	return q, err
}

func appendJID(b []byte, id ID, _ string) []byte {
	if id.local != "" {
		b = append(append(b, id.local...), '@')
	}
	b = append(b, displayDomain(id.domain)...)
	if id.device != "" {
		b = append(append(b, '/'), id.device...)
	}
	return b
}
