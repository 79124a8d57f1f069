package claims

import "strings"

const maxSegment = 1023

var (
	// segment is one segment of a mimi: URI. Apart from NFC, only the owning domain knows its rules.
	segment = profile{
		max: maxSegment, ascii: newCharset(lower+upper+digits+marks+" ", "/"), unicode: nfc, check: checkDotSegment,
	}
	// tailSegment is a room, or the device part after a user part. It may contain an encoded slash. A device alone must not: it
	// would differ in one byte from another device with two segments.
	tailSegment = profile{
		max: maxSegment, ascii: newCharset(lower + upper + digits + marks + " "), unicode: nfc, check: checkDotSegment,
	}
)

// A mimiKind is the first segment of a path.
type mimiKind struct {
	letter byte
	typ    Type
}

var mimiKinds = []mimiKind{
	{'u', TypeUser}, {'u', TypeHandle}, {'p', TypePseudonym}, {'d', TypeDevice}, {'r', TypeChannel}, {'g', TypeGroup}, {'t', TypeTeam},
}

// splitMIMI splits the rest of a mimi: URI (draft-ietf-mimi-protocol, draft-mahy-mimi-identity-05): an authority, a kind and a
// segment; for devices one or two segments.
func splitMIMI(text part) (parts, error) {
	q := parts{system: SystemMIMI}
	if !strings.HasPrefix(text.text, "//") {
		return parts{}, failRaw(text, CodeMissingDomain, 0)
	}
	if err := checkTail(text); err != nil {
		return parts{}, err
	}
	text = text.slice(PartURI, 2, len(text.text))
	end := strings.IndexByte(text.text, '/')
	if end < 0 {
		end = len(text.text)
	}
	q.domain = text.slice(PartDomain, 0, end)
	if i := strings.IndexByte(q.domain.text, '@'); i >= 0 {
		return parts{}, failRaw(q.domain, CodeUserinfoNotAllowed, i)
	}
	if len(text.text)-end <= 1 { // a lone slash is the empty path (RFC 3986 §6.2.3)
		return q, nil
	}
	path := text.slice(PartURI, end+1, len(text.text))
	kind, _, _ := strings.Cut(path.text, "/")
	for _, k := range mimiKinds {
		if kind == string(k.letter) {
			q.typ = k.typ
			break
		}
	}
	if dotSegment(kind) {
		return parts{}, path.slice(PartType, 0, len(kind)).fail(CodeDotSegment, 0)
	}
	if q.typ == "" {
		return parts{}, path.slice(PartType, 0, len(kind)).fail(CodeUnknownType, 0)
	}
	return q, q.splitSegments(path.slice(PartLocal, min(len(kind)+1, len(path.text)), len(path.text)))
}

// splitSegments splits the segments after the kind.
func (q *parts) splitSegments(path part) error {
	limit := 1
	if q.typ == TypeDevice {
		limit = 2
	}
	var found [2]part
	n, from := 0, 0
	var extra error
	for i := 0; i <= len(path.text); i++ {
		if i < len(path.text) && path.text[i] != '/' {
			continue
		}
		s := path.slice(PartLocal, from, i)
		switch {
		case s.text == "":
			return s.fail(CodeEmptyPart, 0)
		case dotSegment(s.text):
			return s.fail(CodeDotSegment, 0)
		case n < limit:
			found[n] = s
		case extra == nil:
			extra = s.fail(CodeExtraSegment, 0)
		}
		n++
		from = i + 1
	}
	q.local = found[0]
	if q.typ == TypeDevice {
		q.local, q.device = found[0], found[1]
		if n == 1 {
			q.local, q.device = part{}, found[0]
		}
		q.device.name = PartDevice
	}
	return extra
}

// dotSegment reports whether a raw or encoded segment is a dot segment (RFC 3986 §5.2.4, §6.2.2.2).
func dotSegment(raw string) bool {
	return raw != "" && len(raw) <= len("%2E%2E") && (raw[0] == '.' || raw[0] == '%') && isDotSegment(encodedDots.Replace(raw))
}

var encodedDots = strings.NewReplacer("%2e", ".", "%2E", ".")

// readMIMI reads the segments, which stay opaque.
func readMIMI(p *Parser, _ *family, q parts) (ID, error) {
	id := ID{system: SystemMIMI, typ: q.typ}
	if q.domain.text == "" {
		return ID{}, q.domain.fail(CodeMissingDomain, 0)
	}
	local, device, err := q.decode()
	if err != nil {
		return ID{}, err
	}
	if id.domain, err = readDomain(q.domain, p.AllowSingleLabel); err != nil {
		return ID{}, err
	}
	if q.typ == "" {
		id.typ = TypeDomain
		return id, nil
	}
	if q.local.present {
		f := &segment
		if q.typ == TypeChannel {
			f = &tailSegment
		}
		if id.local, err = f.read(q.local, local); err != nil {
			return ID{}, err
		}
	}
	if q.device.present {
		f := &tailSegment
		if !q.local.present {
			f = &segment
		}
		if id.device, err = f.read(q.device, device); err != nil {
			return ID{}, err
		}
	}
	return id, nil
}

// segments returns [CodeDotSegment] if a part of id would be a dot segment of its mimi: URI, which therefore cannot contain it.
func (id ID) segments() error {
	local := id.local
	if id.system == SystemIRC && id.typ == TypeChannel {
		local = local[1:]
	}
	switch {
	case isDotSegment(local):
		return &Error{Code: CodeDotSegment, Part: PartLocal}
	case isDotSegment(id.device):
		return &Error{Code: CodeDotSegment, Part: PartDevice}
	}
	return nil
}

func (id ID) appendMIMI(b []byte) []byte {
	if id.domain == "" {
		return b
	}
	start := len(b)
	b = append(append(b, "mimi://"...), id.domain...)
	if id.typ == TypeDomain {
		return b
	}
	for _, k := range mimiKinds {
		if k.typ == id.typ {
			b = append(b, '/', k.letter)
		}
	}
	local := id.local
	if id.system == SystemIRC && id.typ == TypeChannel {
		local = local[1:] // the sigil is lost
	}
	switch {
	case local != "":
		if isDotSegment(local) || id.typ != TypeChannel && strings.IndexByte(local, '/') >= 0 {
			return b[:start]
		}
		b = appendEncoded(append(b, '/'), local, &mimiLiteral)
	case id.system != SystemMIMI:
		return b[:start]
	}
	if id.typ == TypeDevice {
		if isDotSegment(id.device) {
			return b[:start]
		}
		b = appendEncoded(append(b, '/'), id.device, &mimiLiteral)
	}
	return b
}
