package verdict

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// maxPolicy is how many bytes the text of a policy may have.
const maxPolicy = 64 << 10

// ParsePolicy reads a policy:
//
//	{"version": 1,
//	 "methods": {"hierarchy": {"status": "required", "max_age": "15m"},
//	             "xsign":     {"hops": 1, "introducers": 2, "max_age": "30d"},
//	             "places":    {"need": 2, "min_age": "7d", "max_age": "7d"}},
//	 "decide":  [{"hierarchy": "good", "xsign": "good", "then": "verified"},
//	             {"hierarchy": "good", "then": "accepted"},
//	             {"then": "refused"}]}
//
// Methods, or members of them, that are absent are those of [DefaultPolicy]. An age is a whole number with s, m, h or d. A repeated or
// unknown member is an error, and so is a rule that is never reached, that contradicts a fixed rule, or that accepts without any
// method. The error is a [*PolicyError], or about the JSON.
func ParsePolicy(data []byte) (Policy, error) {
	if len(data) > maxPolicy {
		return Policy{}, fmt.Errorf("verdict: the policy has more than %d bytes", maxPolicy)
	}
	p := Policy{Methods: DefaultPolicy().Methods}
	version := 0
	err := readObject("", data, map[string]func(part string, raw []byte) error{
		"version": number(&version),
		"methods": p.Methods.read,
		"decide":  p.readRules,
	})
	if err != nil {
		return Policy{}, err
	}
	if version != 1 {
		return Policy{}, wrong("version", "must be 1")
	}
	if err := p.check(); err != nil {
		return Policy{}, err
	}
	p.checked = cloneRules(p.Decide)
	return p, nil
}

var errUnknownMember = errors.New("there is no such member")

// readObject reads an object whose members are all known. Part is the path of the object.
func readObject(part string, data []byte, members map[string]func(part string, raw []byte) error) error {
	err := jose.Object(data, func(name string, raw []byte) error {
		path := name
		if part != "" {
			path = part + "." + name
		}
		read := members[name]
		if read == nil {
			return &PolicyError{path, errUnknownMember}
		}
		return read(path, raw)
	})
	if refused := (*PolicyError)(nil); err == nil || errors.As(err, &refused) {
		return err
	}
	if part == "" {
		return fmt.Errorf("verdict: policy: %w", err)
	}
	return &PolicyError{part, err}
}

func (m *Requirements) read(part string, raw []byte) error {
	return readObject(part, raw, map[string]func(string, []byte) error{
		"hierarchy": func(part string, raw []byte) error {
			return readObject(part, raw, map[string]func(string, []byte) error{
				"status": word(&m.Hierarchy.Status), "max_age": readAge(&m.Hierarchy.MaxAge),
			})
		},
		"xsign": func(part string, raw []byte) error {
			return readObject(part, raw, map[string]func(string, []byte) error{
				"hops": number(&m.XSign.Hops), "introducers": number(&m.XSign.Introducers), "max_age": readAge(&m.XSign.MaxAge),
			})
		},
		"places": func(part string, raw []byte) error {
			return readObject(part, raw, map[string]func(string, []byte) error{
				"need": number(&m.Places.Need), "min_age": readAge(&m.Places.MinAge), "max_age": readAge(&m.Places.MaxAge),
			})
		},
	})
}

func (p *Policy) readRules(part string, raw []byte) error {
	var rules []json.RawMessage
	if err := json.Unmarshal(raw, &rules); err != nil || rules == nil {
		return wrong(part, "must be an array of rules")
	}
	for i, raw := range rules {
		var r Rule
		err := readObject(rulePart(i), raw, map[string]func(string, []byte) error{
			"hierarchy": word(&r.Hierarchy), "xsign": word(&r.XSign), "places": word(&r.Places), "then": word(&r.Then),
			"only": func(part string, raw []byte) error {
				words, err := jose.Strings(raw)
				if err != nil || len(words) == 0 {
					return wrong(part, "must be an array of user, device and handle")
				}
				for _, w := range words {
					r.Only = append(r.Only, Facet(w))
				}
				return nil
			},
		})
		if err != nil {
			return err
		}
		p.Decide = append(p.Decide, r)
	}
	return nil
}

// word returns a function that reads a string, which must not be empty.
func word[T ~string](to *T) func(string, []byte) error {
	return func(part string, raw []byte) error {
		s, err := jose.String(raw)
		if err != nil || s == "" {
			return wrong(part, "must be a word")
		}
		*to = T(s)
		return nil
	}
}

func number(to *int) func(string, []byte) error {
	return func(part string, raw []byte) error {
		n, err := strconv.ParseUint(string(raw), 10, 16)
		if err != nil {
			return wrong(part, "must be a whole number")
		}
		*to = int(n)
		return nil
	}
}

// maxAge is the longest age in a policy.
const maxAge = 366 * day

// readAge returns a function that reads a duration such as 15m or 30d.
func readAge(to *time.Duration) func(string, []byte) error {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': day}
	return func(part string, raw []byte) error {
		s, err := jose.String(raw)
		if err != nil || len(s) < 2 {
			return wrong(part, `must be an age such as "15m" or "30d"`)
		}
		unit := units[s[len(s)-1]]
		n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
		switch {
		case err != nil || unit == 0:
			return wrong(part, `must be an age such as "15m" or "30d"`)
		case time.Duration(n) > maxAge/unit:
			return wrong(part, "must be at most %d days", maxAge/day)
		}
		*to = time.Duration(n) * unit
		return nil
	}
}
