package claims

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/bidi"
)

// Display returns the identifier as [Text] does, with the warnings of [Policy.Warnings]: a name that mixes scripts is followed by
// "(mixed scripts)", a confusable one by the name that it looks like, as in "(looks like admin)", and a domain with either fault
// by its A-labels.
func Display(id ID) string {
	var p Policy
	var marks []string
	domain := false
	for _, w := range p.Warnings(id) {
		switch {
		case w.Part == PartDomain:
			domain = true
		case w.Code == CodeMixedScript && !slices.Contains(marks, "mixed scripts"):
			marks = append(marks, "mixed scripts")
		case w.Code == CodeConfusable:
			marks = append(marks, "looks like "+w.Like)
		}
	}
	s := Text(id)
	if len(marks) > 0 {
		s += " (" + strings.Join(marks, ", ") + ")"
	}
	if domain && displayDomain(id.domain) != id.domain {
		s += " (" + id.domain + ")"
	}
	return s
}

// Text returns the native form of the identifier, or else the URI. If it has right-to-left text, isolates separate it from the text
// around it (UAX #9 §2.4). It is for names of the own domain; [Display] is for names of others.
func Text(id ID) string {
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
	return s
}

func rightToLeft(r rune) bool {
	if r <= unicode.MaxLatin1 {
		return false
	}
	p, _ := bidi.LookupRune(r)
	return p.Class() == bidi.R || p.Class() == bidi.AL || p.Class() == bidi.AN
}
