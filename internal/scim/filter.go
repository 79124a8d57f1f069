package scim

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
)

// Bounds of a filter.
const (
	maxFilter      = 2048 // bytes
	maxComparisons = 16
	maxNesting     = 8
)

// A Filter is a conjunction of comparisons by eq (RFC 7644 §3.4.2.2). The empty filter matches every user.
type Filter []Comparison

// A Comparison compares an attribute with a value.
type Comparison struct {
	// Attribute is userName, externalId, id or active.
	Attribute string
	Text      string // unless the attribute is active
	Active    bool
}

// String writes a filter in its shortest form.
func (f Filter) String() string {
	var parts []string
	for _, c := range f {
		value := strconv.FormatBool(c.Active)
		if c.Attribute != "active" {
			text, err := json.Marshal(c.Text)
			if err != nil { // a string always has a form in JSON
				panic(err)
			}
			value = string(text)
		}
		parts = append(parts, c.Attribute+" eq "+value)
	}
	return strings.Join(parts, " and ")
}

// filterable are the attributes of filters, in lower case.
var filterable = map[string]string{"username": "userName", "externalid": "externalId", "id": "id", "active": "active"}

// ParseFilter reads a filter: comparisons of userName, externalId, id and active by eq, joined by and, in parentheses or not. The error is
// an [*Error] with invalidFilter.
func ParseFilter(text string) (Filter, error) {
	if len(text) > maxFilter {
		return nil, badFilter("it is longer than %d bytes", maxFilter)
	}
	p := filterParser{rest: text}
	if err := p.conjunction(0); err != nil {
		return nil, err
	}
	if p.space(); p.rest != "" {
		return nil, p.unexpected()
	}
	return p.found, nil
}

func badFilter(format string, args ...any) error {
	return &Error{400, InvalidFilter, "The filter cannot be used: " + fmt.Sprintf(format, args...) + "."}
}

type filterParser struct {
	rest  string
	found Filter
}

func (p *filterParser) space() { p.rest = strings.TrimLeft(p.rest, " ") }

// word takes the text up to a space or a parenthesis.
func (p *filterParser) word() string {
	end := strings.IndexAny(p.rest, " ()")
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

func (p *filterParser) unexpected() error {
	if p.rest == "" {
		return badFilter("it ends too early")
	}
	return badFilter("%q is not expected there: comparisons by eq, joined by and, are supported", shortened(p.rest))
}

// shortened returns the beginning of a text of the request.
func shortened(text string) string {
	const most = 32
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// conjunction reads comparisons that are joined by and, up to a closing parenthesis or the end.
func (p *filterParser) conjunction(depth int) error {
	for {
		p.space()
		if strings.HasPrefix(p.rest, "(") {
			if depth == maxNesting {
				return badFilter("parentheses are nested more than %d times", maxNesting)
			}
			p.rest = p.rest[1:]
			if err := p.conjunction(depth + 1); err != nil {
				return err
			}
			if p.space(); !strings.HasPrefix(p.rest, ")") {
				return p.unexpected()
			}
			p.rest = p.rest[1:]
		} else if err := p.comparison(); err != nil {
			return err
		}
		spaced := strings.HasPrefix(p.rest, " ")
		if p.space(); p.rest == "" || p.rest[0] == ')' {
			return nil
		}
		before := p.rest
		if !strings.EqualFold(p.word(), "and") || !spaced || !strings.HasPrefix(p.rest, " ") {
			p.rest = before
			return p.unexpected()
		}
	}
}

// comparison reads an attribute, eq and a value. Names and operators have no case (RFC 7644 §3.4.2.2).
func (p *filterParser) comparison() error {
	if p.rest == "" || p.rest[0] == ')' {
		return p.unexpected()
	}
	name := p.word()
	attribute, known := filterable[coreName(name)]
	if !known {
		return badFilter("%q is no attribute that can be compared: those are userName, externalId, id and active", shortened(name))
	}
	spaced := strings.HasPrefix(p.rest, " ")
	p.space()
	if op := p.word(); !strings.EqualFold(op, "eq") || !spaced {
		return badFilter("the operator %q is not supported: compare with eq", shortened(op))
	}
	spaced = strings.HasPrefix(p.rest, " ")
	if p.space(); !spaced || p.rest == "" {
		return p.unexpected()
	}
	c := Comparison{Attribute: attribute}
	var raw string
	if p.rest[0] == '"' {
		if raw = quoted(p.rest); raw == "" {
			return badFilter("a text has no end")
		}
		p.rest = p.rest[len(raw):]
	} else {
		raw = p.word()
	}
	if attribute == "active" {
		active, ok := boolean([]byte(raw))
		if !ok {
			return badFilter("active is true or false")
		}
		c.Active = active
	} else {
		text, err := jose.String(raw)
		if err != nil {
			return badFilter("the value of %s must be a text in quotes, as JSON writes it", attribute)
		}
		c.Text = text
	}
	if p.found = append(p.found, c); len(p.found) > maxComparisons {
		return badFilter("it has more than %d comparisons", maxComparisons)
	}
	return nil
}

// quoted returns the JSON string that a text begins with, with its quotes, or "" if it has no end.
func quoted(text string) string {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return text[:i+1]
		}
	}
	return ""
}
