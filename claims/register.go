package claims

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Names that only an administrator may give to a user. Those in protectedNames are also protected against look-alikes; the others
// have a meaning in messages to everyone.
var (
	protectedNames = []string{"admin", "administrator", "root", "postmaster", "abuse", "security", "support", "system"}
	reservedNames  = []string{"me", "everyone", "here", "all", "channel"}
)

// A Policy holds the requirements of a domain on new names, beyond their grammar. The zero Policy is the default. Checks that need
// the register of the domain (names that are taken, in quarantine, or another user's id) are made by its owner, with
// [CollisionKey].
type Policy struct {
	// Protected are additional names that may not be taken or imitated, such as the operator's brands and domains.
	Protected []string
	// Scripts limits how names may mix scripts. The zero value is [ModeratelyRestrictive].
	Scripts Restriction
	// Administrator permits reserved and protected names, but not their look-alikes.
	Administrator bool
	// Development also accepts domains that are reserved for tests and examples, and domains of one label.
	Development bool
}

// Check returns an [*Error] if id may not be registered: [CodeReservedDomain], [CodeDotSegment] for a name that no mimi: URI can
// contain, [CodeMixedScript], [CodeReservedHandle], [CodeConfusable], or [CodeDisallowedChar] for spaces at the ends, unassigned
// code points, and characters beyond ASCII if only ASCII is allowed. Offsets count from the start of the part.
func (p *Policy) Check(id ID) error {
	if id.domain != "" && reserved(id.domain, p.Development) {
		return &Error{Code: CodeReservedDomain, Part: PartDomain}
	}
	if err := id.segments(); err != nil {
		return err
	}
	if all := p.faults(id); len(all) > 0 {
		return all[0]
	}
	if id.typ != TypeHandle && !(id.system == SystemMIMI && id.typ == TypeUser) {
		return nil
	}
	switch exact, alike := p.guarded(id.local); {
	case exact && !p.Administrator:
		return &Error{Code: CodeReservedHandle, Part: PartLocal}
	case alike != "" && !exact:
		return &Error{Code: CodeConfusable, Part: PartLocal, Like: alike}
	}
	return nil
}

// Warnings returns warnings to show beside an identifier of another party, which is valid nevertheless: [CodeMixedScript] and
// [CodeConfusable] in name or domain, [CodeDisallowedChar] for spaces at the ends and unassigned code points. A name is
// confusable if it looks like a protected one, or if it has letters beyond ASCII and the whole can be mistaken for ASCII (UTS #39
// §4.1), which [Error.Like] then holds. Offsets count from the start of the part.
func (p *Policy) Warnings(id ID) []*Error {
	all := p.faults(id)
	like := imitated(id.local)
	if exact, alike := p.guarded(id.local); alike != "" && !exact {
		like = alike
	}
	if like != "" {
		all = append(all, &Error{Code: CodeConfusable, Part: PartLocal, Like: like})
	}
	at := 0
	for label := range strings.SplitSeq(displayDomain(id.domain), ".") {
		if i := ModeratelyRestrictive.mixedScript(label); i >= 0 {
			all = append(all, &Error{Code: CodeMixedScript, Part: PartDomain, Offset: at + i})
		} else if like := imitated(label); like != "" {
			all = append(all, &Error{Code: CodeConfusable, Part: PartDomain, Offset: at, Like: like})
		}
		at += len(label) + 1
	}
	return all
}

// imitated returns the ASCII name that the whole of name can be mistaken for, or "". Latin letters that look like two letters, such
// as æ, do not count.
func imitated(name string) string {
	if firstNonASCII(name) < 0 {
		return ""
	}
	imitates := false
	name = folded(name)
	for _, r := range name {
		if r < utf8.RuneSelf || ignorable(r) {
			continue
		}
		s := prototype(r)
		if firstNonASCII(s) >= 0 {
			return ""
		}
		imitates = imitates || len(s) == 1 || s == "rn" || s == "vv" || !isLatin(r)
	}
	if !imitates {
		return ""
	}
	return pairs.Replace(skeleton(name))
}

// pairs are the letters whose prototype has two letters.
var pairs = strings.NewReplacer("rn", "m", "vv", "w")

// guarded reports whether name is protected or reserved, and the protected name that it looks like, if any.
func (p *Policy) guarded(name string) (exact bool, alike string) {
	for _, r := range reservedNames {
		exact = exact || name == r
	}
	key := resemblance(name)
	for _, list := range [][]string{protectedNames, p.Protected} {
		for _, r := range list {
			exact = exact || name == lowerASCII(r)
			if alike == "" && key == resemblance(r) {
				alike = lowerASCII(r)
			}
		}
	}
	return exact, alike
}

// faults returns the faults that are refused at registration and are warnings otherwise.
func (p *Policy) faults(id ID) []*Error {
	var all []*Error
	for _, part := range []struct{ name, text string }{{PartLocal, id.local}, {PartDevice, id.device}} {
		if i := p.Scripts.mixedScript(part.text); i >= 0 {
			code := CodeMixedScript
			if p.Scripts == ASCIIOnly {
				code = CodeDisallowedChar
			}
			all = append(all, &Error{Code: code, Part: part.name, Offset: i})
		}
		i := strings.IndexFunc(part.text, unassigned)
		switch {
		case strings.HasPrefix(part.text, " "):
			i = 0
		case strings.HasSuffix(part.text, " "):
			i = len(part.text) - 1
		}
		if i >= 0 {
			all = append(all, &Error{Code: CodeDisallowedChar, Part: part.name, Offset: i})
		}
	}
	return all
}

func unassigned(r rune) bool {
	return r >= utf8.RuneSelf && unicode.Is(unicode.Cn, r)
}
