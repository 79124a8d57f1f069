package claims

import (
	"net/netip"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

const (
	maxDomain = 253
	maxLabel  = 63
	// maxRawDomain limits a domain before mapping, because the cost of Punycode is not linear in its length.
	maxRawDomain = 4 * maxDomain
)

// uts46 maps and checks as in UTS #46 §4, without transitional processing. ValidateLabels includes the check of hyphens in the
// third and fourth place.
var uts46 = idna.New(
	idna.MapForLookup(), idna.Transitional(false), idna.BidiRule(), idna.CheckJoiners(true), idna.CheckHyphens(true),
	idna.StrictDomainName(true), idna.ValidateLabels(true), idna.VerifyDNSLength(true),
)

// dots maps the full stops that UTS #46 §2.3 treats as U+002E.
var dots = strings.NewReplacer("\u3002", ".", "\uFF0E", ".", "\uFF61", ".")

// readDomain returns the domain in lower-case A-labels without trailing dot. A single label is refused unless allowed.
func readDomain(p part, singleLabel bool) (string, error) {
	s := p.text
	if s == "" {
		return "", failRaw(p, CodeMissingDomain, 0)
	}
	if at, code := checkHost(s); code != "" {
		return "", failRaw(p, code, at)
	}
	if !plainDomain(s) {
		mapped, ok := mapDomain(s)
		if !ok {
			return "", failRaw(p, CodeBadDomain, 0)
		}
		s = mapped
	}
	last := s[strings.LastIndexByte(s, '.')+1:]
	switch {
	case s == "":
		return "", failRaw(p, CodeMissingDomain, 0)
	case strings.Trim(last, digits) == "":
		return "", failRaw(p, CodeIPNotAllowed, 0) // RFC 1123 §2.1: no top-level domain is a number
	case len(last) == len(s) && !singleLabel:
		return "", failRaw(p, CodeSingleLabel, 0)
	}
	return s, nil
}

// checkHost returns the fault of a host that is not a domain: an IP address, a port, or a colon without a port.
func checkHost(s string) (int, Code) {
	if s[0] == '[' {
		return 0, CodeIPNotAllowed
	}
	colon := strings.IndexByte(s, ':')
	if colon < 0 {
		return 0, ""
	}
	host, port, _ := strings.Cut(s, ":")
	_, bare := netip.ParseAddr(s)        // IPv6 without brackets
	_, withPort := netip.ParseAddr(host) // IPv4 and a port
	switch {
	case bare == nil || withPort == nil:
		return 0, CodeIPNotAllowed
	case host == "":
		return 0, CodeMissingDomain
	case strings.Trim(port, digits) == "":
		return colon, CodePortNotAllowed
	}
	return colon, CodeBadDomain
}

// plainDomain reports whether s is a domain of lower-case ASCII labels without an A-label. Mapping does not change such a domain.
func plainDomain(s string) bool {
	if s == "" || len(s) > maxDomain {
		return false
	}
	label := 0 // where it starts
	for i := 0; i <= len(s); i++ {
		if i == len(s) || s[i] == '.' {
			n := i - label
			if n == 0 || n > maxLabel || s[label] == '-' || s[i-1] == '-' || n > 3 && s[label+2] == '-' && s[label+3] == '-' {
				return false
			}
			label = i + 1
			continue
		}
		if c := s[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// mapDomain maps any spelling of a domain to its A-labels.
func mapDomain(s string) (string, bool) {
	if len(s) > maxRawDomain {
		return "", false
	}
	s = strings.TrimSuffix(dots.Replace(s), ".")
	if s == "" {
		return "", true
	}
	ascii, err := uts46.ToASCII(s)
	if err != nil || len(ascii) > maxDomain {
		return "", false
	}
	ascii = lowerASCII(ascii)
	text, err := uts46.ToUnicode(ascii)
	if err != nil {
		return "", false
	}
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || !letters(label) {
			return "", false
		}
	}
	// An A-label that changes when it is decoded and encoded again would be a second spelling (RFC 5891 §4.2.1).
	again, err := uts46.ToASCII(text)
	return ascii, err == nil && again == ascii
}

// letters reports whether every code point of a U-label is a letter, mark, decimal digit or hyphen, or one of the
// characters that RFC 5892 appendix A allows in context. Package idna accepts symbols and emoji.
func letters(label string) bool {
	var prev rune
	var katakanaDot, han, arabicIndic, extendedArabicIndic bool
	for i, r := range label {
		switch {
		case r == 0x00B7: // A.3: between two l's
			if prev != 'l' || !strings.HasPrefix(label[i+2:], "l") {
				return false
			}
		case r == 0x30FB: // A.7: in a label that has Hiragana, Katakana or Han
			katakanaDot = true
		case r == 0x200C, r == 0x200D: // A.1 and A.2 are idna's joiner check
		case r == '-', unicode.In(r, unicode.L, unicode.M, unicode.Nd):
			han = han || unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Han)
			arabicIndic = arabicIndic || 0x0660 <= r && r <= 0x0669
			extendedArabicIndic = extendedArabicIndic || 0x06F0 <= r && r <= 0x06F9
		default:
			return false
		}
		prev = r
	}
	return (!katakanaDot || han) && !(arabicIndic && extendedArabicIndic) // A.8 and A.9: one kind of digit
}

// displayDomain returns the U-labels of a canonical domain.
func displayDomain(domain string) string {
	if !strings.Contains(domain, "xn--") {
		return domain
	}
	text, err := uts46.ToUnicode(domain)
	if err != nil {
		return domain
	}
	return text
}
