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

// A profile maps one kind of part to its canonical form, and defines its allowed text. ASCII text never reaches the Unicode tables:
// the PRECIS profiles only change the case of printable ASCII.
type profile struct {
	max     int     // bytes of the canonical part
	ascii   charset // the ASCII characters of the canonical part
	fold    bool    // ASCII letters are lowered
	unicode mapping // maps what is not all ASCII; nil refuses it
	bidi    bool    // text with right-to-left characters must meet the Bidi rule (RFC 5893 §2)
	check   mapping // the last check of the mapped text; may be nil
}

// A mapping returns the canonical text, or a code and the position of the fault.
type mapping func(s string) (string, int, Code)

// read returns the canonical form of text, which p decodes to.
func (f *profile) read(p part, text string) (string, error) {
	s, at, code := f.canonical(text)
	if code == "" {
		return s, nil
	}
	if len(s) != len(text) {
		at = 0 // the position has changed by mapping
	}
	return "", p.fail(code, at)
}

// canonical maps and checks. With a code it returns the text that the position is in. Faults of single characters are reported before
// faults of the whole text.
func (f *profile) canonical(s string) (string, int, Code) {
	raw := s
	// Decoded text has no escape left. Other text is checked for escapes before mapping too, because mapping can compose the second
	// digit with a mark.
	if i := escaped(raw); i >= 0 {
		if bad := f.disallowed(raw[:i]); bad >= 0 {
			return raw, bad, CodeDisallowedChar
		}
		return raw, i, CodeDoubleEncoding
	}
	switch i := firstNonASCII(s); {
	case i < 0 && f.fold:
		s = lowerASCII(s)
	case i >= 0 && f.unicode == nil:
		return s, i, CodeDisallowedChar
	case i >= 0:
		mapped, at, code := f.unicode(s)
		if bad := f.disallowed(raw); code == CodeBidi && bad >= 0 {
			return raw, bad, CodeDisallowedChar
		}
		if code != "" {
			return s, at, code
		}
		s = mapped
	}
	if s == "" { // also after mapping: PRECIS accepts empty text
		return s, 0, CodeEmptyPart
	}
	if i := f.disallowed(s); i >= 0 {
		return s, i, CodeDisallowedChar
	}
	if i := escaped(s); i >= 0 {
		return s, i, CodeDoubleEncoding
	}
	if len(s) > f.max {
		return s, 0, CodeOverlongPart
	}
	if f.check != nil {
		checked, at, code := f.check(s)
		if code != "" {
			return checked, at, code
		}
		s = checked
	}
	if f.bidi && bidirule.DirectionString(s) == bidi.RightToLeft && !bidirule.ValidString(s) {
		return s, 0, CodeBidi
	}
	return s, 0, ""
}

// disallowed returns the position of an ASCII character that the part must not contain, or -1. Mapped text is checked too, so that
// mapping cannot produce a forbidden character.
func (f *profile) disallowed(s string) int {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= utf8.RuneSelf || f.ascii.has(c) || f.fold && 'A' <= c && c <= 'Z' && f.ascii.has(c|0x20) {
			continue
		}
		return i
	}
	return -1
}

// The username profiles of RFC 8265 §3, without their Bidi rule. Package precis applies that rule to every string, and so refuses
// "josé_" and "1é". The RFC requires it for strings with right-to-left code points.
var (
	caseMapped    = precis.NewIdentifier(precis.FoldWidth, precis.LowerCase(), precis.Norm(norm.NFC))
	casePreserved = precis.NewIdentifier(precis.FoldWidth, precis.Norm(norm.NFC))
)

// username maps by a username profile. The Bidi rule is applied by [profile].
func username(f *precis.Profile) mapping {
	return func(s string) (string, int, Code) {
		mapped, err := f.String(s)
		if err != nil {
			return refusal(f, norm.NFC.String(width.Fold.String(s)))
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

// refusal returns the position of the first character for which PRECIS refused s. Controls of the Bidi algorithm come after all
// other characters. The message of PRECIS itself is not shown.
func refusal(f *precis.Profile, s string) (string, int, Code) {
	allowed := f.Allowed()
	control := -1
	for i, r := range s {
		switch {
		case isBidiControl(r) && control < 0:
			control = i
		case !isBidiControl(r) && !allowed.Contains(r):
			return s, i, CodeDisallowedChar
		}
	}
	if control >= 0 {
		return s, control, CodeBidi
	}
	return s, 0, CodeDisallowedChar // a character that is allowed only beside certain others
}

func isBidiControl(r rune) bool {
	return r == 0x061C || r == 0x200E || r == 0x200F || 0x202A <= r && r <= 0x202E || 0x2066 <= r && r <= 0x2069
}

// The profiles of identifiers. Limits are bytes of the canonical part.
var (
	// handleName is the handle of the generic and WXYZ systems.
	handleName = profile{
		max: 64, fold: true, ascii: newCharset(lower + digits + "._-"),
		unicode: username(caseMapped), bidi: true, check: checkDots,
	}
	// mailbox is the local part of a mail address: a handle that may also have a tag.
	mailbox = profile{
		max: 64, fold: true, ascii: newCharset(lower + digits + "._-+"),
		unicode: username(caseMapped), bidi: true, check: checkDots,
	}
	// opaqueID is a user or device id. It must not be a dot segment (RFC 3986), because of mimi: URIs.
	opaqueID = profile{max: 128, ascii: newCharset(lower + upper + digits + "._~-"), check: checkDotSegment}
	// roomName is a channel or team of WXYZ.
	roomName = profile{
		max: 64, ascii: newCharset(lower + upper + digits + "._-"),
		unicode: username(casePreserved), bidi: true,
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
