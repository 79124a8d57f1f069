package claims

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/bidirule"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/bidi"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"
)

// A profile maps one kind of part to its canonical form and says which text may stand there. ASCII text never reaches
// the Unicode tables: the PRECIS profiles pass printable ASCII through, but for lower-casing.
type profile struct {
	max     int     // octets of the canonical part
	ascii   charset // the ASCII characters of the canonical part
	fold    bool    // ASCII letters are lowered
	unicode mapping // maps what is not all ASCII; nil refuses it
	check   mapping // the last word on the mapped text; nil has none
}

// A mapping returns the canonical text, or a code and the octet at fault.
type mapping func(s string) (string, int, Code)

// read returns the canonical form of text, which p decodes to.
func (f *profile) read(p part, text string) (string, error) {
	s, at, code := f.canonical(text)
	if code == "" {
		return s, nil
	}
	if len(s) != len(text) {
		at = 0 // mapping has moved the place
	}
	return "", p.fail(code, at)
}

// canonical maps and checks. Together with a code it returns the text that the octet counts in.
func (f *profile) canonical(s string) (string, int, Code) {
	if i := escaped(s); i >= 0 { // before mapping too, which can compose the second digit away
		return s, i, CodeDoubleEncoding
	}
	switch i := firstNonASCII(s); {
	case i < 0 && f.fold:
		s = lowerASCII(s)
	case i >= 0 && f.unicode == nil:
		return s, i, CodeDisallowedChar
	case i >= 0:
		mapped, at, code := f.unicode(s)
		if code != "" {
			return s, at, code
		}
		s = mapped
	}
	if s == "" { // also after mapping: PRECIS itself finds no fault with nothing
		return s, 0, CodeEmptyPart
	}
	if len(s) > f.max {
		return s, 0, CodeOverlongPart
	}
	if at, code := f.judge(s); code != "" {
		return s, at, code
	}
	if f.check == nil {
		return s, 0, ""
	}
	return f.check(s)
}

// judge looks for what a mapped part may not hold, so that nothing forbidden can arise from mapping.
func (f *profile) judge(s string) (int, Code) {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < utf8.RuneSelf && !f.ascii.has(c) {
			return i, CodeDisallowedChar
		}
	}
	if i := escaped(s); i >= 0 {
		return i, CodeDoubleEncoding
	}
	return 0, ""
}

// The username profiles of RFC 8265 §3, without their Bidi rule. Those that package precis exports apply it to every
// string, and so refuse "josé_" and "1é"; the RFC wants it for strings that have right-to-left code points.
var (
	caseMapped    = precis.NewIdentifier(precis.FoldWidth, precis.LowerCase(), precis.Norm(norm.NFC))
	casePreserved = precis.NewIdentifier(precis.FoldWidth, precis.Norm(norm.NFC))
)

// username maps by one of the username profiles.
func username(f *precis.Profile) mapping {
	return func(s string) (string, int, Code) {
		mapped, err := f.String(s)
		switch {
		case err != nil:
			return refusal(f, norm.NFC.String(width.Fold.String(s)))
		case bidirule.DirectionString(mapped) == bidi.RightToLeft && !bidirule.ValidString(mapped):
			return mapped, 0, CodeBidi
		}
		return mapped, 0, ""
	}
}

// opaque maps by the OpaqueString profile of RFC 8265 §4.2, which has no Bidi rule and turns every space into U+0020.
func opaque(s string) (string, int, Code) {
	mapped, err := precis.OpaqueString.String(s)
	if err == nil {
		return mapped, 0, ""
	}
	return refusal(precis.OpaqueString, norm.NFC.String(strings.Map(plainSpace, s)))
}

func plainSpace(r rune) rune {
	if unicode.Is(unicode.Zs, r) {
		return ' '
	}
	return r
}

// nfc maps to normalization form C and allows everything.
func nfc(s string) (string, int, Code) { return norm.NFC.String(s), 0, "" }

// refusal returns the first character for which PRECIS refused s, whose own message is not to be shown.
func refusal(f *precis.Profile, s string) (string, int, Code) {
	allowed := f.Allowed()
	for i, r := range s {
		if isBidiControl(r) {
			return s, i, CodeBidi
		}
		if !allowed.Contains(r) {
			return s, i, CodeDisallowedChar
		}
	}
	return s, 0, CodeDisallowedChar // a character that is allowed in other company only
}

func isBidiControl(r rune) bool {
	return r == 0x061C || r == 0x200E || r == 0x200F || 0x202A <= r && r <= 0x202E || 0x2066 <= r && r <= 0x2069
}

// The profiles of identifiers. Limits are octets of the canonical part.
var (
	// handleName is the handle of the generic and WXYZ systems.
	handleName = profile{
		max: 64, fold: true, ascii: newCharset(lower + digits + "._-"),
		unicode: username(caseMapped), check: checkDots,
	}
	// mailbox is the local part of a mail address: a handle that may also have a tag.
	mailbox = profile{
		max: 64, fold: true, ascii: newCharset(lower + digits + "._-+"),
		unicode: username(caseMapped), check: checkDots,
	}
	// opaqueID is a user or device id. The dot segments of RFC 3986 could not stand in a mimi: URI.
	opaqueID = profile{max: 128, ascii: newCharset(lower + upper + digits + "._~-"), check: checkDotSegment}
	// roomName is a channel or team of WXYZ.
	roomName = profile{
		max: 64, ascii: newCharset(lower + upper + digits + "._-"),
		unicode: username(casePreserved),
	}
	// wxyzID is a user or group id of WXYZ.
	wxyzID = profile{max: 128, ascii: newCharset(lower + upper + digits + "_-")}
)

// checkDots refuses a dot at either end, and two together.
func checkDots(s string) (string, int, Code) {
	for i := 0; i < len(s); i++ {
		if s[i] == '.' && (i == 0 || i == len(s)-1 || s[i-1] == '.') {
			return s, i, CodeDisallowedChar
		}
	}
	return s, 0, ""
}

func checkDotSegment(s string) (string, int, Code) {
	if isDotSegment(s) {
		return s, 0, CodeDotSegment
	}
	return s, 0, ""
}

func isDotSegment(s string) bool { return s == "." || s == ".." }
