package jose

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A scanner walks over JSON text (RFC 8259) that is known to be valid UTF-8.
type scanner struct {
	text string
	at   int
}

// peek returns the next byte, and 0 at the end. No JSON value begins with 0.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// skip steps over c if it comes next, and reports whether it did.
func (s *scanner) skip(c byte) bool {
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// end returns an error if anything but white space follows the value.
func (s *scanner) end() error {
	s.space()
	if s.at != len(s.text) {
		return errJSON
	}
	return nil
}

// value skips one value. The depth is that of the object or array around it.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth+1, nil)
	case c == '[':
		if depth >= maxDepth {
			return errDeep
		}
		return s.array(func() error { return s.value(depth + 1) })
	case c == '"':
		_, err := s.str()
		return err
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(s.text[s.at:], word) {
			s.at += len(word)
			return nil
		}
	}
	return errJSON
}

// object skips an object. It calls fn, unless fn is nil, with the name of each member and the position of its value.
func (s *scanner) object(depth int, fn func(name string, from, to int) error) error {
	if depth > maxDepth {
		return errDeep
	}
	s.at++ // {
	s.space()
	if s.skip('}') {
		return nil
	}
	var seen names
	for {
		if s.peek() != '"' {
			return errJSON
		}
		name, err := s.str()
		if err != nil {
			return err
		}
		if !seen.add(name) {
			return errTwice
		}
		s.space()
		if !s.skip(':') {
			return errJSON
		}
		s.space()
		from := s.at
		if err := s.value(depth); err != nil {
			return err
		}
		if fn != nil {
			if err := fn(name, from, s.at); err != nil {
				return err
			}
		}
		s.space()
		if s.skip('}') {
			return nil
		}
		if !s.skip(',') {
			return errJSON
		}
		s.space()
	}
}

// array skips an array. It calls element at the start of each value.
func (s *scanner) array(element func() error) error {
	s.at++ // [
	s.space()
	if s.skip(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		s.space()
		if s.skip(']') {
			return nil
		}
		if !s.skip(',') {
			return errJSON
		}
		s.space()
	}
}

func (s *scanner) number() error {
	s.skip('-')
	if !s.skip('0') && !s.digits() {
		return errJSON
	}
	if s.skip('.') && !s.digits() {
		return errJSON
	}
	if s.skip('e') || s.skip('E') {
		if !s.skip('+') {
			s.skip('-')
		}
		if !s.digits() {
			return errJSON
		}
	}
	return nil
}

// digits skips digits and reports whether there were any.
func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}

// str returns the value of the string that begins here. Without escapes it shares memory with the text.
func (s *scanner) str() (string, error) {
	s.at++ // "
	start := s.at
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			s.at++
			return s.text[start : s.at-1], nil
		case c == '\\':
			return s.escaped(s.text[start:s.at])
		case c < ' ':
			return "", errJSON
		}
		s.at++
	}
	return "", errJSON
}

// escaped returns the string that begins with head and continues with an escape.
func (s *scanner) escaped(head string) (string, error) {
	out := []byte(head)
	for s.at < len(s.text) {
		c := s.text[s.at]
		s.at++
		switch {
		case c == '"':
			return string(out), nil
		case c < ' ':
			return "", errJSON
		case c != '\\':
			out = append(out, c)
			continue
		}
		escape := s.peek()
		s.at++
		if escape == 'u' {
			r, ok := s.hex4()
			if utf16.IsSurrogate(r) && ok {
				// RFC 7493 §2.1: surrogates come only in pairs.
				if ok = strings.HasPrefix(s.text[s.at:], `\u`); ok {
					s.at += 2
					var low rune
					low, ok = s.hex4()
					r = utf16.DecodeRune(r, low)
					ok = ok && r != utf8.RuneError
				}
			}
			if !ok {
				return "", errJSON
			}
			out = utf8.AppendRune(out, r)
			continue
		}
		i := strings.IndexByte(`"\/bfnrt`, escape)
		if i < 0 {
			return "", errJSON
		}
		out = append(out, "\"\\/\b\f\n\r\t"[i])
	}
	return "", errJSON
}

// hex4 reads the four digits of a \u escape.
func (s *scanner) hex4() (rune, bool) {
	if len(s.text)-s.at < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(s.text[s.at:s.at+4], 16, 16)
	s.at += 4
	return rune(n), err == nil
}

// names is the set of an object's member names. The first few are compared one by one, the others are in a map, so that the cost
// of an object with many names grows only with its length.
type names struct {
	few  [12]string
	n    int
	many map[string]struct{}
}

// add reports whether name is new.
func (u *names) add(name string) bool {
	for _, known := range u.few[:u.n] {
		if known == name {
			return false
		}
	}
	if u.n < len(u.few) {
		u.few[u.n] = name
		u.n++
		return true
	}
	if u.many == nil {
		u.many = make(map[string]struct{})
	}
	if _, twice := u.many[name]; twice {
		return false
	}
	u.many[name] = struct{}{}
	return true
}
