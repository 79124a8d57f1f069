package claims

import "strings"

// A Casemap is how an IRC network maps names to lower case. Its servers announce it in ISUPPORT CASEMAPPING.
type Casemap uint8

const (
	CasemapRFC1459 Casemap = iota // ASCII, and []\~ are the capitals of {}|^ (RFC 2812 §2.2)
	CasemapASCII                  // ASCII letters only
	CasemapPRECIS                 // nicks by RFC 8265 UsernameCaseMapped, with letters beyond ASCII
)

const maxIRCName = 64

// ircNames are the profiles of a casemap.
type ircNames struct {
	nick    profile // RFC 2812 §2.3.1
	channel profile // RFC 2812 §1.3, with its sigil
}

// Channels beyond ASCII are normalized before folding, because normalization can produce ASCII capitals (the Kelvin sign becomes K),
// and after it, because marks may compose with a small letter that did not compose with its capital.
func newIRCNames(m Casemap) ircNames {
	n := ircNames{
		nick: profile{
			max: maxIRCName, ascii: newCharset(lower + upper + digits + "[]\\`_^{|}-"),
			check: func(s string) (string, int, Code) { return checkNick(m.fold(s)) },
		},
		channel: profile{
			max: maxIRCName, ascii: newCharset(lower+upper+digits+marks, ",:"),
			unicode: func(s string) (string, int, Code) {
				s, at, code := opaque(s)
				if code != "" {
					return s, at, code
				}
				return opaque(m.fold(s))
			},
			check: func(s string) (string, int, Code) { return checkChannel(m.fold(s)) },
		},
	}
	switch m {
	case CasemapRFC1459:
		n.nick.ascii['~'>>5] |= 1 << ('~' & 31) // the capital of '^'
	case CasemapPRECIS:
		n.nick.unicode, n.nick.bidi = username(caseMapped), true
	}
	return n
}

var (
	ircCasemaps = [...]ircNames{
		CasemapRFC1459: newIRCNames(CasemapRFC1459),
		CasemapASCII:   newIRCNames(CasemapASCII),
		CasemapPRECIS:  newIRCNames(CasemapPRECIS),
	}
	// ircUser is the user name or services account. Its '~' marks an unverified name, and is not the capital of '^'.
	ircUser = profile{max: maxIRCName, fold: true, ascii: newCharset(lower + digits + "_.~-")}
)

// names returns the profiles of m, and those of rfc1459 for an unknown m.
func (m Casemap) names() *ircNames {
	if int(m) >= len(ircCasemaps) {
		m = CasemapRFC1459
	}
	return &ircCasemaps[m]
}

func checkNick(s string) (string, int, Code) {
	if c := s[0]; '0' <= c && c <= '9' || c == '-' {
		return s, 0, CodeDisallowedChar
	}
	return s, 0, ""
}

func checkChannel(s string) (string, int, Code) {
	if len(s) == 1 {
		return s, 1, CodeEmptyPart
	}
	return s, 0, ""
}

// fold maps the ASCII characters of s to lower case. For nicks, PRECIS has already mapped the other characters.
func (m Casemap) fold(s string) string {
	s = lowerASCII(s)
	if m != CasemapRFC1459 || !strings.ContainsAny(s, `[\]~`) {
		return s
	}
	return rfc1459.Replace(s)
}

var rfc1459 = strings.NewReplacer("[", "{", `\`, "|", "]", "}", "~", "^")

// The flags that give the type of a target whose first character does not.
const (
	flagUser    = "isuser"
	flagChannel = "ischannel"
	flagNone    = "" // in URIs an unmarked nick is ambiguous
	flagNative  = "native"
)

// splitIRC reads a native name. It has only a target; the network comes from the parser.
func splitIRC(text part) (parts, error) {
	return parts{flag: flagNative, local: text.slice(PartLocal, 0, len(text.text))}, nil
}

// splitIRCBody splits the rest of an im:irc= URI.
func splitIRCBody(text part) (parts, error) {
	q := parts{system: SystemIRC}
	body := text
	if i := strings.IndexByte(text.text, ';'); i >= 0 {
		typ, err := splitParam(text.slice(PartType, i+1, len(text.text)))
		if err != nil {
			return parts{}, err
		}
		q.typ = typ
		body = text.slice(PartURI, 0, i)
	}
	slash := strings.IndexByte(body.text, '/')
	if slash < 0 {
		q.domain = body.slice(PartDomain, 0, len(body.text))
	} else {
		q.domain = body.slice(PartDomain, 0, slash)
		q.local = body.slice(PartLocal, slash+1, len(body.text))
	}
	if i := strings.IndexByte(q.domain.text, '#'); i >= 0 {
		return parts{}, failRaw(q.domain, CodeFragmentNotAllowed, i)
	}
	if i := strings.LastIndexByte(q.local.text, ','); i >= 0 {
		q.flag = lowerASCII(q.local.text[i+1:])
		if q.flag == "" {
			return parts{}, failRaw(q.local, CodeEmptyPart, i+1)
		}
		if q.flag != flagUser && q.flag != flagChannel {
			return parts{}, failRaw(q.local, CodeUnknownParam, i+1)
		}
		q.local = q.local.slice(PartLocal, 0, i)
	}
	return q, nil
}

// readIRC reads a target: #channel, &channel, +channel, [nick]!user[@host], @nick or nick.
func readIRC(p *Parser, _ *family, q parts) (ID, error) {
	if q.domain.text == "" {
		return ID{}, q.domain.fail(CodeMissingDomain, 0)
	}
	target, _, err := q.decode()
	if err != nil {
		return ID{}, err
	}
	domain, domainErr := readDomain(q.domain, p.AllowSingleLabel)
	id := ID{system: SystemIRC, typ: TypeDomain, domain: domain}
	bang := strings.IndexByte(target, '!')
	switch {
	case !q.local.present || q.flag == flagNative && domainErr == nil && lowerASCII(target) == domain:
	case strings.IndexByte("#&+", target[0]) >= 0:
		id.typ = TypeChannel
	case bang >= 0:
		id.typ = TypeUser
	case target[0] != '@' && q.flag == flagNone:
		return ID{}, q.local.fail(CodeTypeAmbiguous, 0)
	default:
		id.typ = TypeHandle
	}
	if q.flag == flagUser && id.typ == TypeChannel || q.flag == flagChannel && id.typ != TypeChannel {
		return ID{}, q.local.fail(CodeTypeMismatch, 0)
	}
	if err := q.checkType(id.typ); err != nil {
		return ID{}, err
	}
	if domainErr != nil {
		return ID{}, domainErr
	}
	switch id.typ {
	case TypeChannel:
		id.local, err = p.Casemap.names().channel.read(q.local, target)
	case TypeUser:
		id.local, err = p.readIRCUser(q.local, target, bang)
	case TypeHandle:
		sigil := len(target) - len(strings.TrimPrefix(target, "@"))
		id.local, err = p.readNick(q.local, target, sigil, len(target))
	}
	if err != nil {
		return ID{}, err
	}
	return id, nil
}

// readIRCUser reads [nick]!user[@host]. The nick is dropped, but must be valid.
func (p *Parser) readIRCUser(local part, target string, bang int) (string, error) {
	if bang > 0 {
		if _, err := p.readNick(local, target, 0, bang); err != nil {
			return "", err
		}
	}
	end := len(target)
	at := strings.LastIndexByte(target, '@')
	if at > bang {
		end = at
	}
	user, err := ircUser.read(within(local, bang+1, end), target[bang+1:end])
	if err != nil || end == len(target) {
		return user, err
	}
	name := within(local, at+1, len(target))
	if name.text == "" {
		return "", name.fail(CodeEmptyPart, 0)
	}
	host, err := readDomain(part{name: PartLocal, text: target[at+1:], at: name.at}, p.AllowSingleLabel)
	return user + "@" + host, err
}

func (p *Parser) readNick(local part, target string, from, to int) (string, error) {
	return p.Casemap.names().nick.read(within(local, from, to), target[from:to])
}

// appendIRC appends a native name, which omits the network.
func appendIRC(b []byte, id ID, _ string) []byte {
	switch id.typ {
	case TypeDomain:
		return append(b, id.domain...)
	case TypeHandle:
		b = append(b, '@')
	case TypeUser:
		b = append(b, '!')
	}
	return append(b, id.local...)
}

// appendIRCTarget appends the rest of an im:irc= URI. Every sigil is encoded, so that '+' is treated like '#', '&' and '!'. The flag is
// always present.
func (id ID) appendIRCTarget(b []byte) []byte {
	b = append(append(b, id.domain...), '/')
	flag, name := flagUser, id.local
	switch id.typ {
	case TypeUser:
		b = append(b, "%21"...)
	case TypeChannel:
		flag = flagChannel
		b = appendEncoded(b, name[:1], &charset{})
		name = name[1:]
	}
	b = appendEncoded(b, name, &imLiteral)
	return append(append(b, ','), flag...)
}
