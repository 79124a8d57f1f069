package claims

import (
	"strings"
	"unicode/utf8"
)

// maxText is the largest size of an input, and of the URI that is made of it, in bytes.
const maxText = 4096

// A part is a section of the input. The input is split before it is decoded or mapped, so that an encoded or fullwidth separator does
// not separate parts.
type part struct {
	name    string // one of the Part constants
	text    string
	at      int  // offset of text in the input
	present bool // a part may be present and empty, which is an error
	percent bool // text is percent-encoded
}

// slice returns p.text[from:to] as a present part under another name.
func (p part) slice(name string, from, to int) part {
	return part{name: name, text: p.text[from:to], at: p.at + from, present: true, percent: p.percent}
}

// fail returns an error about p. Offset i counts bytes of the decoded text of p.
func (p part) fail(code Code, i int) error {
	if p.percent {
		i = encodedOffset(p.text, i)
	}
	return &Error{Code: code, Part: p.name, Offset: p.at + i}
}

// failRaw is like [part.fail] for an offset in the raw text.
func failRaw(p part, code Code, i int) error {
	return &Error{Code: code, Part: p.name, Offset: p.at + i}
}

// within returns the section of p whose decoded text is the bytes from to to of the decoded text of p.
func within(p part, from, to int) part {
	if !p.percent {
		return p.slice(p.name, from, to)
	}
	return p.slice(p.name, encodedOffset(p.text, from), encodedOffset(p.text, to))
}

// encodedOffset returns the offset in s of the i-th byte of the decoded text.
func encodedOffset(s string, i int) int {
	at := 0
	for ; i > 0 && at < len(s); i-- {
		if s[at] == '%' {
			at += 2
		}
		at++
	}
	return min(at, len(s))
}

// checkText finds text that no identifier may contain: ill-formed UTF-8, controls, the byte order mark, the replacement character and
// noncharacters. It returns the position and the code, which is "" if there is none.
func checkText(s string) (int, Code) {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < 0x20 || c == 0x7F {
				return i, CodeControlChar
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return i, CodeNotUTF8
		case r <= 0x9F:
			return i, CodeControlChar
		case r == 0xFEFF, r == utf8.RuneError, r&0xFFFE == 0xFFFE, 0xFDD0 <= r && r <= 0xFDEF:
			return i, CodeDisallowedChar
		}
		i += n
	}
	return 0, ""
}

// decode decodes the percent-encoding of p once, and checks the result (RFC 3986 §2.4). The result is a part that keeps the offsets of
// the input.
func decode(p part) (string, error) {
	if !p.percent || strings.IndexByte(p.text, '%') < 0 {
		return p.text, nil
	}
	b := make([]byte, 0, len(p.text))
	for i := 0; i < len(p.text); i++ {
		c := p.text[i]
		if c == '%' {
			if i+2 >= len(p.text) || !isHex(p.text[i+1]) || !isHex(p.text[i+2]) {
				return "", failRaw(p, CodeBadPercent, i)
			}
			c = unhex(p.text[i+1])<<4 | unhex(p.text[i+2])
			i += 2
		}
		b = append(b, c)
	}
	s := string(b)
	if i, code := checkText(s); code != "" {
		return "", p.fail(code, i)
	}
	if i := escaped(s); i >= 0 {
		return "", p.fail(CodeDoubleEncoding, i)
	}
	return s, nil
}

// escaped returns the position of a percent sign with two hexadecimal digits in s, or -1. A canonical part has none, because decoding
// it once too often would make another name of it.
func escaped(s string) int {
	for at := 0; ; at++ {
		i := strings.IndexByte(s[at:], '%')
		if i < 0 {
			return -1
		}
		if at += i; at+2 < len(s) && isHex(s[at+1]) && isHex(s[at+2]) {
			return at
		}
	}
}

// appendEncoded appends s, each byte outside literal as a percent sign and two upper-case hexadecimal digits.
func appendEncoded(b []byte, s string, literal *charset) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; literal.has(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&0xF])
		}
	}
	return b
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&0xF + 9
}

// firstNonASCII returns the index of the first byte of s beyond ASCII, or -1.
func firstNonASCII(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return i
		}
	}
	return -1
}

// lowerASCII lowers only ASCII letters. It returns s itself if there are none to lower.
func lowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] |= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}

// A charset is a set of ASCII characters.
type charset [4]uint32

// newCharset returns the set of chars except those in without.
func newCharset(chars string, without ...string) (set charset) {
	for i := 0; i < len(chars); i++ {
		set[chars[i]>>5] |= 1 << (chars[i] & 31)
	}
	for _, chars := range without {
		for i := 0; i < len(chars); i++ {
			set[chars[i]>>5] &^= 1 << (chars[i] & 31)
		}
	}
	return set
}

func (s *charset) has(c byte) bool { return c < utf8.RuneSelf && s[c>>5]&(1<<(c&31)) != 0 }

const (
	digits = "0123456789"
	marks  = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

var (
	imLiteral   = newCharset(lower + upper + digits + "-._~$+")
	mimiLiteral = newCharset(lower + upper + digits + "-._~$+@")
)
