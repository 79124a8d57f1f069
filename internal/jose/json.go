package jose

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDepth is how deeply objects and arrays may be nested. The deepest object of this service has four levels.
const maxDepth = 32

// The errors do not contain the text, because it may come from a token.
var (
	errJSON      = errors.New("not one well-formed JSON value")
	errNotObject = errors.New("not a JSON object")
	errNotArray  = errors.New("not a JSON array")
	errNotString = errors.New("not a JSON string")
	errNotList   = errors.New("not a JSON array of strings")
	errNotDate   = errors.New("not a number of seconds since 1970")
	errUTF8      = errors.New("not valid UTF-8")
	errTwice     = errors.New("an object contains the same member twice")
	errDeep      = errors.New("nested too deeply")
)

// Object calls fn for each member of the JSON object in data, in the order of the text. The name is unescaped. The value is the
// member's raw JSON, a slice of data.
//
// It refuses invalid UTF-8, repeated member names in an object at any depth (RFC 7515 §4 and RFC 7519 §4 leave the choice; two
// readers must not differ), halves of surrogate pairs, nesting beyond 32 levels, and text after the object. An error of fn ends
// the walk and is returned unchanged. A fault may be at the end of the text, so the values that fn received count only after
// Object has returned nil.
func Object(data []byte, fn func(name string, value []byte) error) error {
	s := scanner{text: string(data)}
	return s.whole(func(name string, from, to int) error { return fn(name, data[from:to:to]) })
}

// ObjectText is [Object] with the values as text. They are parts of one copy of data, so that [String] copies none of them again.
func ObjectText[T rawJSON](data T, fn func(name, value string) error) error {
	s := scanner{text: string(data)}
	return s.whole(func(name string, from, to int) error { return fn(name, s.text[from:to]) })
}

// whole walks over a text that must be one object.
func (s *scanner) whole(fn func(name string, from, to int) error) error {
	if !utf8.ValidString(s.text) {
		return errUTF8
	}
	s.space()
	if s.peek() != '{' {
		return errNotObject
	}
	if err := s.object(1, fn); err != nil {
		return err
	}
	return s.end()
}

// ArrayText calls fn with the raw text of each value of the JSON array in data. It is as strict as [Object].
func ArrayText[T rawJSON](data T, fn func(value string) error) error {
	s := scanner{text: string(data)}
	if !utf8.ValidString(s.text) {
		return errUTF8
	}
	s.space()
	if s.peek() != '[' {
		return errNotArray
	}
	err := s.array(func() error {
		from := s.at
		if err := s.value(1); err != nil {
			return err
		}
		return fn(s.text[from:s.at])
	})
	if err != nil {
		return err
	}
	return s.end()
}

// rawJSON is the type of a raw value, as [Object] and [ObjectText] find it.
type rawJSON interface{ ~string | ~[]byte }

// CheckCase returns an error if name differs from one of known only in the case of its letters. A reader that
// folds case, as encoding/json does, would read such a member as the known one. Call it for every name that is not
// known; [ReadMembers] does so by itself.
func CheckCase(name string, known []string) error {
	for _, k := range known {
		if err := checkCase(name, k); err != nil {
			return err
		}
	}
	return nil
}

func checkCase(name, known string) error {
	if len(name) >= len(known) && name != known && strings.EqualFold(name, known) {
		return fmt.Errorf("member %s differs only in case from a known one", known)
	}
	return nil
}

// String returns the value of raw, which must be one JSON string.
func String[T rawJSON](raw T) (string, error) {
	s := scanner{text: string(raw)}
	if s.peek() != '"' {
		return "", errNotString
	}
	if !utf8.ValidString(s.text) {
		return "", errUTF8
	}
	v, err := s.str()
	if err != nil {
		return "", err
	}
	return v, s.end()
}

// Strings returns the values of raw, which must be one JSON array of strings. An empty array is an empty,
// non-nil slice.
func Strings[T rawJSON](raw T) ([]string, error) {
	s := scanner{text: string(raw)}
	if s.peek() != '[' {
		return nil, errNotList
	}
	if !utf8.ValidString(s.text) {
		return nil, errUTF8
	}
	list := []string{}
	err := s.array(func() error {
		if s.peek() != '"' {
			return errNotList
		}
		v, err := s.str()
		list = append(list, v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, s.end()
}

// lastSecond is 9999-12-31T23:59:59Z. Milliseconds since 1970 have been beyond it since 1978.
const lastSecond = 253402300799

// NumericDate returns the time of raw, a NumericDate (RFC 7519 §2): a JSON number of seconds since 1970, from 0 to the end of the
// year 9999, in any notation (1.6534558e9). It drops a fraction. The time is in UTC. Times in milliseconds are out of range.
func NumericDate[T rawJSON](raw T) (time.Time, error) {
	s := scanner{text: string(raw)}
	if c := s.peek(); c < '0' || c > '9' {
		return time.Time{}, errNotDate
	}
	if err := s.number(); err != nil {
		return time.Time{}, errNotDate
	}
	if s.at != len(s.text) {
		return time.Time{}, errNotDate
	}
	seconds, err := strconv.ParseInt(s.text, 10, 64)
	if err != nil {
		f, err := strconv.ParseFloat(s.text, 64)
		if err != nil || f > lastSecond {
			return time.Time{}, errNotDate
		}
		seconds = int64(math.Floor(f))
	}
	if seconds > lastSecond {
		return time.Time{}, errNotDate
	}
	return time.Unix(seconds, 0).UTC(), nil
}
