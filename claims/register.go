package claims

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Names that are given away by an administrator only. Those in protectedNames are also guarded against look-alikes; the
// others mean something in messages to everybody.
var (
	protectedNames = []string{"admin", "administrator", "root", "postmaster", "abuse", "security", "support", "system"}
	reservedNames  = []string{"me", "everyone", "here", "all", "channel"}
)

// A Policy is what a domain demands of the names that it gives away, beyond their grammar. The zero Policy is the
// strictest. What needs the register of the domain (names that are taken, in quarantine or somebody's user id) is for its
// keeper to check, by [CollisionKey].
type Policy struct {
	// Protected are more names that nobody may take or imitate: the operator's brands and domains.
	Protected []string
	// Administrator gives away reserved and protected names, though not their look-alikes.
	Administrator bool
	// Development admits domains that are reserved for tests and examples, and those of one label.
	Development bool
}

// Check returns an [*Error] if id may not be registered: [CodeReservedDomain], [CodeMixedScript],
// [CodeReservedHandle], [CodeConfusable], or [CodeDisallowedChar] for spaces at the ends and unassigned code points.
// Offsets count from the start of the part.
func (p *Policy) Check(id ID) error {
	if id.domain != "" && reserved(id.domain, p.Development) {
		return &Error{Code: CodeReservedDomain, Part: PartDomain}
	}
	if all := faults(id); len(all) > 0 {
		return all[0]
	}
	if id.typ != TypeHandle && !(id.system == SystemMIMI && id.typ == TypeUser) {
		return nil
	}
	switch exact, alike := p.guarded(id.local); {
	case exact && !p.Administrator:
		return &Error{Code: CodeReservedHandle, Part: PartLocal}
	case alike && !exact:
		return &Error{Code: CodeConfusable, Part: PartLocal}
	}
	return nil
}

// Warnings returns what a reader should be shown beside an identifier from elsewhere, which is valid all the same:
// [CodeMixedScript] and [CodeConfusable] in name or domain, [CodeDisallowedChar] for spaces at the ends and unassigned code
// points. Offsets count from the start of the part.
func (p *Policy) Warnings(id ID) []*Error {
	all := faults(id)
	if exact, alike := p.guarded(id.local); alike && !exact {
		all = append(all, &Error{Code: CodeConfusable, Part: PartLocal})
	}
	at := 0
	for label := range strings.SplitSeq(displayDomain(id.domain), ".") {
		if i := mixedScript(label); i >= 0 {
			all = append(all, &Error{Code: CodeMixedScript, Part: PartDomain, Offset: at + i})
		} else if firstNonASCII(label) >= 0 && firstNonASCII(collisionKey(label)) < 0 {
			// A name in one other script that reads as Latin from end to end.
			all = append(all, &Error{Code: CodeConfusable, Part: PartDomain, Offset: at})
		}
		at += len(label) + 1
	}
	return all
}

// guarded reports whether name is a protected or reserved name, and whether it looks like a protected one.
func (p *Policy) guarded(name string) (exact, alike bool) {
	for _, r := range reservedNames {
		exact = exact || name == r
	}
	key := resemblance(name)
	for _, list := range [][]string{protectedNames, p.Protected} {
		for _, r := range list {
			exact = exact || name == lowerASCII(r)
			alike = alike || key == resemblance(r)
		}
	}
	return exact, alike
}

// faults returns what registration refuses and reading only marks.
func faults(id ID) []*Error {
	var all []*Error
	for _, p := range []struct{ name, text string }{{PartLocal, id.local}, {PartDevice, id.device}} {
		if i := mixedScript(p.text); i >= 0 {
			all = append(all, &Error{Code: CodeMixedScript, Part: p.name, Offset: i})
		}
		i := strings.IndexFunc(p.text, unassigned)
		switch {
		case strings.HasPrefix(p.text, " "):
			i = 0
		case strings.HasSuffix(p.text, " "):
			i = len(p.text) - 1
		}
		if i >= 0 {
			all = append(all, &Error{Code: CodeDisallowedChar, Part: p.name, Offset: i})
		}
	}
	return all
}

func unassigned(r rune) bool {
	return r >= utf8.RuneSelf && unicode.Is(unicode.Cn, r)
}

// companions are the sets of scripts that people write together, beside any one script alone (UTS #39 §5.2, highly
// restrictive).
var companions = [][]string{
	{"Latin", "Han", "Hiragana", "Katakana"},
	{"Latin", "Han", "Bopomofo"},
	{"Latin", "Han", "Hangul"},
}

// mixedScript returns the octet of s at which a script comes in that does not go with the ones before it, or -1.
func mixedScript(s string) int {
	if firstNonASCII(s) < 0 {
		return -1
	}
	var seen []string
	for i, r := range s {
		script := scriptOf(r)
		if script == "" || slices.Contains(seen, script) {
			continue
		}
		seen = append(seen, script)
		if len(seen) > 1 && !together(seen) {
			return i
		}
	}
	return -1
}

func together(scripts []string) bool {
	for _, set := range companions {
		fits := true
		for _, s := range scripts {
			fits = fits && slices.Contains(set, s)
		}
		if fits {
			return true
		}
	}
	return false
}

// scriptOf returns the script of r, or "" for characters that all scripts share.
func scriptOf(r rune) string {
	if r < utf8.RuneSelf {
		if r|0x20 >= 'a' && r|0x20 <= 'z' {
			return "Latin"
		}
		return ""
	}
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return ""
}
