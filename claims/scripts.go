package claims

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// A Restriction is a restriction level of UTS #39 §5.2: it limits how a name may mix scripts. All except [Unrestricted] also refuse
// digits of two decimal systems in one name (§5.3). The allowed characters follow from the profiles of the system (RFC 8264), not
// from the identifier profile of UTS #39.
type Restriction string

// The levels, as in settings. The empty string is [ModeratelyRestrictive].
const (
	// ASCIIOnly refuses all characters beyond ASCII.
	ASCIIOnly Restriction = "ascii_only"
	// SingleScript requires one script. Japanese, Korean, and Bopomofo with Han count as one.
	SingleScript Restriction = "single_script"
	// HighlyRestrictive also allows Latin with Japanese, with Korean, or with Han and Bopomofo.
	HighlyRestrictive Restriction = "highly_restrictive"
	// ModeratelyRestrictive also allows Latin with one other recommended script, except Cyrillic and Greek, whose letters look
	// too similar.
	ModeratelyRestrictive Restriction = "moderately_restrictive"
	// Unrestricted allows any mixture. Names that look alike still have equal collision keys.
	Unrestricted Restriction = "unrestricted"
)

// Valid reports whether l is a level.
func (l Restriction) Valid() bool {
	switch l {
	case "", ASCIIOnly, SingleScript, HighlyRestrictive, ModeratelyRestrictive, Unrestricted:
		return true
	}
	return false
}

// A scriptSet is a set of scripts, by their index in scriptIndex.
type scriptSet [4]uint64

func (s *scriptSet) add(i int)    { s[i/64] |= 1 << (i % 64) }
func (s *scriptSet) remove(i int) { s[i/64] &^= 1 << (i % 64) }

func (s scriptSet) and(t scriptSet) scriptSet {
	for i := range s {
		s[i] &= t[i]
	}
	return s
}

func (s scriptSet) empty() bool { return s == scriptSet{} }

// A scriptExtension is a range of code points and the scripts that use them.
type scriptExtension struct {
	from, to rune
	scripts  string
}

// A scriptRange is a range of code points and the set of scripts that use them.
type scriptRange struct {
	from, to rune
	scripts  scriptSet
}

// scriptData are the augmented script sets of UTS #39 §5.1.
type scriptData struct {
	latin      scriptSet
	eastAsian  scriptSet // the three writing systems that HighlyRestrictive allows with Latin
	moderate   scriptSet // the scripts that ModeratelyRestrictive allows with Latin
	all        scriptSet
	ranges     []scriptRange // by script, in order
	extensions []scriptRange // these have precedence
}

var scriptTables = sync.OnceValue(func() *scriptData {
	// Writing systems of several scripts (UTS #39 §5.1): Han with Bopomofo, Japanese and Korean.
	systems := map[string][]string{
		"Bopomofo": {"Hanb"}, "Han": {"Hanb", "Jpan", "Kore"}, "Hangul": {"Kore"}, "Hiragana": {"Jpan"}, "Katakana": {"Jpan"},
	}
	index := map[string]int{"Hanb": 0, "Jpan": 1, "Kore": 2}
	names := slices.Sorted(maps.Keys(unicode.Scripts))
	for _, name := range names {
		index[name] = len(index)
	}
	d := &scriptData{all: scriptSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}}
	set := func(names ...string) (s scriptSet) {
		for _, name := range names {
			if name == "Common" || name == "Inherited" {
				return d.all
			}
			s.add(index[name])
			for _, system := range systems[name] {
				s.add(index[system])
			}
		}
		return s
	}
	d.latin, d.eastAsian, d.moderate = set("Latin"), set("Hanb", "Jpan", "Kore"), set(recommendedScripts...)
	for _, name := range []string{"Latin", "Cyrillic", "Greek"} {
		d.moderate.remove(index[name])
	}
	for _, name := range names {
		scripts := set(name)
		for _, r := range unicode.Scripts[name].R16 {
			d.addRange(rune(r.Lo), rune(r.Hi), rune(r.Stride), scripts)
		}
		for _, r := range unicode.Scripts[name].R32 {
			d.addRange(rune(r.Lo), rune(r.Hi), rune(r.Stride), scripts)
		}
	}
	slices.SortFunc(d.ranges, func(a, b scriptRange) int { return cmp.Compare(a.from, b.from) })
	for _, e := range scriptExtensions {
		d.extensions = append(d.extensions, scriptRange{e.from, e.to, set(strings.Fields(e.scripts)...)})
	}
	return d
})

func (d *scriptData) addRange(from, to, stride rune, scripts scriptSet) {
	if stride == 1 {
		d.ranges = append(d.ranges, scriptRange{from, to, scripts})
		return
	}
	for r := from; r <= to; r += stride {
		d.ranges = append(d.ranges, scriptRange{r, r, scripts})
	}
}

// of returns the scripts that use r: all scripts for a character that they share.
func (d *scriptData) of(r rune) scriptSet {
	if r < utf8.RuneSelf && r|0x20 >= 'a' && r|0x20 <= 'z' {
		return d.latin
	} else if r < utf8.RuneSelf {
		return d.all
	}
	for _, ranges := range [][]scriptRange{d.extensions, d.ranges} {
		i, found := slices.BinarySearchFunc(ranges, r, func(s scriptRange, r rune) int {
			switch {
			case s.to < r:
				return -1
			case s.from > r:
				return 1
			}
			return 0
		})
		if found {
			return ranges[i].scripts
		}
	}
	return d.all // unassigned code points are refused elsewhere
}

// mixedScript returns the position of the first character of s that must not be mixed with those before it, or -1.
func (l Restriction) mixedScript(s string) int {
	at := firstNonASCII(s)
	if at < 0 || l == Unrestricted {
		return -1
	}
	if l == ASCIIOnly {
		return at
	}
	d := scriptTables()
	// The scripts that all characters share so far, and those that may be mixed with Latin.
	single, beside := d.all, d.moderate
	eastAsian := d.eastAsian
	zero := rune(-1)
	for i, r := range s {
		scripts := d.of(r)
		single = single.and(scripts)
		if scripts.and(d.latin).empty() {
			beside, eastAsian = beside.and(scripts), eastAsian.and(scripts)
		}
		fits := !single.empty()
		if l != SingleScript {
			fits = fits || !eastAsian.empty()
		}
		if l == ModeratelyRestrictive || l == "" {
			fits = fits || !beside.empty()
		}
		if z, ok := zeroOf(r); ok { // UTS #39 §5.3
			fits = fits && (zero < 0 || zero == z)
			zero = z
		}
		if !fits {
			return i
		}
	}
	return -1
}

// isLatin reports whether only the Latin script uses r.
func isLatin(r rune) bool {
	d := scriptTables()
	return d.of(r) == d.latin
}
