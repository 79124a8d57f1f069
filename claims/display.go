package claims

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/bidi"
)

// Display returns the identifier as people should see it: the native form, or else the URI, set off from the text around
// it by isolates if any of it runs from right to left (UAX #9 §2.4). If the domain has something to warn of, its A-labels
// follow in parentheses.
func Display(id ID) string {
	s := id.Native()
	switch {
	case s == "":
		s = id.String()
	case id.system == SystemIRC && id.typ != TypeDomain: // never a name without its domain
		s += "@" + id.domain
	}
	if strings.ContainsFunc(s, rightToLeft) {
		s = "\u2068" + s + "\u2069"
	}
	if displayDomain(id.domain) != id.domain && domainWarns(id) {
		s += " (" + id.domain + ")"
	}
	return s
}

func domainWarns(id ID) bool {
	var p Policy
	for _, w := range p.Warnings(id) {
		if w.Part == PartDomain {
			return true
		}
	}
	return false
}

func rightToLeft(r rune) bool {
	if r <= unicode.MaxLatin1 {
		return false
	}
	p, _ := bidi.LookupRune(r)
	return p.Class() == bidi.R || p.Class() == bidi.AL || p.Class() == bidi.AN
}
