// Package errtext writes text in the characters that OAuth allows in the values of `error` and `error_description`:
// printable ASCII without quotation marks and backslashes (NQSCHAR of RFC 6749 Appendix A, §4.1.2.1 and §5.2; RFC 6750 §3).
package errtext

import "strings"

// Clean returns text with every character that is not allowed replaced: a quotation mark or backslash by an apostrophe,
// any other by a question mark.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case allowed(r):
			return r
		case r == '"' || r == '\\':
			return '\''
		}
		return '?'
	}, text)
}

// Strip returns text without the characters that are not allowed.
func Strip(text string) string {
	return strings.Map(func(r rune) rune {
		if allowed(r) {
			return r
		}
		return -1
	}, text)
}

// Quote returns value in apostrophes and cleaned, for an error that names a wrong value. Of a value longer than max bytes, the
// first max bytes and three dots are shown.
func Quote(value string, max int) string {
	end := ""
	if len(value) > max {
		value, end = value[:max], "..."
	}
	return "'" + Clean(value) + end + "'"
}

func allowed(r rune) bool { return r >= ' ' && r <= '~' && r != '"' && r != '\\' }
