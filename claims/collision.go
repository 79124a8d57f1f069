package claims

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// CollisionKey returns what two names of one domain may not share, for a unique index: the local part without regard to
// case, to dots, hyphens and underscores, and to look-alike letters. Equal identifiers have equal keys. The key is not for
// display; it changes with the version of Unicode, so store [CollisionTables] beside it and make the keys anew when they
// change.
func CollisionKey(id ID) string { return collisionKey(id.local) }

// CollisionTables names the tables that collision keys are made by: the versions of Unicode, and that of the look-alikes here.
// Keys of other tables are not to be compared.
func CollisionTables() string { return unicode.Version + " " + norm.Version + " 1" }

// CollisionKeyOf returns the collision key of a local part as it was kept, for keys that are made anew.
func CollisionKeyOf(local string) string { return collisionKey(local) }

func collisionKey(name string) string {
	s := name
	if firstNonASCII(s) >= 0 {
		// Decomposed in the end, so that a look-alike is found under its accent too (UTS #39 §4).
		s = norm.NFD.String(cases.Fold().String(norm.NFKC.String(s)))
	} else {
		s = lowerASCII(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if r != '.' && r != '-' && r != '_' {
			b.WriteString(lookAlike(r))
		}
	}
	key := ligatures.Replace(b.String())
	if key == "" {
		return name // nothing but punctuation: then that is the name
	}
	return key
}

// ligatures are pairs of characters that look like one (UTS #39 confusables).
var ligatures = strings.NewReplacer("rn", "m", "vv", "w", "i\u0307", "i", "j\u0307", "j")

// resemblance is a key that is coarser than a collision key: it also takes digits for the letters that people write them
// for. Too many honest names share one for it to decide between people; it guards the few names that are protected.
func resemblance(name string) string { return leet.Replace(collisionKey(name)) }

var leet = strings.NewReplacer("l", "i", "3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "9", "g")

// lookAlike returns the representative of the letters that look like r.
func lookAlike(r rune) string {
	if s, ok := prototypes[r]; ok {
		return s
	}
	if r > unicode.MaxASCII && unicode.Is(unicode.Nd, r) {
		return lookAlike(digit(r))
	}
	return string(r)
}

// digit returns the ASCII digit of the same value. The digits of a script are ten neighbours in the table (UAX #44).
func digit(r rune) rune {
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return '0' + (r-rune(t.Lo))%10
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return '0' + (r-rune(t.Lo))%10
		}
	}
	return r
}

// prototypes maps letters to the Latin letter or digit that they are mistaken for, as they stand after case folding.
// Cherokee folds to its capitals.
var prototypes = newPrototypes(map[string]string{
	"a": "\u0251\u03B1\u0430\u13AA\u1D00\u2C81",
	"b": "\u0299\u03B2\u0432\u044C\u13CF\u13F4",
	"c": "\u03F2\u0441\u13DF\u1D04\u2CA5",
	"d": "\u0501\u13A0\u1D05",
	"e": "\u0435\u04BD\u13AC\u1D07",
	"f": "\u03DD\u0584\uA799",
	"g": "\u0261\u0262\u0581\u13C0",
	"h": "\u029C\u043D\u04BB\u0570\u13BB\u13C2",
	"i": "\u0131\u0269\u026A\u03B9\u0456\u13A5",
	"j": "\u03F3\u0458\u0575\u13AB\u1D0A",
	"k": "\u0138\u03BA\u043A\u13E6\u1D0B\u2C95",
	"l": "1\u01C0\u029F\u04CF\u13DE",
	"m": "\u043C\u13B7\u1D0D",
	"n": "\u0274\u043F\u0578\u057C",
	"o": "0\u03BF\u043E\u0585\u05E1\u10FF\u1D0F\u2C9F",
	"p": "\u03C1\u0440\u13E2\u1D18\u2CA3",
	"q": "\u051B\u0563\u0566",
	"r": "\u0280\u0433\u13D2\u1D26\uAB47",
	"s": "\u01BD\u0455\u13DA\uA731",
	"t": "\u03C4\u0442\u13A2\u1D1B",
	"u": "\u028B\u03C5\u057D\u1D1C\uA79F",
	"v": "\u03BD\u0475\u05D8\u13D9\u1D20",
	"w": "\u026F\u0461\u051D\u0561\u13B3\u13D4\u1D21",
	"x": "\u03C7\u0445",
	"y": "\u028F\u03B3\u0443\u04AF\u10E7\u13CD",
	"z": "\u13C3\u1D22",
	"3": "\u0292\u0437\u04E1",
	"6": "\u0431",
})

func newPrototypes(groups map[string]string) map[rune]string {
	m := make(map[rune]string)
	for representative, letters := range groups {
		for _, r := range letters {
			m[r] = representative
		}
	}
	return m
}
