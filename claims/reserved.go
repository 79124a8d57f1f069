package claims

import "strings"

// Names that never belong to a provider (RFC 6761, RFC 6762, RFC 7686, RFC 9476, and .internal, which ICANN reserved), and names for
// tests and examples (RFC 2606), which are allowed in development.
var (
	reservedSuffixes    = []string{"invalid", "localhost", "local", "internal", "onion", "arpa", "alt"}
	developmentSuffixes = []string{"test", "example", "example.com", "example.net", "example.org"}
)

// CheckDomain returns the canonical form of a domain in which identifiers may be issued or trusted. The errors [CodeReservedDomain]
// and [CodeSingleLabel] are for names without an owner that others could reach. Development also accepts single labels, such as
// localhost, and names for tests and examples.
func CheckDomain(domain string, development bool) (string, error) {
	whole, err := wholeText(domain)
	if err != nil {
		return "", err
	}
	whole.name = PartDomain
	name, err := readDomain(whole, development)
	if err != nil {
		return "", err
	}
	if reserved(name, development) {
		return "", whole.fail(CodeReservedDomain, 0)
	}
	return name, nil
}

// reserved reports whether a canonical domain is reserved.
func reserved(domain string, development bool) bool {
	if development && !strings.Contains(domain, ".") {
		return false
	}
	return under(domain, reservedSuffixes) || !development && under(domain, developmentSuffixes)
}

func under(domain string, suffixes []string) bool {
	for _, suffix := range suffixes {
		if rest, ok := strings.CutSuffix(domain, suffix); ok && (rest == "" || strings.HasSuffix(rest, ".")) {
			return true
		}
	}
	return false
}
