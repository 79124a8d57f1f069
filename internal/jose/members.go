package jose

import (
	"errors"
	"fmt"
	"time"
)

// A Member names a member of a JSON object and the place for its value: one of Text, List, Date and Read.
type Member struct {
	Name string

	Text *string                // a string
	List *[]string              // an array of strings, or one string, as `aud` may be written (RFC 7519 §4.1.3)
	Date *time.Time             // see [NumericDate]
	Read func(raw []byte) error // any other value

	// Required refuses objects without the member, and those where its string is empty. It has no effect on Read.
	Required bool
	// Max is how many bytes the string may have. Zero means that there is no limit.
	Max int
}

// ReadMembers reads the JSON object in data, strictly (see [Object]), and stores the values of the given members. A member
// whose name differs from a given one only in case is refused; any other member is ignored.
//
// The error is a *[ParseError] that names the member if a given member has a value of the wrong type, is missing or is too
// long; the last two are reported in the order of members. Any other error is about the JSON. After an error no stored value
// counts.
func ReadMembers(data []byte, members ...Member) error {
	err := ObjectText(data, func(name, raw string) error {
		for i := range members {
			if members[i].Name == name {
				return members[i].store(raw)
			}
		}
		for i := range members {
			if err := checkCase(name, members[i].Name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range members {
		if err := members[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (m *Member) store(raw string) (err error) {
	switch {
	case m.Text != nil:
		*m.Text, err = String(raw)
	case m.Date != nil:
		*m.Date, err = NumericDate(raw)
	case m.List != nil && len(raw) > 0 && raw[0] == '"':
		*m.List = make([]string, 1)
		(*m.List)[0], err = String(raw)
	case m.List != nil:
		*m.List, err = Strings(raw)
	default:
		err = m.Read([]byte(raw))
	}
	if err != nil {
		return &ParseError{m.Name, err}
	}
	return nil
}

var errMissing = errors.New("missing")

func (m *Member) check() error {
	switch {
	case m.Required && (m.Text != nil && *m.Text == "" || m.List != nil && *m.List == nil || m.Date != nil && m.Date.IsZero()):
		return &ParseError{m.Name, errMissing}
	case m.Max > 0 && m.Text != nil && len(*m.Text) > m.Max:
		return &ParseError{m.Name, fmt.Errorf("longer than %d bytes", m.Max)}
	}
	return nil
}
