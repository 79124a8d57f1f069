package claims

import (
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

//go:generate ./tables.py

// A confusable maps a code point to the text that it looks like.
type confusable struct {
	from rune
	to   string
}

// additions are look-alikes beyond those of UTS #39. They apply to its prototypes. Small capitals, and Cyrillic or Greek letters of
// that form, differ from small letters only in size.
var additions = newAdditions(map[string]string{
	"a": "\u1D00\u2C81", "b": "\u0299\u0185", "d": "\u1D05", "e": "\u1D07", "f": "\uA730\u03DD", "g": "\u0262", "h": "\u029C",
	"j": "\u1D0A\u0237", "k": "\u0138", "l": "\u029F", "m": "\u028D", "n": "\u0274\u03C0", "p": "\u1D18", "q": "\uA7AF",
	"r": "\u0280", "t": "\u1D1B", "x": "\u03C7", "y": "\u13CD", "3": "\u021D\u025C", "ae": "\u1D01", "vv": "w",
})

// replacements replace prototypes of UTS #39. The Cyrillic palochka looks like an l in most fonts. The Arabic zeros look alike, and are
// not full stops at the end of a number: see [skeleton].
var replacements = map[rune]string{'\u04CF': "l", '\u06F0': "\u0660", '\u0660': "\u0660"}

// capitalI are letters of scripts without case whose letters look like Latin capitals. UTS #39 maps all of them to l;
// among other capitals they are an I.
const capitalI = "\u16C1\u2D4F\uA4F2\U0001028A\U00010309\U00010320\U00016F28"

const arabicZero = '\u0660'

func newAdditions(groups map[string]string) map[rune]string {
	m := make(map[rune]string)
	for prototype, letters := range groups {
		for _, r := range letters {
			m[r] = prototype
		}
	}
	return m
}

// folded returns s without differences in case and compatibility variants, and decomposed, so that a look-alike is found under an
// accent too (UTS #39 §4).
func folded(s string) string {
	if firstNonASCII(s) < 0 {
		return lowerASCII(s)
	}
	return norm.NFD.String(strings.Map(cherokee, cases.Fold().String(norm.NFKC.String(s))))
}

// cherokee folds Cherokee letters to capitals, as Unicode does. Package cases swaps their case instead.
func cherokee(r rune) rune {
	switch {
	case 0xAB70 <= r && r <= 0xABBF:
		return r - 0xAB70 + 0x13A0
	case 0x13F8 <= r && r <= 0x13FD:
		return r - 8
	}
	return r
}

// skeleton returns the text that s, which is folded, looks like: the skeleton of UTS #39 §4 with the additions and replacements above,
// folded again, without default-ignorable code points, dots, hyphens and underscores.
func skeleton(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/2)
	capitals := firstNonASCII(s) >= 0 && strings.ContainsFunc(s, looksCapital)
	number := false // the character before is a digit
	for _, r := range s {
		switch {
		case r == '.' || r == '-' || r == '_' || ignorable(r):
			continue
		case capitals && strings.ContainsRune(capitalI, r):
			b.WriteByte('i')
		case (r == arabicZero || r == '\u06F0') && !number:
			// It looks like a full stop. After another digit it is part of a number: 10 is not 1.
		default:
			b.WriteString(prototype(r))
		}
		number = unicode.Is(unicode.Nd, r)
	}
	s = b.String()
	if firstNonASCII(s) >= 0 {
		s = norm.NFD.String(s)
	}
	return dotless(s)
}

// prototypes maps code points to their final form after the table, the additions and folding.
var prototypes = sync.OnceValue(func() map[rune]string {
	m := make(map[rune]string, len(confusables)+len(additions))
	for _, c := range confusables {
		m[c.from] = settle(string(c.from))
	}
	for r := range additions {
		m[r] = settle(string(r))
	}
	for r, to := range replacements {
		m[r] = to
	}
	return m
})

// settle maps s until nothing changes.
func settle(s string) string {
	for range 8 { // three steps are the most: capital, small letter, pair
		var b strings.Builder
		for _, r := range folded(s) {
			switch to, ok := replacements[r]; {
			case ok:
				b.WriteString(to)
			case tablePrototype(r) != "":
				b.WriteString(tablePrototype(r))
			case additions[r] != "":
				b.WriteString(additions[r])
			case r != '.' && r != '-' && r != '_':
				b.WriteString(digit(r))
			}
		}
		next := folded(b.String())
		if next == s {
			return s
		}
		s = next
	}
	panic("claims: the confusables have no end at " + s)
}

// prototype returns the text that r, which is folded, looks like.
func prototype(r rune) string {
	if s, ok := prototypes()[r]; ok {
		return s
	}
	if s := digit(r); r >= utf8.RuneSelf && unicode.Is(unicode.Nd, r) {
		return settle(s)
	}
	return string(r)
}

// tablePrototype returns what UTS #39 maps r to, or "".
func tablePrototype(r rune) string {
	i, found := slices.BinarySearchFunc(confusables, r, func(c confusable, r rune) int { return int(c.from - r) })
	if !found {
		return ""
	}
	return confusables[i].to
}

// looksCapital reports whether r looks like an ASCII capital by UTS #39.
func looksCapital(r rune) bool {
	return r >= utf8.RuneSelf && strings.ContainsFunc(tablePrototype(r), func(r rune) bool { return 'A' <= r && r <= 'Z' })
}

// digit returns the ASCII digit of the same value, for a decimal digit that looks like no other character. The ten digits of a script
// are adjacent in the table (UAX #44).
func digit(r rune) string {
	if r < utf8.RuneSelf || r == arabicZero {
		return string(r)
	}
	if zero, ok := zeroOf(r); ok {
		return string('0' + r - zero)
	}
	return string(r)
}

// zeroOf returns the zero of the decimal system that r is a digit of.
func zeroOf(r rune) (rune, bool) {
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return r - (r-rune(t.Lo))%10, true
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return r - (r-rune(t.Lo))%10, true
		}
	}
	return 0, false
}

// dotless removes the dot above a letter that already has one.
func dotless(s string) string {
	const dot = "\u0307"
	if !strings.Contains(s, dot) {
		return s
	}
	var b strings.Builder
	soft := false
	for _, r := range s {
		switch class := norm.NFD.PropertiesString(string(r)).CCC(); {
		case class == 0:
			soft = r == 'i' || r == 'j'
		case class == 230: // marks above
			if soft && string(r) == dot {
				continue
			}
			soft = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// ignorable reports whether r has the property Default_Ignorable_Code_Point (UAX #44), by which it is invisible.
func ignorable(r rune) bool {
	switch {
	case r < 0xAD:
		return false
	case unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
		return true
	case 0xFFF9 <= r && r <= 0xFFFB, 0x13430 <= r && r <= 0x1343F:
		return false
	}
	return unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}
