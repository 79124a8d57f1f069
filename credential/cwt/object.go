package cwt

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/credential"
)

// lastSecond is 9999-12-31T23:59:59Z, as for the times of a JWT. Milliseconds since 1970 have been beyond it since 1978.
const lastSecond = 253402300799

var (
	errEmpty  = errors.New("empty")
	errText   = errors.New("not a text")
	errBytes  = errors.New("not a byte string")
	errUTF8   = errors.New("not the bytes of a text")
	errWhole  = errors.New("not a whole number")
	errTime   = errors.New("not a whole number of seconds since 1970")
	errMap    = errors.New("not a map")
	errTexts  = errors.New("neither a text nor an array of texts")
	errNumber = errors.New("must be named by its number")
	errCase   = errors.New("another name differs from it only in case")
)

// An object reads the values of a map by their keys. A key that is absent has the zero value. A value of another type, or one that would
// look like an absent one, is a fault. The first fault is kept.
type object struct {
	items map[any]any
	code  credential.Code // of the refusal
	part  string          // prefixed to the names in refusals; may be empty
	err   error
}

// fail keeps the first fault.
func (o *object) fail(name string, err error) {
	if o.err == nil {
		o.err = &credential.Error{Part: o.name(name), Code: o.code, Err: err}
	}
}

func (o *object) name(name string) string {
	if o.part == "" {
		return name
	}
	return o.part + ": " + name
}

// has reports whether there is a value.
func (o *object) has(label any) bool {
	_, ok := o.items[label]
	return ok
}

// require fails if a value is absent.
func (o *object) require(label any, name string) {
	if !o.has(label) {
		o.fail(name, errors.New("missing"))
	}
}

// forbid fails if there is a value.
func (o *object) forbid(label any, name, why string) {
	if o.has(label) {
		o.fail(name, errors.New(why))
	}
}

// text returns a text.
func (o *object) text(label any, name string) string {
	v, ok := o.items[label]
	if !ok {
		return ""
	}
	s, ok := v.(string)
	switch {
	case !ok:
		o.fail(name, errText)
	case s == "":
		o.fail(name, errEmpty)
	}
	return s
}

// bytes returns a byte string.
func (o *object) bytes(label any, name string) []byte {
	v, ok := o.items[label]
	if !ok {
		return nil
	}
	b, ok := v.([]byte)
	switch {
	case !ok:
		o.fail(name, errBytes)
	case len(b) == 0:
		o.fail(name, errEmpty)
	}
	return b
}

// id returns the text whose UTF-8 bytes are the byte string, as in cti.
func (o *object) id(label any, name string) string {
	s := string(o.bytes(label, name))
	if strings.ToValidUTF8(s, "") != s {
		o.fail(name, errUTF8)
	}
	return s
}

// whole returns a whole number that is not zero.
func (o *object) whole(label any, name string) int64 {
	switch v := o.items[label].(type) {
	case nil:
		if !o.has(label) {
			return 0
		}
	case uint64:
		if 0 < v && v <= math.MaxInt64 {
			return int64(v)
		}
	case int64:
		return v
	}
	o.fail(name, errWhole)
	return 0
}

// time returns a time. RFC 8392 §2 also allows fractions, which this package refuses.
func (o *object) time(label any, name string) time.Time {
	v, ok := o.items[label]
	if !ok {
		return time.Time{}
	}
	seconds, ok := v.(uint64)
	if !ok || seconds > lastSecond {
		o.fail(name, errTime)
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// texts returns the texts of an array that has some.
func (o *object) texts(label any, name string) []string {
	v, ok := o.items[label]
	if !ok {
		return nil
	}
	array, ok := v.([]any)
	if !ok {
		o.fail(name, errTexts)
		return nil
	}
	if len(array) == 0 {
		o.fail(name, errEmpty)
	}
	list := make([]string, 0, len(array))
	for _, e := range array {
		s, ok := e.(string)
		if !ok {
			o.fail(name, errTexts)
		}
		list = append(list, s)
	}
	return list
}

// audience returns the texts of a text or of an array of several (RFC 8392 §3.1.3).
func (o *object) audience(label any, name string) []string {
	if _, ok := o.items[label].(string); ok {
		return []string{o.text(label, name)}
	}
	list := o.texts(label, name)
	if len(list) == 1 || slices.Contains(list, "") {
		o.fail(name, errTexts)
	}
	return list
}

// object returns the map in a map, or nil.
func (o *object) object(label any, name string) *object {
	v, ok := o.items[label]
	if !ok {
		return nil
	}
	items, ok := v.(map[any]any)
	if !ok {
		o.fail(name, errMap)
		return nil
	}
	return &object{items: items, code: o.code, part: o.name(name)}
}

// done takes over the fault of a map in the map.
func (o *object) done(inner *object) {
	if o.err == nil {
		o.err = inner.err
	}
}

// onlyNames refuses a name that some reader might take for one of known, or for a claim that has a number.
func (o *object) onlyNames(known []string) {
	var others []string
	for label := range maps.Keys(o.items) {
		if name, ok := label.(string); ok && !slices.Contains(known, name) {
			others = append(others, name)
		}
	}
	slices.Sort(others)
	for _, name := range others {
		for _, k := range known {
			if strings.EqualFold(name, k) {
				o.fail(k, errCase)
			}
		}
		for _, k := range numbered {
			if strings.EqualFold(name, k) {
				o.fail(k, errNumber)
			}
		}
	}
}
