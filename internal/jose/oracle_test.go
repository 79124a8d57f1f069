package jose_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The fuzz tests in this file's neighbours compare this package with jwx, an implementation that shares no code with it. Each
// of them holds: an input is accepted by both, and read in the same way, or refused by both, or a rule below tells why one
// of the two refuses it. A rule looks at the input with encoding/json alone, never with this package.

// A rule explains a difference between this package and jwx.
type rule[T any] struct {
	name string
	when func(T) bool
}

// explain fails the test if none of the rules explains the difference.
func explain[T any](t *testing.T, rules []rule[T], in T, difference string, args ...any) {
	t.Helper()
	for _, r := range rules {
		if r.when(in) {
			return
		}
	}
	t.Errorf(difference+"; no rule explains this", args...)
}

// A document is JSON text as encoding/json sees it.
type document struct {
	text    []byte
	members map[string]json.RawMessage // of the one object; nil if it is none
	depth   int
	twice   bool // an object has a member twice
	huge    bool // a number is beyond float64
}

func readDocument(text []byte) document {
	d := document{text: text}
	if json.Unmarshal(text, &d.members) != nil {
		d.members = nil
	}
	type level struct {
		names map[string]bool // nil: an array
		value bool            // a value comes next
	}
	var levels []level
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err != nil {
			if err != io.EOF {
				d.members = nil
			}
			return d
		}
		if number, ok := token.(json.Number); ok {
			_, err := number.Float64()
			d.huge = d.huge || err != nil
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			levels = levels[:len(levels)-1]
			continue
		}
		if n := len(levels); n > 0 && levels[n-1].names != nil {
			if top := &levels[n-1]; !top.value {
				name := token.(string)
				d.twice = d.twice || top.names[name]
				top.names[name], top.value = true, true
				continue
			}
			levels[n-1].value = false
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{names: make(map[string]bool)})
		case json.Delim('['):
			levels = append(levels, level{})
		}
		d.depth = max(d.depth, len(levels))
	}
}

// has reports whether one of the members is there.
func (d document) has(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return d.members[name] != nil })
}

// str returns a member that is a string, and "" for any other.
func (d document) str(name string) string {
	var s string
	if json.Unmarshal(d.members[name], &s) != nil {
		return ""
	}
	return s
}

// isString reports whether a member is a string, or is absent.
func (d document) isString(name string) bool {
	raw := bytes.TrimLeft(d.members[name], " \t\r\n")
	return len(raw) == 0 || raw[0] == '"'
}

var (
	surrogate = regexp.MustCompile(`(?i)\\ud[89a-f][0-9a-f]{2}`)
	pair      = regexp.MustCompile(`(?i)\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}`)
)

// strictJSON are the rules by which this package refuses JSON that jwx reads; known are the members whose names must be
// written exactly.
func strictJSON(known ...string) []rule[document] {
	return []rule[document]{
		{"text is UTF-8", func(d document) bool { return !utf8.Valid(d.text) }},
		{"surrogates come in pairs", func(d document) bool { return surrogate.Match(pair.ReplaceAll(d.text, nil)) }},
		{"objects and arrays are nested at most 32 levels deep", func(d document) bool { return d.depth > 32 }},
		{"no object has the same member twice", func(d document) bool { return d.twice }},
		{"a known member is written in its own case", func(d document) bool {
			for name := range d.members {
				for _, k := range known {
					if name != k && strings.EqualFold(name, k) {
						return true
					}
				}
			}
			return false
		}},
	}
}

// laxerJSON are the rules by which jwx refuses JSON that this package reads.
var laxerJSON = []rule[document]{
	{"jwx reads a number in an unknown member as a float64; here it is only skipped", func(d document) bool { return d.huge }},
}

// with translates rules about a document into rules about an input that holds one.
func with[T any](of func(T) document, rules []rule[document]) []rule[T] {
	var list []rule[T]
	for _, r := range rules {
		list = append(list, rule[T]{r.name, func(in T) bool { return r.when(of(in)) }})
	}
	return list
}

// canonical reports whether s is base64url in its only spelling (RFC 7515 §2).
func canonical(s string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil && base64.RawURLEncoding.EncodeToString(raw) == s
}

// lenient decodes base64 as jwx does: with or without padding, in either alphabet.
func lenient(s string) []byte {
	s = strings.NewReplacer("+", "-", "/", "_", "\r", "", "\n", "").Replace(strings.TrimRight(s, "="))
	raw, _ := base64.RawURLEncoding.DecodeString(s)
	return raw
}

// TestRules checks that the rules have names of their own, and that no good document gives a reason.
func TestRules(t *testing.T) {
	good := readDocument([]byte(`{"alg":"ES256","x":{"alg":[1,"\ud83d\ude00"]},"y":null}`))
	if good.members == nil || good.depth != 3 || good.twice || good.str("alg") != "ES256" {
		t.Fatalf("readDocument = %+v", good)
	}
	for _, r := range append(strictJSON("alg", "typ"), laxerJSON...) {
		if r.when(good) {
			t.Errorf("rule %q gives a reason to refuse %s", r.name, good.text)
		}
	}
}
