package nested

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/imidentity/issuer/claims"
)

// parser reads identifiers that have been checked.
var parser = claims.Parser{AllowSingleLabel: true}

// only reports whether s is made of letters, digits, dots, hyphens, underscores and the characters of more.
func only(s, more string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-"+more, r))
	})
}

// word returns s, in quotation marks unless it is a plain word.
func word(s string) string {
	if only(s, "") {
		return s
	}
	return quote(s)
}

// bare reports whether an identifier can be shown in a sentence in its native form: its parts are plain words, even after the
// A-labels of its domain are shown as U-labels.
func bare(id claims.ID) bool {
	if strings.ContainsFunc(claims.Display(id), func(r rune) bool { return r >= 0x7F }) {
		return false
	}
	for _, part := range []string{id.Domain(), id.Local(), id.Device()} {
		if part != "" && !only(part, "") {
			return false
		}
	}
	return true
}

// name returns the native form of an identifier if its parts are plain words, else its URI, which has neither spaces nor quotation
// marks. Text that is not an identifier is quoted.
func name(uri string) string {
	id, err := parser.Parse(uri)
	switch {
	case err != nil:
		return quote(uri)
	case bare(id):
		return claims.Display(id)
	}
	return id.String()
}

// issuerName returns the URL of an issuer, in quotation marks if it has unusual characters.
func issuerName(url string) string {
	if rest, ok := strings.CutPrefix(url, "https://"); ok && only(rest, ":/[]~") {
		return url
	}
	if rest, ok := strings.CutPrefix(url, "http://"); ok && only(rest, ":/[]~") {
		return url
	}
	return quote(url)
}

// scopeNames lists the words of a scope, separated by commas, so that they cannot form a sentence.
func scopeNames(scope string) string {
	words := strings.Fields(scope)
	for i, w := range words {
		if !only(w, ":/") {
			words[i] = quote(w)
		}
	}
	return strings.Join(words, ", ")
}

// quote returns s in quotation marks, without control characters. If s is not ASCII, isolates (UAX #9 §2.4) keep its direction from
// affecting the text around it. If it contains quotation marks of another script, which would seem to end it, it is written in
// ASCII.
func quote(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 0x7F && unicode.Is(unicode.Quotation_Mark, r) }) {
		return strconv.QuoteToASCII(s)
	}
	s = strconv.Quote(s)
	if strings.ContainsFunc(s, func(r rune) bool { return r >= 0x7F }) {
		return "\u2068" + s + "\u2069"
	}
	return s
}
