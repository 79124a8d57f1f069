package claims

import "strings"

// A Reading is how strict a parser is.
type Reading uint8

const (
	// Strict accepts only the canonical spelling. It is for everything that is signed or comes from another party, because signed
	// text is never repaired. It is the zero value.
	Strict Reading = iota
	// Lenient maps other spellings to the canonical one. It is for text that people type, and for imports.
	Lenient
	// Registration is Lenient followed by [Policy.Check]. It is for names that are about to be given to a user.
	Registration
)

// Parse reads the canonical im: or mimi: URI of an identifier. Errors are of type [*Error].
func Parse(uri string) (ID, error) { return Parser{}.Parse(uri) }

// ParseLenient reads any spelling of an im:, mimi:, xmpp:, sip:, mailto: or wireapp: URI.
func ParseLenient(uri string) (ID, error) { return Parser{Reading: Lenient}.Parse(uri) }

// ParseRegistration reads a URI as [ParseLenient] does, and refuses names that the zero [Policy] refuses.
func ParseRegistration(uri string) (ID, error) { return Parser{Reading: Registration}.Parse(uri) }

// A Parser reads identifiers. The zero Parser reads strictly; parsers may be copied and used concurrently.
type Parser struct {
	Reading Reading
	// Policy is the policy for the reading Registration. Nil means the zero Policy.
	Policy *Policy
	// Network is the domain of native IRC names, which do not contain it.
	Network string
	// Casemap is how IRC networks fold names. The zero value is rfc1459.
	Casemap Casemap
	// AllowSingleLabel accepts domains such as localhost. It is for development only: others cannot find such a domain.
	AllowSingleLabel bool
}

// Parse reads a URI. In reading Strict it must be the canonical im: or mimi: form, byte for byte.
func (p Parser) Parse(uri string) (ID, error) {
	q, err := splitURI(uri)
	if err != nil {
		return ID{}, err
	}
	id, err := p.read(q)
	if err != nil {
		return ID{}, err
	}
	if p.Reading == Strict {
		var buf [256]byte
		if string(id.appendURI(buf[:0])) != uri {
			return ID{}, &Error{Code: CodeNotCanonical, Part: PartURI, Offset: 0}
		}
	}
	return p.admit(id)
}

// ParseNative reads the native form of a system, for SIP a sip: URI. The error is [CodeUnknownSystem] for an unknown system, and for
// one without a native form.
func (p Parser) ParseNative(system System, name string) (ID, error) {
	fam := families[system]
	if fam == nil || fam.split == nil {
		return ID{}, &Error{Code: CodeUnknownSystem, Part: PartSystem}
	}
	text, err := wholeText(name)
	if err != nil {
		return ID{}, err
	}
	q, err := fam.split(text)
	if err != nil {
		return ID{}, err
	}
	if q.system = system; system == SystemIRC {
		q.domain = part{name: PartDomain, text: p.Network, present: true}
	}
	id, err := p.read(q)
	if err != nil {
		return ID{}, err
	}
	if p.Reading == Strict && id.Native() != name {
		return ID{}, &Error{Code: CodeNotCanonical, Part: PartURI}
	}
	return p.admit(id)
}

// admit is the last step of each reading.
func (p *Parser) admit(id ID) (ID, error) {
	if p.Reading != Registration {
		return id, nil
	}
	policy := p.Policy
	if policy == nil {
		policy = &Policy{}
	}
	if err := policy.Check(id); err != nil {
		return ID{}, err
	}
	return id, nil
}

// parts holds the parts of an identifier after splitting. They are not decoded, mapped or checked yet.
type parts struct {
	system                System
	typ                   Type   // as ";id-type=" says, else ""
	flag                  string // how an IRC URI marks its target
	domain, local, device part
}

// wholeText returns s as one part if it is text at all.
func wholeText(s string) (part, error) {
	whole := part{name: PartURI, text: s, present: true}
	if len(s) > maxText {
		return part{}, whole.fail(CodeOverlongURI, 0)
	}
	if i, code := checkText(s); code != "" {
		return part{}, whole.fail(code, i)
	}
	return whole, nil
}

// splitURI reads the scheme and splits the rest of the URI by the rules of the scheme. Schemes are case-insensitive (RFC 3986 §3.1).
func splitURI(uri string) (parts, error) {
	whole, err := wholeText(uri)
	if err != nil {
		return parts{}, err
	}
	colon := strings.IndexByte(uri, ':')
	scheme := whole.slice(PartScheme, 0, max(colon, 0))
	rest := whole.slice(PartURI, colon+1, len(uri))
	rest.percent = true
	switch lowerASCII(scheme.text) {
	case "im":
		return splitIM(rest)
	case "mimi":
		return splitMIMI(rest)
	case "xmpp":
		return splitXMPPURI(rest)
	case "mailto":
		return splitMailto(rest)
	case "sip":
		return splitSIPURI(rest)
	case "wireapp":
		return splitWireApp(rest)
	}
	return parts{}, scheme.fail(CodeSchemeNotAllowed, 0)
}

// read makes an identifier of parts: it decodes, maps and checks them.
func (p *Parser) read(q parts) (ID, error) {
	fam := families[q.system]
	read := fam.read
	if read == nil {
		read = readShapes
	}
	id, err := read(p, fam, q)
	if err != nil {
		return ID{}, err
	}
	// Encoding may triple the length, and an identifier that cannot be written as a URI must not be read.
	const markup = 64
	if 3*(len(id.local)+len(id.device))+len(id.domain)+markup > maxText && max(len(id.IM()), len(id.MIMI())) > maxText {
		return ID{}, &Error{Code: CodeOverlongURI, Part: PartURI}
	}
	return id, nil
}

// readShapes reads the parts of a system whose types differ in sigil and device part.
func readShapes(p *Parser, fam *family, q parts) (ID, error) {
	id := ID{system: q.system, typ: TypeDomain, domain: UnscopedDomain}
	scoped := q.domain.present || !fam.unscoped
	if scoped && q.domain.text == "" {
		return ID{}, q.domain.fail(CodeMissingDomain, 0)
	}
	var sh *shape
	var local, device string
	if q.local.present || q.device.present {
		var err error
		if local, device, err = q.decode(); err != nil {
			return ID{}, err
		}
		if sh = fam.shape(local, q.device.present); sh == nil {
			return ID{}, q.local.fail(CodeTypeMismatch, 0)
		}
		id.typ = sh.typ
	}
	if err := q.checkType(id.typ); err != nil {
		return ID{}, err
	}
	var err error
	if scoped {
		if id.domain, err = readDomain(q.domain, p.AllowSingleLabel); err != nil {
			return ID{}, err
		}
	}
	if sh == nil {
		return id, nil
	}
	if q.local.present {
		name := within(q.local, len(sh.sigil), len(local))
		if id.local, err = sh.local.read(name, local[len(sh.sigil):]); err != nil {
			return ID{}, err
		}
	}
	if sh.device == nil {
		return id, nil
	}
	if n := len(q.device.text); n > 0 && q.device.text[n-1] == '/' && !sh.device.ascii.has('/') {
		return ID{}, failRaw(q.device, CodeEmptyPart, n)
	}
	if id.device, err = sh.device.read(q.device, device); err != nil {
		return ID{}, err
	}
	if sh.joined {
		id.local, id.device = id.local+"/"+id.device, ""
	}
	return id, nil
}

// decode decodes the local and the device part, and refuses an empty one.
func (q *parts) decode() (local, device string, err error) {
	for _, p := range []part{q.local, q.device} {
		if p.present && p.text == "" {
			return "", "", p.fail(CodeEmptyPart, 0)
		}
	}
	if local, err = decode(q.local); err == nil {
		device, err = decode(q.device)
	}
	return local, device, err
}

// checkType refuses an identifier whose type differs from its parameter.
func (q *parts) checkType(typ Type) error {
	if q.typ != "" && q.typ != typ {
		return &Error{Code: CodeTypeMismatch, Part: PartType}
	}
	return nil
}
